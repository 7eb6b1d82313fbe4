"""Order statistics, without interpolation: every number reported is one that was measured.

The p-quantile of n samples is the nearest rank, the ``ceil(p * n)``-th smallest. Its upper
confidence bound is an order statistic as well and assumes nothing about the distribution: of n
independent samples the number below the true quantile is Bin(n, p), so the k-th smallest is at or
above it with probability P(Bin(n, p) <= k - 1); the bound is the smallest k for which that is at
least the confidence (Hahn & Meeker, Statistical Intervals, 5.2). Samples of a closed loop are not
wholly independent, so the bound is a little too narrow; windows and fresh processes show by how
much.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

from .unknown import Unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

P95 = Fraction(95, 100)
CONFIDENCE = Fraction(99, 100)


def rank(count: int, quantile: Fraction) -> int:
    """Nearest rank, from 1, of a quantile among `count` samples (at least one)."""
    return max(1, math.ceil(quantile * count))


def upper_rank(count: int, quantile: Fraction, confidence: Fraction) -> int | None:
    """Rank, from 1, of the upper confidence bound; ``None`` where there are too few samples.

    Counts the few samples above the quantile rather than the many below: with f of them
    distributed as Bin(n, 1 - p), rank k is the smallest with P(f <= n - k) <= 1 - confidence.
    The terms are computed in logarithms, each to about 1e-9 of itself for a million samples.
    """
    allowed = float(1 - confidence)
    below, above = math.log(quantile), math.log(1 - quantile)
    whole = math.lgamma(count + 1)
    total = 0.0
    fails = 0
    while fails <= count:
        term = whole - math.lgamma(fails + 1) - math.lgamma(count - fails + 1)
        total += math.exp(term + fails * above + (count - fails) * below)
        if total > allowed:
            break
        fails += 1
    # `fails` samples above the bound are already too many.
    return None if fails == 0 else count - fails + 1


def fewest(quantile: Fraction, confidence: Fraction) -> int:
    """Samples that an upper bound needs: the smallest n with 1 - p^n >= confidence."""
    count = 1
    while 1 - quantile**count < confidence:
        count += 1
    return count


def summary(samples: Sequence[int]) -> dict[str, int | Unknown]:
    """Count, extremes and quantiles of latencies in nanoseconds."""
    if not samples:
        nothing = Unknown("no samples")
        names = ("min_ns", "p50_ns", "p95_ns", "p95_upper99_ns", "p99_ns", "max_ns")
        return {"samples": 0, **dict.fromkeys(names, nothing)}
    ordered = sorted(samples)
    count = len(ordered)
    upper = upper_rank(count, P95, CONFIDENCE)
    bound: int | Unknown
    if upper is None:
        needed = fewest(P95, CONFIDENCE)
        bound = Unknown(f"needs at least {needed} samples, there are {count}")
    else:
        bound = ordered[upper - 1]
    return {
        "samples": count,
        "min_ns": ordered[0],
        "p50_ns": ordered[rank(count, Fraction(1, 2)) - 1],
        "p95_ns": ordered[rank(count, P95) - 1],
        "p95_upper99_ns": bound,
        "p99_ns": ordered[rank(count, Fraction(99, 100)) - 1],
        "max_ns": ordered[-1],
    }
