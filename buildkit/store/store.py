"""The store: one OCI image layout on disk that several builds share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from buildkit import media
from buildkit.errors import StoreError
from buildkit.store import check, entries, gc, index, lookup
from buildkit.store.blobstore import BlobStore
from buildkit.store.documents import EMPTY_BLOB, artifact, descriptor
from buildkit.store.files import translated
from buildkit.store.graph import Graph
from buildkit.store.locks import hold

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from buildkit.records import Descriptor
    from buildkit.store.check import Finding
    from buildkit.store.documents import Links
    from buildkit.store.gc import Collected
    from buildkit.store.graph import Node

GC_WAIT = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Attachment:
    """Something said about `subject`, to be kept as an artifact that refers to it.

    Attributes:
        subject: manifest or index that is in the store.
        artifact_type: media type of what is said.
        layers: bytes with their media type, or what was put before.
        annotations: of the artifact's manifest, and of its entry.
    """

    subject: Descriptor
    artifact_type: str
    layers: tuple[tuple[bytes, str] | Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)


class Store(BlobStore):
    """Blobs under their digests, and the entries of ``index.json`` that lead to them.

    Several processes and threads may use one store at once. Reading takes no lock. A build holds
    `lease` from its first `put` to its last `tag`, so that no garbage collection comes between.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._graph = Graph(self._blobs)

    def entries(self) -> tuple[Descriptor, ...]:
        """The entries of the index, oldest first.

        Raises:
            StoreError: the index cannot be read.
        """
        document = index.load(self._layout)
        return tuple(descriptor(entry, "index.json") for entry in document["manifests"])

    def tag(
        self,
        descriptor: Descriptor,
        ref: str | None = None,
        annotations: Mapping[str, str] | None = None,
    ) -> Descriptor:
        """Make `descriptor` an entry of the index, with a name and annotations if given.

        Afterwards `find` with the same annotations gives this entry. The name goes from the entry
        that had it, which stays. Doing it twice writes nothing the second time.

        Returns:
            The entry.

        Raises:
            StoreError: its blob is not in the store, or the index cannot be written.
        """
        notes = {**descriptor.annotations, **(annotations or {})}
        return self._tag_all([(descriptor, notes, ref)])[0]

    def tag_all(self, wanted: Sequence[tuple[Descriptor, str | None]]) -> tuple[Descriptor, ...]:
        """`tag` for several descriptors, each with its name if any: all of them appear at once.

        Returns:
            The entries, in the order of `wanted`.

        Raises:
            StoreError: a blob is not in the store, or the index cannot be written.
        """
        return self._tag_all([(each, each.annotations, ref) for each, ref in wanted])

    def swap(
        self,
        wanted: Sequence[tuple[Descriptor, str | None]],
        expected: Mapping[str, str],
    ) -> bool:
        """`tag_all`, if names still lead where they are said to: compare-and-swap.

        Args:
            wanted: descriptors, each with its name if any.
            expected: names → digest that each leads to now; empty for a name that nothing has.

        Returns:
            Whether they did; if not, nothing was changed.

        Raises:
            StoreError: a blob is not in the store, or the index cannot be written.
        """
        named = [(each, each.annotations, ref) for each, ref in wanted]
        return bool(self._tag_all(named, expected))

    def untag(self, ref: str) -> None:
        """Take a name away; the entry stays until `gc` removes those without a name.

        Raises:
            StoreError: no entry has it, or the index cannot be written.
        """

        def change(document: entries.Document) -> bool:
            if not entries.unname(document, ref):
                lookup.resolve(document, self._blobs, ref)  # says which names there are
                msg = f"{ref!r} is no name but a digest"
                raise StoreError(msg, "`python -m buildkit show` lists the names")
            return True

        with self._shared():
            index.update(self._layout, change)

    def find(self, annotations: Mapping[str, str]) -> Descriptor | None:
        """The newest entry that carries all of `annotations` and whose own blob is there.

        Raises:
            StoreError: the index cannot be read.
        """
        for entry in entries.newest_with(index.load(self._layout), annotations):
            found = descriptor(entry, "index.json")
            if self._blobs.size(found.digest) == found.size:
                return found
        return None

    def resolve(self, ref: str) -> Descriptor:
        """What a user means: a name, a digest, or at least 7 of its first hex digits.

        Entries go before manifests that are only parts of one.

        Raises:
            StoreError: nothing, or more than one thing; the message lists candidates.
        """
        return lookup.resolve(index.load(self._layout), self._blobs, ref)

    def attach(
        self,
        subject: Descriptor,
        artifact_type: str,
        blobs: Sequence[tuple[bytes, str] | Descriptor],
        *,
        annotations: Mapping[str, str] | None = None,
    ) -> Descriptor:
        """Keep something that is said about `subject`, as an artifact that refers to it.

        Args:
            subject: manifest or index that is in the store.
            artifact_type: media type of what is said.
            blobs: the layers: bytes with their media type, or what was put before.
            annotations: of the artifact's manifest, and of its entry.

        Returns:
            The entry.

        Raises:
            StoreError: the subject is not in the store, or the disk is full, or the like.
        """
        made = Attachment(
            subject=subject,
            artifact_type=artifact_type,
            layers=tuple(blobs),
            annotations=annotations or {},
        )
        return self.attach_all([made])[0]

    def attach_all(self, attachments: Sequence[Attachment]) -> tuple[Descriptor, ...]:
        """`attach` for several, with one change of the index: all of them appear at once.

        Returns:
            The entries, in the order of `attachments`.

        Raises:
            StoreError: a subject is not in the store, or the disk is full, or the like.
        """
        with self.lease():
            manifests = [self._put_attachment(each) for each in attachments]
            return self._tag_all([(each, each.annotations, None) for each in manifests])

    def referrers(self, digest: str, artifact_type: str | None = None) -> tuple[Descriptor, ...]:
        """What is said about `digest`, in the order of artifact type, then digest.

        Descriptors as the referrers API of the distribution specification gives them.

        Raises:
            DigestError, StoreError: a manifest in the store is corrupt.
        """
        found = self._graph.referrers(self.entries(), digest)
        return tuple(each for each in found if artifact_type in (None, each.artifact_type))

    def links(self, descriptor: Descriptor) -> Links:
        """What a manifest or an index names: parts, subject, artifact type, annotations.

        Raises:
            DigestError, StoreError: it is corrupt, missing or malformed.
        """
        return self._graph.links(descriptor)

    def walk(self, descriptor: Descriptor) -> Iterator[Node]:
        """`descriptor` and everything it consists of, each digest once, parents first.

        Layers and configurations are named, not looked at.

        Raises:
            DigestError, StoreError: a manifest is corrupt, missing or malformed, or indexes
                stand in one another too deep.
        """
        return self._graph.walk([descriptor])

    def check(self) -> tuple[Finding, ...]:
        """Look over the whole store, every byte that an entry needs; nothing found is good.

        Raises:
            StoreError: a file cannot be read for want of permission, or the disk fails.
        """
        with self.reading():
            return check.check(self._layout, self._blobs, Graph(self._blobs))

    def gc(
        self, *, untagged: bool = False, dry_run: bool = False, wait: float = GC_WAIT
    ) -> Collected:
        """Remove blobs that no entry needs, and temporary files whose process has ended.

        Args:
            untagged: remove entries too that no name leads to: neither as a part of a named entry,
                nor as something said about such a part.
            dry_run: only tell. What a build that runs now has written so far counts as debris then.
            wait: seconds to wait for builds that are writing.

        Raises:
            StoreError: a build is still writing (the message names it), a manifest is corrupt, or
                the store cannot be written.
        """
        if dry_run:
            with self.reading():
                return gc.collect(
                    self._layout, self._blobs, self._graph, untagged=untagged, dry_run=True
                )
        with self._counting:
            held = self._leases
        if held:
            msg = f"cannot collect garbage: this process itself is writing to {self.root}"
            raise StoreError(msg, "collect garbage after the build has ended")
        with (
            translated(self.root),
            hold(self._layout.lease, exclusive=True, wait=wait, purpose="collect garbage"),
        ):
            return gc.collect(
                self._layout, self._blobs, self._graph, untagged=untagged, dry_run=False
            )

    def _put_attachment(self, each: Attachment) -> Descriptor:
        self._must_have(each.subject)
        layers = [
            self.put_bytes(*blob) if isinstance(blob, tuple) else blob for blob in each.layers
        ]
        self.put_bytes(EMPTY_BLOB, media.EMPTY)
        data = artifact(
            artifact_type=each.artifact_type,
            layers=layers,
            subject=each.subject,
            annotations=each.annotations,
        )
        return self.put_bytes(
            data, media.MANIFEST, annotations=each.annotations, artifact_type=each.artifact_type
        )

    def _tag_all(
        self,
        wanted: Sequence[tuple[Descriptor, Mapping[str, str], str | None]],
        expected: Mapping[str, str] | None = None,
    ) -> tuple[Descriptor, ...]:
        """Make entries of descriptors with annotations and names, in one change of the index.

        No entry is made, and none returned, when a name does not lead where `expected` says.
        """
        notes = [_notes(annotations, ref) for _, annotations, ref in wanted]
        placed: list[entries.Entry] = []

        def change(document: entries.Document) -> bool:
            for ref, digest in (expected or {}).items():
                if {entry["digest"] for entry in entries.named(document, ref)} != {digest} - {""}:
                    return False
            changed = False
            for (added, _, _), each in zip(wanted, notes, strict=True):
                entry, new = entries.place(document, added, each)
                placed.append(entry)
                changed |= new
            return changed

        with self._shared():
            for added, _, _ in wanted:
                self._must_have(added)
            index.update(self._layout, change)
        return tuple(descriptor(entry, "index.json") for entry in placed)

    def _must_have(self, each: Descriptor) -> None:
        size = self._blobs.size(each.digest)
        if size != each.size:
            what = "missing" if size is None else f"{size} bytes long, not {each.size}"
            msg = f"{self.root}: blob {each.digest} is {what}"
            raise StoreError(msg, "put the blob into the store first")


def _notes(annotations: Mapping[str, str], ref: str | None) -> dict[str, str]:
    """The annotations of an entry; only `ref` names it."""
    found = {key: value for key, value in annotations.items() if key != entries.REF_NAME}
    if ref is not None:
        if not ref:
            msg = "the name of an entry cannot be empty"
            raise StoreError(msg, "give a name like `digits:1.0.0`")
        found[entries.REF_NAME] = ref
    return found
