"""Files that appear whole or not at all, whatever the umask, and disk errors put into words."""

from __future__ import annotations

import errno
import os
import re
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Self

from buildkit import disk
from buildkit.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER_MODE = 0o755
FILE_MODE = 0o644
BLOB_MODE = 0o444

_TEMPORARY = re.compile(r"write-(\d+)-(\d+)-[0-9a-f]{16}")
_SPECIAL_BITS = 0o7000


@contextmanager
def translated(root: Path) -> Iterator[None]:
    """Turn what the operating system refuses below `root` into a `StoreError` with a remedy."""
    try:
        yield
    except OSError as error:
        where = str(error.filename or root)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            msg = f"{root}: no space left for the store ({_free(root)} free)"
            remedy = (
                "make room on this disk, then run the command again; "
                "`python -m buildkit gc` removes what no entry of the store needs"
            )
        elif error.errno == errno.EFBIG:
            msg = f"{root}: a file would grow beyond the limit of this session or file system"
            remedy = "raise the limit (`ulimit -f unlimited`) or use another folder with --store"
        elif error.errno in (errno.EACCES, errno.EPERM):
            msg = f"{where}: no permission (running as user {os.geteuid()})"
            remedy = "run as the owner of the store, or use another folder with --store"
        elif error.errno == errno.EROFS:
            msg = f"{root}: the file system is read-only"
            remedy = "mount it writable, or use another folder with --store"
        else:
            msg = f"{where}: {error.strerror or error}"
            wrong_kind = error.errno in (errno.ENOTDIR, errno.EISDIR, errno.EEXIST)
            remedy = "use another folder with --store" if wrong_kind else ""
        raise StoreError(msg, remedy) from error


def _free(root: Path) -> str:
    """Free space for this user below `root`, or below the first of its parents that exists."""
    for folder in (root, *root.parents):
        with suppress(OSError):
            state = os.statvfs(folder)
            return f"{state.f_bavail * state.f_frsize / (1 << 20):.1f} MiB"
    return "unknown space"


class Fresh:
    """A new file under a temporary name, to be published under its own or to vanish.

    The name says which process writes it, so that `is_stale` can tell debris from work.

    Args:
        ingest: folder for it.
        mark: 8 hex digits for its name, by which `take_up` finds it when it was left.
    """

    def __init__(self, ingest: Path, mark: str = "") -> None:
        pid = os.getpid()
        tail = f"{mark}{os.urandom(8).hex()}"[:16]
        self.path = ingest / f"write-{pid}-{_started(pid) or 0}-{tail}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            self._fd = os.open(self.path, flags, 0o600)
        except FileNotFoundError:
            make_folder(ingest)
            self._fd = os.open(self.path, flags, 0o600)

    def take_up(self, mark: str) -> int:
        """Be the file with this mark that a process left when it ended; its descriptor, to read.

        Without such a file nothing changes. Of several who want it, one gets it.

        Raises:
            OSError: the folder cannot be read.
        """
        for name in sorted(os.listdir(self.path.parent)):  # noqa: PTH208  (names, not paths)
            if name[-16:-8] != mark or not is_stale(name):
                continue
            with suppress(FileNotFoundError):
                (self.path.parent / name).rename(self.path)
                os.close(self._fd)
                self._fd = os.open(self.path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
                break
        return self._fd

    def write(self, data: bytes | memoryview) -> None:
        """Write all of `data`.

        Raises:
            OSError: the disk is full, or the like.
        """
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._fd, rest) :]

    def publish(self, target: Path, mode: int) -> None:
        """Give the file its mode and its name: a power cut leaves all of it or nothing.

        That the name itself is not lost again takes `disk.sync_folder`.

        Raises:
            OSError: the disk is full, or the like; nothing is published.
        """
        os.fchmod(self._fd, mode)
        os.fsync(self._fd)
        self.path.replace(target)

    def close(self, *, leave: bool = False) -> None:
        """Let go of the file; it vanishes unless it was published, or is to be left."""
        os.close(self._fd)
        if not leave:
            with suppress(OSError):
                self.path.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def write_whole(target: Path, data: bytes, ingest: Path, mode: int = FILE_MODE) -> None:
    """Create or replace `target`; `ingest` is a folder of the same file system.

    Raises:
        OSError: the disk is full, or the like; `target` is as it was.
    """
    with Fresh(ingest) as fresh:
        fresh.write(data)
        fresh.publish(target, mode)
    disk.sync_folder(target.parent)


def make_folder(folder: Path) -> None:
    """Make `folder` and its missing parents, readable by all whatever the umask.

    Raises:
        OSError: it cannot be made, or something else has its name.
    """
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        try:
            each.mkdir(FOLDER_MODE)
        except FileExistsError:
            if not each.is_dir():
                raise
            continue  # another process was quicker
        # chmod keeps a set-group bit that the new folder has from its parent.
        each.chmod(FOLDER_MODE | (each.stat().st_mode & _SPECIAL_BITS))
        disk.sync_folder(each.parent)


def is_stale(name: str) -> bool:
    """Whether `name` is a temporary file whose process has ended (Linux: it asks ``/proc``)."""
    found = _TEMPORARY.fullmatch(name)
    return found is not None and (_read_start(int(found[1])) or -1) != int(found[2])


@lru_cache(maxsize=2)
def _started(pid: int) -> int | None:
    """`_read_start`, remembered: a process asks about itself only, and a fork has another pid."""
    return _read_start(pid)


def _read_start(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; nothing when it has ended.

    Together with the pid it names a process for as long as the machine runs.
    """
    try:
        line = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The second field, the program's name, may hold spaces and brackets itself.
    fields = line.rpartition(b")")[2].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])
