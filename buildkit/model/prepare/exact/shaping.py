"""Operators that move values without computing with them."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import onnx

from .registry import Node, op, plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from .arith import Array

_FLOATS = frozenset(
    {
        onnx.TensorProto.FLOAT,
        onnx.TensorProto.DOUBLE,
        onnx.TensorProto.FLOAT16,
        onnx.TensorProto.BFLOAT16,
    }
)


def widened(value: Array) -> Array:
    """Floats as float64, integers as int64, booleans as they are."""
    if value.dtype == np.bool_:
        return value
    return value.astype(np.int64 if np.issubdtype(value.dtype, np.integer) else np.float64)


@op("Identity")
@op("Dropout")
def _identity(node: Node, x: Array, *_rest: Array | None) -> Array:
    if len([name for name in node.outputs if name]) > 1:
        node.refuse("more than one output")
    return x


@op("Constant")
def _constant(node: Node) -> Array:
    kinds = ("value", "value_float", "value_floats", "value_int", "value_ints")
    given = [node.attributes[kind] for kind in kinds if kind in node.attributes]
    if not given:
        node.refuse("this kind of value")
    return widened(np.asarray(given[0]))


@op("ConstantOfShape")
def _constant_of_shape(node: Node, shape: Array) -> Array:
    value = widened(np.asarray(node.get("value", np.zeros(1)))).reshape(())
    return np.full(tuple(shape.tolist()), value)


@op("Shape")
def _shape_of(node: Node, x: Array) -> Array:
    return np.asarray(x.shape[node.get("start", 0) : node.get("end", None)], np.int64)


@op("Cast")
def _cast(node: Node, x: Array) -> Array:
    to = node.attributes["to"]
    if to in _FLOATS:
        return x.astype(np.float64)
    if to == onnx.TensorProto.BOOL:
        return np.not_equal(x, 0)
    if to not in (onnx.TensorProto.INT64, onnx.TensorProto.INT32):
        node.refuse("this type")
    bits = 31 if to == onnx.TensorProto.INT32 else 63
    if x.dtype == np.float64 and not (np.abs(x) < 2.0**bits).all():
        # Processors differ in what comes out.
        node.refuse("a value that no whole number has")
    return np.trunc(x).astype(np.int64)


@op("Range")
def _range_of(node: Node, start: Array, limit: Array, delta: Array) -> Array:
    if start.dtype == np.float64:
        node.refuse("fractions")
    return np.arange(int(start), int(limit), int(delta), dtype=np.int64)


@op("Reshape")
def _reshape(node: Node, x: Array, shape: Array) -> Array:
    keep = not node.get("allowzero", 0)
    sizes = [
        x.shape[axis] if size == 0 and keep else size for axis, size in enumerate(shape.tolist())
    ]
    return x.reshape(sizes)


@op("Flatten")
def _flatten(node: Node, x: Array) -> Array:
    axis = node.get("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape(math.prod(x.shape[:axis]), -1)


@op("Transpose")
def _transpose(node: Node, x: Array) -> Array:
    return np.ascontiguousarray(x.transpose(node.get("perm", range(x.ndim)[::-1])))


@op("Squeeze")
def _squeeze(node: Node, x: Array, axes: Array | None = None) -> Array:
    given = node.get("axes", None) if axes is None else axes.tolist()
    return x.squeeze(None if given is None else tuple(given))


@op("Unsqueeze")
def _unsqueeze(node: Node, x: Array, axes: Array | None = None) -> Array:
    given = node.attributes["axes"] if axes is None else axes.reshape(-1).tolist()
    return np.expand_dims(x, tuple(given))


@op("Concat")
def _concat(node: Node, *parts: Array) -> Array:
    return np.concatenate(parts, node.attributes["axis"])


@op("Split")
def _split(node: Node, x: Array, sizes: Array | None = None) -> tuple[Array, ...]:
    axis = node.get("axis", 0)
    given = node.get("split", None) if sizes is None else sizes.tolist()
    if given is None:
        count = len(node.outputs)
        each = -(-x.shape[axis] // count)
        given = [each] * (count - 1) + [x.shape[axis] - each * (count - 1)]
    return tuple(np.split(x, np.cumsum(given)[:-1], axis))


@op("Slice")
def _slice_of(  # noqa: PLR0917 - ONNX gives it that many inputs
    node: Node,
    x: Array,
    starts: Array | None = None,
    ends: Array | None = None,
    axes: Array | None = None,
    steps: Array | None = None,
) -> Array:
    """Inputs since opset 10, attributes before."""
    begin = node.attributes["starts"] if starts is None else starts.tolist()
    end = node.attributes["ends"] if ends is None else ends.tolist()
    along = node.get("axes", list(range(len(begin)))) if axes is None else axes.tolist()
    step = [1] * len(begin) if steps is None else steps.tolist()
    cut = [slice(None)] * x.ndim
    for axis, first, last, by in zip(along, begin, end, step, strict=True):
        size = x.shape[axis]
        if by > 0:
            cut[axis] = slice(*slice(first, last, by).indices(size))
        else:
            # ONNX clamps to -1 "before the first"; Python writes that as None.
            low, high, _ = slice(first, last, by).indices(size)
            if last < -size:
                high = -1
            cut[axis] = slice(low, None if high < 0 else high, by)
    return x[tuple(cut)]


@op("Gather")
def _gather(node: Node, x: Array, indices: Array) -> Array:
    return np.take(x, indices, node.get("axis", 0))


@op("GatherElements")
def _gather_elements(node: Node, x: Array, indices: Array) -> Array:
    axis = node.get("axis", 0) % x.ndim
    size = x.shape[axis]
    if ((indices < -size) | (indices >= size)).any():
        node.refuse("an index beyond the end")
    return np.take_along_axis(x, indices % size, axis)


@op("DepthToSpace")
def _depth_to_space(node: Node, x: Array) -> Array:
    """X (N, C, H, W) → (N, C/b², H·b, W·b)."""
    n, c, h, w = x.shape
    b = node.attributes["blocksize"]
    if node.get("mode", "DCR") == "CRD":
        parts = x.reshape(n, c // (b * b), b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
    else:
        parts = x.reshape(n, b, b, c // (b * b), h, w).transpose(0, 3, 4, 1, 5, 2)
    return parts.reshape(n, c // (b * b), h * b, w * b)


@op("SpaceToDepth")
def _space_to_depth(node: Node, x: Array) -> Array:
    """X (N, C, H, W) → (N, C·b², H/b, W/b)."""
    n, c, h, w = x.shape
    b = node.attributes["blocksize"]
    parts = x.reshape(n, c, h // b, b, w // b, b).transpose(0, 3, 5, 1, 2, 4)
    return parts.reshape(n, c * b * b, h // b, w // b)


@plain("Expand")
def _expand(x: Array, shape: Array) -> Array:
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(shape.tolist())))


@plain("Tile")
def _tile(x: Array, repeats: Array) -> Array:
    return np.tile(x, repeats.tolist())


@op("Pad")
def _pad(
    node: Node,
    x: Array,
    pads: Array | None = None,
    value: Array | None = None,
    axes: Array | None = None,
) -> Array:
    amounts = node.attributes["pads"] if pads is None else pads.tolist()
    along = list(range(x.ndim)) if axes is None else axes.tolist()
    if min(amounts, default=0) < 0:
        node.refuse("negative padding")
    widths = [(0, 0)] * x.ndim
    for number, axis in enumerate(along):
        widths[axis] = (amounts[number], amounts[number + len(along)])
    mode = node.get("mode", "constant")
    if mode == "constant":
        fill = node.get("value", 0.0) if value is None else value.reshape(())
        return np.pad(x, widths, constant_values=fill)
    if mode not in ("reflect", "edge", "wrap"):
        node.refuse(f"mode {mode}")
    return np.pad(x, widths, mode=mode)


@op("Resize", "Upsample")
def _resize(
    node: Node,
    x: Array,
    second: Array | None = None,
    scales: Array | None = None,
    sizes: Array | None = None,
) -> Array:
    """Nearest neighbour; positions are exact fractions."""
    if node.get("mode", "nearest") != "nearest" or "axes" in node.attributes:
        node.refuse("only nearest over all axes")
    if node.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        node.refuse("aspect ratio policy")
    if node.op == "Upsample" or node.opset < 11:
        scales = second
    if sizes is not None and sizes.size:
        out = sizes.tolist()
        factors = [Fraction(o, i) for o, i in zip(out, x.shape, strict=True)]
    elif scales is not None and scales.size:
        factors = [Fraction(f) for f in scales.tolist()]
        out = [math.floor(f * i) for f, i in zip(factors, x.shape, strict=True)]
    else:
        node.refuse("neither scales nor sizes")
    old = node.op == "Upsample" or node.opset < 11
    way = "asymmetric" if old else node.get("coordinate_transformation_mode", "half_pixel")
    nearest = "floor" if old else node.get("nearest_mode", "round_prefer_floor")
    if way not in _PLACES or nearest not in _ROUNDINGS:
        node.refuse(f"{way} with {nearest}")
    for axis, (size, factor) in enumerate(zip(out, factors, strict=True)):
        if size != x.shape[axis] or factor != 1:
            last = x.shape[axis] - 1
            places = (_PLACES[way](i, size, x.shape[axis], factor) for i in range(size))
            x = np.take(x, [min(max(_ROUNDINGS[nearest](p), 0), last) for p in places], axis)
    return x


def _half_pixel(i: int, _out: int, _size: int, factor: Fraction) -> Fraction:
    return (i + _HALF) / factor - _HALF


_HALF = Fraction(1, 2)
# From index in the output, sizes of output and input, and factor to a place in the input.
_PLACES: dict[str, Callable[[int, int, int, Fraction], Fraction]] = {
    "asymmetric": lambda i, _out, _size, factor: i / factor,
    "half_pixel": _half_pixel,
    "pytorch_half_pixel": lambda i, out, size, factor: (
        _half_pixel(i, out, size, factor) if out > 1 else Fraction(0)
    ),
    "align_corners": lambda i, out, size, _factor: Fraction(i * (size - 1), max(out - 1, 1)),
}
_ROUNDINGS: dict[str, Callable[[Fraction], int]] = {
    "floor": math.floor,
    "ceil": math.ceil,
    "round_prefer_floor": lambda place: math.ceil(place - _HALF),
    "round_prefer_ceil": lambda place: math.floor(place + _HALF),
}
