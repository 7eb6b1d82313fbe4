"""Manifests and indexes of a source: what each of them is. Nothing is believed yet."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast

from buildkit import media
from buildkit.audit import sources
from buildkit.errors import EvidenceError
from buildkit.evidence import bundle as bundles
from buildkit.evidence.reasons import Reason
from buildkit.evidence.verify import documents

if TYPE_CHECKING:
    from buildkit.audit.sources import Bytes, Source
    from buildkit.evidence.verify.documents import Manifest
    from buildkit.evidence.verify.source import Source as Verified
    from buildkit.records import Descriptor

What = Literal["image", "platform", "models", "model", "bundle", "journal", "other"]

ROLES = ("image", "platform", "models", "model")
# What other commands keep; nobody verifies it, and so nobody asks for it here.
PASSED_OVER = frozenset({media.BUILD, media.RUN, media.REBUILD, media.CLAIM, media.GOLDEN})
# What a statement is held against; see `schema.SOUGHT`.
MANIFEST = "manifest"
BLOB = "blob"
OURS = (media.INDEX, media.MANIFEST)

# One layer, as the canonical bytes of a referrer have it.
_LAYER = re.compile(
    rb'"layers":\[\{"digest":"sha256:([0-9a-f]{64})",'
    rb'"mediaType":"[a-z0-9.+/-]+","size":([1-9][0-9]{0,15})\}\]'
)
_SHORT = 8192
_REMEMBERED = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A manifest or an index that holds together.

    Attributes:
        what: what it is.
        manifest: its content.
        variant: platform of a platform, target of a model.
        weight: digest of a model's file.
    """

    what: What
    manifest: Manifest
    variant: str = ""
    weight: str = ""

    @property
    def digest(self) -> str:
        """Its digest."""
        return self.manifest.digest

    @property
    def descriptor(self) -> Descriptor:
        """As it was named."""
        return self.manifest.descriptor

    def note(self, name: str) -> str:
        """One of its annotations; empty when there is none."""
        return self.manifest.links.annotations.get(name, "")

    def children(self) -> tuple[Descriptor, ...]:
        """The manifests and indexes that it consists of."""
        found = self.manifest.links.children
        return tuple(each for role, each in found if role in ("index", "manifest"))

    def size(self) -> int:
        """Bytes of it, and of the configuration and the layers that it names."""
        named = [each for role, each in self.manifest.links.children if role in ("config", "layer")]
        return self.descriptor.size + sum({each.digest: each.size for each in named}.values())


def read(source: Source, descriptor: Descriptor) -> Document:
    """Read a manifest or an index, as strictly as a verification.

    Raises:
        EvidenceError: it is missing, damaged, or does not hold together.
        StoreError, RegistryError: it cannot be known.
    """
    return _read(source, descriptor, sources.manifest(source, descriptor))


class Forms:
    """Reads as `read`; what differs from others in the bundle alone that it carries, is known.

    The manifests of a hundred reports are alike to the byte, but for digest and size of the one
    layer. Whatever is right about the rest of one, is right about that of all.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, bytes, bytes, bytes], Document] = {}

    def read(self, source: Source, descriptor: Descriptor) -> Document:
        """See `buildkit.audit.read.read`."""
        held = sources.manifest(source, descriptor)
        data = held.data
        found = _LAYER.search(data)
        if found is None or not len(data) == descriptor.size <= _SHORT:
            return _read(source, descriptor, held)
        (start, end), (size, after) = found.span(1), found.span(2)
        form = (descriptor.media_type, data[:start], data[end:size], data[after:])
        known = self._known.get(form)
        digest, count = f"sha256:{found[1].decode()}", int(found[2])
        if known is not None:
            return _carrying(known, descriptor, digest, count)
        made = _read(source, descriptor, held)
        listed = [(each.digest, each.size) for each in made.manifest.layers()]
        if made.what == "bundle" and listed == [(digest, count)] and data.count(b"layers") == 1:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[form] = made
        return made


def _carrying(known: Document, descriptor: Descriptor, digest: str, size: int) -> Document:
    """A referrer like another, but for its layer."""
    old = known.manifest
    listed: Any = old.document["layers"]
    children = tuple(
        (role, replace(each, digest=digest, size=size) if role == "layer" else each)
        for role, each in old.links.children
    )
    layers = [{**listed[0], "digest": digest, "size": size}]
    found = replace(
        old,
        descriptor=descriptor,
        document={**old.document, "layers": layers},
        links=replace(old.links, children=children),
    )
    return replace(known, manifest=found)


def _read(source: Source, descriptor: Descriptor, held: Bytes) -> Document:
    found = documents.read(_verified(held), descriptor)
    what = _what(found)
    if what == "platform":
        return Document(what=what, manifest=found, variant=_platform(source, found))
    if what == "model":
        return Document(
            what=what,
            manifest=found,
            variant=found.links.annotations.get(media.MODEL_TARGET, ""),
            weight=_weight(found),
        )
    return Document(what=what, manifest=found)


def layer(document: Document) -> Descriptor:
    """The bundle that a referrer carries.

    Raises:
        EvidenceError: it carries something else.
    """
    layers = document.manifest.layers()
    if [each.media_type for each in layers] != [bundles.MEDIA_TYPE]:
        msg = f"referrer {document.digest}: its layers are not one bundle"
        raise EvidenceError(Reason.MANIFEST, msg)
    document.manifest.config()
    return layers[0]


def blob(source: Source, descriptor: Descriptor) -> bytes:
    """A short blob of the length that its descriptor says.

    Raises:
        EvidenceError: it is missing or damaged.
        StoreError, RegistryError: it cannot be known.
    """
    held = sources.record(source, descriptor)
    return documents.sized(_verified(held), descriptor, len(held.data))


def json_blob(source: Source, descriptor: Descriptor, what: str) -> dict[str, Any]:
    """A short blob that is a JSON object.

    Raises:
        EvidenceError: it is missing, damaged, or no such object.
        StoreError, RegistryError: it cannot be known.
    """
    return documents.read_json(_verified(sources.record(source, descriptor)), descriptor, what)


def _what(found: Manifest) -> What:
    links = found.links
    kind = links.artifact_type
    if links.subject is not None:
        return "bundle" if kind == bundles.MEDIA_TYPE else "other"
    if kind == media.CHANNEL:
        return "journal"
    if kind == media.MODEL:
        return "models" if found.is_index else "model"
    if found.is_index:
        # An index of indexes is a way to several images, as other tools write it.
        nested = any(role == "index" for role, _ in links.children)
        return "other" if nested or kind is not None else "image"
    return "platform" if kind == media.CONFIG else "other"


def _platform(source: Source, found: Manifest) -> str:
    config = found.config()
    document = json_blob(source, config, f"configuration {config.digest}")
    name = f"{document.get('os')}/{document.get('architecture')}"
    return f"{name}/{document['variant']}" if document.get("variant") else name


def _weight(found: Manifest) -> str:
    layers = found.layers()
    if [each.media_type for each in layers] != [media.WEIGHT, media.CARD]:
        msg = f"manifest {found.digest}: its layers are not one model and its card"
        raise EvidenceError(Reason.MODEL, msg)
    return layers[0].digest


def _verified(held: Bytes) -> Verified:
    # The functions that take one ask for nothing but `read`.
    return cast("Verified", held)
