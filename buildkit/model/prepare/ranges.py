"""From values to ranges: minimum and maximum, or exact order statistics.

The observers take batches in any order and from several threads: extremes and counts of whole
numbers come out the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .settings import Calibration

    Array = npt.NDArray[Any]
    Ranges = dict[str, tuple[float, float]]
    # Runs all samples and calls the observer with each tensor's name and values.
    Pass = Callable[[Callable[[str, Array], None]], None]

_HALF = 16
_BINS = 1 << _HALF


def find(every_sample: Pass, how: Calibration | None) -> Ranges:
    """The range of each float tensor, as float32 values.

    Memory does not grow with the number of samples: percentiles take two passes over the data
    (the upper, then the lower half of the bits of a float32) instead of keeping values.

    Args:
        every_sample: runs all samples; called once for ``minmax``, twice for ``percentile``.
        how: method and percentile; ``minmax`` when absent.

    Raises:
        BadInputError: a tensor holds something that is not a number.
    """
    if how is None or how.method == "minmax" or how.percentile == 100:
        extremes = Extremes()
        every_sample(extremes)
        return extremes.ranges()
    upper = UpperHalf()
    every_sample(upper)
    lower = upper.refine(Fraction(str(how.percentile)))
    every_sample(lower)
    return lower.ranges()


def _single(values: Array) -> npt.NDArray[np.float32]:
    """Float32 values with one kind of zero."""
    with np.errstate(over="ignore", under="ignore"):
        return values.astype(np.float32) + np.float32(0)


def _rounded(value: float) -> float:
    with np.errstate(over="ignore", under="ignore"):
        return float(np.float32(value) + np.float32(0))


def _checked(name: str, low: float, high: float) -> None:
    if math.isnan(low) or math.isnan(high):
        msg = f"tensor {name} is not a number for some calibration samples"
        raise BadInputError(msg, "check the model and the calibration data")


@dataclass(slots=True)
class Extremes:
    """Observer that keeps the lowest and the highest value of each tensor."""

    found: Ranges = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    def __call__(self, name: str, values: Array) -> None:
        """Take one batch of one tensor."""
        if values.dtype.kind != "f" or not values.size:
            return
        low, high = float(values.min()), float(values.max())
        _checked(name, low, high)
        with self.lock:
            before = self.found.get(name, (math.inf, -math.inf))
            self.found[name] = (min(before[0], low), max(before[1], high))

    def ranges(self) -> Ranges:
        """Rounded to float32, which keeps the order."""
        return {name: (_rounded(low), _rounded(high)) for name, (low, high) in self.found.items()}


def _ordered(values: Array) -> npt.NDArray[np.uint32]:
    """Unsigned integers in the order of the float32 values."""
    bits = np.ascontiguousarray(_single(values)).reshape(-1).view(np.uint32)
    return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))


def _value(key: int) -> float:
    bits = key ^ (1 << 31) if key >> 31 else ~key & 0xFFFFFFFF
    return float(np.uint32(bits).view(np.float32))


@dataclass(slots=True)
class UpperHalf:
    """First pass: how many values share the upper half of their bits."""

    counts: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    def __call__(self, name: str, values: Array) -> None:
        """Take one batch of one tensor."""
        if values.dtype.kind != "f" or not values.size:
            return
        _checked(name, float(values.min()), float(values.max()))
        seen = np.bincount(_ordered(values) >> _HALF, minlength=_BINS)
        with self.lock:
            if name in self.counts:
                self.counts[name] += seen
            else:
                self.counts[name] = seen

    def refine(self, percentile: Fraction) -> LowerHalf:
        """The second pass, for the values with equal tails outside `percentile` of them."""
        tails = {}
        for name, counts in self.counts.items():
            total = int(counts.sum())
            rank = math.floor(total * (100 - percentile) / 200)
            below = np.cumsum(counts)
            places = []
            for wanted in (rank, total - 1 - rank):
                place = int(np.searchsorted(below, wanted, side="right"))
                places.append((place, wanted - (int(below[place - 1]) if place else 0)))
            tails[name] = Tails(places=(places[0], places[1]))
        self.counts.clear()
        return LowerHalf(tails=tails)


@dataclass(slots=True)
class Tails:
    """Where the two order statistics of one tensor are.

    Attributes:
        places: for the low and the high one, its bin of the first pass and its rank in there.
        counts: of the lower half of the bits, of the values in these bins.
    """

    places: tuple[tuple[int, int], tuple[int, int]]
    counts: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] = field(
        default_factory=lambda: (np.zeros(_BINS, np.int64), np.zeros(_BINS, np.int64))
    )


@dataclass(slots=True)
class LowerHalf:
    """Second pass: the exact values at the two ranks."""

    tails: dict[str, Tails]
    lock: Lock = field(default_factory=Lock)

    def __call__(self, name: str, values: Array) -> None:
        """Take one batch of one tensor."""
        if values.dtype.kind != "f" or not values.size:
            return
        keys = _ordered(values)
        upper = keys >> _HALF
        tails = self.tails[name]
        for (place, _), counts in zip(tails.places, tails.counts, strict=True):
            inside = keys[upper == place] & (_BINS - 1)
            seen = np.bincount(inside, minlength=_BINS)
            with self.lock:
                np.add(counts, seen, out=counts)

    def ranges(self) -> Ranges:
        """The order statistics."""
        result = {}
        for name, tails in self.tails.items():
            ends = [
                _value(place << _HALF | int(np.searchsorted(np.cumsum(counts), rank, side="right")))
                for (place, rank), counts in zip(tails.places, tails.counts, strict=True)
            ]
            result[name] = (ends[0], ends[1])
        return result
