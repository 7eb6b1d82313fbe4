"""Counts of right answers: recorded, replayed, and refused when a machine is too far off."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit.errors import DigestError
from buildkit.model import golden


def accuracy(samples: int, right: int, quantised: int, agreeing: int) -> dict[str, Any]:
    return {
        "samples": samples,
        "correct": {"float": right, "quantised": quantised},
        "float": golden.percent(right, samples),
        "quantised": golden.percent(quantised, samples),
        "drop": golden.percent(right - quantised, samples),
        "agreement": golden.percent(agreeing, samples),
        "answers": {"same_on_every_cpu": False},
    }


numbers = st.integers(1, 20_000).flatmap(
    lambda samples: st.tuples(st.just(samples), *[st.integers(0, samples)] * 3)
)


@given(numbers)
def test_what_is_recorded_comes_back(found: tuple[int, int, int, int]) -> None:
    fresh = accuracy(*found)
    recorded = golden.counts(fresh)
    assert tuple(recorded.values()) == found
    assert golden.replay(fresh, recorded) == fresh
    assert golden.replay(fresh, {}) == fresh


def test_another_cpu_gives_the_same_document() -> None:
    locked = accuracy(1000, 990, 985, 980)
    for moved in (-5, 0, 5):
        there = accuracy(1000, 990 + moved, 985, 980 - moved)
        assert golden.replay(there, golden.counts(locked)) == locked


def test_one_of_few_samples_may_move() -> None:
    locked = golden.counts(accuracy(10, 9, 9, 10))
    assert golden.replay(accuracy(10, 9, 8, 9), locked)["quantised"] == 90.0


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (accuracy(1000, 984, 985, 980), "float is 984 on this machine, but 990 in the lock"),
        (accuracy(1000, 990, 991, 980), "quantised is 991"),
        (accuracy(1000, 990, 985, 970), "agreeing is 970"),
        (accuracy(1001, 990, 985, 980), "samples is 1001"),
    ],
)
def test_a_machine_that_is_further_off_is_refused(there: dict[str, Any], said: str) -> None:
    with pytest.raises(DigestError, match=said) as caught:
        golden.replay(there, golden.counts(accuracy(1000, 990, 985, 980)))
    assert "5 may differ" in caught.value.message
    assert caught.value.exit_code == 1
