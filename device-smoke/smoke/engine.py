"""The one place that knows ONNX Runtime."""

from __future__ import annotations

import os
import re
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from .errors import Kind, SmokeError
from .golden import Input

if TYPE_CHECKING:
    from pathlib import Path

# Before its reason ONNX Runtime says which line and function of its own noticed it: long, and of no
# use to whoever made the model.
_NOISE = re.compile(
    r"^\[ONNXRuntimeError\] : \d+ : \w+ : |Load model from \S+ failed:\s*"
    r"|/\S+\.(?:cc|cpp|h):\d+ .*?\)(?: const)?\s"
)

# Official builds report to their maker unless told not to before they are imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

CPU = "CPUExecutionProvider"
LEVELS = {
    "none": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}
DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(bool)": "bool",
    **{
        f"tensor({sign}int{bits})": f"{sign}int{bits}"
        for sign in ("", "u")
        for bits in (8, 16, 32, 64)
    },
}
RECORD_ASSIGNMENT = "session.record_ep_graph_assignment_info"
ERROR_LEVEL = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What is asked of ONNX Runtime.

    Attributes:
        providers: execution providers, most wanted first; the CPU's is always the last resort.
        threads: of one operator; 0 lets ONNX Runtime choose, one for each core.
        level: graph optimisation, a key of `LEVELS`.
    """

    providers: tuple[str, ...] = (CPU,)
    threads: int = 0
    level: str = "all"

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "providers": list(self.providers)}


def describe(settings: Settings) -> dict[str, Any]:
    """ONNX Runtime, Python and numpy, and what was asked, as the report says it."""
    import platform

    import numpy as np
    import onnxruntime as ort

    available = ort.get_available_providers()
    return {
        "onnxruntime": ort.__version__,
        "build": ort.get_build_info(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "providers": {
            "available": available,
            "asked": list(settings.providers),
            "missing": [name for name in settings.providers if name not in available],
        },
        "threads": settings.threads,
        "inter_op_threads": 1,
        "execution_mode": "sequential",
        "optimization": settings.level,
        "telemetry": "disabled",
    }


def import_ns() -> int:
    """How long the first import of ONNX Runtime takes."""
    begin = time.monotonic_ns()
    import onnxruntime  # noqa: F401

    return time.monotonic_ns() - begin


def evict(path: Path) -> bool:
    """Ask the kernel to drop a file from its cache, so that loading reads the disk."""
    try:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    except OSError:
        return False
    return True


def load(
    model: Path, settings: Settings, *, profile: Path | None = None, assignment: bool = False
) -> Any:
    """Open a session.

    Args:
        model: the ONNX file.
        settings: as asked; providers that this build lacks are left out (see `describe`).
        profile: prefix of a file for ONNX Runtime's profiler; off when absent.
        assignment: whether to record which provider each node of the model was given to.

    Raises:
        SmokeError: kind ``model``, ``memory``.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, LEVELS[settings.level])
    options.log_severity_level = ERROR_LEVEL
    if assignment:
        options.add_session_config_entry(RECORD_ASSIGNMENT, "1")
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    available = ort.get_available_providers()
    wanted = [name for name in settings.providers if name in available and name != CPU]
    try:
        return ort.InferenceSession(str(model), options, providers=[*wanted, CPU])
    except Exception as error:  # ONNX Runtime's errors have no class of their own
        if _is_of_memory(error):
            raise out_of_memory(error) from error
        message = f"{model.name} cannot be loaded: {said(error)}"
        raise SmokeError(Kind.MODEL, message) from error


def inputs(session: Any) -> tuple[Input, ...]:
    """The model's inputs.

    Raises:
        SmokeError: kind ``model``; an input is no plain tensor.
    """
    found = []
    for one in session.get_inputs():
        if one.type not in DTYPES:
            message = f"input {one.name!r} is a {one.type}, which golden data cannot hold"
            raise SmokeError(Kind.MODEL, message)
        found.append(Input(name=one.name, dtype=DTYPES[one.type], shape=tuple(one.shape)))
    return tuple(found)


def failed(error: Exception) -> SmokeError:
    """An inference's exception in our words."""
    if _is_of_memory(error):
        return out_of_memory(error)
    return SmokeError(Kind.MODEL, f"an inference failed: {said(error)}")


def out_of_memory(error: Exception) -> SmokeError:
    """The model asked for more memory than there is."""
    return SmokeError(Kind.MEMORY, f"out of memory: {said(error)}")


def said(error: Exception) -> str:
    """An exception's reason; all that it says where there is no more than noise."""
    text = str(error)
    return _NOISE.sub("", text).strip() or text


def _is_of_memory(error: Exception) -> bool:
    signs = ("bad_alloc", "bad allocation", "Failed to allocate memory")
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in signs)
