"""Where an index is made from: a store, or whatever else has manifests and what hangs on them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from buildkit import digests
from buildkit.errors import DigestError, EvidenceError, StoreError
from buildkit.evidence.reasons import Reason
from buildkit.evidence.verify.source import StoreSource
from buildkit.store.blobs import DOCUMENT_LIMIT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit.records import Descriptor
    from buildkit.store import Store

# As `buildkit.evidence.verify` reads them.
_LARGEST_BLOB = 32 << 20
_LARGEST_LOCK = 16 << 20
_NO_LINK = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Source(Protocol):
    """A store, or a repository of a registry.

    `manifest`, `record` and `referrers` are those of `buildkit.registry.plan.Source`.
    """

    def state(self) -> str:
        """Another text whenever the entries are others; empty when nobody can tell."""

    def entries(self) -> Sequence[Descriptor]:
        """What is there by itself, with its names as annotation (`buildkit.store.REF_NAME`).

        In a store also what hangs on something; in a repository the manifests that have tags, as
        ``HOST/repository:tag``.
        """

    def manifest(self, wanted: Descriptor) -> bytes | None:
        """The checked bytes of a manifest or an index; nothing when it is not there."""

    def referrers(self, digest: str) -> Sequence[Descriptor]:
        """What hangs on a manifest or an index, and is not among the entries."""

    def record(self, blob: Descriptor) -> bytes:
        """The checked bytes of a short blob."""

    def short(self, digest: str, limit: int) -> bytes | None:
        """The checked bytes of a blob of which nobody says how long it is; nothing without it."""

    def is_files(self) -> bool:
        """Whether it is read from files alone, so that copies of a process may read it at once."""


class OfStore:
    """A store as a source; the caller holds its lease for reading.

    Args:
        store: it is read as a verification reads it, so that every fault has its word.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._blobs = StoreSource(store)
        self._folder = f"{store.root / 'blobs' / 'sha256'}{os.sep}"

    def state(self) -> str:
        """See `Source`: the digest of ``index.json``.

        Raises:
            StoreError: it cannot be read.
        """
        path = self._store.root / "index.json"
        try:
            return digests.of_file(path)
        except OSError as error:
            msg = f"{path}: cannot be read: {error.strerror}"
            raise StoreError(msg, "`python -m buildkit build` makes a store") from error

    def entries(self) -> Sequence[Descriptor]:
        """See `Source`.

        Raises:
            StoreError: the index cannot be read.
        """
        return self._store.entries()

    def manifest(self, wanted: Descriptor) -> bytes | None:
        """See `Source`.

        Raises:
            EvidenceError: it is missing or damaged.
            StoreError: it cannot be read.
        """
        return self._read(wanted.digest, DOCUMENT_LIMIT)

    def referrers(self, digest: str) -> Sequence[Descriptor]:
        """See `Source`: all are entries."""
        del digest
        return ()

    def record(self, blob: Descriptor) -> bytes:
        """See `Source`.

        Raises:
            EvidenceError: it is missing or damaged.
            StoreError: it cannot be read.
        """
        return self._read(blob.digest, _LARGEST_BLOB)

    def short(self, digest: str, limit: int) -> bytes | None:
        """See `Source`.

        Raises:
            EvidenceError: it is damaged, or longer than `limit`.
            StoreError: it cannot be read.
        """
        return self._read(digest, limit) if self._store.has(digest) else None

    def is_files(self) -> bool:
        """See `Source`."""
        return True

    def _read(self, digest: str, limit: int) -> bytes:
        """The straight way, for the hundred thousands that are as they should be.

        `Path`, a stream and the words for faults would take three times as long.
        """
        try:
            file = os.open(f"{self._folder}{digest[7:]}", _NO_LINK)
            try:
                size = os.fstat(file).st_size
                data = os.read(file, size + 1) if size <= limit else b""
            finally:
                os.close(file)
        except OSError:
            data = b""
        # A file that is read in part, or is no file, has another digest.
        if digests.of_bytes(data) == digest:
            return data
        # What is wrong, the verification knows to say.
        return self._blobs.read(digest, limit)


@dataclass(frozen=True, slots=True)
class Bytes:
    """What `buildkit.evidence.verify.documents` reads from: bytes that are here already."""

    data: bytes

    def read(self, digest: str, limit: int) -> bytes:
        """The bytes, whatever is asked for.

        Raises:
            EvidenceError: they are too many.
        """
        if len(self.data) > limit:
            msg = f"blob {digest} is {len(self.data)} bytes long; {limit} are allowed"
            raise EvidenceError(Reason.TOO_LARGE, msg)
        return self.data


def manifest(source: Source, wanted: Descriptor) -> Bytes:
    """A manifest's bytes, every fault as a word that can be kept.

    Raises:
        EvidenceError: it is missing or damaged.
        StoreError, RegistryError: it cannot be known.
    """
    try:
        data = source.manifest(wanted)
    except DigestError as error:
        raise EvidenceError(Reason.BLOB_DIGEST, error.message) from error
    if data is None:
        raise EvidenceError(Reason.BLOB_MISSING, f"blob {wanted.digest} is missing")
    return Bytes(data)


def record(source: Source, wanted: Descriptor) -> Bytes:
    """A short blob's bytes; as `manifest`."""
    if wanted.size > _LARGEST_BLOB:
        msg = f"blob {wanted.digest} is {wanted.size} bytes long; {_LARGEST_BLOB} are allowed"
        raise EvidenceError(Reason.TOO_LARGE, msg)
    try:
        return Bytes(source.record(wanted))
    except DigestError as error:
        raise EvidenceError(Reason.BLOB_DIGEST, error.message) from error


def short(source: Source, digest: str) -> bytes | None:
    """A lock's bytes; nothing when it is not there.

    Raises:
        EvidenceError: they are not what their digest says, or too many.
        StoreError, RegistryError: it cannot be known.
    """
    if not digests.is_digest(digest):
        raise EvidenceError(Reason.NAME, f"{digest!r} is not a SHA-256 digest")
    try:
        return source.short(digest, _LARGEST_LOCK)
    except DigestError as error:
        raise EvidenceError(Reason.BLOB_DIGEST, error.message) from error
