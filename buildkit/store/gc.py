"""Removing what nothing needs any more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from buildkit import disk
from buildkit.errors import StoreError
from buildkit.store import entries, index
from buildkit.store.documents import descriptor
from buildkit.store.files import is_stale, translated

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from buildkit.records import Descriptor
    from buildkit.store.blobs import Blobs
    from buildkit.store.entries import Document
    from buildkit.store.graph import Fault, Graph, Node
    from buildkit.store.layout import Layout


@dataclass(frozen=True, kw_only=True, slots=True)
class Collected:
    """What a garbage collection removed, or would remove.

    Attributes:
        entries: removed from the index.
        blobs: how many.
        temporary: how many files that ended processes left half-written.
        size: bytes of all those files.
        dry_run: whether nothing was in fact removed.
    """

    entries: tuple[Descriptor, ...]
    blobs: int
    temporary: int
    size: int
    dry_run: bool


def collect(
    layout: Layout, blobs: Blobs, graph: Graph, *, untagged: bool, dry_run: bool
) -> Collected:
    """Remove debris; the caller holds the lease alone, so that nobody is writing.

    Raises:
        StoreError: a manifest is corrupt, so what it needs is not known; or the disk fails.
    """
    document = index.load(layout)
    dropped = _without_name(document, graph) if untagged else []
    kept = [entry for entry in document["manifests"] if not any(entry is each for each in dropped)]
    needed = _needed(graph, [descriptor(entry, "index.json") for entry in kept])
    if dropped and not dry_run:
        # The index first: a collection that is cut off leaves debris, never a broken entry.
        index.update(layout, lambda current: _drop(current, dropped))
    found = 0
    size = 0
    for _, digest in blobs.names():
        if digest is None or digest in needed:
            continue
        found += 1
        size += blobs.size(digest) or 0
        if not dry_run:
            with translated(layout.root):
                blobs.remove(digest)
    temporary, bytes_in_them = _sweep(layout, dry_run=dry_run)
    if found and not dry_run:
        with translated(layout.root):
            disk.sync_folder(layout.blobs)
    return Collected(
        entries=tuple(descriptor(entry, "index.json") for entry in dropped),
        blobs=found,
        temporary=temporary,
        size=size + bytes_in_them,
        dry_run=dry_run,
    )


def _needed(graph: Graph, roots: Sequence[Descriptor]) -> set[str]:
    """The digests of all that `roots` consist of.

    A missing manifest needs nothing: it is broken already, and `check` says so.
    """
    return {node.descriptor.digest for node in _parts(graph, roots)}


def _parts(graph: Graph, roots: Sequence[Descriptor]) -> Iterator[Node]:
    def on_fault(damaged: Descriptor, fault: Fault) -> None:
        if not graph.is_missing(damaged.digest):
            msg = f"nothing was removed: what {damaged.digest} needs is not known ({fault.message})"
            remedy = fault.remedy or "`python -m buildkit show --verify` names all damage"
            raise StoreError(msg, remedy) from fault

    return graph.walk(roots, on_fault)


def _without_name(document: Document, graph: Graph) -> list[entries.Entry]:
    """The entries that no name leads to: neither as a part, nor as something said about a part."""
    rest = []
    reached: set[str] = set()
    for entry in document["manifests"]:
        if entries.REF_NAME in entries.notes(entry):
            reached |= _needed(graph, [descriptor(entry, "index.json")])
        else:
            rest.append(entry)
    grew = True
    while grew:  # what is said may be about what is said: a signature on an SBOM
        grew = False
        for entry in list(rest):
            each = descriptor(entry, "index.json")
            if each.digest in reached or _is_about(graph, each, reached):
                reached |= _needed(graph, [each])
                rest = [other for other in rest if other is not entry]
                grew = True
    return rest


def _is_about(graph: Graph, each: Descriptor, reached: set[str]) -> bool:
    return any(
        node.links.subject.digest in reached
        for node in _parts(graph, [each])
        if node.links is not None and node.links.subject is not None
    )


def _drop(current: Document, dropped: Sequence[entries.Entry]) -> bool:
    """Remove entries that are still as they were when they were chosen.

    A tool that knows no lease may have named one of them in between.
    """
    before = len(current["manifests"])
    current["manifests"] = [entry for entry in current["manifests"] if entry not in dropped]
    return len(current["manifests"]) != before


def _sweep(layout: Layout, *, dry_run: bool) -> tuple[int, int]:
    """Remove temporary files whose process has ended; how many, and their bytes."""
    count = size = 0
    with translated(layout.root):
        if not layout.ingest.is_dir():
            return 0, 0
        for path in sorted(layout.ingest.iterdir()):
            if is_stale(path.name):
                count += 1
                size += path.lstat().st_size
                if not dry_run:
                    path.unlink(missing_ok=True)
    return count, size
