"""Pooling, means and normalisation."""

from __future__ import annotations

import functools
import math

import numpy as np

from .arith import Array, Float, exact_sum, exp, integers, power_of_two, sum_bits
from .linear import Window, window
from .registry import MICROSOFT, Node, op, plain


def _padded(x: Array, win: Window, value: float) -> Array:
    if not win.padded:
        return x
    widths = [(0, 0), (0, 0), *zip(win.before, win.after, strict=True)]
    return np.pad(x, widths, constant_values=value)


@op("MaxPool")
def _max_pool(node: Node, x: Array) -> Array:
    """X (N, C, *spatial) → (N, C, *out); padding never wins."""
    if len([name for name in node.outputs if name]) > 1:
        node.refuse("indices")
    win = window(node, x.shape[2:], node.get("kernel_shape", []))
    views = win.views(
        _padded(x, win, -math.inf if x.dtype == np.float64 else np.iinfo(x.dtype).min)
    )
    return functools.reduce(np.maximum, (views[tap] for tap in win.taps()))


@op("AveragePool")
def _average_pool(node: Node, x: Float) -> Array:
    """Means over windows, with or without the padding; one exponent for each sample."""
    win = window(node, x.shape[2:], node.get("kernel_shape", []))
    bits = sum_bits(math.prod(win.kernel))
    whole, k = integers(x, bits, range(1, x.ndim))
    total = _window_sum(whole, win)
    if node.get("count_include_pad", 0):
        # Padding counts, but not what ceil_mode adds beyond it.
        inside = np.ones((1, 1, *(s + b for s, b in zip(x.shape[2:], win.before, strict=True))))
        rank = len(win.kernel)
        asked = node.get("pads", [0] * (2 * rank))[rank:]
        if node.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
            asked = win.after
        extra = [min(a, b) for a, b in zip(asked, win.after, strict=True)]
        inside = np.pad(inside, [(0, 0), (0, 0), *((0, e) for e in extra)], constant_values=1.0)
        rest = [(0, a - e) for a, e in zip(win.after, extra, strict=True)]
        counted = np.pad(inside, [(0, 0), (0, 0), *rest])
        count = _sum_views(win.views(counted), win)
    else:
        count = _window_sum(np.ones((1, 1, *x.shape[2:])), win)
    return total * power_of_two(k) / count


def _window_sum(whole: Float, win: Window) -> Float:
    return _sum_views(win.views(_padded(whole, win, 0.0)), win)


def _sum_views(views: Float, win: Window) -> Float:
    total = np.zeros(views.shape[: -len(win.kernel)])
    for tap in win.taps():
        total += views[tap]
    return total


@plain("GlobalAveragePool")
def _global_average_pool(x: Float) -> Array:
    return _mean(x, tuple(range(2, x.ndim)))


@plain("GlobalMaxPool")
def _global_max_pool(x: Array) -> Array:
    return functools.reduce(lambda y, axis: np.max(y, axis, keepdims=True), range(2, x.ndim), x)


def _mean(x: Float, axes: tuple[int, ...]) -> Float:
    return exact_sum(x, axes) / float(math.prod(x.shape[axis] for axis in axes))


def _axes(node: Node, x: Array, axes: Array | None) -> tuple[int, ...]:
    """Axes of a reduction: an input since opset 13 or 18, an attribute before."""
    given = node.get("axes", None) if axes is None else axes.reshape(-1).tolist()
    if not given:
        return () if node.get("noop_with_empty_axes", 0) else tuple(range(x.ndim))
    return tuple(sorted(axis % x.ndim for axis in given))


def _kept(node: Node, y: Array, axes: tuple[int, ...]) -> Array:
    return y if node.get("keepdims", 1) else y.squeeze(axes)


@op("ReduceMean")
def _reduce_mean(node: Node, x: Float, axes: Array | None = None) -> Array:
    along = _axes(node, x, axes)
    return _kept(node, _mean(x, along), along) if along else x


@op("ReduceSum")
def _reduce_sum(node: Node, x: Array, axes: Array | None = None) -> Array:
    along = _axes(node, x, axes)
    if not along:
        return x
    total = exact_sum(x, along) if x.dtype == np.float64 else x.sum(along, keepdims=True)
    return _kept(node, total, along)


@op("ReduceMax")
def _reduce_max(node: Node, x: Array, axes: Array | None = None) -> Array:
    along = _axes(node, x, axes)
    return _kept(node, x.max(along, keepdims=True), along) if along else x


@op("ReduceMin")
def _reduce_min(node: Node, x: Array, axes: Array | None = None) -> Array:
    along = _axes(node, x, axes)
    return _kept(node, x.min(along, keepdims=True), along) if along else x


@op("Softmax")
def _softmax(node: Node, x: Float) -> Array:
    """Along one axis; before opset 13 along all axes from it on."""
    if node.opset >= 13:
        axes: tuple[int, ...] = (node.get("axis", -1) % x.ndim,)
    else:
        axes = tuple(range(node.get("axis", 1) % x.ndim, x.ndim))
    top = x.max(axes, keepdims=True)
    if not np.isfinite(top).all():
        node.refuse("a row without a finite value")
    part = exp(x - top)
    return part / exact_sum(part, axes)


def _layer_norm(x: Float, axes: tuple[int, ...], epsilon: float) -> Float:
    centred = x - _mean(x, axes)
    variance = _mean(centred * centred, axes)
    return centred / np.sqrt(variance + epsilon)


@op("LayerNormalization")
def _layer_normalization(node: Node, x: Float, scale: Float, bias: Float | None = None) -> Array:
    """Over all axes from ``axis`` on, with the population's variance."""
    if any(node.outputs[1:]):
        node.refuse("mean or deviation as an output")
    axes = tuple(range(node.get("axis", -1) % x.ndim, x.ndim))
    y = _layer_norm(x, axes, node.get("epsilon", 1e-5)) * scale
    return y if bias is None else y + bias


@op("SkipLayerNormalization", domain=MICROSOFT)
def _skip_layer_normalization(  # noqa: PLR0917 - the operator has that many inputs
    node: Node,
    x: Float,
    skip: Float,
    gamma: Float,
    beta: Float | None = None,
    bias: Float | None = None,
) -> tuple[Array, ...]:
    """LayerNormalization of ``x + skip + bias`` over the last axis; output 3 is that sum."""
    if any(node.outputs[1:3]):
        node.refuse("mean or deviation as an output")
    total = x + skip if bias is None else x + skip + bias
    y = _layer_norm(total, (x.ndim - 1,), node.get("epsilon", 1e-12)) * gamma
    y = y if beta is None else y + beta
    return y, total, total, total


@op("InstanceNormalization")
def _instance_normalization(node: Node, x: Float, scale: Float, bias: Float) -> Array:
    shape = (-1,) + (1,) * (x.ndim - 2)
    y = _layer_norm(x, tuple(range(2, x.ndim)), node.get("epsilon", 1e-5))
    return y * scale.reshape(shape) + bias.reshape(shape)


@op("GroupNormalization")
def _group_normalization(node: Node, x: Float, scale: Float, bias: Float) -> Array:
    """Over groups of channels; scale and bias (C,) since opset 21, (groups,) before."""
    groups = node.attributes["num_groups"]
    parts = x.reshape(x.shape[0], groups, -1)
    y = _layer_norm(parts, (2,), node.get("epsilon", 1e-5))
    if node.opset < 21:
        return (y * scale[:, None] + bias[:, None]).reshape(x.shape)
    shape = (-1,) + (1,) * (x.ndim - 2)
    return y.reshape(x.shape) * scale.reshape(shape) + bias.reshape(shape)


@op("BatchNormalization")
def _batch_normalization(  # noqa: PLR0917 - the operator has that many inputs
    node: Node, x: Float, scale: Float, bias: Float, mean: Float, variance: Float
) -> Array:
    """In its form for inference: x (N, C, …) with statistics (C,)."""
    if node.get("training_mode", 0) or len([name for name in node.outputs if name]) > 1:
        node.refuse("training mode")
    shape = (-1,) + (1,) * (x.ndim - 2)
    factor = scale / np.sqrt(variance + node.get("epsilon", 1e-5))
    y: Float = (x - mean.reshape(shape)) * factor.reshape(shape) + bias.reshape(shape)
    return y
