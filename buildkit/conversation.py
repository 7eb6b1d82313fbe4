"""Speaking with a running program over its three pipes; `buildkit.run.talk` starts it."""

from __future__ import annotations

import math
import os
import select
import time
from contextlib import suppress
from typing import IO, TYPE_CHECKING

from buildkit.errors import DeadlineError, ToolError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_PIECE = 1 << 16
_MOST_ERRORS = 1 << 16
_LOOKS = 64


class Conversation:
    """A running program that is written to and read from.

    Whatever waits takes up the program's output meanwhile, so that neither side blocks the other.
    For one thread at a time.

    Args:
        name: of the program, for messages.
        pipes: its standard input, output and error.
        limit: bytes of output that may lie here unread.
        status: its exit status, or nothing while it runs.
        end: ends it, and its children.
    """

    def __init__(
        self,
        name: str,
        pipes: Sequence[IO[bytes]],
        *,
        limit: int,
        status: Callable[[], int | None],
        end: Callable[[], None],
    ) -> None:
        self._name = name
        self._limit = limit
        self._status = status
        self._end = end
        self._open = {pipe.fileno(): pipe for pipe in pipes}
        self._input, self._output, self._errors = self._open
        self._out = bytearray()
        self._looked = 0
        self._err = bytearray()
        for number in self._open:
            os.set_blocking(number, False)

    @property
    def stderr(self) -> str:
        """The end of what it has said on standard error so far, undecodable bytes replaced."""
        for _ in range(_LOOKS):
            if self._errors not in self._open or not self._take(self._errors):
                break
        return self._err.decode(errors="replace")

    def write(self, data: bytes | memoryview, *, wait: float | None = None) -> bool:
        """Write all of `data` to standard input.

        Args:
            data: any number of bytes.
            wait: seconds within which the program must take the next byte.

        Returns:
            False when it reads no more; what it had to say can still be read.

        Raises:
            DeadlineError: it took nothing for `wait` seconds.
            ToolError: it said more than the limit, and nobody read it.
        """
        rest, end = memoryview(data), _until(wait)
        while rest:
            if self._input not in self._open:
                return False
            if self._input in self._poll(end, writing=True):
                rest = rest[self._put(rest[:_PIECE]) :]
                end = _until(wait)
            elif _left(end) == 0:
                msg = f"{self._name}: took no input for {wait:.0f} s"
                raise DeadlineError(msg)
        return True

    def close(self) -> None:
        """Close standard input: the program sees its end."""
        self._shut(self._input)

    def line(self, *, wait: float | None = None) -> bytes | None:
        """The next line of standard output.

        Args:
            wait: seconds to wait for it; 0 takes what is there.

        Returns:
            The line with its end; what is left without one, and at last nothing (``b""``), when
            the output has ended; None when no line came in time.

        Raises:
            ToolError: a line is longer than the limit.
        """
        end, is_over = _until(wait), False
        while True:
            at = self._out.find(b"\n", self._looked)
            if at >= 0 or self._output not in self._open:
                return self._cut(at + 1 if at >= 0 else len(self._out))
            self._looked = len(self._out)
            if is_over:
                return None
            is_over = _left(end) == 0
            self._poll(end)

    def finish(self, *, wait: float) -> int:
        """Close standard input and let the program end; what it still says is thrown away.

        Args:
            wait: seconds until it is ended.

        Returns:
            Its exit status; negative for the signal that ended it.
        """
        self.close()
        self._cut(len(self._out))
        end = _until(wait)
        while (status := self._status()) is None and _left(end):
            if self._output in self._open:
                self._poll(min(end, time.monotonic() + 0.05))
                self._cut(len(self._out))
            else:
                time.sleep(0.005)
        if status is None:
            self._end()
            status = self._status()
        return -1 if status is None else status

    def _poll(self, end: float, *, writing: bool = False) -> set[int]:
        """Wait until something can be done, and take up output; the pipes that were ready."""
        poll = select.poll()
        for number in self._open:
            if number != self._input:
                poll.register(number, select.POLLIN)
            elif writing:
                poll.register(number, select.POLLOUT)
        left = _left(end)
        ready = {number for number, _ in poll.poll(None if left is None else left * 1000)}
        for number in ready - {self._input}:
            self._take(number)
        return ready

    def _put(self, data: memoryview) -> int:
        """Write once; how much was taken."""
        try:
            return os.write(self._input, data)
        except BlockingIOError:
            return 0
        except OSError:
            self.close()
            return 0

    def _take(self, number: int) -> bool:
        """Read once; whether there was something."""
        try:
            data = os.read(number, _PIECE)
        except BlockingIOError:
            return False
        if not data:
            self._shut(number)
        elif number == self._errors:
            self._err += data
            del self._err[:-_MOST_ERRORS]
        else:
            self._out += data
            if len(self._out) > self._limit:
                msg = f"{self._name}: says more than {self._limit} bytes at once"
                raise ToolError(msg)
        return bool(data)

    def _cut(self, size: int) -> bytes:
        found = bytes(self._out[:size])
        del self._out[:size]
        self._looked = 0
        return found

    def _shut(self, number: int) -> None:
        pipe = self._open.pop(number, None)
        if pipe is not None:
            with suppress(OSError):
                pipe.close()


def _until(wait: float | None) -> float:
    return math.inf if wait is None else time.monotonic() + wait


def _left(end: float) -> float | None:
    """Seconds until `end`; None when there is none."""
    return None if end == math.inf else max(0.0, end - time.monotonic())
