"""Ranges: extremes and order statistics, the exact way and ONNX Runtime's."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod
from onnxruntime.quantization.calibrate import create_calibrator
from prepare_graphs import cnn, encoder, floats, images, model, save

from buildkit.model.prepare import ranges
from buildkit.model.prepare.calibrate import calibrate
from buildkit.model.prepare.errors import BadInputError
from buildkit.model.prepare.settings import Calibration

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import onnx

PERCENTILE = Calibration(method="percentile", percentile=99.0)


def feed_of(*parts: npt.NDArray[Any]) -> Callable[[Callable[[str, Any], None]], None]:
    def every_sample(observe: Callable[[str, Any], None]) -> None:
        for part in parts:
            observe("t", part)

    return every_sample


@settings(deadline=None)
@given(
    st.lists(
        st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=30),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from([50.1, 90.0, 99.0, 99.99]),
)
def test_percentiles_are_order_statistics(parts: list[list[float]], percentile: float) -> None:
    how = Calibration(method="percentile", percentile=percentile)
    found = ranges.find(feed_of(*(np.array(part) for part in parts)), how)
    everything = sorted(value for part in parts for value in part)
    rank = math.floor(len(everything) * (100 - Fraction(str(percentile))) / 200)
    assert found == {"t": (everything[rank], everything[len(everything) - 1 - rank])}


def test_extremes_are_float32_with_one_zero() -> None:
    found = ranges.find(feed_of(np.array([-0.0, 0.1]), np.array([-0.0])), None)
    low, high = found["t"]
    assert (math.copysign(1, low), low, high) == (1.0, 0.0, float(np.float32(0.1)))


@pytest.mark.parametrize("how", [None, PERCENTILE])
def test_not_a_number_is_refused(how: Calibration | None) -> None:
    with pytest.raises(BadInputError, match="tensor t is not a number"):
        ranges.find(feed_of(np.array([1.0, np.nan])), how)


class Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, name: str, values: npt.NDArray[Any]) -> None:
        self.feeds = iter([{name: values}])

    def get_next(self) -> Any:
        return next(self.feeds, None)


def runtime_minmax(
    folder: Path, made: onnx.ModelProto, values: npt.NDArray[Any]
) -> dict[str, tuple[float, float]]:
    """What ONNX Runtime's own calibrator finds."""
    onnxruntime.set_default_logger_severity(4)
    calibrator = create_calibrator(
        save(folder / "m.onnx", made),
        sorted({node.op_type for node in made.graph.node}),
        augmented_model_path=str(folder / "augmented.onnx"),
        calibrate_method=CalibrationMethod.MinMax,
    )
    calibrator.collect_data(Reader(made.graph.input[0].name, values))
    return {
        name: (float(found.lowest.item()), float(found.highest.item()))
        for name, found in calibrator.compute_data().data.items()
    }


@pytest.mark.parametrize("build", [cnn, encoder])
def test_exact_ranges_are_close_to_onnx_runtimes(tmp_path: Path, build: Any) -> None:
    made = build()
    name = made.graph.input[0].name
    whole = np.random.default_rng(4).integers(0, 11, size=(12, 6))
    values = floats(3, 12, 2, 8, 8) if name == "x" else whole
    np.savez(tmp_path / "d.npz", **{name: values})  # type: ignore[arg-type]
    mine = calibrate(made, tmp_path / "d.npz", None)
    assert mine["way"] == "exact"
    theirs = runtime_minmax(tmp_path, made, values)
    assert theirs
    for tensor, ends in theirs.items():
        assert mine["ranges"][tensor] == pytest.approx(ends, rel=1e-4, abs=1e-5), tensor


def odd() -> onnx.ModelProto:
    """With an operator that has no exact form."""
    return model(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
            helper.make_node("Softplus", ["c"], ["y"], name="softplus"),
        ],
        {"x": ["N", 2, 8, 8]},
        {"y": ["N", 3, 6, 6]},
        {"w": floats(1, 3, 2, 3, 3)},
    )


@pytest.mark.parametrize("how", [None, PERCENTILE])
def test_unknown_operators_fall_back_to_onnx_runtime(
    tmp_path: Path, how: Calibration | None
) -> None:
    path = images(tmp_path / "d.npz")
    found = calibrate(odd(), path, how)
    assert found["way"] == "onnxruntime"
    assert found["reason"] == "operator Softplus has no exact form"
    assert sorted(found["ranges"]) == ["c", "x", "y"]
    assert calibrate(odd(), path, how, batch=5)["ranges"].keys() == found["ranges"].keys()
    if how is None:
        theirs = runtime_minmax(tmp_path, odd(), np.load(path)["x"])
        for tensor, ends in theirs.items():
            assert found["ranges"][tensor] == pytest.approx(ends, rel=1e-6)


@pytest.mark.parametrize("how", [None, PERCENTILE])
@pytest.mark.parametrize("batch", [1, 5, 12, 64])
def test_the_size_of_a_batch_does_not_matter(
    tmp_path: Path, how: Calibration | None, batch: int
) -> None:
    path = images(tmp_path / "d.npz")
    assert calibrate(cnn(), path, how, batch=batch) == calibrate(cnn(), path, how)


def test_only_the_asked_samples_count(tmp_path: Path) -> None:
    few = calibrate(cnn(), images(tmp_path / "d.npz"), Calibration(samples=2))
    x = np.load(tmp_path / "d.npz")["x"][:2]
    assert few["ranges"]["x"] == [float(x.min()), float(x.max())]


def test_percentiles_are_inside_the_extremes(tmp_path: Path) -> None:
    path = images(tmp_path / "d.npz")
    wide = calibrate(cnn(), path, Calibration())["ranges"]
    narrow = calibrate(cnn(), path, PERCENTILE)["ranges"]
    assert wide.keys() == narrow.keys()
    assert all(wide[t][0] <= narrow[t][0] <= narrow[t][1] <= wide[t][1] for t in wide)
    assert any(wide[t] != narrow[t] for t in wide)


def test_tensors_with_infinities_get_no_range_and_are_named(tmp_path: Path) -> None:
    made = model(
        [
            helper.make_node("Add", ["x", "mask"], ["masked"]),
            helper.make_node("Softmax", ["masked"], ["y"], axis=-1),
        ],
        {"x": ["N", 3]},
        {"y": ["N", 3]},
        {"mask": np.array([0, 0, -np.inf], np.float32)},
    )
    np.savez(tmp_path / "d.npz", x=floats(1, 4, 3))
    found = calibrate(made, tmp_path / "d.npz", None)
    assert found["way"] == "exact"
    assert sorted(found["ranges"]) == ["x", "y"]
    assert "infinite values: masked" in found["reason"]


def test_constant_nodes_have_ranges_too(tmp_path: Path) -> None:
    value = helper.make_tensor("v", 1, [2], [-1.5, 2.5])
    made = model(
        [
            helper.make_node("Constant", [], ["k"], value=value),
            helper.make_node("Add", ["x", "k"], ["y"]),
        ],
        {"x": ["N", 2]},
        {"y": ["N", 2]},
        {},
    )
    np.savez(tmp_path / "d.npz", x=floats(1, 4, 2))
    for how in (None, Calibration(method="percentile", percentile=60.0)):
        assert calibrate(made, tmp_path / "d.npz", how)["ranges"]["k"] == [-1.5, 2.5]
