"""Blobs: bytes under the name of their own digest, written once, checked when read."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from buildkit import digests
from buildkit.errors import DigestError, StoreError
from buildkit.store.files import BLOB_MODE, Fresh, make_folder, translated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from buildkit.store.layout import Layout

# The distribution specification asks registries for manifests of 4 MiB at least.
DOCUMENT_LIMIT = 4 << 20

_CHUNK = 1 << 20
_WORTH_LEAVING = 1 << 18
_FETCH_AGAIN = "fetch or make the file again, or correct the digest that is asked for"
_REBUILD = "remove this file and run the build again, it writes the blob anew"


class Incoming:
    """A blob that is being written.

    Args:
        fresh: where to.
        digest: what its bytes must have.
        size: how many bytes it must have.
        root: folder of the store.

    Attributes:
        length: how many bytes are there; at first, what a command that has ended left of it.
    """

    def __init__(self, fresh: Fresh, digest: str, size: int, root: Path) -> None:
        self._fresh = fresh
        self._digest = digest
        self._size = size
        self._root = root
        self._state = hashlib.sha256()
        self.length = 0
        if size >= _WORTH_LEAVING:
            self._take_up()

    def _take_up(self) -> None:
        """Nobody knows yet whether it is right; in the end the digest tells."""
        with translated(self._root):
            fd = self._fresh.take_up(_mark(self._digest))
            while piece := os.read(fd, _CHUNK):
                self._state.update(piece)
                self.length += len(piece)
            if self.length > self._size:
                os.truncate(fd, 0)
                os.lseek(fd, 0, os.SEEK_SET)
                self._state, self.length = hashlib.sha256(), 0

    def write(self, data: bytes) -> None:
        """Write the next piece.

        Raises:
            DigestError: it is more than was promised.
            StoreError: the disk is full, or the like.
        """
        if self.length + len(data) > self._size:
            msg = f"{self._digest}: more than the {self._size} bytes that were promised"
            raise DigestError(msg, _FETCH_AGAIN)
        with translated(self._root):
            self._fresh.write(data)
        self._state.update(data)
        self.length += len(data)

    def check(self) -> None:
        """Hold what came to digest and size.

        Raises:
            DigestError: it is something else.
        """
        found = f"sha256:{self._state.hexdigest()}"
        if found != self._digest or self.length != self._size:
            where = f"{self.length} of {self._size} bytes came"
            raise _mismatch(where, self._digest, found, _FETCH_AGAIN)


class Blobs:
    """The blobs of one layout."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def size(self, digest: str) -> int | None:
        """Bytes of a blob, or nothing when there is no such file (a link is none).

        Raises:
            StoreError: `digest` is malformed, or the store cannot be read.
        """
        path = self._layout.blob(digest)
        with translated(self._layout.root):
            try:
                state = path.lstat()
            except (FileNotFoundError, NotADirectoryError):
                return None
        return state.st_size if stat.S_ISREG(state.st_mode) else None

    def exists(self, digest: str) -> bool:
        """Whether anything has the name of the blob, even if it cannot be read as one.

        Raises:
            StoreError: `digest` is malformed.
        """
        return os.path.lexists(self._layout.blob(digest))

    def put(self, data: bytes) -> str:
        """Write `data` unless it is there, and give its digest.

        What is there is hashed again, and replaced when it is damaged.

        Raises:
            StoreError: the disk is full, or the like.
        """
        digest = digests.of_bytes(data)
        if self._is_sound(digest, len(data)):
            return digest
        with translated(self._layout.root), Fresh(self._layout.ingest) as fresh:
            fresh.write(data)
            self._publish(fresh, digest)
        return digest

    def put_file(self, file: Path, digest: str | None) -> tuple[str, int]:
        """Copy the content of `file` unless it is there, and give digest and size.

        What is there is hashed again, and replaced when it is damaged. Without `digest` a new file
        is read twice: once for its name, once for the copy.

        Raises:
            DigestError: the content is not what `digest` says; nothing is kept.
            StoreError: no such file, the disk is full, or the like.
        """
        if digest is not None:
            self._layout.blob(digest)
        with _source(file) as (fd, size):
            if digest is None or self.size(digest) == size:
                found, length = _pump(fd, lambda _: None, file)
                if digest not in (None, found):
                    raise _mismatch(str(file), str(digest), found, _FETCH_AGAIN)
                digest = found
                if self._is_sound(digest, length):
                    return digest, length
                os.lseek(fd, 0, os.SEEK_SET)
            with translated(self._layout.root), Fresh(self._layout.ingest) as fresh:
                found, length = _pump(fd, fresh.write, file)
                if found != digest:
                    raise _mismatch(str(file), digest, found, _FETCH_AGAIN)
                self._publish(fresh, digest)
        return digest, length

    @contextmanager
    def receive(self, digest: str, size: int) -> Iterator[Incoming]:
        """Write a blob in pieces; it is checked and gets its name when the block ends.

        When the block ends too early, what is there of a long blob is left for the next command.

        Raises:
            DigestError: what came is not what `digest` and `size` say; nothing is kept.
            StoreError: the disk is full, or the like; nothing is kept.
        """
        self._layout.blob(digest)
        with translated(self._layout.root):
            fresh = Fresh(self._layout.ingest, _mark(digest))
        leave = False
        try:
            incoming = Incoming(fresh, digest, size, self._layout.root)
            yield incoming
            incoming.check()
            with translated(self._layout.root):
                self._publish(fresh, digest)
        except (DigestError, StoreError):
            raise
        except BaseException:
            leave = incoming.length >= _WORTH_LEAVING
            raise
        finally:
            fresh.close(leave=leave)

    def read(self, digest: str, limit: int | None) -> bytes:
        """The bytes of a blob, checked.

        Raises:
            DigestError: they are not what the digest says.
            StoreError: the blob is missing, no regular file, or longer than `limit`.
        """
        with self.opened(digest) as (fd, size):
            if limit is not None and size > limit:
                msg = (
                    f"{self._layout.blob(digest)}: {size} bytes, more than the {limit} allowed here"
                )
                raise StoreError(msg)
            pieces: list[bytes] = []
            path = self._layout.blob(digest)
            found, _ = _pump(fd, lambda piece: pieces.append(bytes(piece)), path, size)
        if found != digest:
            raise _mismatch(str(self._layout.blob(digest)), digest, found, _REBUILD)
        return b"".join(pieces)

    def copy(self, digest: str, write: Callable[[memoryview], object]) -> int:
        """Hand a blob piece by piece to `write`, and give its size.

        Raises:
            DigestError: what was handed over is not what the digest says.
            StoreError: the blob is missing or no regular file.
        """
        with self.opened(digest) as (fd, _):
            found, size = _pump(fd, write, self._layout.blob(digest))
        if found != digest:
            raise _mismatch(str(self._layout.blob(digest)), digest, found, _REBUILD)
        return size

    @contextmanager
    def opened(self, digest: str) -> Iterator[tuple[int, int]]:
        """A blob's file descriptor and size; links are not followed.

        Raises:
            StoreError: the blob is missing or no regular file.
        """
        path = self._layout.blob(digest)
        try:
            with translated(self._layout.root):
                # Non-blocking: opening a pipe that someone put there must not hang.
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                fd = os.open(path, flags)
        except StoreError as error:
            cause = error.__cause__
            if isinstance(cause, FileNotFoundError | NotADirectoryError):
                msg = f"{self._layout.root}: blob {digest} is missing"
                remedy = (
                    "run the build again, or `python -m buildkit show --verify` to see what else"
                )
                raise StoreError(msg, remedy) from cause
            if isinstance(cause, OSError) and cause.errno == errno.ELOOP:
                msg = f"{path}: a symbolic link, not a blob"
                raise StoreError(msg, _REBUILD) from cause
            raise
        try:
            state = os.fstat(fd)
            if not stat.S_ISREG(state.st_mode):
                msg = f"{path}: not a regular file"
                raise StoreError(msg, _REBUILD)
            yield fd, state.st_size
        finally:
            os.close(fd)

    def names(self) -> Iterator[tuple[str, str | None]]:
        """Every name in the folder of blobs, sorted, and the digest it means, if any.

        Raises:
            StoreError: the folder cannot be read.
        """
        folder = self._layout.blobs
        with translated(self._layout.root):
            found = sorted(os.listdir(folder)) if folder.is_dir() else []  # noqa: PTH208  (names, not paths)
        for name in found:
            digest = f"sha256:{name}"
            yield name, digest if digests.is_digest(digest) else None

    def remove(self, digest: str) -> None:
        """Remove a blob, if it is there.

        Raises:
            OSError: it cannot be removed.
        """
        self._layout.blob(digest).unlink(missing_ok=True)

    def _is_sound(self, digest: str, size: int) -> bool:
        try:
            return self.size(digest) == size == self.copy(digest, lambda _: None)
        except (DigestError, StoreError):
            return False

    def _publish(self, fresh: Fresh, digest: str) -> None:
        target = self._layout.blob(digest)
        try:
            fresh.publish(target, BLOB_MODE)
        except FileNotFoundError:
            make_folder(target.parent)  # another tool's layout, without a blob so far
            fresh.publish(target, BLOB_MODE)


@contextmanager
def _source(file: Path) -> Iterator[tuple[int, int]]:
    """A file to be copied: its descriptor and size."""
    try:
        fd = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        msg = f"{file}: cannot be read: {error.strerror}"
        raise StoreError(msg, "check the path and who may read it") from error
    try:
        state = os.fstat(fd)
        if not stat.S_ISREG(state.st_mode):
            msg = f"{file}: not a regular file"
            raise StoreError(msg, "name a file")
        yield fd, state.st_size
    finally:
        os.close(fd)


def _pump(
    fd: int, write: Callable[[memoryview], object], where: Path, size: int = _CHUNK
) -> tuple[str, int]:
    """Read to the end, handing on each piece; the digest and length of what was handed on.

    Errors of reading are translated, with `where` as the file's name; those of `write` are not.
    Who knows the size of a small file saves a large buffer.
    """
    state = hashlib.sha256()
    buffer = bytearray(min(size + 1, _CHUNK))
    whole = memoryview(buffer)
    length = 0
    while True:
        with translated(where):
            count = os.readv(fd, [buffer])
        if count == 0:
            break
        piece = whole[:count]
        state.update(piece)
        write(piece)
        length += count
    return f"sha256:{state.hexdigest()}", length


def _mark(digest: str) -> str:
    """What a blob that is being written has of its digest in its name."""
    return digest.removeprefix("sha256:")[:8]


def _mismatch(where: str, expected: str, found: str, remedy: str) -> DigestError:
    return DigestError(f"{where}: expected {expected}, found {found}", remedy)
