"""A store and a repository as a place to transfer from."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from buildkit import digests
from buildkit.errors import DigestError, StoreError
from buildkit.registry.repository import LIES
from buildkit.registry.section import Section
from buildkit.store.documents import descriptor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildkit.records import Descriptor
    from buildkit.registry.repository import Repository
    from buildkit.store import Store

_PIECE = 1 << 20


class FromStore:
    """A store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def find(self, pointer: str) -> Descriptor | None:
        """See `Source.find`."""
        try:
            return self._store.resolve(pointer)
        except StoreError:
            return None

    def manifest(self, wanted: Descriptor) -> bytes | None:
        """See `Source.manifest`."""
        data = self._store.read(wanted.digest, limit=wanted.size)
        if len(data) != wanted.size:
            msg = f"{wanted.digest}: {len(data)} bytes, but named with {wanted.size}"
            raise DigestError(msg)
        return data

    def referrers(self, digest: str) -> tuple[Descriptor, ...]:
        """See `Source.referrers`; in the order of the store's entries, oldest first."""
        found = {each.digest: each for each in self._store.referrers(digest)}
        order = [each.digest for each in self._store.entries() if each.digest in found]
        return tuple(found[each] for each in dict.fromkeys([*order, *found]))

    def record(self, blob: Descriptor) -> bytes:
        """See `Source.record`."""
        return self._store.read(blob.digest, limit=blob.size)

    @contextmanager
    def opened(self, blob: Descriptor, offset: int) -> Iterator[Iterator[Section]]:
        """See `Source.opened`."""
        path = self._store.path(blob.digest)
        try:
            file = path.open("rb")
        except OSError as error:
            msg = f"{self._store.root}: blob {blob.digest} cannot be read: {error.strerror}"
            raise StoreError(msg, "run the build again") from error
        with file:
            end = os.fstat(file.fileno()).st_size
            yield (
                Section(file=file, offset=at, size=min(_PIECE, end - at))
                for at in range(offset, end, _PIECE)
            )


class FromRepository:
    """A repository of a registry."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def find(self, pointer: str) -> Descriptor | None:
        """See `Source.find`."""
        found = self._repository.find(pointer)
        return None if found is None else found[0]

    def manifest(self, wanted: Descriptor) -> bytes | None:
        """See `Source.manifest`."""
        found = self._repository.find(wanted.digest, wanted)
        return None if found is None else found[1]

    def referrers(self, digest: str) -> tuple[Descriptor, ...]:
        """See `Source.referrers`; in the order of the list."""
        listed = self._repository.referrers(digest)
        found = [descriptor(entry, digest) for entry in listed]
        return tuple(each for each in found if digests.is_digest(each.digest))

    def record(self, blob: Descriptor) -> bytes:
        """See `Source.record`."""

        def attempt() -> bytes:
            with self._repository.blob(blob, 0) as pieces:
                return b"".join(pieces)

        data = self._repository.persist(attempt)
        if digests.of_bytes(data) != blob.digest:
            msg = f"{self._repository}: expected {blob.digest}, found {digests.of_bytes(data)}"
            raise DigestError(msg, LIES)
        return data

    @contextmanager
    def opened(self, blob: Descriptor, offset: int) -> Iterator[Iterator[bytes]]:
        """See `Source.opened`."""
        with self._repository.blob(blob, offset) as pieces:
            yield pieces
