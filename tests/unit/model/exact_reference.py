"""What the exact calibrator must compute, written a second time without numpy's arithmetic.

A tensor is a shape and a dict from index to number; every operator is its definition in the ONNX
specification, index by index. Arithmetic is of two kinds, as `docs/quantisation.md` says:

- one step on single elements is a fraction of whole numbers, rounded once to the nearest double;
- a sum is over Python's integers, of which the operands were made with the bits that the number
  of terms leaves; no rounding happens in it at all.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import numpy.typing as npt

    Index = tuple[int, ...]
    Attributes = Mapping[str, Any]


@dataclass(frozen=True)
class Tensor:
    """Numbers by index; floats are Python's, one for each double."""

    shape: Index
    at: dict[Index, float]

    def __getitem__(self, index: Index) -> float:
        return self.at[index]

    @property
    def flat(self) -> list[float]:
        return [self.at[i] for i in indices(self.shape)]

    def whole(self) -> list[int]:
        return [int(v) for v in self.flat]


def indices(shape: Iterable[int]) -> Iterable[Index]:
    return itertools.product(*(range(size) for size in shape))


def build(shape: Iterable[int], value: Callable[[Index], float]) -> Tensor:
    sizes = tuple(shape)
    return Tensor(sizes, {i: value(i) for i in indices(sizes)})


def of(values: npt.NDArray[Any]) -> Tensor:
    kind: Callable[[Any], float] = float if values.dtype.kind == "f" else int
    return build(values.shape, lambda i: kind(values[i]))


def single(value: float) -> float:
    """As a float32 holds it: attributes are of that kind."""
    return float(np.float32(value))


# --- one rounded step


def add(a: float, b: float) -> float:
    return float(Fraction(a) + Fraction(b))


def sub(a: float, b: float) -> float:
    return float(Fraction(a) - Fraction(b))


def mul(a: float, b: float) -> float:
    return float(Fraction(a) * Fraction(b))


def div(a: float, b: float) -> float:
    return float(Fraction(a) / Fraction(b))


def root(a: float) -> float:
    """The double next to the square root: 80 bits of it and whether there is a rest."""
    if a == 0:
        return 0.0
    value = Fraction(a)
    shift = 80 - (math.frexp(a)[1] // 2)
    scaled = value * Fraction(4) ** shift
    floor = math.isqrt(scaled.numerator // scaled.denominator)
    rest = 0 if floor * floor == scaled else 1
    return float(Fraction(2 * floor + rest) / Fraction(2) ** (shift + 1))


LN2 = Fraction("0.693147180559945309417232121458176568075500134360255254120680009")
LN2_HIGH = Fraction(math.floor(LN2 * 2**32), 2**32)
LN2_LOW = float(LN2 - LN2_HIGH)


def exp(x: float) -> float:
    """Cody and Waite's reduction, then 14 Taylor terms in Horner's order."""
    x = min(max(x, -700.0), 700.0)
    k = round(Fraction(mul(x, float(1 / LN2))))
    rest = sub(sub(x, mul(k, float(LN2_HIGH))), mul(k, LN2_LOW))
    result = float(Fraction(1, math.factorial(13)))
    for n in range(12, -1, -1):
        result = add(mul(result, rest), float(Fraction(1, math.factorial(n))))
    return float(Fraction(result) * Fraction(2) ** k)


def sigmoid(x: float) -> float:
    return div(1.0, add(1.0, exp(-x)))


def tanh(x: float) -> float:
    return sub(1.0, div(2.0, add(exp(mul(2.0, x)), 1.0)))


@cache
def erf_coefficients(place: int) -> tuple[float, ...]:
    """Of the Taylor polynomial of erf around place/8; with decimals of 120 digits."""
    with localcontext() as context:
        context.prec = 120
        c = Decimal(place) / 8
        term, total, n = c, Decimal(0), 0
        while abs(term) > Decimal(10) ** -110:
            total += term / (2 * n + 1)
            n += 1
            term = -term * c * c / n
        factor = 2 / pi().sqrt()
        values = [factor * total]
        # Physicists' Hermite polynomials: the n-th derivative is (-1)^(n-1) H_(n-1)(c) e^(-c²).
        before, hermite = Decimal(0), Decimal(1)
        for order in range(1, 11):
            sign = 1 if order % 2 else -1
            values.append(factor * sign * hermite * (-c * c).exp() / math.factorial(order))
            before, hermite = hermite, 2 * c * hermite - 2 * (order - 1) * before
        return tuple(float(Fraction(v)) for v in values)


def pi() -> Decimal:
    """Machin's formula."""

    def arctan(one_over: int) -> Decimal:
        total, power, n = Decimal(0), Decimal(1) / one_over, 0
        while power > Decimal(10) ** -118:
            total += power / (2 * n + 1) * (-1) ** n
            power /= one_over * one_over
            n += 1
        return total

    return 4 * (4 * arctan(5) - arctan(239))


def erf(x: float) -> float:
    size = min(abs(x), 6.0)
    place = round(Fraction(size) * 8)
    rest = sub(size, place / 8)
    coefficients = erf_coefficients(place)
    result = coefficients[10]
    for value in reversed(coefficients[:10]):
        result = add(mul(result, rest), value)
    return -result if x < 0 else result


# --- sums over integers


def free_bits(terms: int) -> int:
    """The most bits b with terms * 2^b <= 2^51."""
    bits = 51
    while terms << bits > 1 << 51:
        bits -= 1
    return bits


def integers(values: Sequence[float], bits: int) -> tuple[list[int], int]:
    """Whole numbers of at most `bits` bits, and the exponent that they share.

    The exponent is that of the smallest power of two above all values; it may not be beyond 2^400
    and does not go below 2^-400.
    """
    k = max(math.frexp(max(abs(v) for v in values))[1], -400)
    if k > 400:
        raise OverflowError
    return [round(Fraction(v) * Fraction(2) ** (bits - k)) for v in values], k - bits


def scaled(total: int, exponent: int) -> float:
    value = Fraction(total) * Fraction(2) ** exponent
    assert Fraction(float(value)) == value, "an exact sum must be a double"
    return float(value)


def total(values: Sequence[float]) -> float:
    whole, exponent = integers(values, free_bits(len(values)))
    return scaled(sum(whole), exponent)


def mean(values: Sequence[float]) -> float:
    return div(total(values), len(values))


# --- operators

Function = "Callable[[Attributes, list[Tensor | None], int], list[Tensor]]"
TABLE: dict[str, Any] = {}


def op(*names: str) -> Callable[[Any], Any]:
    def register(function: Any) -> Any:
        for name in names:
            TABLE[name] = function
        return function

    return register


def each(name: str, step: Callable[[Attributes, float], float]) -> None:
    TABLE[name] = lambda attributes, x: build(x.shape, lambda i: step(attributes, x[i]))


def clamp(x: float, low: float, high: float) -> float:
    return min(max(x, low), high)


def gelu(attributes: Attributes, x: float) -> float:
    if attributes.get("approximate", "none") == "none":
        inner = erf(mul(x, root(0.5)))
    else:
        cubed = mul(mul(x, x), x)
        inner = tanh(mul(root(2.0 / 3.141592653589793), add(x, mul(0.044715, cubed))))
    return mul(mul(0.5, x), add(1.0, inner))


def alpha(attributes: Attributes, default: float) -> float:
    return single(attributes.get("alpha", default))


each("Relu", lambda _, x: max(x, 0.0))
each("Sigmoid", lambda _, x: sigmoid(x))
each("Tanh", lambda _, x: tanh(x))
each("Erf", lambda _, x: erf(x))
each("Exp", lambda _, x: exp(x))
each("Sqrt", lambda _, x: root(x))
each("Abs", lambda _, x: abs(x))
each("Neg", lambda _, x: -x)
each("Floor", lambda _, x: float(math.floor(Fraction(x))))
each("Ceil", lambda _, x: float(math.ceil(Fraction(x))))
each("Round", lambda _, x: float(round(Fraction(x))))
each("Sign", lambda _, x: float((x > 0) - (x < 0)))
each("Identity", lambda _, x: x)
each("Gelu", gelu)
each("LeakyRelu", lambda a, x: mul(x, alpha(a, 0.01)) if x < 0 else x)
each("Elu", lambda a, x: mul(sub(exp(x), 1.0), alpha(a, 1.0)) if x < 0 else x)
each("HardSwish", lambda _, x: mul(x, clamp(add(div(x, 6.0), 0.5), 0.0, 1.0)))
each("HardSigmoid", lambda a, x: clamp(
    add(mul(x, alpha(a, 0.2)), single(a.get("beta", 0.5))), 0.0, 1.0))  # fmt: skip


def broadcast(x: Tensor, i: Index) -> float:
    own = i[len(i) - len(x.shape) :]
    return x[tuple(0 if size == 1 else j for size, j in zip(x.shape, own, strict=True))]


def pairs(name: str, step: Callable[[float, float], float]) -> None:
    def function(_: Attributes, *inputs: Tensor) -> Tensor:
        rank = max(len(x.shape) for x in inputs)
        full = [(1,) * (rank - len(x.shape)) + x.shape for x in inputs]
        shape = [max(sizes) for sizes in zip(*full, strict=True)]

        def value(i: Index) -> float:
            result = broadcast(inputs[0], i)
            for x in inputs[1:]:
                result = step(result, broadcast(x, i))
            return result

        return build(shape, value)

    TABLE[name] = function


pairs("Add", add)
pairs("Sub", sub)
pairs("Mul", mul)
pairs("Div", div)
pairs("Sum", add)
pairs("Max", max)
pairs("Min", min)
pairs("PRelu", lambda x, slope: mul(x, slope) if x < 0 else x)


@op("Clip")
def _(_a: Attributes, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    least = -math.inf if low is None else low.flat[0]
    most = math.inf if high is None else high.flat[0]
    return build(x.shape, lambda i: clamp(x[i], least, most))


@op("Pow")
def _(_a: Attributes, x: Tensor, exponent: Tensor) -> Tensor:
    """Whole times x, from 1; then the root for a half; then one over it."""
    p = exponent.flat[0]

    def power(base: float) -> float:
        result = 1.0
        for _ in range(math.floor(abs(p))):
            result = mul(result, base)
        if abs(p) % 1:
            result = mul(result, root(base))
        return div(1.0, result) if p < 0 else result

    return build(x.shape, lambda i: power(x[i]))


def rows(x: Tensor, axes: Sequence[int]) -> dict[Index, list[Index]]:
    """For each index with zeros along `axes`, the indices that differ only there."""
    found: dict[Index, list[Index]] = {}
    for i in indices(x.shape):
        key = tuple(0 if axis in axes else j for axis, j in enumerate(i))
        found.setdefault(key, []).append(i)
    return found


def squeezed(x: Tensor, axes: Sequence[int]) -> Tensor:
    def drop(i: Index) -> Index:
        return tuple(j for axis, j in enumerate(i) if axis not in axes)

    return Tensor(drop(x.shape), {drop(i): v for i, v in x.at.items()})


def reduce(name: str, step: Callable[[Sequence[float]], float]) -> None:
    def function(attributes: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
        rank = len(x.shape)
        given = attributes.get("axes") if axes is None else axes.whole()
        along = [a % rank for a in (range(rank) if given is None else given)]
        shape = tuple(1 if axis in along else s for axis, s in enumerate(x.shape))
        made = Tensor(shape, {k: step([x[i] for i in v]) for k, v in rows(x, along).items()})
        return made if attributes.get("keepdims", 1) else squeezed(made, along)

    TABLE[name] = function


reduce("ReduceMean", mean)
reduce("ReduceSum", total)
reduce("ReduceMax", max)
reduce("ReduceMin", min)


@op("GlobalAveragePool")
def _(_a: Attributes, x: Tensor) -> Tensor:
    return TABLE["ReduceMean"]({"axes": range(2, len(x.shape))}, x)  # type: ignore[no-any-return]


@op("GlobalMaxPool")
def _(_a: Attributes, x: Tensor) -> Tensor:
    return TABLE["ReduceMax"]({"axes": range(2, len(x.shape))}, x)  # type: ignore[no-any-return]


@op("Softmax")
def _(attributes: Attributes, x: Tensor) -> Tensor:
    """One axis, as opset 13 has it."""
    made: dict[Index, float] = {}
    for row in rows(x, [attributes.get("axis", -1) % len(x.shape)]).values():
        top = max(x[i] for i in row)
        parts = [exp(sub(x[i], top)) for i in row]
        below = total(parts)
        made.update({i: div(part, below) for i, part in zip(row, parts, strict=True)})
    return Tensor(x.shape, made)


def normalised(x: Tensor, groups: Iterable[list[Index]], epsilon: float) -> dict[Index, float]:
    made: dict[Index, float] = {}
    for group in groups:
        middle = mean([x[i] for i in group])
        centred = [sub(x[i], middle) for i in group]
        spread = root(add(mean([mul(c, c) for c in centred]), epsilon))
        made.update({i: div(c, spread) for i, c in zip(group, centred, strict=True)})
    return made


def epsilon_of(attributes: Attributes) -> float:
    return single(attributes.get("epsilon", 1e-5))


@op("LayerNormalization")
def _(attributes: Attributes, x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
    axes = range(attributes.get("axis", -1) % len(x.shape), len(x.shape))
    made = normalised(x, rows(x, axes).values(), epsilon_of(attributes))

    def value(i: Index) -> float:
        y = mul(made[i], broadcast(scale, i))
        return y if bias is None else add(y, broadcast(bias, i))

    return build(x.shape, value)


@op("InstanceNormalization")
def _(attributes: Attributes, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    axes = range(2, len(x.shape))
    made = normalised(x, rows(x, axes).values(), epsilon_of(attributes))
    return build(x.shape, lambda i: add(mul(made[i], scale[i[1:2]]), bias[i[1:2]]))


@op("GroupNormalization")
def _(attributes: Attributes, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """As opset 21 has it: scale and bias for each channel."""
    size = x.shape[1] // attributes["num_groups"]
    groups: dict[Index, list[Index]] = {}
    for i in indices(x.shape):
        groups.setdefault((i[0], i[1] // size), []).append(i)
    made = normalised(x, groups.values(), epsilon_of(attributes))
    return build(x.shape, lambda i: add(mul(made[i], scale[i[1:2]]), bias[i[1:2]]))


@op("BatchNormalization")
def _(attributes: Attributes, x: Tensor, *given: Tensor) -> Tensor:
    scale, bias, middle, variance = given
    epsilon = epsilon_of(attributes)

    def value(i: Index) -> float:
        c = i[1:2]
        factor = div(scale[c], root(add(variance[c], epsilon)))
        return add(mul(sub(x[i], middle[c]), factor), bias[c])

    return build(x.shape, value)
