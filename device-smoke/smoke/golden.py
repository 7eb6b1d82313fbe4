"""Golden inputs and labels, as feeds for a session."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .errors import Kind, SmokeError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    Array = npt.NDArray[Any]
    Feed = dict[str, Array]

LABEL = "label"


@dataclass(frozen=True, kw_only=True, slots=True)
class Input:
    """One input of the model: its ONNX element type by numpy's name, and its axes."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Golden:
    """The golden set, cut into feeds of one inference each.

    Attributes:
        feeds: arrays by input name, first axis `batch`.
        labels: class of every sample, shape (samples,).
        batch: samples of one inference: 1, or what the model's first axis is fixed to.
    """

    feeds: tuple[Feed, ...]
    labels: npt.NDArray[np.int64]
    batch: int


def load(path: Path, inputs: Sequence[Input]) -> Golden:
    """Read an ``.npz`` with one array for each input, samples first, and ``label`` (N,).

    Raises:
        SmokeError: kind ``golden``; it cannot be read or does not fit the model.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays: Feed = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise SmokeError(Kind.GOLDEN, f"{path.name} cannot be read: {error}") from error
    wanted = {one.name for one in inputs} | {LABEL}
    if arrays.keys() != wanted:
        raise SmokeError(
            Kind.GOLDEN, f"{path.name} holds {sorted(arrays)}, expected {sorted(wanted)}"
        )
    labels = arrays.pop(LABEL)
    if labels.dtype.kind not in "iu" or labels.ndim != 1 or not labels.size or labels.min() < 0:
        raise SmokeError(
            Kind.GOLDEN, f"array {LABEL!r} must hold at least one class number for each sample"
        )
    batches = {_check(arrays[one.name], one) for one in inputs}
    if len(batches) != 1:
        raise SmokeError(Kind.GOLDEN, "the inputs of the model have different batch sizes")
    batch = batches.pop()
    count = len(labels)
    if {len(array) for array in arrays.values()} != {count} or count % batch:
        raise SmokeError(
            Kind.GOLDEN, f"arrays need the same number of samples, a multiple of {batch}"
        )
    feeds = tuple(
        {name: np.ascontiguousarray(array[at : at + batch]) for name, array in arrays.items()}
        for at in range(0, count, batch)
    )
    return Golden(feeds=feeds, labels=labels.astype(np.int64), batch=batch)


def _check(array: Array, wanted: Input) -> int:
    """The batch size that an input asks for."""
    have = f"{array.dtype.name}{list(array.shape)}"
    want = f"{wanted.dtype}{list(wanted.shape)}"
    axes = wanted.shape[1:]
    fits = (
        array.dtype.name == wanted.dtype
        and 0 < len(wanted.shape) == array.ndim
        and all(
            not isinstance(axis, int) or axis == size
            for axis, size in zip(axes, array.shape[1:], strict=True)
        )
    )
    if not fits:
        raise SmokeError(Kind.GOLDEN, f"array {wanted.name!r} is {have}, the model takes {want}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise SmokeError(Kind.GOLDEN, f"array {wanted.name!r} holds values that are not finite")
    first = wanted.shape[0]
    return first if isinstance(first, int) else 1
