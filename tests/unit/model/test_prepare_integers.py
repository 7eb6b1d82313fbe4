"""Which models answer alike on every CPU: what is claimed, and what ONNX Runtime makes of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from make_whole import images, network
from onnx import TensorProto, helper, numpy_helper
from prepare_graphs import cnn, encoder, floats, model

from buildkit.model.prepare import integers
from buildkit.model.prepare.calibrate import calibrate
from buildkit.model.prepare.integers import answers
from buildkit.model.prepare.optimise import optimise
from buildkit.model.prepare.quantise import quantise, read_ranges
from buildkit.model.prepare.session import open_session
from buildkit.model.prepare.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

STATIC = Settings(quantization="static-int8")
NOTHING: dict[str, int] = {}
# What ONNX Runtime's `extended` graph may hold and still answer alike everywhere.
FUSED = {
    "QLinearConv", "QLinearMatMul", "QGemm", "QLinearGlobalAveragePool", "QLinearConcat",
}  # fmt: skip


def quantised(
    made: onnx.ModelProto, settings: Settings = STATIC, data: Path | None = None
) -> onnx.ModelProto:
    ranges = None
    if data is not None:
        ranges = read_ranges(calibrate(made, data, None))
    return onnx.load_from_string(quantise(made, settings, ranges)[0])


def saved(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    data = saved(tmp_path_factory.mktemp("whole") / "data.npz", x=images(2, 16))
    return quantised(network(1), data=data)


def test_every_sum_is_whole(whole: onnx.ModelProto) -> None:
    assert answers(whole) == {
        "same_on_every_cpu": True,
        "float_operators": {},
        "saturating_operators": {},
        "reason": "every sum is one of whole numbers",
    }


def test_what_is_claimed_is_what_onnxruntime_makes(whole: onnx.ModelProto, tmp_path: Path) -> None:
    """On this CPU; `tests/integration/test_cpus.py` compares answers on others."""
    merged = optimise(cnn(), STATIC)
    small = quantised(merged, data=saved(tmp_path / "x.npz", x=floats(1, 9, 2, 8, 8)))
    for made in (whole, small):
        claimed = answers(made)
        assert claimed["same_on_every_cpu"], claimed
        open_session(made.SerializeToString(), level="extended", save_to=tmp_path / "made.onnx")
        types = {node.op_type for node in onnx.load(tmp_path / "made.onnx").graph.node}
        assert types & FUSED
        assert types <= FUSED | integers.MOVING | {"Resize"}


def test_a_residual_addition_is_float(tmp_path: Path) -> None:
    node = helper.make_node
    made = model(
        [
            node("Conv", ["x", "w"], ["c"], name="c", pads=[1] * 4),
            node("Add", ["c", "x"], ["y"], name="a"),
        ],
        {"x": ["N", 2, 8, 8]},
        {"y": ["N", 2, 8, 8]},
        {"w": floats(1, 2, 2, 3, 3)},
    )
    found = answers(quantised(made, data=saved(tmp_path / "x.npz", x=floats(2, 9, 2, 8, 8))))
    assert found["same_on_every_cpu"] is False
    assert found["float_operators"] == {"Add": 1}
    assert found["reason"] == "computed in float32: Add (1)"


@pytest.mark.parametrize(
    ("made", "quantization", "wanted"),
    [
        (cnn(), "none", {"BatchNormalization", "Conv", "Gemm", "GlobalAveragePool"}),
        (cnn(), "dynamic-int8", {"DynamicQuantizeLinear", "Mul", "GlobalAveragePool"}),
        (encoder(width=32), "int4-weights", {"MatMulNBits", "Softmax", "LayerNormalization"}),
    ],
    ids=["none", "dynamic-int8", "int4-weights"],
)
def test_ranges_at_run_time_and_float_sums(
    made: onnx.ModelProto, quantization: str, wanted: set[str]
) -> None:
    settings = replace(STATIC, quantization=quantization, block_size=16)
    found = answers(quantised(made, settings))
    assert found["same_on_every_cpu"] is False
    assert wanted <= set(found["float_operators"])
    assert not set(found["float_operators"]) & {"Relu", "Clip", "Flatten", "Reshape", "Gather"}


def test_wide_weights_saturate(tmp_path: Path) -> None:
    data = saved(tmp_path / "x.npz", x=images(3, 8))
    found = answers(quantised(network(1), replace(STATIC, reduce_range=False), data))
    assert found["same_on_every_cpu"] is False
    assert found["float_operators"] == NOTHING
    # Two activations multiplied are unsigned both: no 16-bit sums.
    assert found["saturating_operators"] == {"Conv": 3, "Gemm": 1, "MatMul": 1}
    assert "AVX2 but no VNNI" in found["reason"]


def _edited(whole: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, onnx.NodeProto]]:
    made = onnx.ModelProto()
    made.CopyFrom(whole)
    return made, {node.op_type: node for node in made.graph.node}


@pytest.mark.parametrize("limit", [64, 65])
def test_the_largest_weight(whole: onnx.ModelProto, limit: int) -> None:
    made, nodes = _edited(whole)
    maker = {name: node for node in made.graph.node for name in node.output}
    name = maker[nodes["Gemm"].input[1]].input[0]
    (tensor,) = (each for each in made.graph.initializer if each.name == name)
    weights = numpy_helper.to_array(tensor).copy()
    weights.flat[0] = -limit
    tensor.CopyFrom(numpy_helper.from_array(weights, name))
    assert answers(made)["saturating_operators"] == ({"Gemm": 1} if limit > 64 else {})


def test_a_sum_that_is_not_quantised_again(whole: onnx.ModelProto) -> None:
    made, nodes = _edited(whole)
    output = made.graph.output.add()
    output.CopyFrom(
        helper.make_tensor_value_info(nodes["GlobalAveragePool"].output[0], TensorProto.FLOAT, None)
    )
    assert answers(made)["float_operators"] == {"GlobalAveragePool": 1}


def test_a_scaled_bias_is_not_fused(whole: onnx.ModelProto) -> None:
    made, nodes = _edited(whole)
    gemm = nodes["Gemm"]
    kept = [each for each in gemm.attribute if each.name != "beta"]
    del gemm.attribute[:]
    gemm.attribute.extend([*kept, helper.make_attribute("beta", 2.0)])
    assert answers(made)["float_operators"] == {"Gemm": 1}


def test_resizing_by_weights_is_float(whole: onnx.ModelProto) -> None:
    made, nodes = _edited(whole)
    (mode,) = (each for each in nodes["Resize"].attribute if each.name == "mode")
    mode.s = b"linear"
    assert answers(made)["float_operators"] == {"Resize": 1}


def test_inner_graphs_count_as_float() -> None:
    branch = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["z"])],
        "branch",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", 2])],
    )
    made = model(
        [helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch)],
        {"x": ["N", 2]},
        {"y": ["N", 2]},
        {"yes": np.array(True)},  # noqa: FBT003 - a tensor
    )
    assert answers(made)["float_operators"] == {"If": 1}


def test_an_operator_from_elsewhere_counts_as_float() -> None:
    made = model(
        [helper.make_node("Relu", ["x"], ["y"], domain="some.vendor")],
        {"x": ["N", 2]},
        {"y": ["N", 2]},
        {},
    )
    assert answers(made)["float_operators"] == {"Relu": 1}
