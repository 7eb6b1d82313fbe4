"""Stage ``import``: whether a file is a model that the rest can work with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
import onnxruntime
from onnx import helper

from . import files, signature
from .errors import BadInputError, PrepareError
from .session import open_session

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Domains whose operators ONNX Runtime makes only for the CPU that optimised the graph.
CPU_DOMAINS = ("com.microsoft.nchwc", "com.ms.internal.nhwc")
# Operators of com.microsoft that only level `all` makes, and only on some CPUs.
CPU_OPERATORS = ("NhwcFusedConv", "ReorderInput", "ReorderOutput", "DynamicQuantizeLSTM")
HALF_FLOATS = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
QUANTISED = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulNBits")


def check(model: onnx.ModelProto) -> None:
    """Refuse a model that the other stages cannot use.

    Raises:
        BadInputError: says what is wrong and how to export the model instead.
    """
    _check_external(model)
    _check_opset(model)
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError) as error:
        msg = f"the model is not valid ONNX: {_first_line(error)}"
        raise BadInputError(msg, "export it again, and check it with onnx.checker") from error
    _check_cpu(model)
    if not model.graph.node:
        msg = "the model has no nodes"
        raise BadInputError(msg, "export a trained model")
    found = signature.of(model)
    if not found.inputs or not found.outputs:
        msg = f"the model has no {'outputs' if found.inputs else 'inputs'}"
        raise BadInputError(msg, "export the model with named inputs and outputs")
    try:
        open_session(model.SerializeToString(), level="none")
    except PrepareError as error:
        raise BadInputError(error.message, error.remedy) from error


def run(source: Path, out: Path) -> None:
    """Write ``model.onnx`` (the same bytes) and ``signature.json`` into `out`."""
    content = files.read(source, "the model")
    model = signature.parse(content, "the model")
    check(model)
    files.write(out / "model.onnx", content)
    files.write_json(out / "signature.json", signature.document(model))


def tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """All tensors with values, in attributes and inner graphs as well."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values
        yield sparse.indices
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from tensors(inner)


def nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """All nodes, those of inner graphs as well."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from nodes(inner)


def half_float(model: onnx.ModelProto) -> str:
    """The name of the first tensor of 16-bit floats, or of a cast to them; else empty."""
    graph = model.graph
    for tensor in tensors(graph):
        if tensor.data_type in HALF_FLOATS:
            return str(tensor.name) or "a constant"
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type in HALF_FLOATS:
            return str(value.name)
    for node in nodes(graph):
        if node.op_type == "Cast" and helper.get_node_attr_value(node, "to") in HALF_FLOATS:
            return str(node.output[0])
    return ""


def _check_external(model: onnx.ModelProto) -> None:
    for tensor in tensors(model.graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            msg = f"the model keeps tensor {tensor.name!r} in another file"
            raise BadInputError(
                msg, "save it as one file: onnx.save(model, path, save_as_external_data=False)"
            )


def _check_opset(model: onnx.ModelProto) -> None:
    """Ask ONNX Runtime with the smallest model of the same versions."""
    wanted = signature.opset(model)
    if wanted < 1:
        msg = "the model imports no version of ONNX's operators"
        raise BadInputError(msg, "export it with an opset_import of the default domain")
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "probe",
        [value("x", onnx.TensorProto.FLOAT, [1])],
        [value("y", onnx.TensorProto.FLOAT, [1])],
    )
    probe = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", wanted)], ir_version=model.ir_version
    )
    known = onnx.defs.onnx_opset_version()
    try:
        open_session(probe.SerializeToString(), level="none")
    except PrepareError as error:
        msg = (
            f"the model needs opset {wanted} (IR version {model.ir_version}), "
            f"which ONNX Runtime {onnxruntime.__version__} does not support"
        )
        raise BadInputError(msg, "export it with a lower opset (17 is usual)") from error
    if wanted > known:
        msg = f"the model needs opset {wanted}, onnx {onnx.__version__} knows up to {known}"
        raise BadInputError(msg, "export it with a lower opset (17 is usual)")


def _check_cpu(model: onnx.ModelProto) -> None:
    for node in nodes(model.graph):
        if node.domain in CPU_DOMAINS or (
            node.domain == "com.microsoft" and node.op_type in CPU_OPERATORS
        ):
            msg = f"node {node.name or node.output[0]!r} ({node.op_type}) is made for one CPU only"
            raise BadInputError(
                msg, "take the model before ONNX Runtime optimised it at level `all`"
            )


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
