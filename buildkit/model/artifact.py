"""The model as an OCI artifact, as documents; reads and writes nothing.

Format: CNCF ModelPack model-spec v1 (manifest and ``application/vnd.cncf.model.config.v1+json``).
Its configuration has no room for what a device needs to know, so that stands in one more layer,
``model.json``, and in the manifest's annotations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from buildkit import canonical, media

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from buildkit.lock.types import Lock
    from buildkit.recipe.types import Recipe, Target
    from buildkit.records import Descriptor

_PRECISION = {
    "none": "float32",
    "dynamic-int8": "int8",
    "static-int8": "int8",
    "int4-weights": "int4",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """What came out of the sandbox.

    Attributes:
        digest: of the quantised file.
        size: of the quantised file, bytes.
        signature: inputs, outputs, opset, number of parameters.
        report: what was quantised, and how.
        accuracy: samples, and percent of them right, float and quantised; ``answers``: whether
            they are the same on every CPU, with their ``sha256``, and what computes in float32.
        golden: descriptor of the data that it was checked with.
        data_digest: ``sha256:`` over everything that the model learned or was calibrated from.
    """

    digest: str
    size: int
    signature: Mapping[str, Any]
    report: Mapping[str, Any]
    accuracy: Mapping[str, Any]
    golden: Descriptor
    data_digest: str


def card(recipe: Recipe, lock: Lock, target: Target, prepared: Prepared) -> dict[str, Any]:
    """``model.json``: what a device and a person need to know of this variant."""
    prepare = recipe.model.prepare
    settings: dict[str, Any] = {
        "mode": prepare.quantization,
        "per_channel": prepare.per_channel,
        "reduce_range": prepare.reduce_range,
        "fusion": prepare.fusion,
        "onnxruntime": lock.model.onnxruntime,
    }
    if prepare.quantization == "int4-weights":
        settings["block_size"] = prepare.block_size
    if recipe.model.calibration is not None:
        settings["calibration"] = {
            "method": recipe.model.calibration.method,
            "way": lock.model.calibration,
        }
    return {
        "schema": media.CARD_SCHEMA,
        "name": recipe.name,
        "version": recipe.version,
        "task": recipe.model.task,
        "file": {"name": "model.onnx", "digest": prepared.digest, "size": prepared.size},
        "signature": dict(prepared.signature),
        "training": {
            "commit": lock.model.commit,
            "data_digest": prepared.data_digest,
            "float_sha256": lock.model.float_sha256,
            "seed": lock.model.seed,
        },
        "quantization": settings,
        "quantized": dict(prepared.report),
        "accuracy": {key: value for key, value in prepared.accuracy.items() if key != "answers"},
        "answers": dict(prepared.accuracy["answers"]),
        # By which a device knows the data that it is tested with.
        "golden": {"digest": prepared.golden.digest, "size": prepared.golden.size},
        "runtime": {
            "target": target.name,
            "platform": target.platform,
            "engine": target.runtime,
            "max_batch": target.max_batch,
            "memory_limit": target.memory_limit,
            "kernel": target.kernel,
            "firmware": target.firmware,
        },
    }


def config(
    recipe: Recipe, lock: Lock, prepared: Prepared, layers: Sequence[str], epoch: int
) -> Any:
    """The ModelPack configuration.

    Args:
        recipe: names, licence, quantisation.
        lock: commit of the training.
        prepared: signature with the number of parameters.
        layers: digests of the layers; they are not compressed, so these are their diff ids.
        epoch: the recipe's time.
    """
    descriptor: dict[str, Any] = {
        "name": recipe.name,
        "version": recipe.version,
        "createdAt": canonical.timestamp(epoch),
    }
    optional = {
        "description": recipe.description,
        "revision": lock.model.commit,
        "licenses": [recipe.model.license] if recipe.model.license else [],
    }
    descriptor |= {key: value for key, value in optional.items() if value}
    quantization = recipe.model.prepare.quantization
    technical = {
        "format": "onnx",
        "precision": _PRECISION[quantization],
        "paramSize": str(prepared.signature.get("parameters", "")),
    }
    if quantization != "none":
        technical["quantization"] = quantization
    return {
        "descriptor": descriptor,
        "config": technical,
        "modelfs": {"type": "layers", "diffIds": list(layers)},
    }


def manifest(
    config: Descriptor,
    weight: Descriptor,
    card: Descriptor,
    annotations: Mapping[str, str],
) -> dict[str, Any]:
    """The manifest of one variant."""

    def named(descriptor: Descriptor, path: str) -> dict[str, Any]:
        return {**descriptor.to_json(), "annotations": {media.FILE_PATH: path, media.TITLE: path}}

    return {
        "schemaVersion": 2,
        "mediaType": media.MANIFEST,
        "artifactType": media.MODEL,
        "config": config.to_json(),
        "layers": [named(weight, "model.onnx"), named(card, "model.json")],
        "annotations": dict(annotations),
    }


def notes(
    recipe: Recipe,
    lock: Lock,
    target: Target,
    prepared: Prepared,
    *,
    lock_digest: str,
    epoch: int,
) -> dict[str, str]:
    """What a registry's listing should show of one variant; absent facts are left out."""
    found = {
        media.TITLE: recipe.name,
        media.VERSION: recipe.version,
        media.CREATED: canonical.timestamp(epoch),
        media.LICENSES: recipe.model.license,
        media.REVISION: lock.model.commit,
        media.MODEL_TARGET: target.name,
        media.MODEL_CHECKSUM: prepared.digest,
        media.LOCK_DIGEST: lock_digest,
        media.MODEL_DATA_DIGEST: prepared.data_digest,
        media.MODEL_QUANTIZATION: recipe.model.prepare.quantization,
    }
    return {key: value for key, value in found.items() if value}


def shared_notes(variant: Mapping[str, str]) -> dict[str, str]:
    """Those of a variant's annotations that hold for every variant."""
    return {name: value for name, value in variant.items() if name != media.MODEL_TARGET}


def index(variants: Sequence[tuple[Descriptor, str]], annotations: Mapping[str, str]) -> Any:
    """The index of all variants: (manifest, target) each."""
    return {
        "schemaVersion": 2,
        "mediaType": media.INDEX,
        "artifactType": media.MODEL,
        "manifests": [
            {
                **descriptor.to_json(),
                "artifactType": media.MODEL,
                "annotations": {media.MODEL_TARGET: target},
            }
            for descriptor, target in variants
        ],
        "annotations": dict(annotations),
    }
