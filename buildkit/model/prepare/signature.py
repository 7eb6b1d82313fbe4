"""What a model takes and gives."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import onnx
from google.protobuf.message import DecodeError

from .errors import BadInputError
from .files import read

if TYPE_CHECKING:
    from pathlib import Path

UNKNOWN = "?"


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorSpec:
    """One input or output.

    Attributes:
        name: in the graph.
        dtype: numpy's name (``float32``), or the lower-case ONNX name where numpy has none.
        shape: a number, the name of a symbolic size, or ``?``; for each axis.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def to_json(self) -> dict[str, Any]:
        """As ``signature.json`` has it."""
        return {"name": self.name, "dtype": self.dtype, "shape": list(self.shape)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Signature:
    """Inputs and outputs in the order of the graph; initializers are not inputs."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def parse(data: bytes, what: str) -> onnx.ModelProto:
    """The model in `data`.

    Raises:
        BadInputError: not an ONNX model.
    """
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        msg = f"{what} is not an ONNX model"
        raise BadInputError(
            msg, "export the model to ONNX (.onnx), with its weights inside"
        ) from error
    if not model.HasField("graph") or not model.opset_import:
        msg = f"{what} is not an ONNX model"
        raise BadInputError(msg, "export the model to ONNX (.onnx), with its weights inside")
    return model


def load(path: Path, what: str) -> onnx.ModelProto:
    """The model in a file.

    Raises:
        BadInputError: the file cannot be read, or is not an ONNX model.
    """
    return parse(read(path, what), what)


def of(model: onnx.ModelProto) -> Signature:
    """The signature of a model.

    Raises:
        BadInputError: an input or output is not a tensor.
    """
    inside = {t.name for t in model.graph.initializer}
    return Signature(
        inputs=tuple(_spec(value) for value in model.graph.input if value.name not in inside),
        outputs=tuple(_spec(value) for value in model.graph.output),
    )


def document(model: onnx.ModelProto) -> dict[str, Any]:
    """``signature.json`` of a model."""
    found = of(model)
    return {
        "inputs": [one.to_json() for one in found.inputs],
        "outputs": [one.to_json() for one in found.outputs],
        "opset": opset(model),
        "domains": {
            one.domain: one.version
            for one in model.opset_import
            if one.domain not in ("", "ai.onnx")
        },
        "ir_version": model.ir_version,
        "producer": {"name": model.producer_name, "version": model.producer_version},
        "parameters": sum(math.prod(t.dims) for t in model.graph.initializer),
    }


def opset(model: onnx.ModelProto) -> int:
    """Version of ONNX's own operators that the model imports; 0 when it imports none."""
    return max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    if not value.type.HasField("tensor_type"):
        msg = f"{value.name or 'an unnamed input or output'} of the model is not a tensor"
        raise BadInputError(msg, "export the model with plain tensors as inputs and outputs")
    tensor = value.type.tensor_type
    dims = tuple(
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param or UNKNOWN
        for dim in tensor.shape.dim
    )
    return TensorSpec(name=value.name, dtype=dtype_name(tensor.elem_type), shape=dims)


def dtype_name(elem_type: int) -> str:
    """``float32`` for ``TensorProto.FLOAT``."""
    name = str(onnx.TensorProto.DataType.Name(elem_type))
    return {"FLOAT": "float32", "DOUBLE": "float64"}.get(name, name.lower())
