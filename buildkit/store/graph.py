"""What hangs together: everything that an entry consists of, and what is said about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from buildkit import digests
from buildkit.errors import DigestError, StoreError
from buildkit.records import Descriptor
from buildkit.store.blobs import DOCUMENT_LIMIT
from buildkit.store.documents import DOCUMENT_TYPES, Links, Role, links, role_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from buildkit.store.blobs import Blobs

# An index of indexes of images has three levels; a chain of hundreds is an attack.
DEPTH = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """One blob on the way from an entry to its last layer.

    Attributes:
        descriptor: as its parent names it.
        role: what it is for the parent.
        parent: digest of the manifest or index that names it; nothing for the first.
        links: what it names itself, when it is a manifest or an index.
    """

    descriptor: Descriptor
    role: Role
    parent: str | None
    links: Links | None = None


Fault = StoreError | DigestError


class Graph:
    """Reads manifests and indexes, each once: their content cannot change under its digest."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._known: dict[tuple[str, str], Links] = {}

    def links(self, descriptor: Descriptor) -> Links:
        """What a manifest or an index names.

        Raises:
            DigestError: its bytes are not what the digest or the size says.
            StoreError: it is missing or malformed.
        """
        key = (descriptor.digest, descriptor.media_type)
        if key not in self._known:
            data = self._blobs.read(descriptor.digest, DOCUMENT_LIMIT)
            if len(data) != descriptor.size:
                msg = f"{descriptor.digest}: {len(data)} bytes, but named with {descriptor.size}"
                raise DigestError(msg)
            self._known[key] = links(data, descriptor.media_type, descriptor.digest)
        return self._known[key]

    def walk(
        self,
        roots: Iterable[Descriptor],
        on_fault: Callable[[Descriptor, Fault], None] | None = None,
    ) -> Iterator[Node]:
        """Everything that `roots` consist of, each digest once, parents before children.

        What they are about (``subject``) is not part of them.

        Args:
            roots: where to begin.
            on_fault: told of each manifest that cannot be read, in place of raising.

        Raises:
            DigestError, StoreError: a manifest cannot be read and there is no `on_fault`.
        """
        seen: set[str] = set()
        stack = [
            (Node(descriptor=each, role=role_of(each.media_type), parent=None), 0)
            for each in reversed(list(roots))
        ]
        while stack:
            node, depth = stack.pop()
            digest = node.descriptor.digest
            if digest in seen:
                continue
            seen.add(digest)
            found = None
            if node.descriptor.media_type in DOCUMENT_TYPES:
                try:
                    if depth == DEPTH:
                        msg = f"{digest}: indexes stand in one another more than {DEPTH} deep"
                        raise StoreError(msg)  # noqa: TRY301  (goes the way of the other faults)
                    found = self.links(node.descriptor)
                except (StoreError, DigestError) as error:
                    if on_fault is None:
                        raise
                    on_fault(node.descriptor, error)
            yield Node(descriptor=node.descriptor, role=node.role, parent=node.parent, links=found)
            if found is not None:
                stack += [
                    (Node(descriptor=child, role=role, parent=digest), depth + 1)
                    for role, child in reversed(found.children)
                ]

    def referrers(self, roots: Iterable[Descriptor], digest: str) -> tuple[Descriptor, ...]:
        """The manifests and indexes below `roots` whose subject is `digest`.

        Each as the referrers API of the distribution specification describes it: with its own
        artifact type and annotations. In the order of artifact type, then digest.

        Raises:
            DigestError, StoreError: a manifest is corrupt. One that is missing is passed over, as
                an index may name platforms that nobody fetched.
        """
        found = []
        for node in self.walk(roots, self._unless_missing):
            about = node.links.subject if node.links is not None else None
            if node.links is not None and about is not None and about.digest == digest:
                found.append(
                    Descriptor(
                        media_type=node.descriptor.media_type,
                        digest=node.descriptor.digest,
                        size=node.descriptor.size,
                        annotations=dict(node.links.annotations),
                        artifact_type=node.links.artifact_type,
                    )
                )
        return tuple(sorted(found, key=lambda each: (each.artifact_type or "", each.digest)))

    def _unless_missing(self, descriptor: Descriptor, fault: Fault) -> None:
        if self.is_missing(descriptor.digest):
            return
        raise fault

    def is_missing(self, digest: str) -> bool:
        """Whether a blob that could be here is not; a digest of another kind could not be."""
        return digests.is_digest(digest) and not self._blobs.exists(digest)
