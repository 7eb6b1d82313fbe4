"""Operators on single elements."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import numpy as np

from . import arith
from .registry import MICROSOFT, Node, op, plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from .arith import Array, Float

_SQRT_HALF = math.sqrt(0.5)
_GELU_TANH = (math.sqrt(2.0 / 3.141592653589793), 0.044715)
_LONGEST_POWER = 16

PLAIN: dict[str, Callable[..., Array]] = {
    "Abs": np.abs,
    "Add": np.add,
    "And": np.logical_and,
    "Ceil": np.ceil,
    "Equal": np.equal,
    "Erf": arith.erf,
    "Exp": arith.exp,
    "Floor": np.floor,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Mul": np.multiply,
    "Neg": np.negative,
    "Not": np.logical_not,
    "Or": np.logical_or,
    "Round": np.rint,
    "Sigmoid": arith.sigmoid,
    "Sign": np.sign,
    "Sub": np.subtract,
    "Tanh": arith.tanh,
    "Where": np.where,
}
for _name, _function in PLAIN.items():
    plain(_name)(_function)


@plain("Relu")
def _relu(x: Array) -> Array:
    """The larger of x and 0."""
    return np.maximum(x, 0)


@plain("Sum")
def _sum_of(*terms: Array) -> Array:
    """From the first to the last."""
    return functools.reduce(np.add, terms)


@plain("Min")
def _minimum(*terms: Array) -> Array:
    """Elementwise, broadcast."""
    return functools.reduce(np.minimum, terms)


@plain("Max")
def _maximum(*terms: Array) -> Array:
    """Elementwise, broadcast."""
    return functools.reduce(np.maximum, terms)


@op("Div")
def _div(node: Node, a: Array, b: Array) -> Array:
    """Division; of integers, towards zero."""
    if not np.asarray(b).all():
        # The sign of a zero may differ between machines, so an infinity could too.
        node.refuse("division by zero")
    if a.dtype == np.float64:
        return np.divide(a, b)
    return np.sign(a) * np.sign(b) * np.floor_divide(np.abs(a), np.abs(b))


@op("Sqrt")
def _sqrt(node: Node, x: Float) -> Array:
    if (x < 0).any():
        node.refuse("square root of a negative value")
    return np.sqrt(x)


@op("Reciprocal")
def _reciprocal(node: Node, x: Float) -> Array:
    return _div(node, np.ones(()), x)


@op("Pow")
def _power(node: Node, x: Array, exponent: Array) -> Array:
    """x^p for one constant p that is a whole number or a half, by repeated multiplication."""
    if not node.constant[1] or exponent.size != 1:
        node.refuse("the exponent is not one constant")
    p = float(exponent.reshape(()))
    whole, half = math.floor(abs(p)), abs(p) % 1 == 0.5
    if whole > _LONGEST_POWER or not (half or abs(p) == whole):
        node.refuse(f"exponent {p:g}")
    result = np.ones_like(x)
    for _ in range(whole):
        result = result * x
    if half:
        result = result * _sqrt(node, x)
    shape = np.broadcast_shapes(x.shape, exponent.shape)
    return np.broadcast_to(_reciprocal(node, result) if p < 0 else result, shape)


@op("LeakyRelu")
def _leaky_relu(node: Node, x: Float) -> Array:
    return np.where(x < 0, x * node.get("alpha", 0.01), x)


@plain("PRelu")
def _prelu(x: Float, slope: Float) -> Array:
    return np.where(x < 0, x * slope, x)


@op("Elu")
def _elu(node: Node, x: Float) -> Array:
    """``alpha * (e^x - 1)`` below 0; close to 0 the error is absolute, not relative."""
    return np.where(x < 0, (arith.exp(x) - 1.0) * node.get("alpha", 1.0), x)


@op("Clip")
def _clip(node: Node, x: Array, low: Array | None = None, high: Array | None = None) -> Array:
    """Limits as inputs, or as attributes before opset 11."""
    lowest = node.get("min", None) if low is None else low
    highest = node.get("max", None) if high is None else high
    if lowest is None and highest is None:
        return x
    return np.clip(x, lowest, highest)


@op("HardSigmoid")
def _hard_sigmoid(node: Node, x: Float) -> Array:
    line: Float = x * node.get("alpha", 0.2) + node.get("beta", 0.5)
    return np.clip(line, 0.0, 1.0)


@plain("HardSwish")
def _hard_swish(x: Float) -> Array:
    return np.multiply(x, np.clip(x / 6.0 + 0.5, 0.0, 1.0))


@op("Gelu")
@op("Gelu", domain=MICROSOFT)
def _gelu(node: Node, x: Float) -> Array:
    if node.get("approximate", "none") == "tanh":
        return _tanh_gelu(x)
    return 0.5 * x * (1.0 + arith.erf(x * _SQRT_HALF))


@op("BiasGelu", domain=MICROSOFT)
def _bias_gelu(node: Node, x: Float, bias: Float) -> Array:
    return _gelu(node, x + bias)


@plain("FastGelu", domain=MICROSOFT)
def _fast_gelu(x: Float, bias: Float | None = None) -> Array:
    return _tanh_gelu(x if bias is None else x + bias)


def _tanh_gelu(x: Float) -> Array:
    inner = _GELU_TANH[0] * (x + _GELU_TANH[1] * (x * x * x))
    return 0.5 * x * (1.0 + arith.tanh(inner))


@op("QuickGelu", domain=MICROSOFT)
def _quick_gelu(node: Node, x: Float) -> Array:
    return x * arith.sigmoid(x * node.get("alpha", 1.702))
