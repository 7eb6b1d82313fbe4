"""What a smoke test runs: from a name and a target to digests, blobs and expectations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from buildkit import media
from buildkit.device.types import Blob
from buildkit.errors import InputError, StoreError
from buildkit.evidence import kinds, referrers
from buildkit.evidence.referrers import Found
from buildkit.gate.types import Expected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildkit.recipe import Target
    from buildkit.records import Descriptor
    from buildkit.store import Store

_BUILD_FIRST = "build it again: `python -m buildkit build recipe.toml`"


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """An image and a model for one target, with all that a device needs to run and believe them.

    Attributes:
        name: what the user called it.
        target: kind of device.
        index: the image's index, and ``image``, the target's platform in it.
        image: manifest of the platform.
        model_index: the model's index, and ``model``, the target's variant in it.
        model: manifest of the variant.
        weight: its file, ``model.onnx``.
        golden: the golden data.
        bundles: signed provenance; who signed it is for the device to judge.
        blobs: all of the above and what they consist of, each once.
        expected: what the build measured.
    """

    name: str
    target: Target
    index: Descriptor
    image: Descriptor
    model_index: Descriptor
    model: Descriptor
    weight: Descriptor
    golden: Descriptor
    bundles: tuple[Descriptor, ...]
    blobs: tuple[Blob, ...]
    expected: Expected

    @property
    def subjects(self) -> tuple[Descriptor, Descriptor]:
        """What a test of it is about: exactly what ran."""
        return self.image, self.model


def find(store: Store, ref: str, target: Target) -> Candidate:
    """What `ref` is for devices of a target.

    Args:
        store: where it is.
        ref: an image index, by name or digest.
        target: kind of device.

    Raises:
        InputError: not an image index, or it has nothing for this target.
        StoreError, DigestError: a part is missing or corrupt.
    """
    index = store.resolve(ref)
    links = store.links(index)
    if index.media_type != media.INDEX or links.artifact_type is not None:
        msg = f"{ref}: not an image index"
        raise InputError(msg, "name an image that `python -m buildkit show` lists")
    image = _one(
        [each for _, each in links.children if each.platform == target.platform],
        f"{ref} has no image for {target.platform}, which {target.name} runs",
    )
    named = links.annotations.get(media.MODEL_DIGEST, "")
    if not named:
        msg = f"{ref} names no model"
        raise InputError(msg, _BUILD_FIRST)
    model_index = store.resolve(named)
    model = _one(
        [
            each
            for _, each in store.links(model_index).children
            if each.annotations.get(media.MODEL_TARGET) == target.name
        ],
        f"{ref} has no model for {target.name}",
    )
    card_blob = _titled(store, model, "model.json")
    card: dict[str, Any] = store.read_json(card_blob.digest)
    golden = _golden(store, ref, model_index, card)
    bundles = tuple(_provenance(store, (index, image, model_index, model)))
    parts = [index, image, *_parts(store, image), model_index, model, *_parts(store, model)]
    blobs = {each.digest: each for each in [*parts, golden, *bundles]}
    return Candidate(
        name=ref,
        target=target,
        index=index,
        image=image,
        model_index=model_index,
        model=model,
        weight=_titled(store, model, "model.onnx"),
        golden=golden,
        bundles=bundles,
        blobs=tuple(
            Blob(digest=each.digest, size=each.size, media_type=each.media_type)
            for each in blobs.values()
        ),
        expected=_expected(ref, card),
    )


def _one(found: list[Descriptor], none: str) -> Descriptor:
    if len(found) != 1:
        raise InputError(none, "name its platform and its target in the recipe, and build it again")
    return found[0]


def _parts(store: Store, manifest: Descriptor) -> tuple[Descriptor, ...]:
    return tuple(each for role, each in store.links(manifest).children)


def _titled(store: Store, manifest: Descriptor, title: str) -> Descriptor:
    for each in _parts(store, manifest):
        if each.annotations.get(media.TITLE) == title:
            return each
    msg = f"{manifest.digest}: a model without {title}"
    raise StoreError(msg, _BUILD_FIRST)


def _golden(store: Store, ref: str, model_index: Descriptor, card: dict[str, Any]) -> Descriptor:
    """The data that the signed card names; the artifact that carries it proves nothing."""
    wanted = card.get("golden", {}).get("digest", "")
    for each in store.referrers(model_index.digest, artifact_type=media.GOLDEN):
        for part in _parts(store, each):
            if part.digest == wanted:
                return part
    msg = f"{ref}: its golden data is not in this store"
    raise StoreError(msg, _BUILD_FIRST)


def _provenance(store: Store, about: tuple[Descriptor, ...]) -> Iterator[Descriptor]:
    """Every bundle that says it is provenance; whether it is, and whose, is for the device."""
    seen = set()
    for subject in about:
        for found in referrers.find(store, subject.digest):
            if not isinstance(found, Found) or found.digest in seen:
                continue
            if found.announced == kinds.PROVENANCE.predicate_type:
                seen.add(found.digest)
                yield from (
                    part for part in _parts(store, found.manifest) if part.digest == found.digest
                )


def _expected(ref: str, card: dict[str, Any]) -> Expected:
    try:
        accuracy = card["accuracy"]
        return Expected(
            samples=int(accuracy["samples"]),
            correct=int(accuracy["correct"]["quantised"]),
            same_answers=card["answers"]["same_on_every_cpu"] is True,
            answers_sha256=str(card["answers"].get("sha256", "")),
        )
    except (KeyError, TypeError, ValueError) as error:
        msg = f"{ref}: its model.json does not say how accurate it is"
        raise StoreError(msg, _BUILD_FIRST) from error
