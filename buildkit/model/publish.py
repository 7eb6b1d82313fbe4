"""Reads what the sandbox made of a model, and puts one artifact per target into the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from buildkit import canonical, digests, media
from buildkit.model import artifact, golden
from buildkit.records import Descriptor

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from buildkit.lock.types import Lock
    from buildkit.recipe.types import Recipe
    from buildkit.store import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Variants:
    """What was put of a model; nothing of it is an entry of the store yet.

    Attributes:
        index: of all variants.
        models: each manifest with its target.
        golden: the data that they were checked with, for `attach`.
    """

    index: Descriptor
    models: tuple[tuple[Descriptor, str], ...]
    golden: Descriptor


def read(folders: Mapping[str, Path], lock: Lock) -> tuple[artifact.Prepared, Path]:
    """What the stages left, and the quantised file.

    Args:
        folders: stage (``float``, ``quantised``, ``accuracy``) → its output folder; ``golden`` →
            the golden data, a file.
        lock: names the data, and how many golden inputs the models got right.

    Raises:
        DigestError: on this machine they get clearly more or fewer right.
    """

    def document(stage: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = canonical.load((folders[stage] / name).read_bytes())
        return found

    file = folders["quantised"] / "model.onnx"
    accuracy = golden.replay(document("accuracy", "accuracy.json"), lock.model.golden)
    if accuracy["answers"]["same_on_every_cpu"]:
        # So it may stand in the card, and a device can be held to the very bytes.
        logits = document("accuracy", "logits.json")["logits_sha256"]
        accuracy["answers"] = {**accuracy["answers"], "sha256": logits["quantised"]}
    data = {pin.path: pin.sha256 for pin in lock.model.files} | {
        pin.file: pin.sha256 for host in lock.hosts.values() for pin in host.builder_wheels
    }
    prepared = artifact.Prepared(
        digest=digests.of_file(file),
        size=file.stat().st_size,
        signature=document("float", "signature.json"),
        report=document("quantised", "report.json"),
        accuracy=accuracy,
        golden=Descriptor(
            media_type=media.DATASET,
            digest=digests.of_file(folders["golden"]),
            size=folders["golden"].stat().st_size,
        ),
        data_digest=digests.of_bytes(canonical.dump(data)),
    )
    return prepared, file


def put(
    store: Store,
    *,
    recipe: Recipe,
    lock: Lock,
    prepared: artifact.Prepared,
    file: Path,
    golden_file: Path,
    lock_digest: str,
    epoch: int,
) -> Variants:
    """Put one manifest per target, the index of them all, and the golden data; tags nothing."""
    weight = store.put_file(file, media.WEIGHT, digest=prepared.digest)
    models = []
    for target in recipe.targets:
        card = store.put_json(artifact.card(recipe, lock, target, prepared), media.CARD)
        layers = [weight.digest, card.digest]
        config = store.put_json(
            artifact.config(recipe, lock, prepared, layers, epoch), media.MODEL_CONFIG
        )
        notes = artifact.notes(recipe, lock, target, prepared, lock_digest=lock_digest, epoch=epoch)
        manifest = artifact.manifest(config, weight, card, notes)
        models.append((store.put_json(manifest, media.MANIFEST), target.name))
    index = artifact.index(models, artifact.shared_notes(notes))
    top = store.put_json(index, media.INDEX)
    data = store.put_file(golden_file, media.DATASET, digest=prepared.golden.digest)
    return Variants(index=top, models=tuple(models), golden=data)


def attach(store: Store, variants: Variants) -> None:
    """Let the golden data hang on the index of models, and be kept with it."""
    store.attach(variants.index, media.GOLDEN, [variants.golden])
