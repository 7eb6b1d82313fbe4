"""Temporary folders that the next command takes away when their process was killed.

A folder has a lock file beside it, which its process holds (flock(2)) for as long as it lives. The
kernel lets go of it however the process ends, so a lock file that nobody holds means debris: no
process number to be taken for another's, no age to be guessed.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from buildkit.disk import is_named

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "edge-buildkit-"
_LOCK = ".lock"
_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW


def session() -> Path:
    """The folder for temporary files: ``TMPDIR`` where that is one, else ``/tmp`` (POSIX).

    `tempfile.gettempdir` would write a file there to see whether it can, and a signal between two
    of its lines leaves that file behind.
    """
    named = os.environ.get("TMPDIR", "")
    return Path(named if os.path.isdir(named) else "/tmp")  # noqa: S108, PTH112 - see above


@contextmanager
def folder(parent: Path | None = None, prefix: str = PREFIX) -> Iterator[Path]:
    """An empty folder for this user alone, gone after the block with all that is in it.

    Args:
        parent: a folder that is there; that of the session (``TMPDIR``) when absent.
        prefix: how its name begins.

    Raises:
        OSError: it cannot be made.
    """
    home = session() if parent is None else parent
    path = home / f"{prefix}{secrets.token_hex(8)}"
    name = path.with_name(path.name + _LOCK)
    lock = -1
    # Named before it is made, so that a signal between any two lines finds what to remove.
    try:
        lock = _claim(name)
        path.mkdir(0o700)
        yield path
    finally:
        try:
            _remove(path, name)
        except BaseException:
            # A signal in the midst of it. Only the first is raised, so this one comes to its end.
            _remove(path, name)
            raise
        finally:
            if lock >= 0:
                os.close(lock)


def sweep(parent: Path | None = None, prefix: str = PREFIX) -> int:
    """Take away what killed processes of this user left; how many folders.

    Folders that are in use, or someone else's, stay.
    """
    home = session() if parent is None else parent
    count = 0
    with suppress(OSError):
        for name in os.listdir(home):  # noqa: PTH208 - names, not paths: it is quick
            if name.startswith(prefix) and name.endswith(_LOCK):
                with suppress(OSError):
                    count += _sweep_one(home / name)
    return count


def _claim(name: Path) -> int:
    """A new lock file, held."""
    while True:
        lock = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600)
        # Between these two lines a sweep may have taken it for debris.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_named(lock, name):
            return lock
        os.close(lock)


def _sweep_one(name: Path) -> bool:
    lock = os.open(name, os.O_RDWR | _FLAGS)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(lock).st_uid != os.geteuid() or not is_named(lock, name):
            return False
        path = name.with_name(name.name.removesuffix(_LOCK))
        if os.path.lexists(path) and path.lstat().st_uid != os.geteuid():
            return False
        _remove(path, name)
        return True
    finally:
        os.close(lock)


def _remove(path: Path, lock: Path) -> None:
    """Remove a folder and its lock file, also folders that nobody may write to (a Nix store's)."""
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        with suppress(OSError):
            for above, _, _ in os.walk(path):
                Path(above).chmod(0o700)
        shutil.rmtree(path, ignore_errors=True)
    # Last, and not while something is left: the lock file is what leads a later sweep to it.
    if not path.exists():
        lock.unlink(missing_ok=True)
