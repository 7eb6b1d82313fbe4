"""Artifacts that are wrong on purpose, made from good ones, and signed as if they were good.

Each is what a build would have left: an image index that names an index of models, golden data,
and provenance. Only what is wrong about them is wrong, so a test sees that very reason.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from buildkit import canonical, digests, media
from buildkit.evidence import kinds, referrers, signing
from buildkit.evidence.statement import Statement, Subject
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
    new = store.put_bytes(data, media.WEIGHT)
    about = store.read_json(card["digest"])
    about["file"] |= {"digest": new.digest, "size": new.size}
    changed = _with(store, manifest, new, about)
    return signed(store, signer, unsigned(store, name, manifest=changed, base=base))


def with_image(store: Store, signer: Signer, name: str, image: Descriptor) -> str:
    """The digits with another image for the Pi 5, named, and signed; its name."""
    return signed(store, signer, unsigned(store, name, image=image))


def amd64_image(store: Store, *, base: str = "digits:1.0.0") -> Descriptor:
    """The image of `base` for another architecture."""
    return next(
        each
        for _, each in store.links(store.resolve(base)).children
        if each.platform == "linux/amd64"
    )


def lying(store: Store, image: Descriptor) -> Descriptor:
    """`image` with a configuration that says that it is for the Pi 5's architecture."""
    manifest = store.read_json(image.digest)
    config = store.read_json(manifest["config"]["digest"]) | {"architecture": "arm64"}
    manifest["config"] = store.put_json(config, media.CONFIG).to_json()
    return store.put_json(manifest, media.MANIFEST)


def tampered_image(store: Store, *, base: str = "digits:1.0.0") -> Descriptor:
    """The Pi 5's image of `base`, its last layer made anew with one more file in it."""
    good = candidate.find(store, base, PI5)
    manifest = store.read_json(good.image.digest)
    config = store.read_json(manifest["config"]["digest"])
    old = gzip.decompress(store.read(manifest["layers"][-1]["digest"]))
    stream = io.BytesIO(old)
    with tarfile.open(fileobj=stream, mode="a") as archive:
        info = tarfile.TarInfo("app/backdoor.py")
        archive.addfile(info, io.BytesIO())
    new = gzip.compress(stream.getvalue(), mtime=0)
    manifest["layers"][-1] = store.put_bytes(new, media.LAYER).to_json()
    config["rootfs"]["diff_ids"][-1] = digests.of_bytes(stream.getvalue())
    manifest["config"] = store.put_json(config, media.CONFIG).to_json()
    return store.put_json(manifest, media.MANIFEST)


def tampered_model(store: Store, *, card_too: bool, base: str = "digits:1.0.0") -> dict[str, Any]:
    """Manifest of the Pi 5's model of `base`, with other weights; its card knows, or does not."""
    good = candidate.find(store, base, PI5)
    manifest = store.read_json(good.model.digest)
    weight, card = manifest["layers"]
    data = shuffled(onnx.load_from_string(store.read(weight["digest"]))).SerializeToString()
    new = store.put_bytes(data, media.WEIGHT)
    about = store.read_json(card["digest"])
    if card_too:
        about["file"] |= {"digest": new.digest, "size": new.size}
    return _with(store, manifest, new, about)


def other_golden(store: Store, *, base: str = "digits:1.0.0") -> tuple[dict[str, Any], Descriptor]:
    """Manifest of the Pi 5's model of `base` with a card that names other golden data; that data.

    Every label is another, so that a wrong model would look right.
    """
    good = candidate.find(store, base, PI5)
    with np.load(io.BytesIO(store.read(good.golden.digest))) as found:
        data = {name: found[name] for name in found.files}
    data["label"] = (data["label"] + 1) % 10
    stream = io.BytesIO()
    np.savez(stream, **data)
    golden = store.put_bytes(stream.getvalue(), media.DATASET)
    manifest = store.read_json(good.model.digest)
    about = store.read_json(manifest["layers"][1]["digest"])
    about["golden"] |= {"digest": golden.digest, "size": golden.size}
    (weight,) = (
        each
        for _, each in store.links(good.model).children
        if each.digest == manifest["layers"][0]["digest"]
    )
    return _with(store, manifest, weight, about), golden


def _with(
    store: Store, manifest: Mapping[str, Any], weight: Descriptor, card: Mapping[str, Any]
) -> dict[str, Any]:
    written = store.put_json(card, media.CARD)
    changed = json.loads(canonical.dump(manifest))
    for layer, made in zip(changed["layers"], (weight, written), strict=True):
        layer |= {"digest": made.digest, "size": made.size}
    changed["annotations"][media.MODEL_CHECKSUM] = weight.digest
    result: dict[str, Any] = changed
    return result


@dataclass(frozen=True, kw_only=True)
class Unsigned:
    """What nobody vouches for yet.

    Attributes:
        name: of the image's index in the store.
        parts: digest → index of images, image, index of models, model.
    """

    name: str
    parts: Mapping[str, Descriptor]

    def payload(self) -> bytes:
        """Provenance of all parts."""
        return Statement(
            subjects=tuple(Subject(name=self.name, digest=digest) for digest in self.parts),
            predicate_type=kinds.PROVENANCE.predicate_type,
            predicate={"buildDefinition": {"buildType": "urn:test", "externalParameters": {}}},
        ).payload()

    def attach(self, store: Store, bundle: bytes) -> None:
        """Hang a bundle, whatever is in it, on the index of images as its provenance.

        The other parts may be those of `base` as well, which is to stay right.
        """
        kind = kinds.PROVENANCE.predicate_type
        index = next(iter(self.parts.values()))
        said = referrers.Signed(subject=index, predicate_type=kind, bundle=bundle)
        referrers.attach(store, [said])


def unsigned(
    store: Store,
    name: str,
    *,
    manifest: Mapping[str, Any] | None = None,
    image: Descriptor | None = None,
    golden: Descriptor | None = None,
    base: str = "digits:1.0.0",
) -> Unsigned:
    """`base` with some parts replaced, under a name of its own.

    Args:
        store: where it is, and goes.
        name: without a version.
        manifest: of another model for the Pi 5.
        image: another one for the Pi 5.
        golden: other data that a model is held against.
        base: what is right.
    """
    good = candidate.find(store, base, PI5)
    model = store.put_json(manifest or store.read_json(good.model.digest), media.MANIFEST)
    models = store.read_json(good.model_index.digest)
    _replace(models, good.model.digest, model)
    model_index = store.put_json(models, media.INDEX)
    store.attach(model_index, media.GOLDEN, [golden or good.golden])
    images = store.read_json(good.index.digest)
    _replace(images, good.image.digest, image or good.image)
    images["annotations"][media.MODEL_DIGEST] = model_index.digest
    # Otherwise the index of a model that changed nothing would be the good one.
    images["annotations"][media.TITLE] = name
    index = store.put_json(images, media.INDEX)
    store.tag(model_index, f"{name}-model:1.0.0")
    store.tag(index, f"{name}:1.0.0")
    parts = (index, image or good.image, model_index, model)
    return Unsigned(name=f"{name}:1.0.0", parts={each.digest: each for each in parts})


def signed(store: Store, signer: Signer, what: Unsigned) -> str:
    """Sign it as a build would; its name."""
    signing.sign(store, signer, [what.payload()], what.parts)
    return what.name


def _replace(index: dict[str, Any], old: str, new: Descriptor) -> None:
    for entry in index["manifests"]:
        if entry["digest"] == old:
            entry |= {"digest": new.digest, "size": new.size}
