"""Order statistics: quantiles and their confidence bounds, always numbers that were measured.

Nearest ranks, without interpolation, as the smoke test has them (docs/smoke-report.md). Of n
independent samples the number below the true p-quantile is Bin(n, p), so order statistics bound it
whatever the distribution is (Hahn & Meeker, Statistical Intervals, 5.2).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIDENCE: Final = 0.99
MEDIAN, P95, P99 = 50, 95, 99

_NEGLIGIBLE = 1e-18


def quantile(ordered: Sequence[int], percent: int) -> int:
    """The nearest rank: the ``ceil(percent / 100 * n)``-th smallest of `ordered`, not empty."""
    return ordered[max(1, -(-percent * len(ordered) // 100)) - 1]


def upper(ordered: Sequence[int], percent: int) -> int | None:
    """Upper 99 % confidence bound of a quantile; ``None`` where there are too few samples.

    The k-th smallest, with the smallest k for which P(Bin(n, p) >= k) <= 1 %.
    """
    count, share = len(ordered), percent / 100
    low, high = math.floor(share * count) + 1, count
    if count == 0 or _at_least(count, share, count) > 1 - CONFIDENCE:
        return None
    while low < high:
        middle = (low + high) // 2
        if _at_least(count, share, middle) <= 1 - CONFIDENCE:
            high = middle
        else:
            low = middle + 1
    return ordered[low - 1]


def lower(ordered: Sequence[int], percent: int) -> int | None:
    """Lower 99 % confidence bound of a quantile; ``None`` where there are too few samples.

    The k-th smallest, with the largest k for which P(Bin(n, p) <= k - 1) <= 1 %.
    """
    count, share = len(ordered), percent / 100
    if count == 0 or _at_most(count, share, 0) > 1 - CONFIDENCE:
        return None
    low, high = 1, max(1, math.ceil(share * count))
    while low < high:
        middle = (low + high + 1) // 2
        if _at_most(count, share, middle - 1) <= 1 - CONFIDENCE:
            low = middle
        else:
            high = middle - 1
    return ordered[low - 1]


def middle(values: Sequence[int]) -> int:
    """The median, and of two middle ones the larger: a number that was measured."""
    return sorted(values)[len(values) // 2]


def _term(count: int, share: float, hits: int) -> float:
    """P(Bin(count, share) = hits)."""
    ways = math.lgamma(count + 1) - math.lgamma(hits + 1) - math.lgamma(count - hits + 1)
    return math.exp(ways + hits * math.log(share) + (count - hits) * math.log1p(-share))


def _at_least(count: int, share: float, hits: int) -> float:
    """P(Bin(count, share) >= hits), for `hits` above the mean, where terms only get smaller."""
    term, total = _term(count, share, hits), 0.0
    while hits <= count and term > _NEGLIGIBLE:
        total += term
        term *= (count - hits) / (hits + 1) * share / (1 - share)
        hits += 1
    return total


def _at_most(count: int, share: float, hits: int) -> float:
    """P(Bin(count, share) <= hits), for `hits` below the mean, where terms only get smaller."""
    term, total = _term(count, share, hits), 0.0
    while hits >= 0 and term > _NEGLIGIBLE:
        total += term
        term *= hits / (count - hits + 1) * (1 - share) / share
        hits -= 1
    return total
