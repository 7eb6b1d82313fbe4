"""Small seeded models for the tests of `buildkit.model.prepare`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Array = npt.NDArray[Any]

_TYPES = {
    np.dtype(np.float32): TensorProto.FLOAT,
    np.dtype(np.int64): TensorProto.INT64,
    np.dtype(np.bool_): TensorProto.BOOL,
}


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sequence[int | str]],
    outputs: Mapping[str, Sequence[int | str] | None],
    constants: Mapping[str, Array],
    *,
    opset: int = 17,
    integers: Sequence[str] = (),
) -> onnx.ModelProto:
    kind = dict.fromkeys(integers, TensorProto.INT64)
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [
            helper.make_tensor_value_info(n, kind.get(n, TensorProto.FLOAT), s)
            for n, s in inputs.items()
        ],
        [
            helper.make_tensor_value_info(n, kind.get(n, TensorProto.FLOAT), s)
            for n, s in outputs.items()
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    domains = sorted({node.domain for node in nodes} | {""})
    made = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(d, 1 if d else opset) for d in domains],
        ir_version=8,
    )
    made.producer_name = "tests"
    return made


def floats(seed: int, *shape: int, scale: float = 1.0) -> Array:
    return (np.random.default_rng(seed).normal(size=shape) * scale).astype(np.float32)


def cnn(*, classes: int = 4, batch: int | str = "N") -> onnx.ModelProto:
    """Conv, BatchNormalization, Relu, depthwise Conv, pooling, Gemm on (N, 2, 8, 8)."""
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w1"], ["c1"], name="conv1", pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["c1", "s", "b", "m", "v"], ["n1"], name="norm"),
        node("Relu", ["n1"], ["r1"], name="relu"),
        node("Conv", ["r1", "w2", "b2"], ["c2"], name="conv2", group=6, strides=[2, 2]),
        node("Clip", ["c2", "low", "high"], ["k2"], name="clip"),
        node("GlobalAveragePool", ["k2"], ["g"], name="gap"),
        node("Flatten", ["g"], ["f"], name="flatten"),
        node("Gemm", ["f", "w3", "b3"], ["y"], name="gemm"),
    ]
    constants = {
        "w1": floats(1, 6, 2, 3, 3, scale=0.4),
        "s": np.abs(floats(2, 6)) + np.float32(0.5),
        "b": floats(3, 6),
        "m": floats(4, 6),
        "v": np.abs(floats(5, 6)) + np.float32(0.5),
        "w2": floats(6, 6, 1, 3, 3, scale=0.5),
        "b2": floats(7, 6),
        "low": np.array(0, np.float32),
        "high": np.array(6, np.float32),
        "w3": floats(8, 6, classes),
        "b3": floats(9, classes),
    }
    return model(nodes, {"x": [batch, 2, 8, 8]}, {"y": [batch, classes]}, constants)


def encoder(*, width: int = 16, heads: int = 2, layers: int = 2) -> onnx.ModelProto:
    """A transformer encoder on token numbers (N, S), classified into 3."""
    node = helper.make_node
    nodes = [node("Gather", ["table", "ids"], ["x0"], name="embed")]
    constants: dict[str, Array] = {
        "table": floats(20, 11, width),
        "split": np.array([0, 0, heads, width // heads], np.int64),
        "join": np.array([0, 0, width], np.int64),
        "scale": np.array(1 / np.sqrt(width // heads), np.float32),
        "root": np.array(np.sqrt(2), np.float32),
        "one": np.array(1, np.float32),
        "half": np.array(0.5, np.float32),
        "gain": np.ones(width, np.float32),
        "shift": floats(21, width, scale=0.1),
        "head": floats(22, width, 3),
    }
    x = "x0"
    for layer in range(layers):

        def add(op: str, ins: list[str], out: str, at: int = layer, **attributes: Any) -> str:
            nodes.append(node(op, ins, [f"{out}{at}"], name=f"{out}{at}", **attributes))
            return f"{out}{at}"

        parts = {}
        for number, part in enumerate("qkv"):
            constants[f"w{part}{layer}"] = floats(30 + 9 * layer + number, width, width, scale=0.3)
            made = add("MatMul", [x, f"w{part}{layer}"], f"m{part}")
            made = add("Reshape", [made, "split"], f"r{part}")
            perm = [0, 2, 3, 1] if part == "k" else [0, 2, 1, 3]
            parts[part] = add("Transpose", [made], f"t{part}", perm=perm)
        score = add("MatMul", [parts["q"], parts["k"]], "score")
        score = add("Softmax", [add("Mul", [score, "scale"], "scaled")], "weights", axis=-1)
        mixed = add("MatMul", [score, parts["v"]], "mixed")
        mixed = add("Transpose", [mixed], "turned", perm=[0, 2, 1, 3])
        x = add("Add", [x, add("Reshape", [mixed, "join"], "joined")], "sum")
        x = add("LayerNormalization", [x, "gain", "shift"], "norm", axis=-1)
        constants[f"u{layer}"] = floats(40 + 9 * layer, width, 2 * width, scale=0.3)
        constants[f"d{layer}"] = floats(41 + 9 * layer, 2 * width, width, scale=0.3)
        up = add("MatMul", [x, f"u{layer}"], "up")
        bent = add("Add", [add("Erf", [add("Div", [up, "root"], "div")], "erf"), "one"], "plus")
        up = add("Mul", [add("Mul", [up, bent], "times"), "half"], "gelu")
        x = add("Add", [x, add("MatMul", [up, f"d{layer}"], "down")], "out")
    nodes += [
        node("ReduceMean", [x], ["mean"], name="mean", axes=[1], keepdims=0),
        node("MatMul", ["mean", "head"], ["y"], name="head"),
    ]
    return model(nodes, {"ids": ["N", "S"]}, {"y": ["N", 3]}, constants, integers=["ids"])


def save(path: Path, made: onnx.ModelProto) -> Path:
    path.write_bytes(made.SerializeToString())
    return path


def images(path: Path, count: int = 12, *, seed: int = 50, labels: Array | None = None) -> Path:
    arrays = {"x": floats(seed, count, 2, 8, 8)}
    if labels is not None:
        arrays["label"] = labels
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path
