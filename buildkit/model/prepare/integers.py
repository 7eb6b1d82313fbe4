"""Whether a model answers alike on every CPU, read from its graph.

ONNX Runtime runs a node in QDQ form (``DequantizeLinear`` before it, ``QuantizeLinear`` after it)
as one quantised operator. Some of these add whole numbers and round once, which every CPU does
alike; the others (``QLinearAdd``, ``QLinearSoftmax`` …) compute in float32 inside, with or without
fused multiply-add. What ONNX Runtime makes of a graph depends on the CPU, so its optimised graph is
not asked. All this holds from optimisation level `extended` on (`all` is what a session does that
is asked for nothing); below it ONNX Runtime computes every node in float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from . import importing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# In QDQ form ONNX Runtime sums these in int32, and multiplies each sum by one float32.
WHOLE = frozenset({"Conv", "Gemm", "GlobalAveragePool", "MatMul"})
# The same, as operators of their own; each with the place of its weights.
QUANTISED = {
    "ConvInteger": 1,
    "MatMulInteger": 1,
    "QGemm": 3,
    "QLinearConv": 3,
    "QLinearGlobalAveragePool": None,
    "QLinearMatMul": 3,
}
# Only choose, move or compare values, or round once (ONNX operators; float32 in, the same out).
MOVING = frozenset(
    {
        "ArgMax", "ArgMin", "Clip", "Concat", "Constant", "ConstantOfShape", "DepthToSpace",
        "DequantizeLinear", "Dropout", "Equal", "Expand", "Flatten", "Gather", "GatherElements",
        "GatherND", "GlobalMaxPool", "Greater", "GreaterOrEqual", "Identity", "Less", "LessOrEqual",
        "Max", "MaxPool", "Min", "Pad", "QuantizeLinear", "Relu", "Reshape", "ReduceMax",
        "ReduceMin", "Shape", "Size", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "TopK",
        "Transpose", "Unsqueeze", "Where",
    }
)  # fmt: skip
# 16-bit sums of two products of an unsigned and a signed byte, on CPUs with AVX2 but no VNNI:
# 2 * 255 * 64 fits, 2 * 255 * 65 does not.
LARGEST_WEIGHT = 64
_FLOATS = (
    TensorProto.UNDEFINED,
    TensorProto.FLOAT,
    TensorProto.DOUBLE,
    TensorProto.FLOAT16,
    TensorProto.BFLOAT16,
)


def answers(model: onnx.ModelProto) -> dict[str, Any]:
    """What can make a model answer otherwise on another CPU.

    Safe, not sharp: a model that may differ need not. Inner graphs and functions count as float32.

    Args:
        model: quantised or not.

    Returns:
        ``same_on_every_cpu``; ``float_operators``: how many nodes of each operator compute in
        float32; ``saturating_operators``: how many have weights too large for 16-bit sums of
        pairs; ``reason``: the same in words.
    """
    graph = _Graph(model)
    singles: dict[str, int] = {}
    wide: dict[str, int] = {}
    for node in model.graph.node:
        if not graph.is_whole(node):
            singles[node.op_type] = singles.get(node.op_type, 0) + 1
        elif graph.is_wide(node):
            wide[node.op_type] = wide.get(node.op_type, 0) + 1
    reasons = []
    if singles:
        reasons.append(f"computed in float32: {_listed(singles)}")
    if wide:
        reasons.append(f"weights beyond 7 bits, for CPUs with AVX2 but no VNNI: {_listed(wide)}")
    return {
        "same_on_every_cpu": not reasons,
        "float_operators": dict(sorted(singles.items())),
        "saturating_operators": dict(sorted(wide.items())),
        "reason": "; ".join(reasons) or "every sum is one of whole numbers",
    }


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in sorted(counts.items()))


class _Graph:
    def __init__(self, model: onnx.ModelProto) -> None:
        try:
            graph = onnx.shape_inference.infer_shapes(model).graph
        except onnx.shape_inference.InferenceError:
            graph = model.graph
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.types = {name: tensor.data_type for name, tensor in self.constants.items()}
        for value in (*graph.input, *graph.output, *graph.value_info):
            self.types[value.name] = value.type.tensor_type.elem_type
        self.outputs = {value.name for value in graph.output}
        self.maker = {name: node for node in graph.node for name in node.output}
        self.users: dict[str, list[onnx.NodeProto]] = {}
        for node in importing.nodes(graph):
            for name in node.input:
                self.users.setdefault(name, []).append(node)

    def is_whole(self, node: onnx.NodeProto) -> bool:
        """Whether nothing is rounded in float32 that another CPU could round otherwise."""
        if any(a.type in (a.GRAPH, a.GRAPHS) for a in node.attribute):
            return False
        own = node.domain in ("", "ai.onnx")
        if node.op_type in QUANTISED and (own or node.domain == "com.microsoft"):
            return True
        # Dequantised and quantised again, it is one quantised operator whose type says nothing.
        if own and node.op_type in WHOLE and self._is_qdq(node):
            return True
        touched = (*filter(None, node.input), *filter(None, node.output))
        if own and not any(self.types.get(name, 0) in _FLOATS for name in touched):
            return True
        if own and node.op_type == "Resize":
            return bool(_attribute(node, "mode", b"nearest") == b"nearest")
        quantising = node.op_type in ("QuantizeLinear", "DequantizeLinear")
        return node.op_type in MOVING and (own or (quantising and node.domain == "com.microsoft"))

    def _is_qdq(self, node: onnx.NodeProto) -> bool:
        """Whether ONNX Runtime makes one quantised operator of it on all CPUs."""
        inputs = [self._quantised(name) for name in node.input if name]
        if None in inputs or inputs[0] != TensorProto.UINT8:
            return False
        if any(kind not in (TensorProto.UINT8, TensorProto.INT8) for kind in inputs[1:2]):
            return False
        if any(kind != TensorProto.INT32 for kind in inputs[2:]):
            return False
        if len(inputs) > 2 and _attribute(node, "beta", 1.0) != 1.0:
            return False
        users = [self.users.get(name, []) for name in node.output]
        return all(
            not self.outputs.intersection(node.output)
            and found
            and all(user.op_type == "QuantizeLinear" for user in found)
            for found in users
        )

    def _quantised(self, name: str) -> int | None:
        """Element type of what a value was dequantised from."""
        maker = self.maker.get(name)
        if maker is None or maker.op_type != "DequantizeLinear":
            return None
        return int(self.types.get(maker.input[0], TensorProto.UNDEFINED))

    def is_wide(self, node: onnx.NodeProto) -> bool:
        """Whether signed weights are too large for 16-bit sums of pairs."""
        if node.op_type in WHOLE:
            makers = [self.maker.get(name) for name in node.input[:2]]
            names: Iterable[str] = (maker.input[0] for maker in makers if maker is not None)
        elif node.op_type in QUANTISED:
            place = QUANTISED[node.op_type]
            names = () if place is None else (node.input[place],)
        else:
            return False
        for name in names:
            if self.types.get(name, TensorProto.INT8) != TensorProto.INT8:
                continue
            tensor = self.constants.get(name)
            if tensor is None or _largest(tensor) > LARGEST_WEIGHT:
                return True
        return False


def _largest(tensor: onnx.TensorProto) -> int:
    return int(np.abs(numpy_helper.to_array(tensor).astype(np.int16)).max(initial=0))


def _attribute(node: onnx.NodeProto, name: str, default: float | bytes) -> Any:
    found = [helper.get_attribute_value(a) for a in node.attribute if a.name == name]
    return found[0] if found else default
