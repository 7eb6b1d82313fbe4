"""The one place that starts other programs: argument lists, limits, and an end for each."""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.errors import AgentError, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent.watch import Watch

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TAIL = 1 << 16
_MOST = 1 << 20
_SHORT_S = 60.0


@dataclass(frozen=True)
class Ended:
    """How a program ended.

    Attributes:
        code: exit status; 128 + n for signal n.
        out: what it wrote, as far as it was allowed.
        err: the end of what it said on standard error.
        late: it was stopped at its deadline.
        over: it wrote more than it may, and was stopped.
    """

    code: int
    out: bytes
    err: str
    late: bool = False
    over: bool = False

    @property
    def said(self) -> str:
        """Its last words in one line."""
        lines = [line.strip() for line in self.err.splitlines() if line.strip()]
        return " / ".join(lines[-3:])[-600:] or f"exit status {self.code}"


def environment() -> dict[str, str]:
    """With the folders that a call over SSH often lacks, and no translated messages."""
    found = os.environ.get("PATH", "")
    return {**os.environ, "PATH": f"{found}:{PATH}" if found else PATH, "LC_ALL": "C"}


def which(name: str) -> str | None:
    """Where a program is; nothing when it is not there."""
    return shutil.which(name, path=environment()["PATH"])


class Programs:
    """Starts programs.

    Args:
        watch: asked while one runs; nothing while nobody has to be watched.
        keep: file descriptors that every program inherits.
    """

    def __init__(self, watch: Watch | None = None, keep: Sequence[int] = ()) -> None:
        self.watch = watch
        self._keep = tuple(keep)

    def run(
        self,
        argv: Sequence[str],
        *,
        feed: Iterator[bytes] | None = None,
        seconds: float = 60,
        most: int = _MOST,
        files: Sequence[int] = (),
    ) -> Ended:
        """Run a program to its end.

        Args:
            argv: the program and its arguments.
            feed: for its standard input; closed without.
            seconds: after which it is killed.
            most: bytes on its standard output, beyond which it is killed.
            files: further descriptors that it inherits.

        Raises:
            AgentError: it cannot be started.
            Stopped: out of `watch`; the program was killed.
        """
        child = _start(argv, (*self._keep, *files), feed=feed is not None)
        until = time.monotonic() + seconds
        loop = _Loop(child, feed, self.watch, most)
        try:
            late, over = loop.run(until)
        except BaseException:
            end(child)
            raise
        finally:
            loop.close()
        if not (late or over):
            with suppress(subprocess.TimeoutExpired):
                child.wait(max(1.0, until - time.monotonic()))
        code = child.poll()
        if code is None:
            late = not over
            end(child)
            code = -signal.SIGKILL
        return Ended(
            code=128 - code if code < 0 else code,
            out=bytes(loop.out),
            err=bytes(loop.err).decode(errors="replace"),
            late=late,
            over=over,
        )

    def together(self, commands: Sequence[Sequence[str]]) -> list[Ended]:
        """Run short ones side by side; one that cannot be started ends with 127."""
        children = [self._try(argv) for argv in commands]
        until = time.monotonic() + _SHORT_S
        return [_finish(child, until) for child in children]

    def _try(self, argv: Sequence[str]) -> subprocess.Popen[bytes] | None:
        try:
            return _start(argv, self._keep, feed=False)
        except AgentError:
            return None


class _Loop:
    """Moves bytes until the program is done with both of its outputs."""

    def __init__(
        self,
        child: subprocess.Popen[bytes],
        feed: Iterator[bytes] | None,
        watch: Watch | None,
        most: int,
    ) -> None:
        self.out = bytearray()
        self.err = bytearray()
        self._child = child
        self._feed = feed
        self._ahead = memoryview(b"")
        self._watch = watch
        self._most = most
        self._selector = selectors.DefaultSelector()
        self._open = 0
        for pipe in (child.stdout, child.stderr):
            assert pipe is not None  # noqa: S101 - for mypy: `_start` makes both
            self._selector.register(pipe, selectors.EVENT_READ)
            self._open += 1
        if child.stdin is not None:
            os.set_blocking(child.stdin.fileno(), False)
            self._selector.register(child.stdin, selectors.EVENT_WRITE)
        for descriptor in watch.descriptors if watch else ():
            # A file or /dev/null as standard input is always ready, and epoll refuses it.
            with suppress(PermissionError):
                self._selector.register(descriptor, selectors.EVENT_READ)

    def run(self, until: float) -> tuple[bool, bool]:
        """Whether it was too late, and whether there was too much."""
        while self._open:
            left = until - time.monotonic()
            if left <= 0:
                return True, False
            for key, _ in self._selector.select(min(left, 1.0)):
                if key.fileobj is self._child.stdin:
                    self._write()
                elif key.fileobj is self._child.stdout:
                    self._read(key.fd, self.out, key.fileobj)
                elif key.fileobj is self._child.stderr:
                    self._read(key.fd, self.err, key.fileobj)
                    del self.err[:-_TAIL]
            if len(self.out) > self._most:
                return False, True
            if self._watch is not None:
                self._watch.check()
        return False, False

    def _read(self, descriptor: int, into: bytearray, pipe: object) -> None:
        piece = os.read(descriptor, 1 << 16)
        into += piece
        if not piece:
            self._selector.unregister(pipe)  # type: ignore[arg-type]  # a pipe of the child
            self._open -= 1

    def _write(self) -> None:
        pipe = self._child.stdin
        if pipe is None or self._feed is None:
            return
        try:
            if not self._ahead:
                self._ahead = memoryview(next(self._feed))
            self._ahead = self._ahead[os.write(pipe.fileno(), self._ahead) :]
        except (StopIteration, BrokenPipeError):
            self._selector.unregister(pipe)
            pipe.close()
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Close our ends of the pipes."""
        self._selector.close()
        for pipe in (self._child.stdin, self._child.stdout, self._child.stderr):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()


def end(child: subprocess.Popen[bytes]) -> None:
    """Kill a program and all that it started in its session; wait a little."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    except PermissionError:
        # What runs as root through sudo cannot be killed from here: its container is removed.
        return
    with suppress(subprocess.TimeoutExpired):
        child.wait(5)


def _start(argv: Sequence[str], keep: Sequence[int], *, feed: bool) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE if feed else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            cwd="/",
            pass_fds=tuple(keep),
            start_new_session=True,
            # Ours is stricter, and unpacked images would be unreadable for the users in them.
            umask=0o022,
            bufsize=0,
        )
    except FileNotFoundError as error:
        raise AgentError(Kind.DEVICE, f"the program {argv[0]} is not there") from error
    except OSError as error:
        raise AgentError(Kind.DEVICE, f"{argv[0]} cannot be started: {error.strerror}") from error


def _finish(child: subprocess.Popen[bytes] | None, until: float) -> Ended:
    if child is None:
        return Ended(code=127, out=b"", err="it is not there")
    try:
        out, err = child.communicate(timeout=max(0.1, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        end(child)
        return Ended(code=124, out=b"", err="it gave no answer in time", late=True)
    return Ended(code=child.returncode, out=out[:_MOST], err=err[-_TAIL:].decode(errors="replace"))
