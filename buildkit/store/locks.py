"""Locks between processes: ``flock``, with an end to the waiting and a name for who has it."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from buildkit import disk
from buildkit.errors import StoreError
from buildkit.store.files import FILE_MODE

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHORTEST, _LONGEST = 0.001, 0.05
_SHOWN = 80


@contextmanager
def hold(path: Path, *, exclusive: bool, wait: float, purpose: str) -> Iterator[None]:
    """Hold the lock `path` for the length of the block.

    Args:
        path: the lock file; made when absent, its content does not matter.
        exclusive: alone, or together with others who hold it shared.
        wait: seconds to wait for others.
        purpose: what the lock is wanted for, for the message (``collect garbage``).

    Raises:
        StoreError: others held it for longer than `wait`; the message names them.
        OSError: the lock file cannot be opened.
    """
    fd = _acquire(path, exclusive=exclusive, wait=wait, purpose=purpose)
    try:
        yield
    finally:
        # Closing is not enough when a child that was forked meanwhile has a copy.
        fcntl.flock(fd, fcntl.LOCK_UN)
        os.close(fd)


def _acquire(path: Path, *, exclusive: bool, wait: float, purpose: str) -> int:
    kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
    deadline = time.monotonic() + wait
    pause = _SHORTEST
    while True:
        fd = _open(path)
        try:
            fcntl.flock(fd, kind | fcntl.LOCK_NB)
            # BuildKit removes the lock file of an index after use: a lock on a file that
            # no longer has the name keeps nobody out.
            if disk.is_named(fd, path):
                return fd
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                msg = f"cannot {purpose}: {path.parent} is in use by {_holders(fd)}"
                remedy = "wait until it has ended, or end it, then run the command again"
                os.close(fd)
                raise StoreError(msg, remedy) from error
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST)


def _open(path: Path) -> int:
    flags = os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        fd = os.open(path, os.O_RDWR | flags, FILE_MODE)
    except PermissionError:
        # Someone else's lock file in a shared store: reading it is enough to lock it.
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    state = os.fstat(fd)
    if state.st_uid == os.geteuid() and state.st_mode & FILE_MODE != FILE_MODE:
        os.fchmod(fd, FILE_MODE)  # the umask took the right to read from others
    return fd


def _holders(fd: int) -> str:
    """Who holds a lock on the open file, as far as ``/proc/locks`` tells."""
    state = os.fstat(fd)
    node = f"{os.major(state.st_dev):02x}:{os.minor(state.st_dev):02x}:{state.st_ino}"
    found = []
    with suppress(OSError):
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.split()
            if fields[1] == "FLOCK" and fields[-3] == node:
                found.append(_describe(int(fields[-4])))
    return ", ".join(sorted(set(found))) or "another process"


def _describe(pid: int) -> str:
    command = ""
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        command = b" ".join(words).decode(errors="replace")
    if len(command) > _SHOWN:
        command = command[:_SHOWN] + "…"
    return f"process {pid} ({command})" if command else f"process {pid}"
