"""The exact interpreter against whole numbers of any size, and against ONNX Runtime."""

from __future__ import annotations

import itertools
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
from prepare_graphs import cnn, encoder, floats, model

from buildkit.model.prepare.exact import arith, linear
from buildkit.model.prepare.exact.errors import UnsupportedError
from buildkit.model.prepare.exact.graph import Graph

if TYPE_CHECKING:
    import onnx

Array = npt.NDArray[Any]
Exact = dict[tuple[int, ...], Fraction]


def run_all(made: onnx.ModelProto, feed: dict[str, Array]) -> dict[str, Array]:
    seen: dict[str, Array] = {}
    Graph(made).run(feed, lambda name, values: seen.update({name: values.copy()}))
    return seen


# --- the reference: Python's integers and fractions, nothing of numpy's arithmetic


def to_fractions(values: Array) -> Exact:
    return {at: Fraction(float(values[at])) for at in np.ndindex(*values.shape)}


def rounded(value: Fraction) -> Fraction:
    """To the nearest double, as Python's own division of whole numbers rounds."""
    return Fraction(value.numerator / value.denominator)


def whole(values: list[Fraction], bits: int) -> tuple[list[int], int]:
    """Integers that share the exponent of the largest value."""
    largest = max(abs(v) for v in values)
    k = -400
    while Fraction(2) ** k <= largest:
        k += 1
    return [round(v / Fraction(2) ** (k - bits)) for v in values], k - bits


def bits_for(terms: int) -> tuple[int, int]:
    free = 51
    while terms > 1 << (51 - free):
        free -= 1
    return free // 2, free - free // 2


def dot(a: list[int], b: list[int]) -> int:
    return sum(x * y for x, y in zip(a, b, strict=True))


def reference_matmul(a: Array, b: Array) -> Exact:
    """a (M, K) @ b (K, N)."""
    left, right = bits_for(a.shape[1])
    result: Exact = {}
    columns = [whole([Fraction(float(v)) for v in b[:, j]], right) for j in range(b.shape[1])]
    for i in range(a.shape[0]):
        row, k = whole([Fraction(float(v)) for v in a[i]], left)
        for j, (column, other) in enumerate(columns):
            result[i, j] = dot(row, column) * Fraction(2) ** (k + other)
    return result


def reference_conv(x: Array, w: Array, bias: Array, attributes: dict[str, Any]) -> Exact:
    """x (N, C, H, W), w (M, C/group, kh, kw); the definition, term by term."""
    strides, dilations = attributes["strides"], attributes["dilations"]
    pads, groups = attributes["pads"], attributes["group"]
    per_group = w.shape[1]
    left, right = bits_for(math.prod(w.shape[1:]))
    kernels = [whole([Fraction(float(v)) for v in w[m].reshape(-1)], right) for m in range(len(w))]
    spans = [(w.shape[2 + a] - 1) * dilations[a] + 1 for a in range(2)]
    out = [(x.shape[2 + a] + pads[a] + pads[a + 2] - spans[a]) // strides[a] + 1 for a in range(2)]
    result: Exact = {}
    for n in range(len(x)):
        values, k = whole([Fraction(float(v)) for v in x[n].reshape(-1)], left)
        grid = dict(zip(np.ndindex(*x.shape[1:]), values, strict=True))
        for m, i, j in itertools.product(range(len(w)), range(out[0]), range(out[1])):
            first = m // (len(w) // groups) * per_group
            kernel, other = kernels[m]
            total = 0
            for weight, (c, p, q) in zip(kernel, np.ndindex(*w.shape[1:]), strict=True):
                row = i * strides[0] + p * dilations[0] - pads[0]
                column = j * strides[1] + q * dilations[1] - pads[1]
                total += weight * grid.get((first + c, row, column), 0)
            value = total * Fraction(2) ** (k + other)
            result[n, m, i, j] = rounded(value + Fraction(float(bias[m])))
    return result


def same(values: Array, expected: Exact) -> None:
    assert values.size == len(expected)
    for at, value in expected.items():
        assert Fraction(float(values[at])) == value, at


def scaled(draw: st.DrawFn, *shape: int) -> Array:
    """Values of very different sizes, some of them zero."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    values = rng.normal(size=shape) * 2.0 ** rng.integers(-20, 20, size=shape)
    values[rng.random(size=shape) < draw(st.sampled_from([0.0, 0.3, 1.0]))] = 0
    return (values * 2.0 ** draw(st.integers(-60, 60))).astype(np.float32)


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[Array, Array, Array, dict[str, Any]]:
    groups = draw(st.integers(1, 3))
    channels = groups * draw(st.integers(1, 3))
    made = groups * draw(st.integers(1, 2))
    kernel = [draw(st.integers(1, 3)) for _ in range(2)]
    dilations = [draw(st.integers(1, 2)) for _ in range(2)]
    attributes = {
        "group": groups,
        "dilations": dilations,
        "strides": [draw(st.integers(1, 2)) for _ in range(2)],
        "pads": [draw(st.integers(0, 2)) for _ in range(4)],
    }
    size = [
        (k - 1) * d + 1 + draw(st.integers(0, 3)) for k, d in zip(kernel, dilations, strict=True)
    ]
    x = scaled(draw, draw(st.integers(1, 2)), channels, *size)
    w = scaled(draw, made, channels // groups, *kernel)
    return x, w, scaled(draw, made), attributes


@settings(deadline=None, max_examples=60)
@given(convolutions())
def test_conv_equals_the_reference(case: tuple[Array, Array, Array, dict[str, Any]]) -> None:
    x, w, bias, attributes = case
    made = model(
        [helper.make_node("Conv", ["x", "w", "b"], ["y"], **attributes)],
        {"x": x.shape},
        {"y": None},
        {"w": w, "b": bias},
    )
    same(run_all(made, {"x": x})["y"], reference_conv(x, w, bias, attributes))


@st.composite
def matrices(draw: st.DrawFn) -> tuple[Array, Array, Array]:
    m, k, n = (draw(st.integers(1, 6)) for _ in range(3))
    return scaled(draw, m, k), scaled(draw, k, n), scaled(draw, n)


@settings(deadline=None, max_examples=100)
@given(matrices(), st.booleans())
def test_gemm_matmul_and_add_equal_the_reference(
    case: tuple[Array, Array, Array],
    constant: bool,  # noqa: FBT001 - hypothesis passes by position
) -> None:
    a, b, c = case
    given_values = {"a": a} if constant else {"a": a, "b": b}
    made = model(
        [
            helper.make_node("MatMul", ["a", "b"], ["p"]),
            helper.make_node("Gemm", ["a", "b", "c"], ["q"]),
            helper.make_node("Add", ["p", "q"], ["y"]),
        ],
        {name: value.shape for name, value in given_values.items()},
        {"y": [a.shape[0], b.shape[1]]},
        {"c": c, "b": b} if constant else {"c": c},
    )
    seen = run_all(made, given_values)
    product = reference_matmul(a, b)
    biased: Exact = {at: rounded(v + Fraction(float(c[at[1]]))) for at, v in product.items()}
    same(seen["p"], product)
    same(seen["q"], biased)
    same(seen["y"], {at: rounded(product[at] + biased[at]) for at in product})


@settings(deadline=None, max_examples=60)
@given(matrices())
def test_a_graph_of_layers_equals_the_reference(case: tuple[Array, Array, Array]) -> None:
    a, b, c = case
    made = model(
        [
            helper.make_node("MatMul", ["a", "b"], ["p"]),
            helper.make_node("Add", ["p", "c"], ["s"]),
            helper.make_node("Relu", ["s"], ["r"]),
            helper.make_node("MatMul", ["r", "d"], ["y"]),
        ],
        {"a": a.shape},
        {"y": [a.shape[0], b.shape[0]]},
        {"b": b, "c": c, "d": np.ascontiguousarray(b.T)},
    )
    seen = run_all(made, {"a": a})
    product = reference_matmul(a, b)
    total: Exact = {at: rounded(v + Fraction(float(c[at[1]]))) for at, v in product.items()}
    same(seen["s"], total)
    positive = np.zeros((a.shape[0], b.shape[1]))
    for at, value in total.items():
        positive[at] = float(max(value, Fraction(0)))
    same(seen["y"], reference_matmul(positive, b.T))


# --- the bound, and independence of order


@given(st.integers(1, 1 << 31))
def test_no_sum_can_reach_two_to_the_52(terms: int) -> None:
    a, w = arith.split_bits(terms)
    assert terms << (a + w) < 1 << 52
    assert terms << arith.sum_bits(terms) < 1 << 52
    assert min(a, w) >= 10


def test_too_many_terms_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="too few bits"):
        arith.split_bits((1 << 31) + 1)


@given(st.integers(1, 40), st.integers(0, 2**32))
def test_integers_stay_within_their_bits(bits: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(3, 7)) * 2.0 ** rng.integers(-300, 300, size=(3, 7))
    made, k = arith.integers(x, bits, (1,))
    assert np.abs(made).max() <= 2**bits
    assert (made == np.rint(made)).all()
    assert (np.abs(made * 2.0**k - x) <= 2.0 ** (k - 1)).all()


def test_the_largest_possible_sums_are_exact() -> None:
    terms = 4096
    big = np.nextafter(1.0, 0.0)
    a, b = np.full((1, terms), big), np.full((terms, 1), big)
    bits = arith.split_bits(terms)
    made = model(
        [helper.make_node("MatMul", ["a", "b"], ["y"])],
        {"a": [1, terms], "b": [terms, 1]},
        {"y": [1, 1]},
        {},
    )
    assert run_all(made, {"a": a, "b": b})["y"].item() == terms
    assert terms * 2 ** sum(bits) <= 2**52


def test_infinite_and_huge_values_are_refused_in_sums() -> None:
    made = model(
        [helper.make_node("MatMul", ["a", "b"], ["y"])],
        {"a": [1, 2]},
        {"y": [1, 1]},
        {"b": np.ones((2, 1), np.float32)},
    )
    for bad in (np.inf, np.nan, 1e300):
        with pytest.raises(UnsupportedError):
            run_all(made, {"a": np.array([[1.0, bad]])})


def test_the_order_of_terms_does_not_matter() -> None:
    a, b = floats(1, 5, 999), floats(2, 999, 4)
    order = np.random.default_rng(3).permutation(999)

    def product(left: Array, right: Array) -> Array:
        made = model(
            [helper.make_node("MatMul", ["a", "b"], ["y"])],
            {"a": left.shape},
            {"y": [5, 4]},
            {"b": right},
        )
        return run_all(made, {"a": left})["y"]

    assert (product(a, b) == product(a[:, order], b[order])).all()


def test_the_pieces_that_a_convolution_is_cut_into_do_not_matter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, feed = cnn(), {"x": floats(5, 3, 2, 8, 8)}
    before = run_all(made, feed)
    monkeypatch.setattr(linear, "_CHUNK", 1)
    after = run_all(made, feed)
    assert all((before[name] == after[name]).all() for name in before)


@pytest.mark.parametrize("build", [cnn, encoder])
def test_a_batch_gives_what_its_samples_give(build: Any) -> None:
    made = build()
    name = made.graph.input[0].name
    feed = (
        floats(6, 5, 2, 8, 8)
        if name == "x"
        else np.random.default_rng(6).integers(0, 11, size=(5, 7))
    )
    together = run_all(made, {name: feed})
    for sample in range(5):
        alone = run_all(made, {name: feed[sample : sample + 1]})
        for tensor, values in alone.items():
            assert (together[tensor][sample : sample + 1] == values).all(), tensor


def test_functions_are_close_to_libm() -> None:
    x = np.concatenate([np.linspace(-30, 30, 4001), [0.0, -0.0, 1e-9]])
    assert arith.exp(x) == pytest.approx([math.exp(v) for v in x], rel=1e-14)
    assert arith.tanh(x) == pytest.approx([math.tanh(v) for v in x], abs=1e-15)
    assert arith.erf(x) == pytest.approx([math.erf(v) for v in x], abs=1.6e-7)
    assert arith.sigmoid(x) == pytest.approx([1 / (1 + math.exp(-v)) for v in x], rel=1e-14)
    assert np.isfinite(arith.exp(np.array([-1e6, 1e6]))).all()


def exp_reference(x: float) -> Fraction:
    """The polynomial of `arith.exp`, each operation rounded once, in fractions."""
    ln2 = Fraction("0.693147180559945309417232121458176568075500134360255254120680009")
    high = Fraction(math.floor(ln2 * 2**32), 2**32)
    k = round(rounded(Fraction(x) * rounded(1 / ln2)))
    rest = rounded(Fraction(x) - rounded(k * high))
    rest = rounded(rest - rounded(k * rounded(ln2 - high)))
    result = rounded(Fraction(1, math.factorial(13)))
    for n in range(12, -1, -1):
        result = rounded(rounded(result * rest) + rounded(Fraction(1, math.factorial(n))))
    return result * Fraction(2) ** k


@given(st.floats(-600, 600))
def test_exp_equals_its_definition_bit_for_bit(x: float) -> None:
    assert Fraction(float(arith.exp(np.array([x]))[0])) == exp_reference(x)


# --- every operator against ONNX Runtime

X = floats(100, 2, 4, 7, 6, scale=2.0)
V = floats(101, 3, 5, 8, scale=2.0)


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


def case(op: str, x: Array, *constants: Array | None, opset: int = 17, **attributes: Any) -> Any:
    domain = attributes.pop("domain", "")
    label = f"{domain}{op}-{opset}-" + "-".join(f"{k}{v}" for k, v in attributes.items())
    label += "-".join(str(c.shape) for c in constants if c is not None)
    return pytest.param(op, domain, x, constants, opset, attributes, id=label.replace(" ", ""))


CASES = [
    *(case(op, X) for op in ("Relu", "Sigmoid", "Tanh", "Erf", "Abs", "Neg", "HardSwish")),
    *(case(op, X) for op in ("HardSigmoid", "LeakyRelu", "Identity", "Flatten", "Softmax")),
    *(case(op, X) for op in ("GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "Transpose")),
    case("Exp", X), case("Sqrt", np.abs(X)), case("Reciprocal", np.abs(X) + 1), case("Dropout", X),
    case("LeakyRelu", X, alpha=0.3), case("HardSigmoid", X, alpha=0.3, beta=0.4),
    case("PRelu", X, floats(1, 4, 1, 1)), case("Clip", X, np.float32(-1) * np.ones(()).astype("f")),
    case("Clip", X, None, np.array(0.5, np.float32)), case("Clip", X, opset=10, min=-1.0, max=0.5),
    *(case(op, X, floats(2, 4, 1, 1)) for op in ("Add", "Sub", "Mul", "Max", "Min", "Sum")),
    case("Div", X, np.abs(floats(3, 6)) + 1),
    *(case("Pow", np.abs(X), np.array(p, np.float32)) for p in (0.5, 2.0, 3.0, -1.0, -0.5, 1.5)),
    case("Softmax", X, axis=1), case("Softmax", X, opset=11, axis=2), case("Softmax", X, opset=11),
    case("Conv", X, floats(4, 3, 4, 3, 2)), case("Conv", X, floats(4, 3, 4, 1, 1), floats(5, 3)),
    case("Conv", X, floats(4, 4, 1, 3, 3), group=4, pads=[1, 1, 1, 1]),
    case("Conv", X, floats(4, 8, 1, 3, 3), group=4, strides=[2, 1]),
    case("Conv", X, floats(4, 6, 2, 3, 3), group=2, dilations=[2, 2], pads=[2, 1, 0, 2]),
    case("Conv", X, floats(4, 3, 4, 1, 1), strides=[2, 3]),
    *(case("Conv", X, floats(4, 3, 4, 4, 3), auto_pad=a, strides=[2, 2])
      for a in ("SAME_UPPER", "SAME_LOWER", "VALID")),
    case("Conv", V, floats(4, 3, 5, 3), pads=[1, 1]),
    case("ConvTranspose", X, floats(4, 4, 3, 3, 3)),
    case("ConvTranspose", X, floats(4, 4, 3, 3, 3), floats(5, 3), strides=[2, 2], pads=[1, 1, 1, 1],
         output_padding=[1, 1]),
    case("ConvTranspose", X, floats(4, 4, 2, 2, 2), strides=[2, 2], group=2),
    case("ConvTranspose", X, floats(4, 4, 2, 3, 2), dilations=[2, 1], pads=[1, 0, 2, 1]),
    case("MatMul", V, floats(6, 8, 4)), case("MatMul", V, floats(6, 3, 8, 2)),
    case("MatMul", V, floats(6, 8)), case("MatMul", V[0], floats(6, 2, 8, 3)),
    case("Gemm", V[0], floats(6, 8, 4), floats(7, 4)),
    case("Gemm", V[0], floats(6, 4, 8), floats(7, 4), transB=1, alpha=0.5, beta=2.0),
    case("Gemm", V[0], floats(6, 5, 4), transA=1),
    *(case("MaxPool", X, kernel_shape=[3, 2], **a) for a in (
        {}, {"strides": [2, 2]}, {"pads": [1, 0, 1, 1]}, {"strides": [2, 2], "ceil_mode": 1},
        {"auto_pad": "SAME_UPPER"}, {"dilations": [2, 2]})),
    *(case("AveragePool", X, kernel_shape=[3, 2], **a) for a in (
        {}, {"strides": [2, 2]}, {"pads": [1, 0, 1, 1]}, {"auto_pad": "SAME_LOWER"},
        {"pads": [1, 1, 1, 1], "count_include_pad": 1},
        {"strides": [2, 2], "ceil_mode": 1})),
    case("AveragePool", X, opset=19, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1],
         ceil_mode=1, count_include_pad=1),
    case("ReduceMean", X, axes=[2, 3]), case("ReduceMean", X, axes=[-1], keepdims=0),
    case("ReduceMean", X, ints(1, 2), opset=18), case("ReduceSum", X, ints(1)),
    case("ReduceMax", X, axes=[1]), case("ReduceMin", X, axes=[1], keepdims=0),
    case("LayerNormalization", V, floats(8, 8), floats(9, 8)),
    case("LayerNormalization", V, floats(8, 5, 8), axis=1, epsilon=0.01),
    case("InstanceNormalization", X, floats(8, 4), floats(9, 4)),
    case("BatchNormalization", X, floats(8, 4), floats(9, 4), floats(10, 4), np.abs(floats(11, 4))),
    case("Concat", X, floats(12, 2, 1, 7, 6), axis=1), case("Split", X, ints(1, 3), axis=1),
    case("Split", X, axis=1),
    case("Slice", X, ints(1, -5), ints(4, 99), ints(2, 3)),
    case("Slice", X, ints(-1, 5), ints(-99, 1), ints(2, 3), ints(-2, -1)),
    case("Slice", X, opset=9, starts=[1], ends=[3], axes=[1]),
    case("Gather", X, ints(2, 0, -1), axis=1), case("Gather", X, np.array(1, np.int64)),
    case("Reshape", X, ints(0, -1, 6)), case("Reshape", X, ints(-1)),
    case("Flatten", X, axis=2), case("Transpose", X, perm=[0, 2, 3, 1]),
    case("Squeeze", X[:1, :, :1], ints(0, 2)), case("Squeeze", X[:1], opset=11, axes=[0]),
    case("Unsqueeze", X, ints(0, -1)), case("Unsqueeze", X, opset=11, axes=[1]),
    case("Expand", X[:, :1], ints(2, 4, 7, 6)), case("Tile", X, ints(1, 2, 1, 1)),
    case("Cast", X, to=1), case("Cast", X, to=7),
    *(case("Pad", X, ints(0, 0, 1, 2, 0, 0, 2, 1), mode=m) for m in ("constant", "reflect")),
    case("Pad", X, ints(0, 0, 1, 2, 0, 0, 2, 1), mode="edge"),
    case("Pad", X, ints(0, 0, 1, 2, 0, 0, 2, 1), np.array(3, np.float32)),
    *(case("Resize", X, None, np.array([1, 1, *s], np.float32), mode="nearest",
           coordinate_transformation_mode=c, nearest_mode=n)
      for s in ((2, 2), (3, 1.5), (0.5, 0.5))
      for c, n in (("asymmetric", "floor"), ("half_pixel", "round_prefer_floor"),
                   ("align_corners", "round_prefer_ceil"), ("asymmetric", "ceil"))),
    case("Resize", X, None, None, ints(2, 4, 14, 9), mode="nearest"),
    case("Upsample", X, np.array([1, 1, 2, 3], np.float32), opset=9, mode="nearest"),
    case("Gelu", X, opset=20), case("Gelu", X, opset=20, approximate="tanh"),
    case("Gelu", X, domain="com.microsoft"), case("QuickGelu", X, domain="com.microsoft"),
    case("FastGelu", V, floats(1, 8), domain="com.microsoft"),
    case("BiasGelu", V, floats(1, 8), domain="com.microsoft"),
    case("SkipLayerNormalization", V, floats(1, 3, 5, 8), floats(2, 8), floats(3, 8), floats(4, 8),
         domain="com.microsoft"),
    case("FusedMatMul", V, floats(1, 3, 4, 8), transB=1, alpha=0.5, domain="com.microsoft"),
    case("Where", X > 0, X, floats(1, 6)), case("Shape", X), case("Equal", X, X[:, :1]),
    case("Greater", X, X[:, :1]), case("Less", X, X[:, :1]), case("Not", X > 0),
    case("And", X > 0, X[:, :1] > 1), case("Or", X > 0, X[:, :1] > 1),
    case("Range", np.array(1, np.int64), np.array(9, np.int64), np.array(3, np.int64)),
    case("ConstantOfShape", ints(2, 3)), case("Div", ints(7, -7, 9), ints(2, 2, -4)),
]  # fmt: skip


@pytest.mark.parametrize(("op", "domain", "x", "constants", "opset", "attributes"), CASES)
def test_operators_agree_with_onnx_runtime(  # noqa: PLR0917 - one parameter each
    op: str, domain: str, x: Array, constants: Any, opset: int, attributes: Any
) -> None:
    count = 2 if op == "Split" else 1
    outputs = [f"y{i}" for i in range(count)]
    names = ["x", *("" if c is None else f"c{i}" for i, c in enumerate(constants))]
    made = model(
        [helper.make_node(op, names, outputs, domain=domain, name="it", **attributes)],
        {"x": x.shape},
        {},
        {f"c{i}": c for i, c in enumerate(constants) if c is not None},
        opset=opset,
    )
    elem = helper.np_dtype_to_tensor_dtype(x.dtype)
    made.graph.input[0].type.tensor_type.elem_type = elem
    made.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in outputs)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        made.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    expected = session.run(None, {"x": x})
    seen = run_all(made, {"x": x})
    for name, want in zip(outputs, expected, strict=True):
        assert seen[name].shape == want.shape
        assert seen[name] == pytest.approx(want, rel=1e-5, abs=2e-5)


@pytest.mark.parametrize(
    ("node", "why"),
    [
        (helper.make_node("Det", ["x"], ["y"]), "operator Det has no exact form"),
        (helper.make_node("Foo", ["x"], ["y"], domain="my"), "operator my.Foo has no exact form"),
        (helper.make_node("Pow", ["x", "x"], ["y"]), "exponent is not one constant"),
        (helper.make_node("Pow", ["x", "c"], ["y"]), "exponent 0.3"),
        (helper.make_node("Sqrt", ["x"], ["y"]), "square root of a negative"),
        (helper.make_node("Reciprocal", ["z"], ["y"]), "division by zero"),
        (helper.make_node("Resize", ["x", "", "s"], ["y"], mode="linear"), "only nearest"),
        (helper.make_node("MaxPool", ["x"], ["y", "i"], kernel_shape=[1, 1]), "indices"),
        (helper.make_node("Pad", ["x", "p"], ["y"]), "negative padding"),
        (helper.make_node("Conv", ["x", "w"], ["y"]), "the kernel is larger"),
        (helper.make_node("Reshape", ["x", "p"], ["y"]), "Reshape"),
    ],
)  # fmt: skip
def test_unknown_forms_are_refused(node: onnx.NodeProto, why: str) -> None:
    made = model(
        [node],
        {"x": [1, 1, 2, 2], "z": [1]},
        {"y": None},
        {
            "c": np.array(0.3, np.float32),
            "s": np.array([1, 1, 2, 2], np.float32),
            "p": ints(0, 0, -1, -1, 0, 0, -1, -1),
            "w": floats(1, 1, 1, 3, 3),
        },
    )
    with pytest.raises(UnsupportedError, match=why):
        run_all(made, {"x": -np.ones((1, 1, 2, 2), np.float32), "z": np.zeros(1, np.float32)})


def test_masked_attention_may_hold_infinities() -> None:
    made = model(
        [
            helper.make_node("Add", ["x", "mask"], ["masked"]),
            helper.make_node("Softmax", ["masked"], ["y"], axis=-1),
        ],
        {"x": [1, 3]},
        {"y": [1, 3]},
        {"mask": np.array([0, 0, -np.inf], np.float32)},
    )
    y = run_all(made, {"x": np.array([[1, 1, 5]], np.float32)})["y"]
    assert y[0] == pytest.approx([0.5, 0.5, 0.0])
