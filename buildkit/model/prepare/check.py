"""Stage ``check``: is the quantised model as good as the float one, on golden data?"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import data, files, integers, signature
from .errors import BadInputError
from .session import open_session

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

    Array = npt.NDArray[Any]

_PLACES = 4


@dataclass(slots=True)
class Answers:
    """What one model said.

    Attributes:
        classes: predicted class of each sample.
        state: SHA-256 over the bytes of the output, in the order of the samples.
        width: number of classes, 0 when the model answers with the class itself.
    """

    classes: list[npt.NDArray[np.int64]] = field(default_factory=list)
    state: Any = field(default_factory=hashlib.sha256)
    width: int = 0

    def add(self, output: Array, rows: int) -> None:
        """Take the output for one batch of `rows` samples.

        Raises:
            BadInputError: it is not (N, classes), nor whole numbers (N).
        """
        if output.shape[:1] != (rows,) or output.dtype.kind not in "fiu":
            msg = f"the first output has shape {output.shape} for {rows} samples"
            raise BadInputError(msg, "make the scores the first output, of shape (N, classes)")
        if output.dtype.kind == "f" and not np.isfinite(output).all():
            msg = "the model answers with values that are not finite"
            raise BadInputError(msg, "check the model on the golden data")
        self.state.update(np.ascontiguousarray(output).astype(output.dtype.newbyteorder("<")))
        scores = output.reshape(rows, -1)
        if output.dtype.kind == "f" and scores.shape[1] > 1:
            self.width = scores.shape[1]
            self.classes.append(scores.argmax(axis=1).astype(np.int64))
        elif output.dtype.kind in "iu" and scores.shape[1] == 1:
            self.classes.append(scores[:, 0].astype(np.int64))
        else:
            msg = f"the first output is {output.dtype.name} of shape {output.shape}"
            raise BadInputError(msg, "make the scores the first output, of shape (N, classes)")


def check(
    original: onnx.ModelProto,
    quantised: onnx.ModelProto,
    path: Path,
    *,
    batch: int | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Top-1 of both models in percent (``accuracy.json``), and digests of what they answered.

    Counts of right answers are the same on every CPU; the bytes of a float model's answers are
    not, so their digests stand in a file of their own (``logits.json``). Whether those of the
    quantised model are is told by ``answers``.

    Args:
        original: float model.
        quantised: model made of it.
        path: golden data: one array for each input, and ``label`` (N,) int64.
        batch: samples at a time.

    Raises:
        BadInputError: the data does not fit, or the models take different inputs.
        PrepareError: ONNX Runtime cannot run a model.
    """
    wanted = signature.of(original)
    if signature.of(quantised).inputs != wanted.inputs:
        msg = "the float and the quantised model take different inputs"
        raise BadInputError(msg, "give the models that the import and quantise stages wrote")
    samples = data.open_samples(path, wanted, labelled=True)
    labels = data.labels(samples)
    answers = (Answers(), Answers())
    sessions = [
        open_session(model.SerializeToString(deterministic=True), level="extended")
        for model in (original, quantised)
    ]
    size = batch or samples.batch_size()
    done = 0
    for feed in samples.batches(size):
        rows = min(size, samples.count - done)
        done += rows
        for session, answer in zip(sessions, answers, strict=True):
            answer.add(session.run([session.get_outputs()[0].name], feed)[0], rows)
    first, second = (np.concatenate(answer.classes) for answer in answers)
    width = answers[0].width
    if width and labels.max() >= width:
        msg = f"{path.name}: array 'label' holds {labels.max()}, the model has {width} classes"
        raise BadInputError(msg, "classes go from 0 to one below their number")
    right = [int((one == labels).sum()) for one in (first, second)]
    same = int((first == second).sum())
    total = samples.count
    accuracy = {
        "samples": total,
        "correct": {"float": right[0], "quantised": right[1]},
        "float": percent(right[0], total),
        "quantised": percent(right[1], total),
        "drop": percent(right[0] - right[1], total),
        "agreement": percent(same, total),
        "answers": integers.answers(quantised),
    }
    digests = {"float": answers[0].state.hexdigest(), "quantised": answers[1].state.hexdigest()}
    return accuracy, {"logits_sha256": digests}


def run(original: Path, quantised: Path, golden: Path, out: Path) -> None:
    """Write ``accuracy.json`` and ``logits.json`` into `out`."""
    models = (
        signature.load(original, "the float model"),
        signature.load(quantised, "the quantised model"),
    )
    accuracy, logits = check(*models, golden)
    files.write_json(out / "accuracy.json", accuracy)
    files.write_json(out / "logits.json", logits)


def percent(part: int, whole: int) -> float:
    """``100 * part / whole``, rounded exactly to four decimal places."""
    return float(round(Fraction(100 * part, whole), _PLACES))
