"""What rooms need of files: a turn to wait for, a new content at once, a name that lasts."""

from __future__ import annotations

import fcntl
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold `folder` for oneself: other processes and threads wait for their turn.

    Raises:
        OSError: it cannot be made, or written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("wb") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def replace(file: Path, data: bytes) -> bool:
    """Give a file another content in one step, since somebody may be reading it.

    Returns:
        Whether it had another.

    Raises:
        OSError: it cannot be written.
    """
    if file.is_file() and file.read_bytes() == data:
        return False
    part = file.with_name(f".{file.name}.{os.getpid()}.{threading.get_native_id()}")
    part.write_bytes(data)
    part.replace(file)
    return True


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` survive a power cut.

    Raises:
        OSError: the disk fails.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_named(handle: int, path: Path) -> bool:
    """Whether the open file still has this name."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(handle))
    except FileNotFoundError:
        return False
