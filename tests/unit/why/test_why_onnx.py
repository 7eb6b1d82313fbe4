"""Two ONNX files against one another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from buildkit.why import onnxfile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from buildkit.why.types import Effect


def model() -> ModelProto:
    """Quantised input, a product with weights, and a Relu."""
    weights = np.arange(12, dtype=np.float32).reshape(4, 3)
    graph = helper.make_graph(
        [
            helper.make_node("QuantizeLinear", ["input", "scale", "zero"], ["q"], name="quantise"),
            helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"], name="restore"),
            helper.make_node("Gemm", ["d", "weights"], ["g"], name="gemm", transB=0),
            helper.make_node("LeakyRelu", ["g"], ["logits"], name="relu", alpha=0.5),
        ],
        "graph",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])],
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(np.array(0.5, np.float32), "scale"),
            numpy_helper.from_array(np.array(128, np.uint8), "zero"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def compared(change: Callable[[ModelProto], Any]) -> list[Effect]:
    other = model()
    change(other)
    a, b = (each.SerializeToString(deterministic=True) for each in (model(), other))
    there, back = list(onnxfile.differences(a, b)), list(onnxfile.differences(b, a))
    assert [(each.kind, each.subject, each.before, each.detail) for each in there] == [
        (each.kind, each.subject, each.after, each.detail) for each in back
    ]
    return there


def _tensor(made: ModelProto, name: str, value: Any) -> None:
    for tensor in made.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(value, name))


def _one_weight(made: ModelProto) -> None:
    weights = np.arange(12, dtype=np.float32).reshape(4, 3)
    weights[1, 1] += 0.25
    _tensor(made, "weights", weights)


def _new_node(made: ModelProto) -> None:
    made.graph.node.append(helper.make_node("Relu", ["logits"], ["more"], name="extra"))


def _swap(made: ModelProto) -> None:
    nodes = list(made.graph.node)
    del made.graph.node[:]
    made.graph.node.extend([nodes[1], nodes[0], *nodes[2:]])


@pytest.mark.parametrize(
    ("change", "kind", "subject"),
    [
        (_new_node, "node", "extra"),
        (lambda made: made.graph.node.pop(), "node", "relu"),
        (
            lambda made: setattr(made.graph.node[3].attribute[0], "f", 0.25),
            "node",
            "relu (LeakyRelu) attribute.alpha",
        ),
        (_swap, "graph", "order of the nodes"),
        (
            lambda made: setattr(made.graph.input[0].type.tensor_type.shape.dim[1], "dim_value", 5),
            "graph",
            "input input",
        ),
        (_one_weight, "initialiser", "weights"),
        (lambda made: _tensor(made, "scale", np.array(0.25, np.float32)), "range", "input"),
        (lambda made: made.metadata_props.add(key="a", value="b"), "metadata", "properties.a"),
        (lambda made: setattr(made, "producer_name", "x"), "metadata", "producer_name"),
        (lambda made: setattr(made.opset_import[0], "version", 19), "metadata", "opset.ai.onnx"),
    ],
)
def test_one_change_is_one_effect(
    change: Callable[[ModelProto], Any], kind: str, subject: str
) -> None:
    (found,) = compared(change)
    assert (found.kind, found.subject) == (kind, subject)


def test_how_many_values_differ_and_how_far() -> None:
    (found,) = compared(_one_weight)
    assert found.detail == "1 of 12 values differ, by at most 0.25"


def test_a_range_is_what_scale_and_zero_point_stand_for() -> None:
    (found,) = compared(lambda made: _tensor(made, "scale", np.array(0.25, np.float32)))
    assert (found.before, found.after) == ("[-64.0, 63.5]", "[-32.0, 31.75]")


def test_not_a_number_is_equal_to_itself() -> None:
    def both(value: float) -> Callable[[ModelProto], None]:
        return lambda made: _tensor(made, "weights", np.array([np.nan, value], np.float32))

    a, b = model(), model()
    both(1)(a)
    both(2)(b)
    (found,) = onnxfile.differences(a.SerializeToString(), b.SerializeToString())
    assert found.detail == "1 of 2 values differ, by at most 1"


def test_external_data_is_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_bytes(bytes(48))

    def outside(made: ModelProto) -> None:
        tensor = made.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="secret")

    (found,) = compared(outside)
    assert (found.kind, found.detail) == ("initialiser", "")


def test_a_header_that_claims_more_than_is_there() -> None:
    (found,) = compared(lambda made: made.graph.initializer[0].dims.extend([1 << 40, 1 << 40]))
    assert (found.kind, found.detail) == ("initialiser", "")


@pytest.mark.parametrize("data", [b"", b"\xff" * 100, b"not a model"])
def test_what_is_no_model(data: bytes) -> None:
    (found,) = onnxfile.differences(data, model().SerializeToString())
    assert (found.kind, found.before) == ("bytes", "no ONNX model")


def test_the_same_model_in_other_bytes() -> None:
    data = model().SerializeToString(deterministic=True)
    # A field may stand twice; the last one counts.
    (found,) = onnxfile.differences(data, data + b"\x08\x09")
    assert (found.kind, found.subject) == ("bytes", "the file's own form")
