"""A transformer encoder of two layers, in the form that exporters write.

A script like a recipe's: ``SEED`` in, ``model.onnx``, ``calibration.npz`` and ``golden.npz`` into
``OUT``. Random bits and plain arithmetic only, so the same files on every CPU. Shapes are worked
out in the graph, masks become -10000, layer normalisation and GELU are written out.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]

WORDS, LENGTH, WIDTH, HEADS, LAYERS, CLASSES = 60, 12, 32, 4, 2, 5


class Builder:
    """Collects nodes and weights."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        name = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def constant(self, value: Array) -> str:
        name = f"w{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def number(self, value: float) -> str:
        return self.constant(np.array(value, np.float32))

    def whole(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def random(self, *shape: int, scale: float = 1.0) -> str:
        return self.constant(((self.rng.random(shape) * 2 - 1) * scale).astype(np.float32))

    def dense(self, x: str, inputs: int, outputs: int) -> str:
        made = self.add("MatMul", x, self.random(inputs, outputs, scale=2 / math.sqrt(inputs)))
        return self.add("Add", self.random(outputs, scale=0.1), made)

    def normalise(self, x: str) -> str:
        centred = self.add("Sub", x, self.add("ReduceMean", x, axes=[-1]))
        squares = self.add("Pow", centred, self.number(2))
        variance = self.add("ReduceMean", squares, axes=[-1])
        spread = self.add("Sqrt", self.add("Add", variance, self.number(1e-5)))
        scaled = self.add("Mul", self.add("Div", centred, spread), self.random(WIDTH, scale=1.5))
        return self.add("Add", scaled, self.random(WIDTH, scale=0.1))

    def heads(self, x: str, batch: str, length: str, *, last: bool = False) -> str:
        parts = [batch, length, self.whole(HEADS), self.whole(WIDTH // HEADS)]
        split = self.add("Reshape", x, self.add("Concat", *parts, axis=0))
        return self.add("Transpose", split, perm=[0, 2, 3, 1] if last else [0, 2, 1, 3])

    def gelu(self, x: str) -> str:
        inner = self.add("Erf", self.add("Div", x, self.number(math.sqrt(2))))
        twice = self.add("Mul", x, self.add("Add", inner, self.number(1)))
        return self.add("Mul", twice, self.number(0.5))

    def layer(self, x: str, mask: str, batch: str, length: str) -> str:
        query, key, value = (self.dense(x, WIDTH, WIDTH) for _ in range(3))
        score = self.add(
            "MatMul",
            self.heads(query, batch, length),
            self.heads(key, batch, length, last=True),
        )
        score = self.add("Div", score, self.number(math.sqrt(WIDTH // HEADS)))
        weights = self.add("Softmax", self.add("Add", score, mask), axis=-1)
        mixed = self.add("MatMul", weights, self.heads(value, batch, length))
        mixed = self.add("Transpose", mixed, perm=[0, 2, 1, 3])
        shape = self.add("Concat", batch, length, self.whole(WIDTH), axis=0)
        mixed = self.dense(self.add("Reshape", mixed, shape), WIDTH, WIDTH)
        x = self.normalise(self.add("Add", mixed, x))
        inner = self.gelu(self.dense(x, WIDTH, 4 * WIDTH))
        return self.normalise(self.add("Add", self.dense(inner, 4 * WIDTH, WIDTH), x))


def encoder(seed: int) -> onnx.ModelProto:
    """Token numbers and mask (batch, length) to scores (batch, classes)."""
    b = Builder(np.random.Generator(np.random.PCG64(seed)))
    shape = b.add("Shape", "ids")
    batch, length = (
        b.add("Unsqueeze", b.add("Gather", shape, b.constant(np.array(at, np.int64))), b.whole(0))
        for at in range(2)
    )
    places = b.add("Slice", b.whole(*range(64)), b.whole(0), length, b.whole(0))
    x = b.add("Gather", b.random(WORDS, WIDTH), "ids")
    x = b.normalise(b.add("Add", x, b.add("Gather", b.random(64, WIDTH), places)))
    mask = b.add("Cast", b.add("Unsqueeze", "mask", b.whole(1, 2)), to=TensorProto.FLOAT)
    mask = b.add("Mul", b.add("Sub", b.number(1), mask), b.number(-10000))
    for _ in range(LAYERS):
        x = b.layer(x, mask, batch, length)
    first = b.add("Gather", x, b.constant(np.array(0, np.int64)), axis=1)
    pooled = b.add("Tanh", b.add("Gemm", first, b.random(WIDTH, WIDTH, scale=0.3)))
    b.nodes.append(
        helper.make_node(
            "Gemm",
            [pooled, b.random(CLASSES, WIDTH), b.random(CLASSES)],
            ["scores"],
            name="scores",
            transB=1,
        )
    )
    graph = helper.make_graph(
        b.nodes,
        "encoder",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
            for name in ("ids", "mask")
        ],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", CLASSES])],
        initializer=b.tensors,
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="encoder")
    onnx.checker.check_model(model, full_check=True)
    return model


def sentences(seed: int, count: int) -> dict[str, Array]:
    """Random words; the mask hides what follows a random length."""
    rng = np.random.Generator(np.random.PCG64(seed))
    ids = rng.integers(0, WORDS, (count, LENGTH))
    ends = rng.integers(3, LENGTH + 1, (count, 1))
    return {"ids": ids, "mask": (np.arange(LENGTH) < ends).astype(np.int64)}


def main() -> None:
    """Write the three files."""
    out, seed = Path(os.environ["OUT"]), int(os.environ["SEED"])
    (out / "model.onnx").write_bytes(encoder(seed).SerializeToString(deterministic=True))
    np.savez(out / "calibration.npz", **sentences(seed + 1, 24))  # type: ignore[arg-type]
    label = np.random.Generator(np.random.PCG64(seed)).integers(0, CLASSES, 40)
    np.savez(out / "golden.npz", **sentences(seed + 2, 40), label=label)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
