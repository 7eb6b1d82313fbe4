"""The cache of inputs: files named by their SHA-256, which enter whole or not at all.

``<home>/inputs/sha256/<hex>`` is written once and never changed, so its presence means that the
bytes are right; many processes may share one cache.
"""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from buildkit import digests, disk, homes
from buildkit import scratch as folders
from buildkit.errors import DigestError, FetchError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_PIECE = 1 << 20


def home(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of everything that can be fetched again; see `buildkit.homes`."""
    return homes.home("cache", environ)


def entry(cache: Path, sha256: str) -> Path:
    """Where the file with these hex digits stands, or would stand."""
    return cache / "inputs" / "sha256" / sha256


@contextmanager
def scratch(cache: Path) -> Iterator[Path]:
    """A folder for unfinished files, on the cache's own file system, gone afterwards.

    Raises:
        FetchError: the cache cannot be written.
    """
    parent = cache / "partial"
    stack = ExitStack()
    try:
        parent.mkdir(parents=True, exist_ok=True)
        holder = stack.enter_context(folders.folder(parent))
    except OSError as error:
        raise _unwritable(cache, error) from error
    with stack:
        yield holder


def sweep(cache: Path) -> None:
    """Take away the unfinished files of processes that were killed."""
    folders.sweep(cache / "partial")


def admit(file: Path, sha256: str, cache: Path, *, what: str) -> Path:
    """Copy a file into the cache if its bytes are right.

    It is hashed while it is copied, so what enters is what was checked.

    Args:
        file: candidate; stays where it is.
        sha256: hex digits that the lock asks for.
        cache: the cache's home.
        what: for the message: which input this is.

    Raises:
        DigestError: the bytes are other ones.
        FetchError: the file cannot be read, or the cache cannot be written.
    """
    target = entry(cache, sha256)
    with scratch(cache) as folder:
        try:
            found = _copy(file, folder / "file")
            if found != sha256:
                msg = f"{what}: expected sha256:{sha256}, got sha256:{found}"
                raise DigestError(
                    msg,
                    "the mirror or the offline folder holds other bytes than the lock: remove that "
                    "file or use another mirror; `lock --update` only if you trust the new bytes",
                )
            target.parent.mkdir(parents=True, exist_ok=True)
            (folder / "file").replace(target)
            disk.sync_folder(target.parent)
        except OSError as error:
            raise _unwritable(cache, error) from error
    return target


def _copy(source: Path, target: Path) -> str:
    """Copy to disk for good; gives the hex digits of what was written."""
    state = hashlib.sha256()
    with source.open("rb") as reader, target.open("xb") as writer:
        while piece := reader.read(_PIECE):
            state.update(piece)
            writer.write(piece)
        writer.flush()
        os.fsync(writer.fileno())
    return state.hexdigest()


def holds(cache: Path, sha256: str, size: int | None = None) -> bool:
    """Whether the cache has it, with this many bytes where the size is known."""
    try:
        found = entry(cache, sha256).stat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and size in {None, found.st_size}


def verify(cache: Path, sha256: str) -> bool:
    """Hash an entry again, for a disk that is not trusted; a wrong one is removed."""
    path = entry(cache, sha256)
    try:
        right = digests.hex_of(digests.of_file(path)) == sha256
    except OSError:
        return False
    if not right:
        path.unlink(missing_ok=True)
    return right


def _unwritable(cache: Path, error: OSError) -> FetchError:
    return FetchError(
        f"the cache of inputs cannot be used: {error.strerror or error}",
        f"make room and give yourself write access to {cache}, or set XDG_CACHE_HOME",
    )
