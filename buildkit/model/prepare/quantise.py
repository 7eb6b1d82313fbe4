"""Stage ``quantise``: the model that devices run, and a report on what was done."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime

from . import files, importing, signature
from .errors import BadInputError, PrepareError
from .settings import number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .settings import Settings

    Ranges = Mapping[str, tuple[float, float]]
    Quantiser = Callable[[Path, Path, Settings, Ranges | None], None]

SCHEMA = "prepare/quantise-report/v1"


def quantise(
    model: onnx.ModelProto, settings: Settings, ranges: Ranges | None
) -> tuple[bytes, dict[str, Any]]:
    """The quantised model and its report.

    Args:
        model: prepared float model.
        settings: `quantization` and what belongs to it count here.
        ranges: of every activation; for ``static-int8`` only.

    Raises:
        BadInputError: nothing in the model can be quantised this way, or ranges are missing.
        PrepareError: the quantiser failed.
    """
    before = model.SerializeToString(deterministic=True)
    after = before
    if settings.quantization != "none":
        _check_float(model)
        after = _quantised(before, settings, ranges)
    made = signature.parse(after, "the quantised model")
    kinds = _kinds(model, made, settings.quantization)
    if settings.quantization != "none" and not kinds:
        msg = f"the model has no node that {settings.quantization} can quantise"
        raise BadInputError(msg, "choose another `quantization`, or none")
    report = {
        "schema": SCHEMA,
        "settings": settings.to_json(),
        "quantized_nodes": kinds,
        "nodes": len(model.graph.node),
        "float": {"sha256": files.sha256(before), "size": len(before)},
        "quantized": {"sha256": files.sha256(after), "size": len(after)},
        "versions": {
            "numpy": np.__version__,
            "onnx": onnx.__version__,
            "onnxruntime": onnxruntime.__version__,
        },
        "warnings": _warnings(model, settings),
    }
    return after, report


def run(model: Path, settings: Settings, ranges: Path | None, out: Path) -> None:
    """Write ``model.onnx`` and ``report.json`` into `out`."""
    loaded = signature.load(model, "the model")
    found = None if ranges is None else read_ranges(files.read_json(ranges, "the ranges file"))
    content, report = quantise(loaded, settings, found)
    files.write(out / "model.onnx", content)
    files.write_json(out / "report.json", report)


def read_ranges(document: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """The ranges in a ``ranges.json``, each two numbers, or numbers as text.

    Raises:
        BadInputError: a range is not two finite float32 values in order.
    """
    found = document.get("model", document).get("ranges")
    if not isinstance(found, dict):
        msg = "the ranges file has no object `ranges`"
        raise BadInputError(msg, "make it with the calibrate stage")
    result = {}
    for name, ends in sorted(found.items()):
        pair = [number(end) for end in ends] if isinstance(ends, list) else []
        single = [end for end in pair if end is not None and _is_single(end)]
        if len(pair) != 2 or len(single) != 2 or single[0] > single[1]:
            msg = f"the range of tensor {name!r} is not two float32 values in order: {ends!r}"
            raise BadInputError(msg, "make the ranges file with the calibrate stage")
        result[name] = (single[0], single[1])
    return result


def _is_single(value: float) -> bool:
    with np.errstate(over="ignore"):
        return float(np.float32(value)) == value


def _check_float(model: onnx.ModelProto) -> None:
    for node in importing.nodes(model.graph):
        if node.op_type in importing.QUANTISED:
            msg = f"the model is already quantised ({node.op_type})"
            raise BadInputError(msg, "import the float model, or set `quantization` to none")
    name = importing.half_float(model)
    if name:
        msg = f"{name} holds 16-bit floats, which are not quantised"
        raise BadInputError(msg, "export the model in float32")


def _quantised(content: bytes, settings: Settings, ranges: Ranges | None) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "source.onnx", Path(folder) / "target.onnx"
        source.write_bytes(content)
        try:
            # The library talks on the root logger and on standard output.
            logging.disable(logging.CRITICAL)
            with contextlib.redirect_stdout(io.StringIO()):
                QUANTISERS[settings.quantization](source, target, settings, ranges)
        except PrepareError:
            raise
        except Exception as error:  # the library raises whatever comes
            msg = f"{settings.quantization}: ONNX Runtime's quantiser failed: {error}"
            raise PrepareError(msg, "choose another `quantization` or `fusion`") from error
        finally:
            logging.disable(logging.NOTSET)
        made = onnx.load(target)
    return bytes(made.SerializeToString(deterministic=True))


def _static(source: Path, target: Path, settings: Settings, ranges: Ranges | None) -> None:
    """QDQ with unsigned activations and signed weights (U8S8)."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static  # noqa: PLC0415

    if ranges is None:
        msg = "static-int8 needs the ranges of the activations"
        raise BadInputError(msg, "run the calibrate stage first and give its ranges.json")
    cache = target.with_name("calibration.json")
    cache.write_bytes(calibration_cache(ranges))
    quantize_static(
        source,
        target,
        None,
        quant_format=QuantFormat.QDQ,
        per_channel=settings.per_channel,
        reduce_range=settings.reduce_range,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibration_cache_path=cache,
    )


def _dynamic(source: Path, target: Path, settings: Settings, ranges: Ranges | None) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: PLC0415

    del ranges
    quantize_dynamic(
        source,
        target,
        per_channel=settings.per_channel,
        reduce_range=settings.reduce_range,
        weight_type=QuantType.QInt8,
    )


def _int4(source: Path, target: Path, settings: Settings, ranges: Ranges | None) -> None:
    """Weights of MatMul in blocks, symmetric, rounded to nearest (operator MatMulNBits)."""
    from onnxruntime.quantization import matmul_nbits_quantizer as nbits  # noqa: PLC0415

    del ranges
    config = nbits.DefaultWeightOnlyQuantConfig(
        block_size=settings.block_size, is_symmetric=True, op_types_to_quantize=("MatMul",)
    )
    quantiser = nbits.MatMulNBitsQuantizer(onnx.load(source), algo_config=config)
    quantiser.process()
    quantiser.model.save_model_to_file(str(target), use_external_data_format=False)


# A new kind of quantisation is one function and one entry.
QUANTISERS: dict[str, Quantiser] = {
    "static-int8": _static,
    "dynamic-int8": _dynamic,
    "int4-weights": _int4,
}


def calibration_cache(ranges: Ranges) -> bytes:
    """The form in which ONNX Runtime's quantiser reads ranges, in sorted order.

    Its own writer's order depends on the hash seed.
    """

    def array(value: float) -> dict[str, Any]:
        return {"CLS": "numpy.array", "data": [value], "dtype": "float32"}

    document = {
        "CLS": "TensorsData",
        "calibration_method": {"CLS": "CalibrationMethod", "value": "CalibrationMethod.MinMax"},
        "data": {
            name: {"CLS": "TensorData", "lowest": array(low), "highest": array(high)}
            for name, (low, high) in ranges.items()
        },
        "smooth_quant": False,
    }
    return json.dumps(document, sort_keys=True).encode()


def _kinds(before: onnx.ModelProto, after: onnx.ModelProto, how: str) -> dict[str, int]:
    """How many nodes of each operator compute with quantised weights or values now."""
    if how == "none":
        return {}
    graph = after.graph
    kinds: dict[str, int] = {}
    if how == "static-int8":
        restored = {n.output[0] for n in graph.node if n.op_type == "DequantizeLinear"}
        work = [n for n in graph.node if n.op_type not in ("QuantizeLinear", "DequantizeLinear")]
        names = [n.op_type for n in work if any(i in restored for i in n.input)]
    else:
        old = {(n.domain, n.op_type) for n in before.graph.node}
        new = ("ConvInteger", "MatMulInteger", "MatMulNBits", "DynamicQuantizeLSTM", "QAttention")
        names = [
            n.op_type for n in graph.node if n.op_type in new and (n.domain, n.op_type) not in old
        ]
    for name in sorted(names):
        kinds[name] = kinds.get(name, 0) + 1
    return kinds


def _warnings(model: onnx.ModelProto, settings: Settings) -> list[str]:
    convolutions = sum(node.op_type == "Conv" for node in model.graph.node)
    said = []
    if settings.quantization == "dynamic-int8" and convolutions:
        said.append(
            f"dynamic-int8 on a model with {convolutions} convolutions is several times slower "
            "than float32: use static-int8"
        )
    if settings.quantization == "static-int8" and not settings.reduce_range:
        said.append(
            "without reduce_range the model may answer differently on CPUs with AVX2 but no VNNI"
        )
    return said
