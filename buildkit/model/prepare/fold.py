"""Fusions that compute with weights, in arithmetic that is the same on every CPU.

ONNX Runtime has these as well, computed with the kernels of the CPU at hand (fused
multiply-add or not); so they are done here and left out there (`optimise`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import numpy_helper

from .exact import graph as exact
from .exact.errors import UnsupportedError
from .exact.registry import find
from .exact.shaping import widened

if TYPE_CHECKING:
    from .exact.arith import Array, Float

# A folded tensor larger than this (values) would bloat the file; its nodes stay.
_LARGEST = 1 << 16


def fold(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with constant nodes computed and batch normalisation merged into convolutions."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    _fold_constants(made)
    while _merge_one(made.graph):
        pass
    _drop_unused(made.graph)
    return made


def _fold_constants(model: onnx.ModelProto) -> None:
    graph = model.graph
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    types = {v.name: v.type.tensor_type for v in (*inferred.value_info, *inferred.input)}
    outputs = {o.name for o in graph.output}
    opsets = {one.domain: one.version for one in model.opset_import}
    tensors = {t.name: t for t in graph.initializer}
    inputs = {i.name for i in graph.input}
    constants: dict[str, Array] = {}
    kept = []
    for proto in graph.node:
        names = [n for n in proto.input if n]
        known = all(n in tensors and n not in inputs for n in names)
        value = None
        if len(proto.output) == 1 and proto.output[0] in types and proto.output[0] not in outputs:
            if proto.op_type == "Shape" and names[0] in types:
                value = _static_shape(types[names[0]], proto)
            elif known:
                for name in names:
                    if name not in constants:
                        constants[name] = widened(exact.to_array(tensors[name]))
                value = _evaluate(proto, opsets, constants)
        dtype = _dtype(types[proto.output[0]]) if value is not None else None
        if value is None or dtype is None:
            kept.append(proto)
            continue
        with np.errstate(all="ignore"):
            tensor = numpy_helper.from_array(np.asarray(value, dtype), proto.output[0])
        tensors[tensor.name] = tensor
        graph.initializer.append(tensor)
    del graph.node[:]
    graph.node.extend(kept)


def _static_shape(tensor: onnx.TypeProto.Tensor, proto: onnx.NodeProto) -> Array | None:
    if proto.attribute or not tensor.HasField("shape"):
        return None
    dims = [d.dim_value if d.HasField("dim_value") else -1 for d in tensor.shape.dim]
    return None if -1 in dims else np.asarray(dims, np.int64)


def _dtype(tensor: onnx.TypeProto.Tensor) -> np.dtype[np.generic] | None:
    """Numpy's type for what folding may make: float32, whole numbers, booleans."""
    kinds: dict[int, type[np.generic]] = {
        onnx.TensorProto.FLOAT: np.float32,
        onnx.TensorProto.INT64: np.int64,
        onnx.TensorProto.INT32: np.int32,
        onnx.TensorProto.BOOL: np.bool_,
    }
    kind = kinds.get(tensor.elem_type)
    return None if kind is None else np.dtype(kind)


def _evaluate(
    proto: onnx.NodeProto, opsets: dict[str, int], constants: dict[str, Array]
) -> Array | None:
    try:
        node = exact.parse(proto, opsets, constants)
        inputs = [constants[name] if name else None for name in node.inputs]
        with np.errstate(all="ignore"):
            value = find(node)(node, *inputs)
    except (UnsupportedError, TypeError, ValueError, IndexError, KeyError):
        return None
    if isinstance(value, tuple):
        return None
    limit = max([_LARGEST, *(i.size for i in inputs if i is not None)])
    if value.size > limit and node.op != "Constant":
        return None
    return np.asarray(value)


def _merge_one(graph: onnx.GraphProto) -> bool:
    """Merge the first ``Conv → BatchNormalization | Mul | Add`` by constants; False when none."""
    tensors = {t.name: t for t in graph.initializer}
    open_names = {i.name for i in graph.input}
    constants = {n: t for n, t in tensors.items() if n not in open_names}
    makers = {name: node for node in graph.node for name in node.output}
    uses: dict[str, int] = {o.name: 1 for o in graph.output}
    for node in graph.node:
        for name in node.input:
            uses[name] = uses.get(name, 0) + 1
    for node in graph.node:
        conv = next(
            (makers[n] for n in node.input if n in makers and makers[n].op_type == "Conv"), None
        )
        if conv is None or conv.domain or uses[conv.output[0]] != 1:
            continue
        if not all(name in constants for name in conv.input[1:] if name):
            continue
        weight = numpy_helper.to_array(constants[conv.input[1]])
        affine = _affine(node, conv.output[0], constants, weight)
        if affine is None or weight.dtype != np.float32:
            continue
        factor, offset = affine
        old = numpy_helper.to_array(constants[conv.input[2]]) if _has_bias(conv) else np.zeros(1)
        merged = weight.astype(np.float64) * factor.reshape(-1, *[1] * (weight.ndim - 1))
        bias = old.astype(np.float64) * factor + offset
        stem = node.output[0]
        new = [
            numpy_helper.from_array(merged.astype(np.float32), f"{stem}.weight"),
            numpy_helper.from_array(bias.astype(np.float32), f"{stem}.bias"),
        ]
        if any(t.name in tensors or t.name in makers or t.name in open_names for t in new):
            continue
        graph.initializer.extend(new)
        inputs = [conv.input[0], new[0].name, new[1].name]
        del conv.input[:]
        conv.input.extend(inputs)
        conv.output[0] = stem
        graph.node.remove(node)
        return True
    return False


def _has_bias(conv: onnx.NodeProto) -> bool:
    return len(conv.input) > 2 and bool(conv.input[2])


def _affine(
    node: onnx.NodeProto, name: str, constants: dict[str, onnx.TensorProto], weight: Array
) -> tuple[Float, Float] | None:
    """Factor and offset (M,) for each output channel, if `node` is such an operation."""
    others = [n for n in node.input if n != name]
    if node.domain or not all(n in constants for n in others) or not others:
        return None
    values = [numpy_helper.to_array(constants[n]).astype(np.float64) for n in others]
    if node.op_type == "BatchNormalization" and node.input[0] == name and len(node.output) == 1:
        if len(values) != 4 or any(a.name == "training_mode" and a.i for a in node.attribute):
            return None
        scale, bias, mean, variance = values
        epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
        factor = scale / np.sqrt(variance + epsilon)
        return factor, bias - mean * factor
    if node.op_type in ("Mul", "Add") and len(values) == 1:
        return _by_channel(node.op_type, values[0], weight)
    return None


def _by_channel(op: str, value: Float, weight: Array) -> tuple[Float, Float] | None:
    channels = weight.shape[0]
    shape = (channels, *[1] * (weight.ndim - 2))
    one = value.size == 1 and value.ndim <= weight.ndim
    if not one and value.shape not in (shape, (1, *shape)):
        return None
    spread = np.broadcast_to(value.reshape(-1), (channels,))
    return (spread, np.zeros(channels)) if op == "Mul" else (np.ones(channels), spread)


def _drop_unused(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input} | {o.name for o in graph.output}
    for node in graph.node:
        if any(a.HasField("g") or a.graphs for a in node.attribute):
            return  # an inner graph may use any name
    kept = [t for t in graph.initializer if t.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
