"""Train a small CNN on scikit-learn's handwritten digits; the same bytes on every CPU.

Two convolutions and a dense layer, 8 x 8 pixels in, ten scores out. The loss is the squared hinge
of ten one-against-all classifiers: it needs no ``exp``, so plain IEEE arithmetic and `exact` are
enough (see there).

Writes into ``OUT``:
    model.onnx: ``input`` (batch, 1, 8, 8), pixels from 0 to 1, to ``logits`` (batch, 10).
    calibration.npz: ``input`` of 200 training images.
    golden.npz: ``input`` and ``label`` of the 500 images that training never saw.
"""

from __future__ import annotations

import gzip
import importlib.util
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import exact
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Labels = NDArray[np.int64]

GOLDEN = 500
CALIBRATION = 200
CLASSES = 10
CHANNELS = (1, 16, 32)
STRIDES = (1, 2)
EPOCHS = 50
BATCH = 32
RATE = 0.03
MOMENTUM = 0.9


def load_digits() -> tuple[Floats, Labels]:
    """1797 images (N, 1, 8, 8) with values k/16, and labels (N,).

    The file is read out of the installed package without importing it: the import would bring in
    scipy, which takes longer than the training.
    """
    spec = importlib.util.find_spec("sklearn")
    if spec is None or spec.origin is None:
        message = "scikit-learn is not installed: it carries the data"
        raise SystemExit(message)
    packed = (Path(spec.origin).parent / "datasets/data/digits.csv.gz").read_bytes()
    rows = [line.split(",") for line in gzip.decompress(packed).decode("ascii").split()]
    table = np.array(rows, dtype=np.float64)
    return table[:, :-1].reshape(-1, 1, 8, 8) / 16, table[:, -1].astype(np.int64)


class Conv:
    """A 3 x 3 convolution with padding 1, ReLU, and its gradient; weights are (I*9, O)."""

    def __init__(self, rng: np.random.Generator, inputs: int, outputs: int, stride: int) -> None:
        self.stride = stride
        self.weights = uniform(rng, inputs * 9, outputs)
        self.bias = np.zeros(outputs)

    def forward(self, x: Floats) -> Floats:
        """(N, I, H, W) to (N, O, H/stride, W/stride)."""
        s = self.stride
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
        windows = windows[:, :, ::s, ::s].transpose(0, 2, 3, 1, 4, 5)
        self.shape = padded.shape
        self.columns = windows.reshape(*windows.shape[:3], -1)
        rows = self.columns.reshape(-1, self.columns.shape[-1])
        y = exact.matmul(rows, self.weights) + self.bias
        self.active = y > 0
        return np.maximum(y, 0).reshape(*self.columns.shape[:3], -1).transpose(0, 3, 1, 2)

    def backward(self, dy: Floats) -> tuple[Floats, list[Floats]]:
        """Gradients for the input and for weights and bias."""
        N, M, H, W = dy.shape
        rows = dy.transpose(0, 2, 3, 1).reshape(-1, M) * self.active
        flat = self.columns.reshape(len(rows), -1)
        gradients = [exact.matmul(flat.T, rows), exact.total(rows, 0)]
        spread = exact.matmul(rows, self.weights.T).reshape(N, H, W, -1, 3, 3)
        dx = np.zeros(self.shape)
        s = self.stride
        for i in range(3):
            for j in range(3):
                part = spread[..., i, j].transpose(0, 3, 1, 2)
                dx[:, :, i : i + s * H : s, j : j + s * W : s] += part
        return dx[:, :, 1:-1, 1:-1], gradients


class Dense:
    """Flatten and multiply; weights are (I, O)."""

    def __init__(self, rng: np.random.Generator, inputs: int, outputs: int) -> None:
        self.weights = uniform(rng, inputs, outputs)
        self.bias = np.zeros(outputs)

    def forward(self, x: Floats) -> Floats:
        """(N, ...) to (N, O)."""
        self.shape = x.shape
        self.rows = x.reshape(len(x), -1)
        return exact.matmul(self.rows, self.weights) + self.bias

    def backward(self, dy: Floats) -> tuple[Floats, list[Floats]]:
        """Gradients for the input and for weights and bias."""
        gradients = [exact.matmul(self.rows.T, dy), exact.total(dy, 0)]
        return exact.matmul(dy, self.weights.T).reshape(self.shape), gradients


def uniform(rng: np.random.Generator, inputs: int, outputs: int) -> Floats:
    """He's uniform initialisation: uniform bits are the same everywhere, normal tails are not."""
    return (rng.random((inputs, outputs)) * 2 - 1) * math.sqrt(6 / inputs)


def train(rng: np.random.Generator, images: Floats, labels: Labels) -> list[Conv | Dense]:
    """Stochastic gradient descent with momentum; the rate falls to nothing in a straight line."""
    layers: list[Conv | Dense] = [
        Conv(rng, inputs, outputs, stride)
        for inputs, outputs, stride in zip(CHANNELS, CHANNELS[1:], STRIDES, strict=False)
    ]
    layers.append(Dense(rng, CHANNELS[-1] * 16, CLASSES))
    speed = [[np.zeros_like(layer.weights), np.zeros_like(layer.bias)] for layer in layers]
    signs = np.where(labels[:, None] == np.arange(CLASSES), 1.0, -1.0)
    starts = range(0, len(images) - BATCH + 1, BATCH)
    steps = EPOCHS * len(starts)
    shuffled = (rng.permutation(len(images)) for _ in range(EPOCHS))
    batches = (order[at : at + BATCH] for order in shuffled for at in starts)
    for step, pick in enumerate(batches):
        x = images[pick]
        for layer in layers:
            x = layer.forward(x)
        gradient = -signs[pick] * np.maximum(1 - signs[pick] * x, 0) / BATCH
        rate = RATE * (1 - step / steps)
        for layer, moving in zip(reversed(layers), reversed(speed), strict=True):
            gradient, changes = layer.backward(gradient)
            for slot, change in enumerate(changes):
                moving[slot] = MOMENTUM * moving[slot] - rate * change
            layer.weights = layer.weights + moving[0]
            layer.bias = layer.bias + moving[1]
    return layers


def to_onnx(layers: list[Conv | Dense]) -> bytes:
    """The network as an ONNX file: opset 17, which every vendor's compiler reads."""
    nodes: list[onnx.NodeProto] = []
    tensors: list[onnx.TensorProto] = []
    last = "input"

    def add(op: str, out: str, parameters: dict[str, Floats], **attributes: Any) -> str:
        names = [f"{out}.{name}" for name in parameters]
        tensors.extend(
            numpy_helper.from_array(np.ascontiguousarray(value, dtype=np.float32), name)
            for name, value in zip(names, parameters.values(), strict=True)
        )
        nodes.append(helper.make_node(op, [last, *names], [out], name=out, **attributes))
        return out

    for number, layer in enumerate(layers, start=1):
        if isinstance(layer, Conv):
            kernel = layer.weights.T.reshape(layer.weights.shape[1], -1, 3, 3)
            last = add(
                "Conv",
                f"conv{number}",
                {"weight": kernel, "bias": layer.bias},
                kernel_shape=[3, 3],
                strides=[layer.stride] * 2,
                pads=[1, 1, 1, 1],
            )
            last = add("Relu", f"relu{number}", {})
        else:
            last = add("Flatten", "flat", {}, axis=1)
            last = add("Gemm", "logits", {"weight": layer.weights.T, "bias": layer.bias}, transB=1)
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])],
        initializer=tensors,
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="digits")
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def main() -> None:
    """Train with ``SEED`` and write into ``OUT``."""
    out = Path(os.environ["OUT"])
    rng = np.random.Generator(np.random.PCG64(int(os.environ["SEED"])))
    images, labels = load_digits()
    order = rng.permutation(len(images))
    images, labels = images[order], labels[order]
    layers = train(rng, images[GOLDEN:], labels[GOLDEN:])
    (out / "model.onnx").write_bytes(to_onnx(layers))
    pixels = images.astype(np.float32)
    np.savez(out / "calibration.npz", input=pixels[GOLDEN : GOLDEN + CALIBRATION])
    np.savez(out / "golden.npz", input=pixels[:GOLDEN], label=labels[:GOLDEN])


if __name__ == "__main__":
    main()
