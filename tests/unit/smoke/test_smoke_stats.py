from __future__ import annotations

from fractions import Fraction
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smoke import stats
from smoke.unknown import Unknown

QUANTILES = st.fractions(
    min_value=Fraction(1, 20), max_value=Fraction(99, 100), max_denominator=100
)


def exact_upper_rank(count: int, p: Fraction, confidence: Fraction) -> int | None:
    """Smallest k with P(Bin(n, p) <= k - 1) >= confidence, term by term in fractions."""
    total = Fraction(0)
    for k in range(1, count + 1):
        total += comb(count, k - 1) * p ** (k - 1) * (1 - p) ** (count - k + 1)
        if total >= confidence:
            return k
    return None


@given(st.integers(1, 120), QUANTILES, st.sampled_from([Fraction(9, 10), Fraction(99, 100)]))
def test_upper_rank_is_the_exact_binomial_one(
    count: int, quantile: Fraction, confidence: Fraction
) -> None:
    expected = exact_upper_rank(count, quantile, confidence)
    assert stats.upper_rank(count, quantile, confidence) == expected


@pytest.mark.parametrize("count", [89, 90, 91, 300, 1000])
def test_upper_rank_of_p95(count: int) -> None:
    expected = exact_upper_rank(count, stats.P95, stats.CONFIDENCE)
    assert stats.upper_rank(count, stats.P95, stats.CONFIDENCE) == expected
    assert (expected is None) == (count < stats.fewest(stats.P95, stats.CONFIDENCE))


def test_upper_rank_of_a_million_samples() -> None:
    found = stats.upper_rank(1_000_000, stats.P95, stats.CONFIDENCE)
    # 2.326 standard deviations of 217.9 above the mean
    assert found is not None
    assert abs(found - 950_507) <= 3


@given(st.integers(1, 5000), QUANTILES)
def test_rank_is_the_nearest(count: int, quantile: Fraction) -> None:
    found = stats.rank(count, quantile)
    assert Fraction(found, count) >= quantile > Fraction(found - 1, count)


@given(st.lists(st.integers(0, 1 << 40), min_size=1, max_size=400))
def test_summary_names_samples_in_order(samples: list[int]) -> None:
    found = stats.summary(samples)
    names = ["min_ns", "p50_ns", "p95_ns", "p99_ns", "max_ns"]
    values = [found[name] for name in names]
    assert all(value in samples for value in values)
    assert values == sorted(values, key=lambda value: value if isinstance(value, int) else -1)
    assert found["samples"] == len(samples)
    bound = found["p95_upper99_ns"]
    if len(samples) < 90:
        assert isinstance(bound, Unknown)
        assert "90 samples" in bound.reason
    else:
        p95 = found["p95_ns"]
        assert isinstance(bound, int)
        assert isinstance(p95, int)
        assert bound >= p95


def test_no_samples_are_not_zero() -> None:
    found = stats.summary([])
    assert found.pop("samples") == 0
    assert all(isinstance(value, Unknown) for value in found.values())
