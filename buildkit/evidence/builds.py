"""What a build left in the store beside its artifacts: result, lock, sources, statements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from buildkit import digests, media
from buildkit.errors import StoreError
from buildkit.evidence.statement import Subject

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from buildkit.records import Descriptor
    from buildkit.store import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Build:
    """One build's record.

    Attributes:
        subject: the image index that it made.
        result: what it answered, as far as that is reproducible.
        lock: bytes of the lock that it used.
        sources: ``buildkit/sources/v1``: what stood beside the recipe, by digest.
        statements: payloads of the reproducible statements, in the order of the build; after
            them that of its newest run.
    """

    subject: Descriptor
    result: Mapping[str, Any]
    lock: bytes
    sources: Mapping[str, Any]
    statements: tuple[bytes, ...]


def made(result: Mapping[str, Any]) -> Iterator[str]:
    """Digests of all manifests and indexes that a result names, the image index first."""
    yield result["image"]["digest"]
    yield from (item["digest"] for item in result["image"]["platforms"])
    yield result["model_index"]
    yield from (item["digest"] for item in result["models"])


def subjects(result: Mapping[str, Any]) -> tuple[Subject, ...]:
    """What a statement about a whole build is about: all manifests and indexes, and the model."""
    name = f"{result['recipe']['name']}:{result['recipe']['version']}"
    files = {f"sha256:{item['file_sha256']}" for item in result["models"]}
    return (
        *(Subject(name=name, digest=digest) for digest in made(result)),
        *(Subject(name="model.onnx", digest=digest) for digest in sorted(files)),
    )


def artifacts(store: Store, result: Mapping[str, Any]) -> dict[str, Descriptor]:
    """Descriptors of what `made` lists, by digest.

    Raises:
        StoreError: one of them is not in the store.
    """
    return {digest: store.resolve(digest) for digest in made(result)}


def find(store: Store, digest: str) -> Build:
    """The newest build that made `digest`.

    Args:
        store: where to look.
        digest: of an image index, a platform's manifest, an index of models or a model.

    Raises:
        StoreError: no build in this store made it, or its record cannot be read.
    """
    for entry in reversed(store.entries()):
        if entry.artifact_type != media.BUILD:
            continue
        try:
            found = _read(store, entry, digest)
        except (KeyError, TypeError, IndexError, ValueError) as error:
            msg = f"the record {entry.digest} of a build does not hold together: {error!r}"
            raise StoreError(msg, "build it again") from error
        if found is not None:
            return found
    msg = f"{digest}: no build in this store made it"
    raise StoreError(msg, "name an image or a model that `python -m buildkit show` lists")


def _read(store: Store, entry: Descriptor, digest: str) -> Build | None:
    """The build of a record, if it made `digest`."""
    layers: dict[str, list[str]] = {}
    for layer in store.read_json(entry.digest)["layers"]:
        layers.setdefault(layer["mediaType"], []).append(layer["digest"])
    result = store.read_json(layers[media.BUILD][0])
    # A record of an older version has no index of models.
    if "model_index" not in result or digest not in made(result):
        return None
    if not all(map(digests.is_digest, made(result))):
        msg = "what it made is not named by digests"
        raise ValueError(msg)
    subject = store.resolve(result["image"]["digest"])
    runs = [
        layer["digest"]
        for other in store.entries()
        if other.artifact_type == media.RUN
        for about in [store.read_json(other.digest)]
        if about["subject"]["digest"] == subject.digest
        for layer in about["layers"]
    ][-1:]
    return Build(
        subject=subject,
        result=result,
        lock=store.read(layers[media.BUILD_LOCK][0]),
        sources=store.read_json(layers[media.BUILD_SOURCES][0]),
        statements=tuple(store.read(each) for each in [*layers.get(media.STATEMENT, []), *runs]),
    )
