"""Looking over a whole store: is everything there, and is it what it says it is?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from buildkit import digests
from buildkit.errors import DigestError, StoreError
from buildkit.store import entries, index
from buildkit.store import layout as layouts
from buildkit.store.documents import DOCUMENT_TYPES, descriptor
from buildkit.store.files import is_stale, translated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildkit.records import Descriptor
    from buildkit.store.blobs import Blobs
    from buildkit.store.entries import Document
    from buildkit.store.graph import Graph
    from buildkit.store.layout import Layout

Kind = Literal["missing", "size", "corrupt", "malformed", "ambiguous", "foreign", "temporary"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        kind: ``missing`` blob; wrong ``size``; ``corrupt`` bytes; ``malformed`` index or manifest;
            ``ambiguous`` name; ``foreign``: not ours to judge (another digest algorithm, a file of
            another tool); ``temporary``: left by a process that was killed.
        where: digest, file or name that it is about.
        message: what is wrong.
        remedy: what to do about it.
    """

    kind: Kind
    where: str
    message: str
    remedy: str

    @property
    def is_damage(self) -> bool:
        """Whether something is lost or wrong; the rest only takes room."""
        return self.kind not in ("foreign", "temporary")


_REBUILD = "run the build again, it writes the blob anew"
_REMOVE = "remove the file and run the build again, it writes the blob anew"


def check(layout: Layout, blobs: Blobs, graph: Graph) -> tuple[Finding, ...]:
    """All findings in a stable order; reads every blob that an entry needs.

    Args:
        layout: of the store.
        blobs: of the store.
        graph: a new one, so that manifests are read from the disk again.

    Raises:
        StoreError: files cannot be read for want of permission, or the disk fails.
    """
    found = list(_check_index(layout, blobs, graph))
    for name, digest in blobs.names():
        if digest is None:
            found.append(
                Finding(
                    kind="foreign",
                    where=str(layout.blobs / name),
                    message="not a blob",
                    remedy="remove it if no other tool needs it",
                )
            )
    with translated(layout.root):
        names = (
            sorted(path.name for path in layout.ingest.iterdir()) if layout.ingest.is_dir() else []
        )
    found += [
        Finding(
            kind="temporary",
            where=str(layout.ingest / name),
            message="left by a process that was killed while it wrote",
            remedy="`python -m buildkit gc` removes it",
        )
        for name in names
        if is_stale(name)
    ]
    return tuple(found)


def _check_index(layout: Layout, blobs: Blobs, graph: Graph) -> Iterator[Finding]:
    try:
        layouts.verify(layout)
        document = index.load(layout)
    except StoreError as error:
        if isinstance(error.__cause__, OSError):
            raise
        yield Finding(
            kind="malformed", where=str(layout.root), message=error.message, remedy=error.remedy
        )
        return
    yield from _check_names(document)
    roots = [descriptor(entry, "index.json") for entry in document["manifests"]]
    faults: dict[str, StoreError | DigestError] = {}
    for node in graph.walk(roots, lambda each, fault: faults.update({each.digest: fault})):
        finding = _check_blob(blobs, node.descriptor, faults.get(node.descriptor.digest))
        if finding is not None:
            yield finding


def _check_names(document: Document) -> Iterator[Finding]:
    for ref in entries.names(document):
        meant = sorted({entry["digest"] for entry in entries.named(document, ref)})
        if len(meant) > 1:
            yield Finding(
                kind="ambiguous",
                where=ref,
                message=f"names {len(meant)} entries: {', '.join(meant)}",
                remedy="build again: the name then goes to one of them alone",
            )


def _check_blob(
    blobs: Blobs, each: Descriptor, fault: StoreError | DigestError | None
) -> Finding | None:
    if not digests.is_digest(each.digest):
        return Finding(
            kind="foreign",
            where=each.digest,
            message="another digest algorithm, not checked",
            remedy="use the tool that wrote it",
        )
    if not blobs.exists(each.digest):
        return Finding(
            kind="missing", where=each.digest, message="the blob is missing", remedy=_REBUILD
        )
    size = blobs.size(each.digest)
    if size is None:
        return Finding(
            kind="corrupt", where=each.digest, message="not a regular file", remedy=_REMOVE
        )
    if size != each.size:
        message = f"{size} bytes where {each.size} were promised"
        return Finding(kind="size", where=each.digest, message=message, remedy=_REBUILD)
    return _check_content(blobs, each, fault)


def _check_content(
    blobs: Blobs, each: Descriptor, fault: StoreError | DigestError | None
) -> Finding | None:
    # Manifests were read for the walk already, and a fault says what was wrong with them.
    if each.media_type not in DOCUMENT_TYPES:
        try:
            blobs.copy(each.digest, lambda _: None)
        except DigestError as error:
            fault = error
    if isinstance(fault, DigestError):
        return Finding(kind="corrupt", where=each.digest, message=fault.message, remedy=_REMOVE)
    if fault is not None:
        return Finding(
            kind="malformed", where=each.digest, message=fault.message, remedy=fault.remedy
        )
    return None
