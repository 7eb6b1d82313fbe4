"""Every operator, and random graphs of them, equal `exact_reference` to the last bit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
from exact_reference import TABLE, Tensor, of
from exact_reference_spatial import run
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from onnx import helper
from prepare_graphs import model

from buildkit.model.prepare.exact.graph import Graph

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx

    Index = tuple[int, ...]

Array = npt.NDArray[Any]
Draw = st.DrawFn

# The operators that the project promises an exact form for.
PROMISED = (
    "Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "Sub", "Mul", "Div", "Relu", "Clip",
    "LeakyRelu", "HardSwish", "HardSigmoid", "Sigmoid", "Tanh", "Erf", "Gelu", "Softmax",
    "LayerNormalization", "BatchNormalization", "MaxPool", "AveragePool", "GlobalAveragePool",
    "GlobalMaxPool", "Concat", "Split", "Slice", "Gather", "Reshape", "Transpose", "Flatten",
    "Resize", "ReduceMean", "Pad", "Sqrt", "Pow",
)  # fmt: skip


@dataclass
class Step:
    """What follows the first input of a node: attributes, more inputs, and how it is asked for."""

    attributes: dict[str, Any] = field(default_factory=dict)
    more: list[Array | None] = field(default_factory=list)
    outputs: int = 1


def draw_values(draw: Draw, *shape: int) -> Array:
    """Float32 values: ordinary ones, or of very different sizes, or close to the smallest."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    values = rng.normal(size=shape)
    kind = draw(st.sampled_from(["plain", "plain", "wild", "tiny"]))
    if kind == "wild":
        values = values * 2.0 ** rng.integers(-20, 20, size=shape)
        values = values * 2.0 ** draw(st.integers(-40, 40))
    elif kind == "tiny":
        values = values * 2.0 ** rng.integers(-149, -120, size=shape)
    zero = rng.random(size=shape) < draw(st.sampled_from([0.0, 0.0, 0.3, 1.0]))
    return np.where(zero, 0, values).astype(np.float32)


def whole(*values: int) -> Array:
    return np.array(values, np.int64)


def scalar(value: float) -> Array:
    return np.array(value, np.float32)


# --- for each operator, something that follows a first input of that shape; None where it cannot

Follow = "Callable[[Draw, Index], Step | None]"
FOLLOW: dict[str, Any] = {
    name: lambda _draw, _shape: Step()
    for name in (
        "Relu", "Sigmoid", "Tanh", "Erf", "Exp", "Sqrt", "Abs", "Neg", "HardSwish", "Floor",
        "Ceil", "Round", "Sign", "Identity",
    )
}  # fmt: skip
POSITIVE = ("Sqrt",)


def follow(*names: str) -> Callable[[Any], Any]:
    def register(function: Any) -> Any:
        for name in names:
            FOLLOW[name] = function
        return function

    return register


@follow("Add", "Sub", "Mul", "Max", "Min", "Sum", "Div", "PRelu")
def _(draw: Draw, shape: Index) -> Step:
    """Another tensor that is broadcast to the first, or (but for PRelu) the first to it."""
    sizes = tuple(1 if draw(st.booleans()) else s for s in shape)
    if draw(st.booleans()):
        sizes = sizes[draw(st.integers(0, len(sizes))) :]
    other = draw_values(draw, *sizes)
    return Step(more=[np.where(other == 0, np.float32(1), other)])


@follow("LeakyRelu", "Elu", "HardSigmoid")
def _(draw: Draw, _shape: Index) -> Step:
    given_alpha = draw(st.sampled_from([None, 0.1, 0.3]))
    return Step({} if given_alpha is None else {"alpha": given_alpha})


@follow("Gelu")
def _(draw: Draw, _shape: Index) -> Step:
    return Step(draw(st.sampled_from([{}, {"approximate": "tanh"}])))


@follow("Clip")
def _(draw: Draw, _shape: Index) -> Step:
    low, high = draw(st.sampled_from([(None, 0.5), (-0.1, None), (0.0, 6.0), (None, None)]))
    return Step(more=[None if v is None else scalar(v) for v in (low, high)])


@follow("Pow")
def _(draw: Draw, _shape: Index) -> Step:
    return Step(more=[scalar(draw(st.sampled_from([0, 1, 2, 3, 4, 0.5, 1.5, -1, -2, -0.5])))])


@follow("Softmax")
def _(draw: Draw, shape: Index) -> Step:
    return Step({"axis": draw(st.integers(-len(shape), len(shape) - 1))})


@follow("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin")
def _(draw: Draw, shape: Index) -> Step | None:
    axes = draw(st.sets(st.integers(0, len(shape) - 1), min_size=1))
    return Step({"keepdims": draw(st.integers(0, 1))}, [whole(*sorted(axes))])


@follow("GlobalAveragePool", "GlobalMaxPool")
def _(_draw: Draw, shape: Index) -> Step | None:
    return Step() if len(shape) >= 3 else None


@follow("MatMul")
def _(draw: Draw, shape: Index) -> Step:
    lead = tuple(s if draw(st.booleans()) else 1 for s in shape[:-2])
    columns = (draw(st.integers(1, 4)),) if draw(st.booleans()) else ()
    sizes = (*lead, shape[-1], *columns) if columns else (shape[-1],)
    return Step(more=[draw_values(draw, *sizes)])


@follow("Gemm")
def _(draw: Draw, shape: Index) -> Step | None:
    if len(shape) != 2:
        return None
    turn_a, turn_b = (draw(st.integers(0, 1)) for _ in range(2))
    terms, rows = shape if turn_a else shape[::-1]
    columns = draw(st.integers(1, 4))
    b = draw_values(draw, *((columns, terms) if turn_b else (terms, columns)))
    c = draw(st.sampled_from([None, (columns,), (rows, columns), (1, columns), ()]))
    return Step(
        {"transA": turn_a, "transB": turn_b, **draw(st.sampled_from(
            [{}, {"alpha": 0.3}, {"beta": -1.7}, {"alpha": 2.0, "beta": 0.1}]))},
        [b, None if c is None else draw_values(draw, *c)],
    )  # fmt: skip


def draw_window(draw: Draw, spatial: Index, *, pool: bool = False) -> dict[str, Any]:
    rank = len(spatial)
    kernel = [draw(st.integers(1, min(3, s))) for s in spatial]
    spare = [s - k for s, k in zip(spatial, kernel, strict=True)]
    attributes: dict[str, Any] = {
        "kernel_shape": kernel,
        "strides": [draw(st.integers(1, 3)) for _ in range(rank)],
        "dilations": [
            draw(st.integers(1, 2)) if 2 * (k - 1) < k + s else 1
            for k, s in zip(kernel, spare, strict=True)
        ],
    }
    how = draw(st.sampled_from(["pads", "pads", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    if how == "pads":
        limits = kernel if pool else [3] * rank
        attributes["pads"] = [draw(st.integers(0, most - 1)) for most in limits * 2]
        if pool:
            attributes["ceil_mode"] = draw(st.integers(0, 1))
    else:
        attributes["auto_pad"] = how
        if how != "VALID":
            attributes["dilations"] = [1] * rank
    return attributes


@follow("Conv")
def _(draw: Draw, shape: Index) -> Step | None:
    if len(shape) < 3:
        return None
    attributes = draw_window(draw, shape[2:])
    groups = draw(st.sampled_from([g for g in range(1, shape[1] + 1) if shape[1] % g == 0]))
    made = groups * draw(st.integers(1, 2))
    w = draw_values(draw, made, shape[1] // groups, *attributes["kernel_shape"])
    bias = draw_values(draw, made) if draw(st.booleans()) else None
    return Step({**attributes, "group": groups}, [w, bias])


@follow("ConvTranspose")
def _(draw: Draw, shape: Index) -> Step | None:
    if len(shape) < 3:
        return None
    rank = len(shape) - 2
    groups = draw(st.sampled_from([g for g in range(1, shape[1] + 1) if shape[1] % g == 0]))
    made, kernel = draw(st.integers(1, 2)), [draw(st.integers(1, 3)) for _ in range(rank)]
    strides = [draw(st.integers(1, 3)) for _ in range(rank)]
    attributes = {
        "group": groups,
        "strides": strides,
        "dilations": [draw(st.integers(1, 2)) for _ in range(rank)],
        "pads": [draw(st.integers(0, (k - 1) // 2)) for k in kernel * 2],
        "output_padding": [draw(st.integers(0, s - 1)) for s in strides],
    }
    bias = draw_values(draw, groups * made) if draw(st.booleans()) else None
    return Step(attributes, [draw_values(draw, shape[1], made, *kernel), bias])


@follow("MaxPool")
def _(draw: Draw, shape: Index) -> Step | None:
    return Step(draw_window(draw, shape[2:], pool=True)) if len(shape) >= 3 else None


@follow("AveragePool")
def _(draw: Draw, shape: Index) -> Step | None:
    if len(shape) < 3:
        return None
    attributes = draw_window(draw, shape[2:], pool=True)
    attributes.pop("dilations")
    return Step({**attributes, "count_include_pad": draw(st.integers(0, 1))})


@follow("LayerNormalization")
def _(draw: Draw, shape: Index) -> Step:
    axis = draw(st.integers(-len(shape), -1))
    scale, bias = (draw_values(draw, *shape[axis:]) for _ in range(2))
    return Step(
        {"axis": axis, **draw(st.sampled_from([{}, {"epsilon": 0.1}]))},
        [scale, *([bias] if draw(st.booleans()) else [])],
    )


@follow("InstanceNormalization")
def _(draw: Draw, shape: Index) -> Step | None:
    if len(shape) < 3:
        return None
    return Step(more=[draw_values(draw, shape[1]) for _ in range(2)])


@follow("GroupNormalization")
def _(draw: Draw, shape: Index) -> Step | None:
    if len(shape) < 3:
        return None
    groups = draw(st.sampled_from([g for g in range(1, shape[1] + 1) if shape[1] % g == 0]))
    return Step({"num_groups": groups}, [draw_values(draw, shape[1]) for _ in range(2)])


@follow("BatchNormalization")
def _(draw: Draw, shape: Index) -> Step | None:
    if len(shape) < 2:
        return None
    values = [draw_values(draw, shape[1]) for _ in range(4)]
    return Step(more=[*values[:3], np.abs(values[3])])


@follow("Concat")
def _(draw: Draw, shape: Index) -> Step:
    axis = draw(st.integers(0, len(shape) - 1))
    others = []
    for _ in range(draw(st.integers(1, 2))):
        sizes = [draw(st.integers(1, 2)) if a == axis else s for a, s in enumerate(shape)]
        others.append(draw_values(draw, *sizes))
    return Step({"axis": draw(st.sampled_from([axis, axis - len(shape)]))}, list(others))


@follow("Split")
def _(draw: Draw, shape: Index) -> Step:
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    first = draw(st.integers(0, shape[axis]))
    # An empty part has no values to compare, and the runtime refuses it as well.
    assume(0 < first < shape[axis])
    return Step({"axis": axis}, [whole(first, shape[axis] - first)], outputs=2)


@follow("Slice")
def _(draw: Draw, shape: Index) -> Step:
    axes = sorted(draw(st.sets(st.integers(0, len(shape) - 1), min_size=1)))
    starts, ends, steps = [], [], []
    for axis in axes:
        size = shape[axis]
        step = draw(st.sampled_from([1, 2, -1, -2]))
        first, last = sorted(draw(st.integers(0, size - 1)) for _ in range(2))
        if step < 0:
            # From a later place back to an earlier one, which an end before the start includes.
            begin, end = last, draw(st.sampled_from([first - 1 - size, -(2**40)]))
            end = end if first == 0 or end < -size else first - 1
        else:
            begin, end = first, draw(st.sampled_from([last + 1, 2**40]))
        starts.append(draw(st.sampled_from([begin, begin - size])))
        ends.append(end)
        steps.append(step)
    return Step(more=[whole(*starts), whole(*ends), whole(*axes), whole(*steps)])


@follow("Gather")
def _(draw: Draw, shape: Index) -> Step:
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    size = shape[axis]
    sizes = draw(st.sampled_from([(), (1,), (3,), (2, 2)]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return Step({"axis": axis}, [rng.integers(-size, size, size=sizes)])


@follow("GatherElements")
def _(draw: Draw, shape: Index) -> Step:
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return Step({"axis": axis}, [rng.integers(-shape[axis], shape[axis], size=shape)])


@follow("Reshape")
def _(draw: Draw, shape: Index) -> Step:
    size = int(np.prod(shape))
    factors = [f for f in range(1, size + 1) if size % f == 0]
    first = draw(st.sampled_from(factors))
    forms = [(first, -1), (-1, first), (-1,), (first, size // first), (*shape[:-1], -1)]
    return Step(more=[whole(*draw(st.sampled_from([*forms, (0, *shape[1:])])))])


@follow("Flatten")
def _(draw: Draw, shape: Index) -> Step:
    return Step({"axis": draw(st.integers(-len(shape), len(shape)))})


@follow("Transpose")
def _(draw: Draw, shape: Index) -> Step:
    perm = draw(st.permutations(range(len(shape))))
    return Step(draw(st.sampled_from([{}, {"perm": perm}])))


@follow("Pad")
def _(draw: Draw, shape: Index) -> Step:
    mode = draw(st.sampled_from(["constant", "edge", "reflect", "wrap"]))
    most = [s - 1 if mode == "reflect" else 2 for s in shape]
    amounts = [draw(st.integers(0, min(2, m))) for m in most * 2]
    fill = scalar(draw(st.sampled_from([0.0, -3.5])))
    return Step({"mode": mode}, [whole(*amounts), *([fill] if mode == "constant" else [])])


@follow("Resize")
def _(draw: Draw, shape: Index) -> Step:
    ways = ["asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners"]
    roundings = ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"]
    attributes = {
        "mode": "nearest",
        "coordinate_transformation_mode": draw(st.sampled_from(ways)),
        "nearest_mode": draw(st.sampled_from(roundings)),
    }
    if draw(st.booleans()):
        sizes = [draw(st.integers(1, 2 * s)) for s in shape]
        return Step(attributes, [None, None, whole(*sizes)])
    scales = [draw(st.sampled_from([1.0, 2.0, 1.5, 0.7, 3.0])) for _ in shape]
    scales = [f if int(np.float32(f) * s) else 1.0 for f, s in zip(scales, shape, strict=True)]
    return Step(attributes, [None, np.array(scales, np.float32)])


@follow("DepthToSpace")
def _(draw: Draw, shape: Index) -> Step | None:
    if len(shape) != 4 or shape[1] % 4:
        return None
    return Step({"blocksize": 2, "mode": draw(st.sampled_from(["DCR", "CRD"]))})


@follow("SpaceToDepth")
def _(_draw: Draw, shape: Index) -> Step | None:
    fits = len(shape) == 4 and shape[2] % 2 == shape[3] % 2 == 0
    return Step({"blocksize": 2}) if fits else None


# --- graphs

SHAPES = st.one_of(
    st.tuples(*(st.integers(1, 4) for _ in range(2))),
    st.tuples(*(st.integers(1, 4) for _ in range(3))),
    st.tuples(st.integers(1, 2), st.integers(1, 4), st.integers(1, 5), st.integers(1, 5)),
    st.sampled_from([(1, 4, 2, 2), (2, 4, 4, 2)]),
)
# What the reference raises where the calibrator must refuse.
REFUSED = (OverflowError, ZeroDivisionError, ValueError)
LARGEST = 400


@dataclass
class Case:
    """A graph, what goes in, and what every tensor must be."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    feed: dict[str, Array] = field(default_factory=dict)
    constants: dict[str, Array] = field(default_factory=dict)
    expected: dict[str, Tensor] = field(default_factory=dict)

    def follow_with(self, draw: Draw, op: str, x: str) -> bool:
        """Add a node on tensor `x` if there is a form that fits."""
        step = FOLLOW[op](draw, self.expected[x].shape)
        if step is None:
            return False
        names = [x]
        inputs: list[Tensor | None] = [self.expected[x]]
        number = len(self.nodes)
        for place, value in enumerate(step.more):
            names.append("" if value is None else f"c{number}_{place}")
            inputs.append(None if value is None else of(value))
        return self._add(op, names, inputs, step, variable=draw(st.booleans()))

    def combine(self, op: str, names: list[str]) -> bool:
        """Add a node whose inputs are all tensors of the graph."""
        return self._add(op, names, [self.expected[n] for n in names], Step(), variable=False)

    def _add(
        self, op: str, names: list[str], inputs: list[Any], step: Step, *, variable: bool
    ) -> bool:
        try:
            made = run(op, step.attributes, inputs)
        except REFUSED:
            return False
        if any(len(y.at) > LARGEST for y in made):
            return False
        outputs = [f"t{len(self.nodes)}_{i}" for i in range(step.outputs)]
        # Weights that come with the data take another way through the calibrator.
        home = self.feed if variable and op in ("MatMul", "Gemm", "Add", "Mul") else self.constants
        for name, value in zip(names[1:], step.more, strict=False):
            if value is not None:
                home[name] = value
        self.nodes.append(helper.make_node(op, names, outputs, name=op, **step.attributes))
        self.expected.update(zip(outputs, made, strict=True))
        return True

    def check(self) -> None:
        """Run it and compare bit for bit."""
        made = model(
            self.nodes,
            {name: value.shape for name, value in self.feed.items()},
            {},
            self.constants,
            opset=21,
        )
        last = self.nodes[-1].output[0]
        made.graph.output.append(helper.make_empty_tensor_value_info(last))
        seen: dict[str, Array] = {}
        graph = Graph(made)
        graph.run(self.feed, lambda name, values: seen.update({name: values.copy()}))
        for name, want in self.expected.items():
            have = seen[name] if name in seen else graph.constants[name]
            assert have.shape == want.shape, name
            for i, value in want.at.items():
                assert float(have[i]) == value, (name, i, float(have[i]).hex(), value.hex())


def start(draw: Draw, *, positive: bool = False) -> Case:
    x = draw_values(draw, *draw(SHAPES))
    x = np.abs(x) if positive else x
    return Case(feed={"x": x}, expected={"x": of(x)})


@st.composite
def single_nodes(draw: Draw, op: str) -> Case:
    case = start(draw, positive=op in POSITIVE)
    assume(case.follow_with(draw, op, "x"))
    return case


@pytest.mark.parametrize("op", sorted(FOLLOW))
def test_an_operator_equals_the_reference(op: str) -> None:
    @settings(
        deadline=None,
        max_examples=60,
        suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
    )
    @given(single_nodes(op))
    def every(case: Case) -> None:
        case.check()

    every()


def test_the_reference_knows_what_is_promised() -> None:
    assert set(PROMISED) <= set(FOLLOW) <= set(TABLE)


@st.composite
def graphs(draw: Draw) -> Case:
    """Up to eight nodes; any tensor may feed the next, two of one shape may meet."""
    case = start(draw)
    for _ in range(draw(st.integers(2, 8))):
        names = sorted(case.expected)
        x = draw(st.sampled_from(names))
        like = [n for n in names if case.expected[n].shape == case.expected[x].shape]
        if len(like) > 1 and draw(st.booleans()):
            pair = [x, draw(st.sampled_from(like))]
            case.combine(draw(st.sampled_from(["Add", "Sub", "Mul", "Div", "Max"])), pair)
        elif case.expected[x].shape:
            case.follow_with(draw, draw(st.sampled_from(sorted(FOLLOW))), x)
    assume(case.nodes)
    return case


@settings(deadline=None, max_examples=500, suppress_health_check=list(HealthCheck))
@given(graphs())
def test_a_random_graph_equals_the_reference(case: Case) -> None:
    case.check()
