"""Make a network in the shape of MobileNetV2 that tells patterns of cloth apart.

The size and speed case: 224 x 224 pixels, 3.4 million weights, 52 convolutions. Training all of
it would take a cloud. Here the first layer looks for edges and lines in many directions, as the
first layer of a trained network does; the other convolutions keep random weights, scaled layer by
layer so that every channel has mean 0 and variance 1 on a few images (what batch normalisation
would have learnt, folded in); and the classifier on top is fitted by ridge regression.

The same bytes on every CPU: convolutions over channels are exact (see `exact`), those over
3 x 3 pixels and the solver only multiply, add and divide, one array at a time.

Writes into ``OUT``:
    model.onnx: ``input`` (batch, 3, 224, 224), values from 0 to 1, to ``logits`` (batch, 10).
    calibration.npz: ``input`` of 16 images.
    golden.npz: ``input`` and ``label`` of 64 images. The fit saw none of either.

``SIZE``, ``SAMPLES`` and ``WIDTH`` (pixels, training images, percent of the channels) make a
smaller one, for tests.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import exact
import numpy as np
import onnx
import textures
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Images = NDArray[np.float32]  # (N, H, W, C) inside this file, (N, C, H, W) outside

# Expansion, channels, repeats, first stride: table 2 of the MobileNetV2 paper (arXiv:1801.04381).
BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
STEM = 32
# The paper has 1280 and a thousand classes; with ten, the same number of weights buys more
# features, which is what a random network lacks.
FEATURES = 4800
SCALING, CALIBRATION, GOLDEN = 20, 16, 64
RIDGE = 0.1
# Random layers in a row forget what they saw: a residual block adds a little to what passes it,
# and a depthwise layer is as much a pass-through as a random filter.
SHARE = 0.1
FILTER = 0.5


@dataclass
class Conv:
    """A convolution with its bias; weights are (O, I, k, k), or (C, 1, 3, 3) for depthwise."""

    name: str
    weights: NDArray[Any]
    stride: int = 1
    clip: bool = True
    gain: float = 1
    bias: Images = field(init=False)

    def __post_init__(self) -> None:
        self.weights = self.weights.astype(np.float32)
        self.bias = np.zeros(len(self.weights), dtype=np.float32)

    def product(self, x: Images) -> Images:
        """(N, H, W, I) to (N, H/stride, W/stride, O), without the bias."""
        if self.weights.shape[2] == 1:
            return self._channels(x, self.weights[:, :, 0, 0])
        s, depthwise = self.stride, self.weights.shape[1] == 1
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        high, wide = (x.shape[1] - 1) // s + 1, (x.shape[2] - 1) // s + 1
        taps = [
            (i, j, padded[:, i : i + s * high : s, j : j + s * wide : s])
            for i in range(3)
            for j in range(3)
        ]
        if not depthwise:
            columns = np.concatenate([tap for _, _, tap in taps], axis=-1)
            flat = self.weights.transpose(0, 2, 3, 1).reshape(len(self.weights), -1)
            return self._channels(columns, flat)
        y = np.zeros(taps[0][2].shape, dtype=np.float32)
        term = np.empty_like(y)
        for i, j, tap in taps:
            np.multiply(tap, self.weights[:, 0, i, j], out=term)
            y += term
        return y

    @staticmethod
    def _channels(x: Images, weights: Images) -> Images:
        rows = x.reshape(-1, x.shape[-1]).astype(np.float64)
        y = exact.matmul(rows, weights.T.astype(np.float64))
        return y.astype(np.float32).reshape(*x.shape[:-1], -1)

    def finish(self, y: Images) -> Images:
        """Bias and, where the layer has one, ReLU6."""
        y += self.bias
        return np.clip(y, 0, 6, out=y) if self.clip else y

    def scale_by(self, y: Images) -> Images:
        """Fold in what gives the products `y` mean 0 and spread `gain` in each channel."""
        rows = y.reshape(-1, y.shape[-1]).astype(np.float64)
        mean = exact.total(rows, 0) / len(rows)
        rows -= mean
        spread = np.sqrt(exact.total(rows * rows, 0) / len(rows) + 1e-6) / self.gain
        self.weights = (self.weights / spread[:, None, None, None]).astype(np.float32)
        self.bias = (-mean / spread).astype(np.float32)
        return (y / spread).astype(np.float32)


@dataclass
class Block:
    """Convolutions in a row; their input is added to their output where `residual` says so."""

    convs: list[Conv]
    residual: bool = False

    def forward(self, x: Images, *, scaling: bool = False) -> Images:
        """(N, H, W, I) to (N, H', W', O); `scaling` sets the scale of every layer on the way."""
        y = x
        for conv in self.convs:
            y = conv.product(y)
            y = conv.finish(conv.scale_by(y) if scaling else y)
        return x + y if self.residual else y


def build(rng: np.random.Generator, width: int) -> list[Block]:
    """The network with random weights; `width` in percent of the paper's channels."""

    def random(*shape: int) -> Floats:
        return rng.random(shape) * 2 - 1

    def channels(count: int) -> int:
        return max(8, count * width // 100 // 8 * 8)

    last = channels(STEM)
    blocks = [Block([Conv("stem", edges(rng, last), stride=2)])]
    for expansion, out, repeats, first in BLOCKS:
        for stride in [first] + [1] * (repeats - 1):
            name, inner, outer = f"block{len(blocks)}", last * expansion, channels(out)
            residual = stride == 1 and outer == last
            convs = [
                Conv(f"{name}.expand", random(inner, last, 1, 1)),
                Conv(
                    f"{name}.depthwise", FILTER * random(inner, 1, 3, 3) + passing(stride), stride
                ),
                Conv(f"{name}.project", random(outer, inner, 1, 1), clip=False),
            ]
            convs[2].gain = SHARE if residual else 1
            blocks.append(Block(convs[1:] if expansion == 1 else convs, residual))
            last = outer
    blocks.append(Block([Conv("features", random(channels(FEATURES), last, 1, 1))]))
    return blocks


def edges(rng: np.random.Generator, count: int) -> Floats:
    """3 x 3 filters (count, 3, 3, 3): slopes and lines in random directions, of either sign."""
    steps = np.array([-1.0, 0.0, 1.0])
    along = rng.random((2, count, 1, 1)) * 2 - 1
    slopes = (along[0] * steps + along[1] * steps[:, np.newaxis]) / (
        np.abs(along[0]) + np.abs(along[1])
    )
    lines = slopes * slopes
    lines -= exact.total(lines, (1, 2))[:, np.newaxis, np.newaxis] / 9
    number = np.arange(count)[:, np.newaxis, np.newaxis]
    shapes = np.where(number % 2, lines, slopes) * np.where(number % 4 < 2, 1, -1)
    return np.asarray(shapes[:, np.newaxis] * (rng.random((count, 3, 1, 1)) + 0.5))


def passing(stride: int) -> Floats:
    """The depthwise filter (3, 3) that lets an image pass: itself, or its mean when it shrinks."""
    return np.full((3, 3), 1 / 3) if stride == 2 else np.diag([0.0, 1.0, 0.0])


def features(blocks: list[Block], images: Images) -> Floats:
    """(N, 3, H, W) to (N, F): the mean of every last channel over the image."""
    rows = []
    for image in images:
        x = image.transpose(1, 2, 0)[np.newaxis]
        for block in blocks:
            x = block.forward(x)
        pixels = x.reshape(-1, x.shape[-1]).astype(np.float64)
        rows.append(exact.total(pixels, 0) / len(pixels))
    return np.stack(rows)


def fit(x: Floats, labels: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Ridge regression on the labels' signs: weights (F, classes) and bias (classes,)."""
    count = len(x)
    mean = exact.total(x, 0) / count
    centred = x - mean
    spread = np.sqrt(exact.total(centred * centred, 0) / count + 1e-6)
    centred /= spread
    signs = np.where(labels[:, None] == np.arange(len(textures.KINDS)), 1.0, -1.0)
    base = exact.total(signs, 0) / count
    gram = exact.matmul(centred, centred.T) / x.shape[1] + RIDGE * np.eye(count)
    weights = exact.matmul(centred.T, solve(gram, signs - base)) / x.shape[1]
    weights /= spread[:, None]
    return weights, base - exact.matmul(mean[np.newaxis], weights)[0]


def solve(matrix: Floats, right: Floats) -> Floats:
    """Gauss-Jordan for a positive definite matrix: LAPACK's answer depends on the CPU."""
    rows = np.concatenate([matrix, right], axis=1)
    for i in range(len(rows)):
        rows[i] /= rows[i, i]
        factors = rows[:, i].copy()
        factors[i] = 0
        rows -= factors[:, None] * rows[i]
    return rows[:, len(matrix) :]


def to_onnx(blocks: list[Block], weights: Floats, bias: Floats, size: int) -> bytes:
    """The network as an ONNX file: opset 17, which every vendor's compiler reads."""
    nodes: list[onnx.NodeProto] = []
    tensors: list[onnx.TensorProto] = []

    def tensor(name: str, value: Any) -> str:
        data = np.ascontiguousarray(value, dtype=np.float32)
        tensors.append(numpy_helper.from_array(data, name))
        return name

    def add(op: str, out: str, *inputs: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(op, inputs, [out], name=out, **attributes))
        return out

    low, high = tensor("relu6.low", 0), tensor("relu6.high", 6)
    last = "input"
    for number, block in enumerate(blocks):
        start = last
        for conv in block.convs:
            kernel = conv.weights.shape[2]
            last = add(
                "Conv",
                conv.name,
                last,
                tensor(f"{conv.name}.weight", conv.weights),
                tensor(f"{conv.name}.bias", conv.bias),
                kernel_shape=[kernel] * 2,
                strides=[conv.stride] * 2,
                pads=[kernel // 2] * 4,
                group=len(conv.weights) if conv.weights.shape[1] == 1 else 1,
            )
            if conv.clip:
                last = add("Clip", f"{conv.name}.relu6", last, low, high)
        if block.residual:
            last = add("Add", f"block{number}.add", start, last)
    last = add("GlobalAveragePool", "pool", last)
    last = add("Flatten", "flat", last, axis=1)
    parameters = tensor("classifier.weight", weights.T), tensor("classifier.bias", bias)
    last = add("Gemm", "logits", last, *parameters, transB=1)
    shape: list[str | int | None] = ["batch", 3, size, size]
    classes: list[str | int | None] = ["batch", len(bias)]
    graph = helper.make_graph(
        nodes,
        "vision",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, classes)],
        initializer=tensors,
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="vision")
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def main() -> None:
    """Make the network with ``SEED`` and write into ``OUT``."""
    out = Path(os.environ["OUT"])
    size = int(os.environ.get("SIZE", "224"))
    samples = int(os.environ.get("SAMPLES", "600"))
    rng = np.random.Generator(np.random.PCG64(int(os.environ["SEED"])))
    blocks = build(rng, int(os.environ.get("WIDTH", "100")))
    x = textures.draw(rng, SCALING, size)[0].transpose(0, 2, 3, 1)
    for block in blocks:
        x = block.forward(x, scaling=True)
    rows, kinds = [], []
    for _ in range(samples // len(textures.KINDS)):
        images, labels = textures.draw(rng, len(textures.KINDS), size)
        rows.append(features(blocks, images))
        kinds.append(labels)
    weights, bias = fit(np.concatenate(rows), np.concatenate(kinds))
    (out / "model.onnx").write_bytes(to_onnx(blocks, weights, bias, size))
    np.savez(out / "calibration.npz", input=textures.draw(rng, CALIBRATION, size)[0])
    golden, labels = textures.draw(rng, GOLDEN, size)
    np.savez(out / "golden.npz", input=golden, label=labels)


if __name__ == "__main__":
    main()
