"""Sums and matrix products with the same bits on every CPU.

A float sum depends on the order of its terms, so BLAS kernels, SIMD widths and thread counts show
in the last bits, and so in the file a training run leaves behind. Here the operands are rounded to
whole numbers first, small enough that every partial sum stays below 2**53: then each addition is
exact and no order matters. ``+ - * /``, ``sqrt``, ``rint`` and ``maximum`` are correctly rounded
by IEEE 754 and need no help; ``exp``, ``log``, ``pow``, ``tanh`` and the normal distribution do,
so keep them out of a training script.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MANTISSA = 53


def matmul(a: Floats, b: Floats) -> Floats:
    """``a @ b``: operands keep about 20 bits below their largest value, the product is exact."""
    bits = (MANTISSA - a.shape[-1].bit_length()) // 2
    left, left_unit = _whole(a, bits)
    right, right_unit = _whole(b, bits)
    return (left @ right) * (left_unit * right_unit)


def total(a: Floats, axis: int | tuple[int, ...]) -> Floats:
    """``a.sum(axis)`` of values that keep at least 30 bits below the largest one."""
    whole, unit = _whole(a, MANTISSA - a.size.bit_length())
    return np.asarray(whole.sum(axis=axis)) * unit


def _whole(a: Floats, bits: int) -> tuple[Floats, float]:
    """Whole numbers of at most ``2**bits``, and the power of two that they count."""
    largest = float(np.max(np.abs(a)))
    unit = math.ldexp(1.0, math.frexp(largest)[1] - bits) if largest else 1.0
    return np.rint(a / unit), unit
