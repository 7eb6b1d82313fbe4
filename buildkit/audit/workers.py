"""Work for several processes at once: each is a copy of this one, and hands back what it made.

A copy needs nothing to be sent to it; only what it makes is, through a file that has no name, so
that nobody waits until somebody reads it.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from multiprocessing.connection import Connection

    Work = Callable[[int], "Made"]

Made = TypeVar("Made")

_MOST = 8
_FAILED = -1


def possible() -> int:
    """How many processes may work at once: 1 where this one must do it alone.

    A process with threads must not be copied: a copy has their locks, and not the threads.
    """
    if sys.platform != "linux" or sum(1 for _ in Path("/proc/self/task").iterdir()) > 1:
        return 1
    return min(len(os.sched_getaffinity(0)), _MOST)


@contextmanager
def begun(work: Callable[[], Made]) -> Iterator[Callable[[], Made]]:
    """Let a copy of this process begin what takes a while; gives what waits for it, once.

    As `spread`, it is done again here when the copy does not hand it back.

    Args:
        work: reads what it needs, and changes nothing that anybody else sees.
    """
    with ExitStack() as stack:
        copies = _copies(stack, lambda _: work(), 1, 1) if possible() > 1 else []

        def made() -> Made:
            found: Made | None = copies[0].take() if copies else None
            return work() if found is None else found

        yield made


def spread(work: Callable[[int], Made], count: int, processes: int) -> Generator[Made]:
    """What ``work(0)`` to ``work(count - 1)`` make, in this order.

    What a process does not hand back, because it was killed or its work failed, is done again here;
    so errors are those that this process would have met alone.

    Args:
        work: reads what it needs, and changes nothing that anybody else sees.
        count: how often.
        processes: that share it; with 1, all is done here.
    """
    with ExitStack() as stack:
        copies = _copies(stack, work, count, processes) if processes > 1 else []
        for number in range(count):
            made: Made | None = copies[number % processes].take() if copies else None
            yield work(number) if made is None else made


def _copies(
    stack: ExitStack, work: Callable[[int], Made], count: int, processes: int
) -> list[_Copy]:
    """Copies that work until the stack is left; none where the machine has no room for them."""
    with ExitStack() as inner:
        try:
            files = [inner.enter_context(TemporaryFile(buffering=0)) for _ in range(processes)]
            copies = [_Copy(file) for file in files]
            for first, copy in enumerate(copies):
                inner.enter_context(copy.working(copies, work, range(first, count, processes)))
        except OSError:
            return []
        stack.push(inner.pop_all())
        return copies


class _Copy:
    """A copy of this process, and the way back from it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._context = multiprocessing.get_context("fork")
        self._theirs: Connection
        self._ours, self._theirs = self._context.Pipe(duplex=False)
        self._file = file
        self._read = 0

    @contextmanager
    def working(self, copies: list[_Copy], work: Work[Made], numbers: range) -> Iterator[None]:
        """Let it work; it ends with the block."""
        process = self._context.Process(
            target=self._work, args=(copies, work, numbers), daemon=True
        )
        process.start()
        # Else nobody would see that it has ended.
        self._theirs.close()
        try:
            yield
        finally:
            process.kill()
            process.join()
            self._ours.close()

    def take(self) -> Made | None:
        """The next that it made; nothing when it will not come."""
        try:
            size = self._ours.recv()
        except (EOFError, OSError):
            return None
        if size == _FAILED:
            return None
        data = os.pread(self._file.fileno(), size, self._read)
        self._read += size
        # Of our own copy, through a file that nobody else can open.
        found: Made = pickle.loads(data)  # noqa: S301
        return found

    def leave(self, *, to: _Copy) -> None:
        """In a copy: let go of what belongs to others, who would not see that one has ended."""
        self._ours.close()
        if self is not to:
            self._theirs.close()

    def _work(self, copies: list[_Copy], work: Work[Made], numbers: range) -> None:
        """In the copy. When the process that made it is gone, the pipe breaks, and it ends."""
        try:
            for each in copies:
                each.leave(to=self)
            for number in numbers:
                self._theirs.send(self._do(work, number))
        except BaseException:  # noqa: BLE001 - whoever waits for it, does it
            os._exit(1)

    def _do(self, work: Work[Made], number: int) -> int:
        try:
            data = pickle.dumps(work(number), pickle.HIGHEST_PROTOCOL)
        except Exception:  # noqa: BLE001 - it is done again where the error is of use
            return _FAILED
        with memoryview(data) as left:
            at = 0
            while at < len(data):
                at += self._file.write(left[at:]) or 0
        return len(data)
