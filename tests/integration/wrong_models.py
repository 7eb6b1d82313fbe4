"""Artifacts that are wrong on purpose, made from good ones, and signed as if they were good.

Each is what a build would have left: an image index that names an index of models, golden data,
and provenance. Only what is wrong about them is wrong, so a test sees that very reason.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from buildkit import canonical, media
from buildkit.evidence import kinds, signing
from buildkit.evidence.statement import Statement, Subject
from buildkit.model import artifact
from buildkit.pipeline import candidate
from buildkit.recipe import TARGETS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from buildkit.evidence.signer import Signer
    from buildkit.records import Descriptor
    from buildkit.store import Store

PI5 = TARGETS["pi5"]


def shuffled(model: onnx.ModelProto) -> onnx.ModelProto:
    """Every answer under another class's name."""
    (output,) = model.graph.output
    _rename_output(model, output.name, "right")
    classes = output.type.tensor_type.shape.dim[-1].dim_value
    turned = numpy_helper.from_array(np.roll(np.arange(classes, dtype=np.int64), 1), "turned")
    model.graph.initializer.append(turned)
    model.graph.node.append(helper.make_node("Gather", ["right", "turned"], [output.name], axis=1))
    return model


def sleeping(model: onnx.ModelProto, *, turns: int = 20_000_000) -> onnx.ModelProto:
    """An operator that does nothing useful for a long time, then the same answers."""
    (output,) = model.graph.output
    _rename_output(model, output.name, "right")
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["on"]),
            helper.make_node("Add", ["before", "step"], ["after"]),
        ],
        "turn",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, [1]),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, [1]),
        ],
    )
    model.graph.initializer.extend(
        [
            numpy_helper.from_array(np.array(turns, np.int64), "turns"),
            numpy_helper.from_array(np.ones((), np.bool_), "go0"),
            numpy_helper.from_array(np.zeros(1, np.float32), "step"),
        ]
    )
    # What it comes to depends on the input, so that no optimiser works it out beforehand.
    model.graph.node.extend(
        [
            helper.make_node("ReduceMean", ["right"], ["mean"], keepdims=0),
            helper.make_node("Mul", ["mean", "step"], ["seed"]),
            helper.make_node("Loop", ["turns", "go0", "seed"], ["slept"], body=body),
            helper.make_node("Add", ["right", "slept"], [output.name]),
        ]
    )
    return model


def hungry(model: onnx.ModelProto, *, mib: int = 3072) -> onnx.ModelProto:
    """A tensor larger than the target's memory, then the same answers."""
    (output,) = model.graph.output
    _rename_output(model, output.name, "right")
    shape = numpy_helper.from_array(np.array([mib, 1 << 18], np.int64), "shape")
    nothing = numpy_helper.from_array(np.zeros(1, np.float32), "nothing")
    model.graph.initializer.extend([shape, nothing])
    model.graph.node.extend(
        [
            helper.make_node("ReduceMean", ["right"], ["mean"], keepdims=0),
            helper.make_node("Mul", ["mean", "nothing"], ["zero"]),
            helper.make_node("Expand", ["zero", "shape"], ["field"]),
            helper.make_node("ReduceMax", ["field"], ["most"], keepdims=0),
            helper.make_node("Add", ["right", "most"], [output.name]),
        ]
    )
    return model


def newer_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    """For an operator set that no runtime has yet."""
    model.opset_import[0].version = 99
    return model


def _rename_output(model: onnx.ModelProto, old: str, new: str) -> None:
    for node in model.graph.node:
        for at, name in enumerate(node.output):
            if name == old:
                node.output[at] = new
        for at, name in enumerate(node.input):
            if name == old:
                node.input[at] = new


def with_model(
    store: Store,
    signer: Signer,
    name: str,
    change: Callable[[onnx.ModelProto], onnx.ModelProto],
    *,
    base: str = "digits:1.0.0",
) -> str:
    """`base` with another model for the Pi 5, named, and signed; its name."""
    good = candidate.find(store, base, PI5)
    manifest = store.read_json(good.model.digest)
    weight, card = manifest["layers"]
    model = change(onnx.load_from_string(store.read(weight["digest"])))
    data = model.SerializeToString()
    new = store.put_bytes(data, artifact.WEIGHT)
    about = store.read_json(card["digest"])
    about["file"] |= {"digest": new.digest, "size": new.size}
    return publish(store, signer, name, good, _with(store, manifest, new, about))


def with_image(store: Store, signer: Signer, name: str, image: Descriptor, base: str) -> str:
    """`base` with another image in the place of the Pi 5's; its name."""
    good = candidate.find(store, base, PI5)
    return publish(store, signer, name, good, store.read_json(good.model.digest), image=image)


def _with(
    store: Store, manifest: Mapping[str, Any], weight: Descriptor, card: Mapping[str, Any]
) -> dict[str, Any]:
    written = store.put_json(card, artifact.WEIGHT_CONFIG)
    changed = json.loads(canonical.dump(manifest))
    for layer, made in zip(changed["layers"], (weight, written), strict=True):
        layer |= {"digest": made.digest, "size": made.size}
    changed["annotations"][media.MODEL_CHECKSUM] = weight.digest
    result: dict[str, Any] = changed
    return result


def publish(
    store: Store,
    signer: Signer,
    name: str,
    good: candidate.Candidate,
    manifest: Mapping[str, Any],
    *,
    image: Descriptor | None = None,
) -> str:
    """Index of models, golden data, index of images, provenance, name."""
    model = store.put_json(manifest, media.MANIFEST)
    models = store.read_json(good.model_index.digest)
    _replace(models, good.model.digest, model)
    model_index = store.put_json(models, media.INDEX)
    store.attach(model_index, media.GOLDEN, [good.golden])
    images = store.read_json(good.index.digest)
    _replace(images, good.image.digest, image or good.image)
    images["annotations"][media.MODEL_DIGEST] = model_index.digest
    index = store.put_json(images, media.INDEX)
    store.tag(model_index, f"{name}-model:1.0.0")
    store.tag(index, f"{name}:1.0.0")
    made = {each.digest: each for each in (index, image or good.image, model_index, model)}
    said = Statement(
        subjects=tuple(Subject(name=name, digest=digest) for digest in made),
        predicate_type=kinds.PROVENANCE.predicate_type,
        predicate={"buildDefinition": {"buildType": "urn:test", "externalParameters": {}}},
    )
    signing.sign(store, signer, [said.payload()], made)
    return f"{name}:1.0.0"


def _replace(index: dict[str, Any], old: str, new: Descriptor) -> None:
    for entry in index["manifests"]:
        if entry["digest"] == old:
            entry |= {"digest": new.digest, "size": new.size}
