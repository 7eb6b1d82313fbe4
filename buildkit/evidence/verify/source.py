"""Where a verification reads from: the store, with every fault as a word that can be reported."""

from __future__ import annotations

import io
import stat
from typing import TYPE_CHECKING, Protocol

from buildkit import digests
from buildkit.errors import DigestError, EvidenceError, StoreError
from buildkit.evidence import bundle
from buildkit.evidence.reasons import Reason
from buildkit.store.documents import DOCUMENT_TYPES
from buildkit.store.graph import DEPTH

if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildkit.records import Descriptor
    from buildkit.store import Store


class Source(Protocol):
    """Blobs and what hangs together; whatever is wrong with them is an `EvidenceError`."""

    def read(self, digest: str, limit: int) -> bytes:
        """The bytes of a blob, hashed.

        Raises:
            EvidenceError: missing, longer than `limit`, a link, or not what the digest says.
            StoreError: it cannot be decided: no permission, the disk fails.
        """

    def measure(self, digest: str) -> int:
        """Hash a blob of any length, and give its length.

        Raises:
            EvidenceError, StoreError: as `read`.
        """

    def locate(self, digest: str) -> Descriptor:
        """A manifest or an index by its digest.

        Raises:
            EvidenceError, StoreError: as `read`.
        """

    def bundles(self) -> Mapping[str, tuple[Descriptor, ...]]:
        """Manifests of bundles, by the digest that they hang on."""

    def broken(self) -> tuple[tuple[Descriptor, EvidenceError], ...]:
        """Manifests that are entered as bundles, and that cannot be read."""


class _Nowhere(io.RawIOBase):
    def write(self, data: object) -> int:
        return len(memoryview(data))  # type: ignore[arg-type]


class StoreSource:
    """Reads a `Store`; the caller holds its lease for reading."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._bundles: Mapping[str, tuple[Descriptor, ...]] | None = None
        self._broken: dict[str, tuple[Descriptor, EvidenceError]] = {}

    def read(self, digest: str, limit: int) -> bytes:
        """See `Source`."""
        size = self._size(digest)
        if size > limit:
            msg = f"blob {digest} is {size} bytes long; {limit} are allowed"
            raise EvidenceError(Reason.TOO_LARGE, msg)
        try:
            return self._store.read(digest, limit=limit)
        except DigestError as error:
            raise _altered(digest) from error

    def measure(self, digest: str) -> int:
        """See `Source`."""
        self._size(digest)
        try:
            return self._store.copy(digest, _Nowhere())  # type: ignore[arg-type]
        except DigestError as error:
            raise _altered(digest) from error

    def locate(self, digest: str) -> Descriptor:
        """See `Source`."""
        self.measure(digest)
        try:
            return self._store.resolve(digest)
        except StoreError as error:
            msg = f"{digest} is no manifest and no index"
            raise EvidenceError(Reason.MANIFEST, msg) from error

    def bundles(self) -> Mapping[str, tuple[Descriptor, ...]]:
        """See `Source`."""
        if self._bundles is None:
            found: dict[str, list[Descriptor]] = {}
            self._walk(found)
            self._bundles = {digest: tuple(each) for digest, each in found.items()}
        return self._bundles

    def broken(self) -> tuple[tuple[Descriptor, EvidenceError], ...]:
        """See `Source`."""
        self.bundles()
        return tuple(self._broken.values())

    def _walk(self, into: dict[str, list[Descriptor]]) -> None:
        """Every manifest that an entry leads to: what hangs on another may hang in an index too."""
        seen: set[str] = set()
        level = list(self._store.entries())
        for _ in range(DEPTH):
            below: list[Descriptor] = []
            for each in level:
                if each.digest in seen or each.media_type not in DOCUMENT_TYPES:
                    continue
                seen.add(each.digest)
                try:
                    self._size(each.digest)
                    links = self._store.links(each)
                except EvidenceError as error:
                    self._note(each, error)
                    continue
                except DigestError as error:
                    self._note(each, EvidenceError(Reason.BLOB_DIGEST, error.message))
                    continue
                except StoreError as error:
                    if isinstance(error.__cause__, OSError):
                        raise
                    self._note(each, EvidenceError(Reason.MANIFEST, error.message))
                    continue
                if links.subject is not None and links.artifact_type == bundle.MEDIA_TYPE:
                    into.setdefault(links.subject.digest, []).append(each)
                below += [child for role, child in links.children if role in ("index", "manifest")]
            level = below

    def _note(self, each: Descriptor, error: EvidenceError) -> None:
        if each.artifact_type == bundle.MEDIA_TYPE:
            self._broken[each.digest] = (each, error)

    def _size(self, digest: str) -> int:
        """The length of a blob that is a file of its own."""
        if not digests.is_digest(digest):
            raise EvidenceError(Reason.NAME, f"{digest!r} is not a SHA-256 digest")
        try:
            state = self._store.path(digest).lstat()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise EvidenceError(Reason.BLOB_MISSING, f"blob {digest} is missing") from error
        except OSError as error:
            msg = f"blob {digest} cannot be read: {error.strerror}"
            raise StoreError(msg, "check who may read the store") from error
        if not stat.S_ISREG(state.st_mode):
            raise EvidenceError(Reason.NAME, f"blob {digest} is a link or a folder, not a file")
        return state.st_size


def _altered(digest: str) -> EvidenceError:
    return EvidenceError(Reason.BLOB_DIGEST, f"blob {digest} is not what its digest says")
