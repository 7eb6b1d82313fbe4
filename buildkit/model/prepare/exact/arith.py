"""Arithmetic that has the same bits on every IEEE 754 machine."""

from __future__ import annotations

import functools
import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Sequence

Array = npt.NDArray[Any]
Float = npt.NDArray[np.float64]

_SUM_BITS = 51
_FEWEST_BITS = 10
# Between these, products of two scales are normal doubles. Below the lower one a tensor is as
# good as zero; the upper one is far beyond float32.
_LOWEST_EXPONENT, _HIGHEST_EXPONENT = -400, 400

_LN2 = Fraction("0.693147180559945309417232121458176568075500134360255254120680009")
_LN2_HIGH = math.floor(_LN2 * 2**32) / 2**32
_LN2_LOW = float(_LN2 - Fraction(_LN2_HIGH))
_LOG2_E = float(1 / _LN2)
_EXP_TERMS = tuple(float(Fraction(1, math.factorial(n))) for n in range(14))

# erf is a table of Taylor polynomials: around every eighth from 0 to 6; beyond, it is 1 to the
# last bit of a double.
_ERF_STEP, _ERF_END, _ERF_DEGREE = 8, 6, 10


def sum_bits(terms: int) -> int:
    """Bits that each of `terms` integers may have so that no partial sum reaches 2^52.

    Raises:
        UnsupportedError: there are so many terms that too few bits are left.
    """
    bits = _SUM_BITS - max(terms - 1, 0).bit_length()
    if bits < 2 * _FEWEST_BITS:
        msg = f"a sum of {terms} terms leaves too few bits"
        raise UnsupportedError(msg)
    return bits


def split_bits(terms: int) -> tuple[int, int]:
    """Bits ``(a, w)`` for the operands of a dot product, so that terms * 2^(a+w) < 2^52.

    Raises:
        UnsupportedError: there are so many terms that too few bits are left.
    """
    bits = sum_bits(terms)
    return bits // 2, bits - bits // 2


def exponents(low: Array, high: Array) -> npt.NDArray[np.int64]:
    """The smallest k with |x| < 2^k for x in [low, high], elementwise.

    Raises:
        UnsupportedError: an end is infinite, not a number, or far too large.
    """
    largest = np.maximum(np.abs(low), np.abs(high))
    if not np.isfinite(largest).all():
        msg = "infinite values in a sum"
        raise UnsupportedError(msg)
    k = np.frexp(largest)[1].astype(np.int64)
    if (k > _HIGHEST_EXPONENT).any():
        msg = "values beyond the range of float32 in a sum"
        raise UnsupportedError(msg)
    return np.maximum(k, _LOWEST_EXPONENT)


def power_of_two(k: Array) -> Float:
    """2^k as float64, exact, for k from -1022 to 1023."""
    bits = (np.asarray(k, np.int64) + 1023) << 52
    return bits.view(np.float64)


def integers(x: Float, bits: int, axes: Sequence[int]) -> tuple[Float, npt.NDArray[np.int64]]:
    """Round `x` to integers of at most `bits` bits.

    Args:
        x: values.
        bits: so that every integer is at most 2^bits.
        axes: values along these share one exponent: those that are summed, at least.

    Returns:
        Integers in float64, and exponents e (size 1 along `axes`): x ≈ integers * 2^e, with an
        error of at most 2^(e-1).
    """
    along = tuple(axes)
    k = exponents(x.min(along, keepdims=True), x.max(along, keepdims=True)) - bits
    scaled = x * power_of_two(-k)
    return np.rint(scaled, out=scaled), k


def exact_sum(x: Float, axes: Sequence[int]) -> Float:
    """Sum along `axes` (kept with size 1), the same whatever the order of the additions."""
    along = tuple(axes)
    terms = math.prod(x.shape[axis] for axis in along)
    whole, k = integers(x, sum_bits(terms), along)
    total: Float = whole.sum(along, keepdims=True)
    return total * power_of_two(k)


def exp(x: Float) -> Float:
    """e^x, relative error below 1e-15; 0 or infinity are never returned for finite `x`."""
    bounded = np.clip(x, -700.0, 700.0)
    k = np.rint(bounded * _LOG2_E)
    rest = bounded - k * _LN2_HIGH
    rest -= k * _LN2_LOW
    result = np.full_like(rest, _EXP_TERMS[-1])
    for term in reversed(_EXP_TERMS[:-1]):
        result *= rest
        result += term
    result *= power_of_two(k.astype(np.int64))
    return result


def sigmoid(x: Float) -> Float:
    """1 / (1 + e^-x)."""
    return 1.0 / (1.0 + exp(-x))


def tanh(x: Float) -> Float:
    """Hyperbolic tangent, absolute error below 1e-15."""
    return 1.0 - 2.0 / (exp(2.0 * x) + 1.0)


@functools.cache
def _erf_table() -> Float:
    """Taylor coefficients of erf, (degree + 1, centres): each the double nearest to the truth.

    The n-th derivative is 2/sqrt(pi) · e^(-c²) · p(c) with p_1 = 1, p_(n+1) = p_n' - 2c · p_n.
    """
    table = np.empty((_ERF_DEGREE + 1, _ERF_STEP * _ERF_END + 1))
    factor = Fraction(2) / _root_of_pi()
    for place in range(table.shape[1]):
        centre = Fraction(place, _ERF_STEP)
        slope = factor * _exp_series(-centre * centre)
        table[0, place] = float(factor * _erf_series(centre))
        polynomial = [Fraction(1)]
        for n in range(1, _ERF_DEGREE + 1):
            value = sum((c * centre**power for power, c in enumerate(polynomial)), Fraction(0))
            table[n, place] = float(slope * value / math.factorial(n))
            derived = [power * c for power, c in enumerate(polynomial)][1:] + [Fraction(0)] * 2
            moved = [Fraction(0), *polynomial]
            polynomial = [a - 2 * b for a, b in zip(derived, moved, strict=True)]
    return table


def _root_of_pi() -> Fraction:
    digits = 3141592653589793238462643383279502884197169399375105820974944592307816406286
    return Fraction(math.isqrt(digits * 10**75), 10**75)


def _cut(x: Fraction) -> Fraction:
    """To 300 bits after the point, so that fractions stay short."""
    return Fraction(math.floor(x * 2**300), 2**300)


def _exp_series(x: Fraction) -> Fraction:
    """e^x by its series of a small part, squared back."""
    small, total, term = x / 256, Fraction(0), Fraction(1)
    for n in range(1, 60):
        total += term
        term = _cut(term * small / n)
    for _ in range(8):
        total = _cut(total * total)
    return total


def _erf_series(x: Fraction) -> Fraction:
    """The integral of e^(-t²) from 0 to `x`: its Maclaurin series."""
    total, power = Fraction(0), x
    for n in range(200):
        total += _cut(power / (2 * n + 1))
        power = _cut(-power * x * x / (n + 1))
    return total


def erf(x: Float) -> Float:
    """Error function, absolute error below 1e-15."""
    table = _erf_table()
    size = np.minimum(np.abs(x), float(_ERF_END))
    # fmin, so that what is not a number has a place in the table too, and stays what it is.
    place = np.rint(np.fmin(size, float(_ERF_END)) * _ERF_STEP)
    index = place.astype(np.int64)
    rest = size - place / _ERF_STEP
    result: Float = table[_ERF_DEGREE].take(index)
    for coefficients in table[_ERF_DEGREE - 1 :: -1]:
        result *= rest
        result += coefficients.take(index)
    np.negative(result, out=result, where=x < 0)
    return result
