"""A repository of a registry as a source of an index."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from buildkit import media
from buildkit.audit import sync
from buildkit.errors import EvidenceError, RegistryError
from buildkit.evidence.reasons import Reason
from buildkit.records import Descriptor
from buildkit.registry import FromRepository
from buildkit.registry.tags import tags
from buildkit.store import REF_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from buildkit.audit.database import Index
    from buildkit.audit.judge import Trust
    from buildkit.audit.sync import Synced
    from buildkit.registry import Access, Reference, Repository

# Lists of what hangs on something, and what cosign hung there before it used them.
_LISTS = re.compile(r"sha256-[0-9a-f]{64}(\..*)?")


class OfRepository:
    """See `buildkit.audit.sources.Source`.

    Args:
        repository: to be read.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._source = FromRepository(repository)
        # Who asks for a tag is sent the manifest with it.
        self._sent: dict[str, bytes] = {}

    def state(self) -> str:
        """See `Source`: a tag may have gone elsewhere, and no registry says so in one word."""
        return ""

    def entries(self) -> Sequence[Descriptor]:
        """See `Source`.

        Raises:
            DigestError, RegistryError: it does not keep to the protocol, or cannot be reached.
        """
        found = []
        for tag in tags(self._repository):
            if _LISTS.fullmatch(tag):
                continue
            answer = self._repository.find(tag)
            # It may have been removed since.
            if answer is not None:
                each, data = answer
                self._sent[each.digest] = data
                named = {REF_NAME: f"{self._repository}:{tag}"}
                found.append(dataclasses.replace(each, annotations=named))
        return found

    def manifest(self, wanted: Descriptor) -> bytes | None:
        """See `Source`.

        Raises:
            DigestError, RegistryError: it does not keep to the protocol, or cannot be reached.
        """
        data = self._sent.get(wanted.digest)
        return data if data is not None else self._source.manifest(wanted)

    def referrers(self, digest: str) -> Sequence[Descriptor]:
        """See `Source`.

        Raises:
            RegistryError: no list, or it cannot be had.
        """
        return self._source.referrers(digest)

    def record(self, blob: Descriptor) -> bytes:
        """See `Source`.

        Raises:
            DigestError, RegistryError: it does not keep to the protocol, or cannot be reached.
            EvidenceError: it is missing.
        """
        try:
            return self._source.record(blob)
        except RegistryError as error:
            if self._repository.has_blob(blob):
                raise
            msg = f"blob {blob.digest} is missing"
            raise EvidenceError(Reason.BLOB_MISSING, msg) from error

    def short(self, digest: str, limit: int) -> bytes | None:
        """See `Source`; nothing as well where the registry does not say how long it is.

        Raises:
            DigestError, RegistryError: it does not keep to the protocol, or cannot be reached.
            EvidenceError: it is longer than `limit`.
        """
        answer = self._repository.head("blobs", digest)
        if answer is None or answer.length is None:
            return None
        if answer.length > limit:
            msg = f"blob {digest} is {answer.length} bytes long; {limit} are allowed"
            raise EvidenceError(Reason.TOO_LARGE, msg)
        blob = Descriptor(media_type=media.BUILD_LOCK, digest=digest, size=answer.length)
        return self._source.record(blob)

    def is_files(self) -> bool:
        """See `Source`: copies of a process would share its connections."""
        return False


def refresh(
    index: Index,
    where: Reference,
    *,
    access: Access,
    trust: Trust,
    say: Callable[[str], None] = lambda _: None,
) -> Synced:
    """Bring an index up to date with a repository; its name there is ``HOST/repository``.

    Args:
        index: to be changed.
        where: the repository; a tag or a digest in it is passed over.
        access: the way to the registry.
        trust: whose word counts.
        say: told of what takes long.

    Raises:
        DigestError, RegistryError: it does not keep to the protocol, or cannot be reached.
        EvidenceError: two texts were made to share a row's number.
        StoreError: the index cannot be written.
    """
    repository = access.repository(where)
    return sync.source(index, OfRepository(repository), trust, name=str(repository), say=say)
