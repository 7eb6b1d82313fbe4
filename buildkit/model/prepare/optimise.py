"""Stage ``optimise``: shape inference and fusion, the same bytes on every CPU."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from . import files, importing, signature
from .errors import BadInputError
from .fold import fold
from .session import open_session

if TYPE_CHECKING:
    from .settings import Settings

# These compute with weights, on the kernels of the CPU at hand: `fold` does it instead.
ARITHMETIC = (
    "ConstantFolding",
    "ConvAddFusion",
    "ConvBNFusion",
    "ConvMulFusion",
    "MatMul_BatchNormalization_Fusion",
)
# These make operators that the quantiser does not know, so that nothing would be quantised.
UNQUANTISABLE = (
    "ConvActivationFusion",
    "ConvAddActivationFusion",
    "GemmActivationFusion",
    "MatMulActivationFusion",
    "MatMulScaleFusion",
    "MatmulTransposeFusion",
)


def optimise(model: onnx.ModelProto, settings: Settings) -> onnx.ModelProto:
    """The model that calibration and quantisation work on.

    Args:
        model: checked model.
        settings: `shape_inference` and `fusion` count here.

    Raises:
        BadInputError: the shapes do not fit together, or fusion would depend on the CPU.
        PrepareError: ONNX Runtime cannot optimise the model.
    """
    prepared = onnx.ModelProto()
    prepared.CopyFrom(model)
    if settings.fusion != "none":
        _check_fusible(model)
        prepared = _fused(fold(prepared), settings)
    if settings.shape_inference:
        try:
            prepared = onnx.shape_inference.infer_shapes(
                prepared, strict_mode=settings.fusion != "extended", data_prop=True
            )
        except onnx.shape_inference.InferenceError as error:
            msg = f"the shapes of the model do not fit together: {error}"
            raise BadInputError(
                msg, "set `shape_inference` to false, or export it again"
            ) from error
    _forget_origins(prepared)
    return prepared


def run(model: Path, settings: Settings, out: Path) -> None:
    """Write ``prepared.onnx`` into `out`."""
    made = optimise(signature.load(model, "the model"), settings)
    files.write(out / "prepared.onnx", made.SerializeToString(deterministic=True))


def _check_fusible(model: onnx.ModelProto) -> None:
    name = importing.half_float(model)
    if name:
        msg = f"{name} holds 16-bit floats, whose fusion depends on the CPU"
        raise BadInputError(msg, "export the model in float32, or set `fusion` to none")
    for node in importing.nodes(model.graph):
        if node.op_type in importing.QUANTISED:
            msg = f"the model is already quantised ({node.op_type})"
            raise BadInputError(msg, "import the float model, or set `fusion` to none")


def _fused(model: onnx.ModelProto, settings: Settings) -> onnx.ModelProto:
    without = list(ARITHMETIC)
    if settings.quantization != "none":
        without += UNQUANTISABLE
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "optimised.onnx"
        open_session(
            model.SerializeToString(deterministic=True),
            level=settings.fusion,
            save_to=saved,
            without=without,
        )
        made = onnx.load(saved)
    _restore_types(model, made)
    # ONNX Runtime imports every domain that it knows; only those in use say something.
    used = {node.domain for node in importing.nodes(made.graph)} | {""}
    versions = {o.domain: o.version for o in made.opset_import if o.domain in used}
    del made.opset_import[:]
    made.opset_import.extend(
        onnx.helper.make_opsetid(domain, version) for domain, version in sorted(versions.items())
    )
    made.producer_name, made.producer_version = model.producer_name, model.producer_version
    return made


def _restore_types(before: onnx.ModelProto, after: onnx.ModelProto) -> None:
    """Types of what follows a com.microsoft operator, which onnx cannot infer.

    The quantiser leaves tensors alone whose type it does not know.
    """
    known = {v.name: v for v in onnx.shape_inference.infer_shapes(before).graph.value_info}
    have = {v.name for v in after.graph.value_info} | {o.name for o in after.graph.output}
    after.graph.value_info.extend(
        known[name]
        for node in after.graph.node
        for name in node.output
        if name in known and name not in have
    )


def _forget_origins(model: onnx.ModelProto) -> None:
    """Exporters write stack traces with paths of the training machine into nodes."""
    for node in importing.nodes(model.graph):
        node.ClearField("doc_string")
        node.ClearField("metadata_props")
