"""The model: JSON in, label and scores out."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

# The official Linux builds report to their maker unless told not to before they are imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime as ort

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

BYTES_OF_A_NUMBER = 32  # the longest that JSON needs for a float, its comma and some blanks


class AppError(Exception):
    """There is no answer; the text says why."""


class SetupError(AppError):
    """The environment or the model is not usable."""


class BadInputError(AppError):
    """The question cannot be answered."""


class Classifier:
    """One ONNX model with one input and one row of scores; many threads may ask at once.

    Attributes:
        shape: of one sample; the model's first axis is the batch.
        longest: the longest question that can be a right one, in bytes.
    """

    def __init__(self, path: str, threads: int = 0) -> None:
        if not Path(path).is_file():
            message = f"{path}: no such model; mount it there, or set MODEL"
            raise SetupError(message)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        try:
            self._session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's errors have no common class of their own
            message = f"{path}: {error}"
            raise SetupError(message) from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shape = inputs[0].shape[1:]
        if len(inputs) != 1 or len(outputs) != 1 or not all(isinstance(n, int) for n in shape):
            message = f"{path}: expected one input of a fixed shape and one output"
            raise SetupError(message)
        self._name: str = inputs[0].name
        self.shape: tuple[int, ...] = tuple(shape)
        self.longest = 1024 + BYTES_OF_A_NUMBER * math.prod(self.shape)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Classifier:
        """Load the model that ``MODEL`` names."""
        path = environment.get("MODEL", "/model/model.onnx")
        return cls(path, whole_number(environment, "THREADS", 0))

    def answer(self, question: bytes) -> dict[str, Any]:
        """``{"input": …}`` to ``{"label": n, "scores": […]}``.

        ``input`` is one sample as nested lists of its shape. Scores are what the model puts out,
        one for each class: the higher, the likelier; they are no probabilities.

        Raises:
            BadInputError: no JSON, no ``input``, wrong shape, or not all finite numbers.
        """
        try:
            asked = json.loads(question)
        except (ValueError, RecursionError) as error:
            message = f"not JSON: {error}"
            raise BadInputError(message) from error
        if not isinstance(asked, dict) or "input" not in asked:
            message = 'expected an object with the key "input"'
            raise BadInputError(message)
        (scores,) = self._session.run(None, {self._name: self._batch_of_one(asked["input"])})
        return {"label": int(scores[0].argmax()), "scores": [float(s) for s in scores[0]]}

    def _batch_of_one(self, value: Any) -> NDArray[np.float32]:
        try:
            sample = np.array(value)
        except ValueError as error:
            message = f"input: lists of different lengths, expected shape {list(self.shape)}"
            raise BadInputError(message) from error
        if sample.shape != self.shape:
            message = f"input: shape {list(sample.shape)}, expected {list(self.shape)}"
            raise BadInputError(message)
        if sample.dtype.kind not in "iuf":
            message = "input: expected numbers only, each of at most 64 bits"
            raise BadInputError(message)
        with np.errstate(over="ignore"):
            batch = sample.astype(np.float32)[np.newaxis]
        if not np.isfinite(batch).all():
            message = "input: every number must be finite, as a 32-bit float"
            raise BadInputError(message)
        return batch


def whole_number(environment: Mapping[str, str], name: str, default: int) -> int:
    """A number from the environment, at least 0."""
    text = environment.get(name, str(default))
    if not (text.isascii() and text.isdecimal()):
        message = f"{name}: expected a whole number, found {text!r}"
        raise SetupError(message)
    return int(text)
