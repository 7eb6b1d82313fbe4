"""A second process that puts things right when the agent is killed, and the lock that both hold."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Callable

from agent import places as files
from agent.errors import AgentError, Kind

if TYPE_CHECKING:
    from agent.places import Places
    from agent.undo import Record, Undo

_CLEANING = b"cleaning"
_PATIENCE_S = 60.0
_CHILDREN_S = 20.0


class Lock:
    """The board, for one run at a time. Ends with the last process that holds it."""

    def __init__(self, places: Places) -> None:
        self._file = files.folder(places.data) / "lock"
        self._handle: int | None = None

    def take(self, *, patient: bool, tick: Callable[[], None] = lambda: None) -> bool:
        """Whether it could be had; a `patient` caller waits while a killed run is put right."""
        until = time.monotonic() + _PATIENCE_S
        handle = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while not _held(handle):
                cleaning = os.pread(handle, 16, 0) == _CLEANING
                if not (patient and cleaning and time.monotonic() < until):
                    return False
                tick()
                time.sleep(0.1)
            os.ftruncate(handle, 0)
            self._handle = handle
        finally:
            if self._handle is None:
                os.close(handle)
        return True

    def cleaning(self) -> None:
        """Tell others that it will be free soon."""
        if self._handle is not None:
            os.pwrite(self._handle, _CLEANING, 0)

    def free(self) -> None:
        """Let others have it."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def _held(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Guardian:
    """Watches the agent from a process of its own.

    It sees the agent's end as the end of a pipe. A program that the agent has just started may
    still make a container after that: all of them hold a second pipe (but sudo closes it), and
    until that one ends too, and no program names the container, it is removed again and again.

    Args:
        undo: what puts things right; must not watch the host, which may have gone.
        record: of the run.
        lock: that stays held until all is right.
    """

    def __init__(self, undo: Undo, record: Record, lock: Lock) -> None:
        self._undo = undo
        self._record = record
        self._lock = lock
        self._life: int | None = None
        self._process = 0
        self.children = -1

    def start(self) -> None:
        """Fork it."""
        mine, self._life = os.pipe()
        programs, self.children = os.pipe()
        try:
            self._process = os.fork()
        except OSError as error:
            raise AgentError(
                Kind.DEVICE, f"no process for the guardian: {error.strerror}"
            ) from error
        if self._process == 0:
            try:
                os.close(self._life)
                os.close(self.children)
                self._watch(mine, programs)
            finally:
                os._exit(0)
        os.close(mine)
        os.close(programs)

    def release(self) -> None:
        """All was put right: it may go."""
        if self._life is not None:
            with suppress(OSError):
                os.write(self._life, b"q")
            os.close(self._life)
            os.close(self.children)
            self._life = None
            os.waitpid(self._process, 0)

    def _watch(self, agent: int, programs: int) -> None:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            # Else the line would stay open for as long as this process lives.
            os.dup2(nowhere, standard)
        if os.read(agent, 1) == b"q":
            return
        self._lock.cleaning()
        until = time.monotonic() + _CHILDREN_S
        while not select.select([programs], [], [], 0.3)[0] and time.monotonic() < until:
            self._undo.remove_container(self._record)
        while not self._undo.put_right(self._record) and time.monotonic() < until:
            time.sleep(0.3)
