"""When fresh ranges confirm the recorded ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit.model.ranges import disagreements

SINGLES = st.floats(width=32, allow_nan=False, allow_infinity=False)
ENDS = st.tuples(SINGLES, SINGLES).map(lambda ends: (min(ends), max(ends)))
RANGES = st.dictionaries(st.text(max_size=3), ENDS, max_size=4)


@given(RANGES, st.sampled_from(["exact", "onnxruntime"]))
def test_ranges_agree_with_themselves(found: dict[str, tuple[float, float]], way: str) -> None:
    assert disagreements(found, dict(found), way) == ()


@given(ENDS, st.integers(0, 1), st.sampled_from([-np.inf, np.inf]))
def test_exact_ranges_agree_to_the_last_bit(
    ends: tuple[float, float], end: int, towards: float
) -> None:
    moved = list(ends)
    with np.errstate(over="ignore"):
        moved[end] = float(np.nextafter(np.float32(ends[end]), np.float32(towards)))
    assert disagreements({"t": ends}, {"t": moved}, "exact") == ("t",)


@pytest.mark.parametrize(
    ("fresh", "moved"),
    [
        ((-1.0 - 3.9e-5, 3.0 + 3.9e-5), ()),
        ((-1.0 - 4.1e-5, 3.0), ("t",)),
        ((-1.0, 3.0 - 4.1e-5), ("t",)),
        ((-1.0, 4.0), ("t",)),
    ],
)
def test_onnx_runtimes_ranges_may_differ_by_the_tolerance(
    fresh: tuple[float, float], moved: tuple[str, ...]
) -> None:
    assert disagreements({"t": (-1.0, 3.0)}, {"t": fresh}, "onnxruntime") == moved
    assert disagreements({"t": (-1.0, 3.0)}, {"t": fresh}, "exact") == ("t",)


def test_every_tensor_that_came_or_went_is_named() -> None:
    recorded, fresh = {"b": (0.0, 1.0), "a": (0.0, 1.0)}, {"c": (0.0, 1.0), "b": (0.0, 1.0)}
    assert disagreements(recorded, fresh, "exact") == ("a", "c")
