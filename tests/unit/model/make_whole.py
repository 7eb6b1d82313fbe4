"""A network of every operator that a quantised model may hold and still answer alike everywhere.

A script like a recipe's: ``SEED`` in, ``model.onnx``, ``calibration.npz`` and ``golden.npz`` into
``OUT``. Random bits and plain arithmetic only, so the same files on every CPU.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]

SIZE, CHANNELS, CLASSES = 12, 3, 6


class Builder:
    """Collects nodes and weights."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []

    def add(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> list[str]:
        stem = f"{op.lower()}_{len(self.nodes)}"
        names = [f"{stem}_{number}" for number in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, name=stem, **attributes))
        return names

    def one(self, op: str, *inputs: str, **attributes: Any) -> str:
        return self.add(op, *inputs, **attributes)[0]

    def constant(self, value: Array) -> str:
        name = f"w{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(value, name))
        return name

    def whole(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def random(self, *shape: int, scale: float = 1.0) -> str:
        return self.constant(((self.rng.random(shape) * 2 - 1) * scale).astype(np.float32))


def network(seed: int) -> onnx.ModelProto:
    """Images (batch, 3, 12, 12) to scores (batch, 6)."""
    b = Builder(np.random.Generator(np.random.PCG64(seed)))
    x = b.one("Conv", "x", b.random(16, CHANNELS, 3, 3, scale=0.5), b.random(16), pads=[1] * 4)
    x = b.one("Relu", x)
    deep = b.one("Conv", x, b.random(16, 1, 3, 3), b.random(16), group=16, pads=[1] * 4)
    x = b.one("Concat", b.one("Clip", deep, *map(b.constant, _ends())), x, axis=1)
    x = b.one("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    left, right = b.add("Split", x, b.whole(16, 16), outputs=2, axis=1)
    right = b.one("Pad", right, b.whole(0, 0, 1, 0, 0, 0, 0, 1))
    right = b.one("Slice", right, b.whole(0), b.whole(6), b.whole(2))
    right = b.one("Conv", right, b.random(16, 16, 2, 2, scale=0.2), pads=[0, 1, 1, 1])
    left, right = (b.one("Reshape", each, b.whole(0, 16, -1)) for each in (left, right))
    # Two activations multiplied: attention without its softmax.
    right = b.one("Slice", right, b.whole(0), b.whole(36), b.whole(2))
    score = b.one("MatMul", left, b.one("Transpose", right, perm=[0, 2, 1]))
    x = b.one("MatMul", score, b.random(16, 24, scale=0.5))
    x = b.one("Unsqueeze", b.one("Transpose", x, perm=[0, 2, 1]), b.whole(3))
    x = b.one("Resize", x, "", b.constant(np.array([1, 1, 2, 1], np.float32)), mode="nearest")
    x = b.one("Flatten", b.one("GlobalAveragePool", x))
    b.nodes.append(
        helper.make_node(
            "Gemm", [x, b.random(CLASSES, 24), b.random(CLASSES)], ["y"], name="y", transB=1
        )
    )
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        b.nodes,
        "whole",
        [value("x", TensorProto.FLOAT, ["batch", CHANNELS, SIZE, SIZE])],
        [value("y", TensorProto.FLOAT, ["batch", CLASSES])],
        initializer=b.tensors,
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="whole")
    onnx.checker.check_model(model, full_check=True)
    return model


def _ends() -> tuple[Array, Array]:
    return np.array(-1, np.float32), np.array(4, np.float32)


def images(seed: int, count: int) -> Array:
    """Values from 0 to 1, (N, 3, 12, 12)."""
    rng = np.random.Generator(np.random.PCG64(seed))
    bright = rng.random((count, CHANNELS, 1, 1))
    return (rng.random((count, CHANNELS, SIZE, SIZE)) * bright).astype(np.float32)


def main() -> None:
    """Write the three files."""
    out, seed = Path(os.environ["OUT"]), int(os.environ["SEED"])
    (out / "model.onnx").write_bytes(network(seed).SerializeToString(deterministic=True))
    np.savez(out / "calibration.npz", x=images(seed + 1, 24))
    label = np.random.Generator(np.random.PCG64(seed)).integers(0, CLASSES, 200)
    np.savez(out / "golden.npz", x=images(seed + 2, 200), label=label)


if __name__ == "__main__":
    main()
