"""Stage ``calibrate``: the range of every activation."""

from __future__ import annotations

import math
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import onnx

from . import data, files, ranges, signature
from .errors import BadInputError
from .exact.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from .settings import Calibration

    Array = npt.NDArray[np.float64]
    Observer = Callable[[str, Any], None]

# Memory grows with each, so a machine of many cores keeps to its limit as well.
_MOST_THREADS = 4

EXACT, ONNXRUNTIME = "exact", "onnxruntime"


def calibrate(
    model: onnx.ModelProto,
    path: Path,
    how: Calibration | None,
    *,
    batch: int | None = None,
) -> dict[str, Any]:
    """``ranges.json`` of a model.

    Args:
        model: the float model that will be quantised.
        path: calibration data.
        how: method, percentile, samples.
        batch: samples at a time; only speed and memory depend on it.

    Raises:
        BadInputError: the data does not fit the model, or a range is not a number.
        PrepareError: ONNX Runtime cannot run the model.
    """
    samples = data.open_samples(
        path, signature.of(model), limit=None if how is None else how.samples
    )
    size = batch or samples.batch_size()
    try:
        found = ranges.find(_exact_pass(model, samples, size), how)
        way, reason = EXACT, "every operator has an exact form"
    except UnsupportedError as error:
        found = ranges.find(_runtime_pass(model, samples, size), how)
        way, reason = ONNXRUNTIME, str(error)
    endless = sorted(n for n, ends in found.items() if not all(map(math.isfinite, ends)))
    if endless:
        reason += f"; no range for tensors with infinite values: {', '.join(endless)}"
    return {
        "way": way,
        "reason": reason,
        "ranges": {n: list(ends) for n, ends in sorted(found.items()) if n not in endless},
    }


def run(model: Path, data_file: Path, how: Calibration | None, out: Path) -> None:
    """Write ``ranges.json`` into `out`."""
    loaded = signature.load(model, "the model")
    files.write_json(out / "ranges.json", calibrate(loaded, data_file, how))


def _exact_pass(model: onnx.ModelProto, samples: data.Samples, size: int) -> ranges.Pass:
    from .exact.graph import Graph  # noqa: PLC0415 - a replayed build never needs it

    graph = Graph(model)

    def every_sample(observe: Observer) -> None:
        for name in graph.folded:
            observe(name, graph.constants[name])
        _in_order(samples.batches(size), lambda feed: graph.run(feed, observe))

    return every_sample


def _in_order(feeds: Iterator[dict[str, Any]], work: Callable[[dict[str, Any]], object]) -> None:
    """Do the work of some batches at a time; the first batch that fails is the one reported."""
    threads = min(len(os.sched_getaffinity(0)), _MOST_THREADS)
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[object]] = deque()
        try:
            for feed in feeds:
                waiting.append(pool.submit(work, feed))
                if len(waiting) > threads:
                    waiting.popleft().result()
            while waiting:
                waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _runtime_pass(model: onnx.ModelProto, samples: data.Samples, size: int) -> ranges.Pass:
    """As the exact pass, with ONNX Runtime's own float32 values of every tensor."""
    from .session import open_session  # noqa: PLC0415 - most models never need it

    widened, names = _all_outputs(model)
    session = open_session(widened.SerializeToString(deterministic=True))

    def every_sample(observe: Observer) -> None:
        for feed in samples.batches(size):
            for name, values in _observed(feed, session.run(names, feed), names):
                observe(name, values)

    return every_sample


def _observed(
    feed: Mapping[str, Any], outputs: list[Any], names: list[str]
) -> list[tuple[str, Any]]:
    return [*feed.items(), *zip(names, outputs, strict=True)]


def _all_outputs(model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
    """The model with every float tensor of its main graph as an output."""
    try:
        inferred = onnx.shape_inference.infer_shapes(model)
    except onnx.shape_inference.InferenceError as error:
        msg = f"the shapes of the model do not fit together: {error}"
        raise BadInputError(msg, "check the model with onnx.checker") from error
    known = {
        v.name: v
        for v in (*inferred.graph.value_info, *inferred.graph.output)
        if v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    }
    widened = onnx.ModelProto()
    widened.CopyFrom(model)
    have = {o.name for o in widened.graph.output}
    names = [n for node in model.graph.node for n in node.output if n in known]
    widened.graph.output.extend(known[n] for n in names if n not in have)
    return widened, names
