from __future__ import annotations

from fractions import Fraction
from math import comb

import pytest
from gate_parts import calm
from hypothesis import given
from hypothesis import strategies as st
from smoke import stats as on_the_device
from smoke.samples import pack

from buildkit.gate import stats
from buildkit.gate.reading import MalformedError, Node
from buildkit.gate.report import read


def below(count: int, percent: int, hits: int) -> Fraction:
    """P(Bin(count, percent) <= hits), exactly."""
    share = Fraction(percent, 100)
    return sum(
        (
            comb(count, each) * share**each * (1 - share) ** (count - each)
            for each in range(hits + 1)
        ),
        Fraction(0),
    )


@pytest.mark.parametrize("percent", [50, 95])
@pytest.mark.parametrize("count", [1, 2, 5, 7, 50, 89, 90, 91, 130, 300])
def test_bounds_are_the_ranks_that_the_book_says(count: int, percent: int) -> None:
    ranks = range(1, count + 1)
    sure = Fraction(99, 100)
    high = next((rank for rank in ranks if below(count, percent, rank - 1) >= sure), None)
    low = next(
        (rank for rank in reversed(ranks) if below(count, percent, rank - 1) <= 1 - sure), None
    )
    assert stats.upper(list(ranks), percent) == high
    assert stats.lower(list(ranks), percent) == low


@given(st.integers(1, 100_000))
def test_the_bound_is_that_of_the_device(count: int) -> None:
    rank = on_the_device.upper_rank(count, on_the_device.P95, on_the_device.CONFIDENCE)
    assert stats.upper(range(1, count + 1), stats.P95) == rank


@given(st.lists(st.integers(0, (1 << 40)), min_size=1))
def test_quantiles_are_those_of_the_device(values: list[int]) -> None:
    summary = on_the_device.summary(values)
    for percent in (50, 95, 99):
        assert stats.quantile(sorted(values), percent) == summary[f"p{percent}_ns"]
    assert stats.quantile(sorted(values), 50) <= stats.middle(values)


@given(st.lists(st.integers(0, (1 << 64) - 1)))
def test_samples_come_back(values: list[int]) -> None:
    assert list(Node(pack(values)).samples()) == values


@pytest.mark.parametrize(
    "change",
    [
        {"encoding": "raw"},
        {"dtype": "<f4"},
        {"count": 2},
        {"count": 4},
        {"count": -1},
        {"data": "???"},
        {"data": None},
        {"data": ""},
        {"data": "eJw="},
    ],
)
def test_samples_that_are_not_ours(change: dict[str, object]) -> None:
    with pytest.raises(MalformedError):
        Node({**pack([1, 2, 3]), **change}).samples()


def test_what_a_report_says() -> None:
    found = read(calm())
    assert found.board.model == "Raspberry Pi 5 Model B Rev 1.0"
    assert found.board.governors == ("performance",)
    assert len(found.ordered) == 600
    assert len(found.windows) == 2
    assert found.on_accelerator == 0
    assert (found.live, found.sticky) == (0, 0)
    assert found.memory_bytes
    assert found.memory_bytes > 10 << 20
