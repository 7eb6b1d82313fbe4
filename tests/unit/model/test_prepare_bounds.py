"""No sum can be too long or too large: it is exact, or the exact way is refused."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
from exact_reference import integers, of, scaled
from exact_reference_spatial import halves, run
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from prepare_graphs import floats, model

from buildkit.model.prepare.calibrate import calibrate
from buildkit.model.prepare.exact import arith, linear
from buildkit.model.prepare.exact.errors import UnsupportedError
from buildkit.model.prepare.exact.graph import Graph
from buildkit.model.prepare.exact.registry import Node

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

Array = npt.NDArray[Any]

BIG = float(np.nextafter(np.float32(1), np.float32(0)))
LARGEST = float(np.finfo(np.float32).max)
SMALLEST = float(np.finfo(np.float32).smallest_subnormal)
# Around each power of two: there the number of bits changes.
TERMS = sorted({1, 2, 3} | {(1 << m) + d for m in range(2, 13) for d in (-1, 0, 1)})

# Operator → attributes, shapes of its constants, shape of its input.
SUMS: dict[str, tuple[dict[str, Any], dict[str, tuple[int, ...]], tuple[int, ...]]] = {
    "MatMul": ({}, {"w": (4, 2)}, (3, 4)),
    "Gemm": ({}, {"w": (4, 2)}, (3, 4)),
    "Conv": ({}, {"w": (2, 3, 2, 2)}, (1, 3, 4, 4)),
    "ConvTranspose": ({}, {"w": (3, 2, 2, 2)}, (1, 3, 4, 4)),
    "AveragePool": ({"kernel_shape": [2, 2]}, {}, (1, 3, 4, 4)),
    "GlobalAveragePool": ({}, {}, (1, 3, 4, 4)),
    "ReduceMean": ({}, {}, (3, 4)),
    "ReduceSum": ({}, {}, (3, 4)),
    "LayerNormalization": ({}, {"s": (4,), "b": (4,)}, (3, 4)),
    "InstanceNormalization": ({}, {"s": (3,), "b": (3,)}, (1, 3, 4, 4)),
    "GroupNormalization": ({"num_groups": 1}, {"s": (3,), "b": (3,)}, (1, 3, 4, 4)),
}


def one(op: str, x: Array, constants: dict[str, Array], **attributes: Any) -> Array:
    made = model(
        [helper.make_node(op, ["x", *constants], ["y"], name="it", **attributes)],
        {"x": x.shape},
        {"y": None},
        constants,
        opset=21,
    )
    return Graph(made).run({"x": x}, lambda _name, _values: None)["y"]


def full(terms: int, sign: float, seed: int) -> Array:
    """Values whose integers have all their bits, so that a lost one would be seen."""
    rng = np.random.default_rng(seed)
    return (sign * (1 - rng.integers(1, 1 << 12, terms) * 2.0**-24)).astype(np.float32)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("terms", TERMS)
def test_the_largest_products_lose_no_bit(terms: int, sign: float) -> None:
    a, b = full(terms, 1.0, terms), full(terms, sign, terms + 1)
    left, right = halves(terms)
    first, second = integers(a.tolist(), left), integers(b.tolist(), right)
    products = [x * y for x, y in zip(first[0], second[0], strict=True)]
    assert max(map(abs, itertools.accumulate(products))) < 1 << 52
    want = scaled(sum(products), first[1] + second[1])
    assert one("MatMul", a[None], {"w": b[:, None]}).item() == want
    assert one("Conv", a[None, :, None], {"w": b[None, :, None]}).item() == want
    turned = one("ConvTranspose", a[None, :, None], {"w": b[:, None, None]})
    assert turned.item() == want


@pytest.mark.parametrize("terms", TERMS)
def test_the_largest_sums_lose_no_bit(terms: int) -> None:
    x = full(terms, -1.0, terms)
    for op in ("ReduceSum", "ReduceMean"):
        assert one(op, x, {}).item() == run(op, {}, [of(x)])[0].flat[0]
    bits = arith.sum_bits(terms)
    whole, _ = arith.integers(x.astype(np.float64), bits, (0,))
    assert np.abs(np.cumsum(whole)).max() < 2**52


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([BIG, -BIG, LARGEST, -LARGEST, SMALLEST, 0.0, 1.0]), min_size=1),
    st.sampled_from([BIG, LARGEST, SMALLEST, -SMALLEST * 3]),
)
def test_extremes_of_float32_are_exact_side_by_side(values: list[float], weight: float) -> None:
    x = np.array([values], np.float32)
    w = np.full((len(values), 1), weight, np.float32)
    (want,) = run("MatMul", {}, [of(x), of(w)])
    assert one("MatMul", x, {"w": w}).item() == want.flat[0]
    for op in ("ReduceSum", "ReduceMean"):
        assert one(op, x, {}).item() == run(op, {}, [of(x)])[0].flat[0]


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan, 1e300, -1e300])
@pytest.mark.parametrize("op", SUMS)
def test_what_has_no_exact_sum_is_refused(op: str, bad: float) -> None:
    attributes, shapes, shape = SUMS[op]
    constants = {name: floats(3, *sizes) for name, sizes in shapes.items()}
    x = floats(4, *shape).astype(np.float64)
    one(op, x, constants, **attributes)
    x.flat[-1] = bad
    with pytest.raises(UnsupportedError, match=r"infinite values|beyond the range"):
        one(op, x, constants, **attributes)


@pytest.mark.parametrize("bad", [np.inf, np.nan])
@pytest.mark.parametrize("op", ["MatMul", "Gemm", "Conv", "ConvTranspose"])
def test_weights_without_an_exact_sum_are_refused(op: str, bad: float) -> None:
    _, shapes, shape = SUMS[op]
    w = floats(3, *shapes["w"])
    w.flat[0] = bad
    with pytest.raises(UnsupportedError, match="infinite values"):
        one(op, floats(4, *shape), {"w": w})


@pytest.mark.parametrize("tiny", [SMALLEST, 5e-324, 2.0**-401, 2.0**-399])
def test_the_smallest_values_are_exact_or_zero(tiny: float) -> None:
    """Below 2^-400 a value beside others counts as zero; no step divides by what it became."""
    x = np.array([[tiny, -3 * tiny, tiny, 0.0]])
    total = one("ReduceSum", x, {}).item()
    assert abs(total - float(-tiny)) <= 2.0**-400 * 4
    spread = one("LayerNormalization", x, {"s": np.ones(4, np.float32)})
    assert np.isfinite(spread).all()


def node(op: str) -> Node:
    return Node(
        name="it", op=op, domain="", opset=21, inputs=("x", "w"), outputs=("y",),
        attributes={}, constant=(False, False),
    )  # fmt: skip


def test_sums_of_too_many_terms_are_refused_before_any_is_done() -> None:
    """Two thousand million terms, of which numpy is shown only one."""
    terms = (1 << 31) + 1
    row = np.broadcast_to(np.float64(1), (1, terms))
    with pytest.raises(UnsupportedError, match="too few bits"):
        linear.product(node("MatMul"), row, row.T)
    wide = np.broadcast_to(np.float64(1), (1, terms, 1))
    with pytest.raises(UnsupportedError, match="too few bits"):
        linear.conv(node("Conv"), wide, wide)
    with pytest.raises(UnsupportedError, match="too few bits"):
        arith.exact_sum(row, (1,))
    window = np.broadcast_to(np.float64(1), (1, 1, terms))
    pool = np.broadcast_to(np.float64(1), (1 << 40,))
    with pytest.raises(UnsupportedError, match="too few bits"):
        arith.exact_sum(pool, (0,))
    with pytest.raises(UnsupportedError, match="too few bits"):
        linear.conv(node("Conv"), window, window)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 2.0**63, -(2.0**80)])
def test_numbers_that_processors_convert_differently_are_refused(value: float) -> None:
    with pytest.raises(UnsupportedError, match="a value that no whole number has"):
        one("Cast", np.array([1.5, value]), {}, to=7)


def test_a_refused_sum_sends_the_whole_model_to_onnx_runtime(tmp_path: Path) -> None:
    made: onnx.ModelProto = model(
        [
            helper.make_node("Mul", ["x", "big"], ["m"]),
            helper.make_node("Mul", ["m", "m"], ["n"]),
            helper.make_node("Mul", ["n", "n"], ["o"]),
            helper.make_node("ReduceSum", ["o"], ["y"], name="sum"),
        ],
        {"x": ["N", 3]},
        {"y": [1, 1]},
        {"big": np.array(2.0**120, np.float32)},
    )
    np.savez(tmp_path / "d.npz", x=np.abs(floats(1, 4, 3)) + 1)
    found = calibrate(made, tmp_path / "d.npz", None)
    assert found["way"] == "onnxruntime"
    assert "values beyond the range of float32 in a sum" in found["reason"]
    assert "infinite values: n, o, y" in found["reason"]


def test_two_vectors_make_a_number() -> None:
    a, b = full(9, 1.0, 1), full(9, 1.0, 2)
    found = one("MatMul", a, {"w": b})
    assert found.shape == ()
    assert found.item() == one("MatMul", a[None], {"w": b[:, None]}).item()
