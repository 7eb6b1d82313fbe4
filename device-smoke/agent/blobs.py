"""Blobs by digest: brought in pieces, named once they are whole, hashed again before use."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from agent import places as files
from agent import strict
from agent.errors import AgentError, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from agent.places import Places

CHUNK = 1 << 20
# What a delivery leaves free, so that a run has room for its own files.
RESERVE = 16 << 20
MOST_BLOBS = 4096
LARGEST = 1 << 40


class Blob(NamedTuple):
    """One blob of a request.

    Attributes:
        digest: ``sha256:<hex>``.
        size: bytes.
        offset: that are there already.
        media_type: by which a registry is asked.
    """

    digest: str
    size: int
    offset: int = 0
    media_type: str = ""


def parse(value: Any, *more: str) -> list[Blob]:
    """The ``blobs`` of a request, with the fields named in `more`.

    Raises:
        AgentError: they make no sense.
    """
    found = []
    try:
        for at, each in enumerate(strict.array(value, "blobs", MOST_BLOBS)):
            where = f"blobs[{at}]"
            one = strict.obj(each, where, {"digest", "size", *more})
            size = strict.number(one.get("size"), f"{where}.size", 0, LARGEST)
            offset = one.get("offset", 0)
            kind = one.get("media_type", "")
            found.append(
                Blob(
                    digest=strict.digest(one.get("digest"), f"{where}.digest"),
                    size=size,
                    offset=strict.number(offset, f"{where}.offset", 0, size),
                    media_type=strict.text(kind, f"{where}.media_type", 256),
                )
            )
    except ValueError as error:
        raise AgentError(Kind.USAGE, str(error)) from error
    if len({blob.digest for blob in found}) != len(found):
        raise AgentError(Kind.USAGE, "blobs: one digest twice")
    return found


class Blobs:
    """The blobs of this device.

    Args:
        places: where they are.
        tick: called for every piece that is hashed; may raise.
    """

    def __init__(self, places: Places, tick: Callable[[], None] = lambda: None) -> None:
        self._places = places
        self._tick = tick

    def path(self, digest: str) -> Path:
        """Where a blob is, or would be."""
        return self._places.blobs / digest.partition(":")[2]

    def missing(self, blobs: list[Blob]) -> list[dict[str, Any]]:
        """Those that are not here, and how many bytes of them are."""
        return [
            {"digest": blob.digest, "size": blob.size, "have": self.have(blob)}
            for blob in blobs
            if not self.there(blob)
        ]

    def there(self, blob: Blob) -> bool:
        """Whether it is here, by name and size; `check` looks at its bytes."""
        try:
            return self.path(blob.digest).stat().st_size == blob.size
        except FileNotFoundError:
            return False

    def have(self, blob: Blob) -> int:
        """Bytes of it that are on their way."""
        try:
            size = self._partial(blob).stat().st_size
        except FileNotFoundError:
            return 0
        return size if size <= blob.size else 0

    def room(self, blobs: list[Blob]) -> None:
        """Refuse what does not fit, before a byte of it comes."""
        needed = sum(blob.size - self.have(blob) for blob in blobs if not self.there(blob))
        free = files.free(self._places.data)
        if needed and needed + RESERVE > free:
            message = f"{needed} bytes do not fit: {free} are free, of which {RESERVE} are kept"
            raise AgentError(Kind.DISK, message, "make room, or remove what is kept: device clean")

    def writer(self, blob: Blob, offset: int) -> Writer:
        """Go on with a blob at `offset`."""
        files.folder(self._places.partial)
        return Writer(blob, offset, self._partial(blob), self.path(blob.digest), self._tick)

    def check(self, digest: str, size: int | None = None) -> None:
        """Hash a blob.

        Raises:
            AgentError: it is not here, or is not what its digest says; that one is removed.
        """
        for _ in self.pieces(digest, size):
            pass

    def read(self, digest: str, most: int, size: int | None = None) -> bytes:
        """A blob's bytes, hashed.

        Raises:
            AgentError: as `check`; or it is longer than `most`.
        """
        with suppress(FileNotFoundError):
            found = self.path(digest).stat().st_size
            if found > most:
                raise AgentError(
                    Kind.REFUSED, f"{digest} is {found} bytes long; {most} are allowed"
                )
        return b"".join(self.pieces(digest, size))

    def pieces(self, digest: str, size: int | None = None) -> Iterator[bytes]:
        """A blob's bytes in pieces; the end is reached only if they are what the digest says."""
        state, length = hashlib.sha256(), 0
        path = self.path(digest)
        try:
            with path.open("rb", buffering=0) as file:
                while True:
                    piece = file.read(CHUNK)
                    if not piece:
                        break
                    self._tick()
                    state.update(piece)
                    length += len(piece)
                    yield piece
        except FileNotFoundError as error:
            raise AgentError(Kind.REFUSED, f"{digest} is not on the device") from error
        if f"sha256:{state.hexdigest()}" != digest:
            # It would never become right: the next delivery brings it anew.
            with suppress(OSError):
                path.unlink()
            raise AgentError(
                Kind.REFUSED,
                f"{digest}: the device holds other bytes under this name; removed them",
            )
        if size is not None and size != length:
            raise AgentError(Kind.REFUSED, f"{digest} is {length} bytes long, but {size} are named")

    def _partial(self, blob: Blob) -> Path:
        return self._places.partial / blob.digest.partition(":")[2]


class Writer:
    """One blob on its way; a context manager that keeps what came, whatever happens."""

    def __init__(
        self, blob: Blob, offset: int, partial: Path, final: Path, tick: Callable[[], None]
    ) -> None:
        self._blob = blob
        self._partial = partial
        self._final = final
        self._state = hashlib.sha256()
        self._tick = tick
        self.size = offset
        self._file = partial.open("ab", buffering=0)

    def __enter__(self) -> Writer:  # noqa: PYI034 - Python 3.11 has `Self`
        try:
            self._resume()
        except BaseException:
            self._file.close()
            raise
        return self

    def _resume(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = f"another call brings {self._blob.digest} just now"
            raise AgentError(Kind.BUSY, message, "wait for it") from error
        there = os.fstat(self._file.fileno()).st_size
        if there < self.size:
            message = f"{self._blob.digest}: {there} bytes are here, not {self.size}"
            raise AgentError(Kind.USAGE, message, "ask again what is missing")
        self._file.truncate(self.size)
        with self._partial.open("rb", buffering=0) as file:
            while True:
                piece = file.read(CHUNK)
                if not piece:
                    break
                self._tick()
                self._state.update(piece)

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def left(self) -> int:
        """Bytes that are still to come."""
        return self._blob.size - self.size

    def write(self, piece: bytes) -> None:
        """Take the next bytes.

        Raises:
            AgentError: there are more than were announced; the disk is full.
        """
        if len(piece) > self.left:
            self._drop()
            message = f"{self._blob.digest}: more than the announced {self._blob.size} bytes"
            raise AgentError(Kind.NETWORK, message)
        view = memoryview(piece)
        try:
            while view:
                view = view[self._file.write(view) or 0 :]
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
                raise
            message = f"the disk is full after {self.size} bytes of {self._blob.digest}"
            raise AgentError(Kind.DISK, message, "make room, then go on") from error
        self._state.update(piece)
        self.size += len(piece)

    def finish(self) -> None:
        """Give the blob its name, if its bytes have its digest.

        Raises:
            AgentError: they have another; they are removed.
        """
        found = f"sha256:{self._state.hexdigest()}"
        if self.left or found != self._blob.digest:
            self._drop()
            message = f"{self._blob.digest}: what came has the digest {found}; it was removed"
            raise AgentError(Kind.NETWORK, message, "try again: what was kept of it was wrong too")
        os.fchmod(self._file.fileno(), 0o644)
        os.fsync(self._file.fileno())
        files.folder(self._final.parent)
        self._partial.replace(self._final)
        files.sync(self._final.parent)
        files.sync(self._partial.parent)

    def _drop(self) -> None:
        with suppress(FileNotFoundError):
            self._partial.unlink()
