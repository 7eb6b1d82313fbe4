"""What a store says of an artifact: its parts, and the build that made it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from buildkit import media
from buildkit.errors import BuildkitError, InputError, StoreError
from buildkit.lock import codec
from buildkit.why.layers import named

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from buildkit.lock.types import Lock
    from buildkit.records import Descriptor
    from buildkit.store import Store
    from buildkit.why.layers import Layer

_IMAGE_CONFIGS = {media.CONFIG, "application/vnd.docker.container.image.v1+json"}
_LONGEST_LOCK = 64 << 20
# More than any builder makes or any runtime takes.
_MOST_LAYERS = 1000
_MOST_PARTS = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """One platform's image: manifest digest, configuration, layers, annotations."""

    digest: str
    config: Mapping[str, Any]
    layers: tuple[Layer, ...]
    annotations: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """One target's model: manifest digest, weight file, card, configuration, annotations."""

    digest: str
    weight: str
    card: Mapping[str, Any]
    config: Mapping[str, Any]
    annotations: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Build:
    """What a build left of itself: the lock, and the list of its sources."""

    lock: Lock | None = None
    sources: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact:
    """An image or a model, whole or of one platform or target.

    Attributes:
        store: where it is.
        digest: of what was named.
        whole: whether it is an index.
        images: platform → image.
        models: target → model.
        annotations: of the index.
    """

    store: Store
    digest: str
    whole: bool
    images: Mapping[str, Image]
    models: Mapping[str, Model]
    annotations: Mapping[str, str]

    @property
    def kind(self) -> str:
        """``image`` or ``model``."""
        return "image" if self.images else "model"


def load(store: Store, top: Descriptor) -> Artifact:
    """The parts of what `top` names.

    Raises:
        InputError: it is neither an image nor a model.
        DigestError, StoreError: a part of it is missing or corrupt.
    """
    images: dict[str, Image] = {}
    models: dict[str, Model] = {}
    for each in _manifests(store, top):
        links = store.links(each)
        config = next((child for role, child in links.children if role == "config"), None)
        if config is None:
            continue
        if links.artifact_type == media.MODEL or config.media_type == media.MODEL_CONFIG:
            target = links.annotations.get(media.MODEL_TARGET, "model")
            models[_free(target, models)] = _model(store, each)
        elif config.media_type in _IMAGE_CONFIGS:
            image = _image(store, each, config)
            said = f"{image.config.get('os')}/{image.config.get('architecture')}"
            images[_free(each.platform or said, images)] = image
        if len(images) + len(models) > _MOST_PARTS:
            msg = f"{top.digest}: it has more parts than any image or model"
            raise StoreError(msg)
    if not images and not models:
        msg = f"{top.digest} is neither an image nor a model"
        raise InputError(msg, "`python -m buildkit show` lists what is there")
    top_links = store.links(top)
    whole = all(role in {"index", "manifest", "blob"} for role, _ in top_links.children)
    return Artifact(
        store=store,
        digest=top.digest,
        whole=whole,
        images=images,
        models=models,
        annotations=top_links.annotations if whole else {},
    )


def _manifests(store: Store, top: Descriptor) -> Iterator[Descriptor]:
    for node in store.walk(top):
        if node.role == "manifest" and node.links is not None:
            yield node.descriptor


def _free(name: str, taken: Mapping[str, Any]) -> str:
    number = 1
    found = name
    while found in taken:
        number += 1
        found = f"{name} #{number}"
    return found


def _image(store: Store, manifest: Descriptor, config: Descriptor) -> Image:
    links = store.links(manifest)
    layers = [child.digest for role, child in links.children if role == "layer"]
    if len(layers) > _MOST_LAYERS:
        msg = f"{manifest.digest}: it has {len(layers)} layers, more than any image"
        raise StoreError(msg)
    document = _table(store.read_json(config.digest))
    return Image(
        digest=manifest.digest,
        config=document,
        layers=named(layers, document),
        annotations=links.annotations,
    )


def _model(store: Store, manifest: Descriptor) -> Model:
    links = store.links(manifest)
    by_type = {child.media_type: child.digest for _, child in reversed(links.children)}
    documents = [
        _table(store.read_json(by_type[kind])) if kind in by_type else {}
        for kind in (media.CARD, media.MODEL_CONFIG)
    ]
    return Model(
        digest=manifest.digest,
        weight=by_type.get(media.WEIGHT, ""),
        card=documents[0],
        config=documents[1],
        annotations=links.annotations,
    )


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def build_of(store: Store, artifact: Artifact) -> Build:
    """The newest build in the store that made an artifact; an empty one with a note if none did.

    A record that cannot be read is passed over, and the note says so.
    """
    parts = {each.digest for each in artifact.images.values()}
    parts |= {each.digest for each in artifact.models.values()}
    note = f"{artifact.digest}: no build in the store says what it was made from"
    second: Build | None = None
    for entry in reversed(store.entries()):
        try:
            links = store.links(entry)
            if links.artifact_type != media.BUILD:
                continue
            blobs = [child for role, child in links.children if role == "layer"]
            made = _made(_table(store.read_json(blobs[0].digest)))
            if artifact.digest in made:
                return _origin(store, blobs)
            # The index of models is not in the record; its models are.
            if second is None and parts & made:
                second = _origin(store, blobs)
        except (BuildkitError, IndexError) as error:
            note = f"{entry.digest}: a build's record cannot be read: {error}"
    return second or Build(note=note)


def _made(record: Mapping[str, Any]) -> set[str]:
    image = _table(record.get("image"))
    lists = [image, *_listed(image.get("platforms")), *_listed(record.get("models"))]
    return {str(each.get("digest")) for each in lists}


def _listed(value: Any) -> list[dict[str, Any]]:
    return [_table(each) for each in value] if isinstance(value, list) else []


def _origin(store: Store, blobs: list[Descriptor]) -> Build:
    lock, sources = None, {}
    for blob in blobs:
        if blob.media_type == media.BUILD_LOCK:
            lock = codec.parse(store.read(blob.digest, limit=_LONGEST_LOCK), "the build's lock")
        elif blob.media_type == media.BUILD_SOURCES:
            sources = _table(store.read_json(blob.digest))
    note = "" if lock else "a build's record is older than this: it holds no lock and no sources"
    return Build(lock=lock, sources=sources, note=note)
