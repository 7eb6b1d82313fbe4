"""An image and its model, part by part: manifests, indexes, and the blobs that they name. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from buildkit import digests, media
from buildkit.errors import EvidenceError
from buildkit.evidence.reasons import Reason
from buildkit.evidence.verify import documents

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from buildkit.evidence.verify.documents import Manifest
    from buildkit.evidence.verify.report import Notebook, Role
    from buildkit.evidence.verify.source import Source
    from buildkit.records import Descriptor

_PLATFORM_KEYS = {"os", "architecture", "variant"}
_LAYERS = (media.LAYER, "application/vnd.oci.image.layer.v1.tar")


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One manifest or index of what is verified.

    Attributes:
        role: what it is.
        name: platform, target, or the recipe's name.
        manifest: its content.
        card: ``model.json`` of a model, else empty.
        weight: digest of ``model.onnx`` of a model, else empty.
    """

    role: Role
    name: str
    manifest: Manifest
    card: Mapping[str, Any] = field(default_factory=dict)
    weight: str = ""

    @property
    def digest(self) -> str:
        """Its digest."""
        return self.manifest.digest

    def note(self, name: str) -> str:
        """One of its annotations; empty when there is none."""
        return self.manifest.links.annotations.get(name, "")


class Blobs:
    """The blobs to be hashed, each once, with the length that whoever names them promises."""

    def __init__(self, notebook: Notebook) -> None:
        self._notebook = notebook
        self.sizes: dict[str, int] = {}
        self.owners: dict[str, str] = {}

    def need(self, descriptor: Descriptor, owner: str) -> None:
        """Remember that `owner` names a blob."""
        digest = descriptor.digest
        known = self.sizes.setdefault(digest, descriptor.size)
        self.owners.setdefault(digest, owner)
        if known != descriptor.size:
            msg = f"blob {digest} is named with {known} bytes and with {descriptor.size}"
            self._notebook.add(Reason.BLOB_DIGEST, owner, msg)


def role_of(manifest: Manifest) -> Role:
    """What a manifest or an index is."""
    if manifest.links.artifact_type == media.MODEL:
        return "models" if manifest.is_index else "model"
    return "image" if manifest.is_index else "platform"


class PartReader:
    """Reads parts; what is wrong goes into the notebook, and a part that is too bad is left out.

    Args:
        source: where from.
        notebook: takes the findings.
        blobs: takes the blobs to be hashed.
    """

    def __init__(self, source: Source, notebook: Notebook, blobs: Blobs) -> None:
        self._source = source
        self._notebook = notebook
        self._blobs = blobs

    def read(self, manifest: Manifest, role: Role) -> Iterator[Part]:
        """A part, and all below it.

        Raises:
            EvidenceError: of the part itself; of those below it is in the notebook.
        """
        match role:
            case "image":
                return self.image(manifest)
            case "platform":
                return self.platform(manifest)
            case "models":
                return self.models(manifest)
            case "model":
                return self.model(manifest)

    def image(self, manifest: Manifest) -> Iterator[Part]:
        """An image index, and its platforms."""
        if manifest.links.artifact_type is not None or manifest.links.subject is not None:
            raise documents.refused(manifest.digest, "neither an image nor a model")
        yield Part(role="image", name=_title(manifest), manifest=manifest)
        for at, child in self._children(manifest):
            entry = manifest.document["manifests"][at]
            platform = self._announced(manifest, entry)
            try:
                inner = documents.read(self._source, child)
                if inner.is_index or role_of(inner) != "platform":
                    self._wrong(manifest, Reason.MANIFEST, f"{child.digest} is no image")
                    continue
                yield from self.platform(inner, platform)
            except EvidenceError as error:
                self._notebook.caught(error, child.digest)

    def platform(self, manifest: Manifest, announced: str | None = None) -> Iterator[Part]:
        """The image of one platform; `announced` is what the index calls it."""
        config = manifest.config()
        # Without a type of its own, an artifact has that of its configuration.
        if manifest.links.artifact_type != media.CONFIG or manifest.links.subject is not None:
            raise documents.refused(manifest.digest, "neither an image nor a model")
        what = f"configuration {config.digest}"
        document = documents.read_json(self._source, config, what)
        self._blobs.need(config, manifest.digest)
        said = f"{document.get('os')}/{document.get('architecture')}"
        if announced not in (None, _platform(document)):
            why = f"the index says {announced}, its configuration {_platform(document)}"
            self._wrong(manifest, Reason.PLATFORM, why)
        layers = manifest.layers()
        for layer in layers:
            self._blobs.need(layer, manifest.digest)
            if layer.media_type not in _LAYERS:
                self._wrong(manifest, Reason.MANIFEST, f"a layer of type {layer.media_type!r}")
        rootfs = document.get("rootfs")
        found = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
        if not isinstance(found, list) or not all(map(digests.is_digest, found)):
            self._wrong(manifest, Reason.MANIFEST, f"{what} has no list of layers")
        elif len(found) != len(layers):
            why = f"{len(layers)} layers, {len(found)} in the configuration"
            self._wrong(manifest, Reason.MANIFEST, why)
        settings = document.get("config")
        labels = settings.get("Labels") if isinstance(settings, dict) else None
        for name in (media.LOCK_DIGEST, media.MODEL_DIGEST, media.TITLE, media.VERSION):
            label = labels.get(name) if isinstance(labels, dict) else None
            if label != manifest.links.annotations.get(name):
                why = f"label and annotation {name} of {said} differ"
                self._wrong(manifest, _REASONS.get(name, Reason.MANIFEST), why)
        yield Part(role="platform", name=said, manifest=manifest)

    def models(self, manifest: Manifest) -> Iterator[Part]:
        """An index of a model's variants, and the variants."""
        yield Part(role="models", name=_title(manifest), manifest=manifest)
        if manifest.links.subject is not None:
            self._wrong(manifest, Reason.MANIFEST, "an index of models is about nothing else")
        targets: set[str] = set()
        for _, child in self._children(manifest):
            target = child.annotations.get(media.MODEL_TARGET, "")
            if target in targets:
                self._wrong(manifest, Reason.MODEL, f"target {target!r} stands in it twice")
            targets.add(target)
            try:
                inner = documents.read(self._source, child)
                if role_of(inner) != "model":
                    self._wrong(manifest, Reason.MODEL, f"{child.digest} is no model")
                    continue
                yield from self.model(inner, target)
            except EvidenceError as error:
                self._notebook.caught(error, child.digest)

    def model(self, manifest: Manifest, announced: str | None = None) -> Iterator[Part]:
        """One variant; `announced` is the target that the index calls it by."""
        if manifest.links.subject is not None:
            self._wrong(manifest, Reason.MANIFEST, "a model is about nothing else")
        config = manifest.config()
        layers = manifest.layers()
        for each in (config, *layers):
            self._blobs.need(each, manifest.digest)
        if [each.media_type for each in layers] != [media.WEIGHT, media.CARD]:
            self._wrong(manifest, Reason.MODEL, "its layers are not one model and its card")
            return
        names = [each.annotations.get(media.FILE_PATH) for each in layers]
        if names != ["model.onnx", "model.json"]:
            self._wrong(manifest, Reason.NAME, f"its files are called {names}")
        weight, described = layers
        card = documents.read_json(self._source, described, f"card {described.digest}")
        pack = documents.read_json(self._source, config, f"configuration {config.digest}")
        if config.media_type != media.MODEL_CONFIG:
            self._wrong(manifest, Reason.MODEL, f"configuration of type {config.media_type!r}")
        files = pack.get("modelfs")
        ids = files.get("diffIds") if isinstance(files, dict) else None
        if ids != [each.digest for each in layers]:
            self._wrong(manifest, Reason.MODEL, "its configuration names other layers")
        part = Part(
            role="model",
            name=manifest.links.annotations.get(media.MODEL_TARGET, ""),
            manifest=manifest,
            card=card,
            weight=weight.digest,
        )
        for why in _card_differs(part, weight, announced):
            self._wrong(manifest, Reason.MODEL, why)
        yield part

    def _children(self, manifest: Manifest) -> Iterator[tuple[int, Descriptor]]:
        """Each manifest of an index, once."""
        seen: set[str] = set()
        found = manifest.links.children
        if not found:
            self._wrong(manifest, Reason.MANIFEST, "an index of nothing")
        for at, (_, child) in enumerate(found):
            if child.digest in seen:
                self._wrong(manifest, Reason.MANIFEST, f"{child.digest} stands in it twice")
                continue
            seen.add(child.digest)
            yield at, child

    def _announced(self, manifest: Manifest, entry: Mapping[str, Any]) -> str:
        platform = entry.get("platform")
        if not isinstance(platform, dict) or platform.keys() - _PLATFORM_KEYS:
            self._wrong(manifest, Reason.PLATFORM, f"{entry['digest']} has no plain platform")
            return ""
        return _platform(platform)

    def _wrong(self, manifest: Manifest, reason: Reason, why: str) -> None:
        self._notebook.add(reason, manifest.digest, why)


_REASONS = {media.LOCK_DIGEST: Reason.SBOM, media.MODEL_DIGEST: Reason.MODEL}


def _platform(value: Mapping[str, Any]) -> str:
    """As an entry of an index and a configuration both say it, with the variant if there is one."""
    found = f"{value.get('os')}/{value.get('architecture')}"
    return f"{found}/{value['variant']}" if value.get("variant") else found


def _title(manifest: Manifest) -> str:
    return manifest.links.annotations.get(media.TITLE, "")


def _card_differs(part: Part, weight: Descriptor, announced: str | None) -> Iterator[str]:
    """In what card, annotations and layers of a model disagree."""
    card = part.card
    if card.get("schema") != media.CARD_SCHEMA:
        yield f"a card of schema {card.get('schema')!r}"
    file = {"name": "model.onnx", "digest": weight.digest, "size": weight.size}
    if card.get("file") != file:
        yield "its card describes another file"
    if part.note(media.MODEL_CHECKSUM) != weight.digest:
        yield "its annotation names another file"
    runtime = card.get("runtime")
    target = runtime.get("target") if isinstance(runtime, dict) else None
    if not part.name or target != part.name:
        yield f"made for {part.name!r}, its card says {target!r}"
    if announced is not None and announced != part.name:
        yield f"made for {part.name!r}, the index says {announced!r}"
    for key, name in (("name", media.TITLE), ("version", media.VERSION)):
        if card.get(key) != part.note(name):
            yield f"its card and its annotations have another {key}"
    training = card.get("training")
    data = training.get("data_digest") if isinstance(training, dict) else None
    if data != part.note(media.MODEL_DATA_DIGEST):
        yield "its card and its annotations name other data"
