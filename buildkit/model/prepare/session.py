"""ONNX Runtime, always the same way: one thread, the CPU, quiet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnxruntime

from .errors import PrepareError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ERRORS_ONLY = 3
LEVELS = {
    "none": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
}


def open_session(
    model: bytes | Path,
    *,
    level: str = "basic",
    save_to: Path | None = None,
    without: Sequence[str] = (),
) -> Any:
    """An inference session on the CPU with one thread.

    Args:
        model: serialised model, or its file.
        level: how far the graph is optimised; a key of `LEVELS`.
        save_to: where to write the optimised graph.
        without: names of optimisers to leave out.

    Raises:
        PrepareError: ONNX Runtime cannot load the model.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY + 1
    options.graph_optimization_level = LEVELS[level]
    options.use_deterministic_compute = True
    if save_to is not None:
        options.optimized_model_filepath = str(save_to)
    try:
        return onnxruntime.InferenceSession(
            model if isinstance(model, bytes) else str(model),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=list(without),
        )
    except Exception as error:  # the library has no common base for its errors
        msg = f"ONNX Runtime {onnxruntime.__version__} cannot load the model: {_first_line(error)}"
        raise PrepareError(msg, "check the model with onnx.checker and ONNX Runtime") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
