"""Calibration and golden data: ``.npz`` files, checked, then read some samples at a time."""

from __future__ import annotations

import math
import zipfile
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .signature import Signature, TensorSpec

    Array = npt.NDArray[Any]

LABEL = "label"

# Values of all inputs together that one batch holds.
_BATCH_VALUES = 1 << 16
_LARGEST_BATCH = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One array of the file: its dtype and shape, without its values."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Samples:
    """A checked data file.

    Attributes:
        path: the file.
        inputs: one member for each model input, in the order of the model.
        count: number of samples to use.
        step: samples that one run of the model takes: 1, or the model's fixed batch size.
    """

    path: Path
    inputs: tuple[Member, ...]
    count: int
    step: int

    def batch_size(self) -> int:
        """A multiple of `step` that keeps a batch small."""
        one = sum(math.prod(member.shape[1:]) for member in self.inputs)
        if self.step > 1 or self.count == 0:
            return self.step
        return max(1, min(_LARGEST_BATCH, _BATCH_VALUES // max(one, 1)))

    def batches(self, size: int) -> Iterator[dict[str, Array]]:
        """Feeds of `size` samples (the last may be shorter), in the order of the file.

        Raises:
            BadInputError: an array is cut off, or holds values that are not finite.
        """
        with ExitStack() as stack:
            file = stack.enter_context(zipfile.ZipFile(self.path))
            streams = [stack.enter_context(file.open(m.name + ".npy")) for m in self.inputs]
            for stream in streams:
                _header(stream)
            for begin in range(0, self.count, size):
                rows = min(size, self.count - begin)
                yield {
                    member.name: _rows(stream, member, rows)
                    for stream, member in zip(streams, self.inputs, strict=True)
                }


def open_samples(
    path: Path, signature: Signature, *, limit: int | None = None, labelled: bool = False
) -> Samples:
    """Check a data file against a model's signature; no values are read.

    Args:
        path: the ``.npz`` file.
        signature: of the model.
        limit: samples to use, from the first; all when absent.
        labelled: whether an array ``label`` must be there (else it may be).

    Raises:
        BadInputError: names the array that does not fit, and why.
    """
    members = _members(path)
    wanted = {spec.name: spec for spec in signature.inputs}
    for name in sorted({*wanted, *([LABEL] if labelled else [])} - members.keys()):
        msg = f"{path.name}: array {name!r} is missing"
        raise BadInputError(msg, f"save one array for each of: {', '.join(sorted(wanted))}")
    for name in sorted(members.keys() - wanted.keys() - {LABEL}):
        msg = f"{path.name}: array {name!r} is not an input of the model"
        raise BadInputError(msg, f"the model's inputs are: {', '.join(sorted(wanted))}")
    sizes: dict[str, int] = {}
    steps = {_check(path, members[spec.name], spec, sizes) for spec in signature.inputs}
    if len(steps) > 1:
        msg = f"{path.name}: the inputs of the model have different batch sizes"
        raise BadInputError(msg, "export the model with one batch size for all inputs")
    counts = {name: members[name].shape[0] for name in wanted}
    if labelled:
        label = members[LABEL]
        if label.dtype != np.int64 or len(label.shape) != 1:
            msg = f"{path.name}: array 'label' is {_form(label)}, expected int64 of shape (N)"
            raise BadInputError(msg, "save labels.astype(numpy.int64), one class for each sample")
        counts[LABEL] = label.shape[0]
    count = min(counts.values())
    for name, rows in sorted(counts.items()):
        if rows != max(counts.values()):
            msg = f"{path.name}: array {name!r} has {rows} samples, others {max(counts.values())}"
            raise BadInputError(msg, "every array needs the same number of samples")
    if limit is not None and limit > count:
        msg = f"{path.name}: {limit} samples are asked for, it holds {count}"
        raise BadInputError(msg, "lower `samples`, or leave it out to use all")
    step = steps.pop()
    used = count if limit is None else limit
    if used < 1 or used % step:
        why = "there is no sample" if used < 1 else f"{used} samples are no multiple of {step}"
        msg = f"{path.name}: {why}"
        raise BadInputError(msg, f"the model takes {step} at a time")
    return Samples(
        path=path,
        inputs=tuple(members[spec.name] for spec in signature.inputs),
        count=used,
        step=step,
    )


def labels(samples: Samples) -> npt.NDArray[np.int64]:
    """The classes, shape (N,).

    Raises:
        BadInputError: the array is cut off, or a class is negative.
    """
    member = Member(name=LABEL, dtype=np.dtype(np.int64), shape=(samples.count,))
    with zipfile.ZipFile(samples.path) as file, file.open(LABEL + ".npy") as stream:
        _header(stream)
        found: npt.NDArray[np.int64] = _rows(stream, member, samples.count)
    if found.min() < 0:
        msg = f"{samples.path.name}: array 'label' holds {found.min()}, classes begin at 0"
        raise BadInputError(msg)
    return found


def _members(path: Path) -> dict[str, Member]:
    members = {}
    try:
        with zipfile.ZipFile(path) as file:
            for entry in file.namelist():
                name = entry.removesuffix(".npy")
                if name == entry:
                    msg = f"{path.name}: {entry!r} is not an array"
                    raise BadInputError(msg, "make the file with numpy.savez")
                with file.open(entry) as stream:
                    dtype, shape = _header(stream)
                if name in members:
                    msg = f"{path.name}: array {name!r} stands twice in the file"
                    raise BadInputError(msg, "make the file with numpy.savez")
                members[name] = Member(name=name, dtype=dtype, shape=shape)
    except OSError as error:
        msg = f"{path.name} cannot be read: {error.strerror}"
        raise BadInputError(msg, "check the path") from error
    except (zipfile.BadZipFile, ValueError, EOFError) as error:
        msg = f"{path.name} is not a usable .npz file: {error}"
        raise BadInputError(msg, "make it with numpy.savez, with plain numbers only") from error
    return members


def _header(stream: IO[bytes]) -> tuple[np.dtype[Any], tuple[int, ...]]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
    else:
        msg = f"array format {version[0]}.{version[1]} is not known"
        raise ValueError(msg)
    if dtype.hasobject:
        msg = "it holds Python objects"
        raise ValueError(msg)
    if fortran and len(shape) > 1:
        msg = "an array is stored column by column; use numpy.ascontiguousarray"
        raise ValueError(msg)
    return dtype, shape


def _rows(stream: IO[bytes], member: Member, rows: int) -> Array:
    shape = (rows, *member.shape[1:])
    wanted = math.prod(shape) * member.dtype.itemsize
    try:
        data = stream.read(wanted)
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        msg = f"array {member.name!r} cannot be read: {error}"
        raise BadInputError(msg, "make the data file again") from error
    if len(data) != wanted:
        msg = f"array {member.name!r} is cut off"
        raise BadInputError(msg, "make the data file again")
    values = np.frombuffer(data, member.dtype).reshape(shape)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        msg = f"array {member.name!r} holds values that are not finite"
        raise BadInputError(msg, "remove samples with NaN or infinities")
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _form(member: Member) -> str:
    return f"{member.dtype.name} of shape ({', '.join(str(size) for size in member.shape)})"


def _check(path: Path, member: Member, spec: TensorSpec, sizes: dict[str, int]) -> int:
    """Check one array against one input; returns the input's fixed batch size, or 1."""
    wanted = f"{spec.dtype} of shape ({', '.join(str(size) for size in spec.shape)})"
    msg = f"{path.name}: array {member.name!r} is {_form(member)}, the model takes {wanted}"
    if member.dtype.name != spec.dtype:
        raise BadInputError(msg, f"save it as .astype(numpy.{spec.dtype})")
    if not spec.shape:
        raise BadInputError(msg, "export the model with a batch axis, samples first")
    if len(member.shape) != len(spec.shape):
        raise BadInputError(msg, "samples come first, then the axes of the input")
    for have, want in zip(member.shape[1:], spec.shape[1:], strict=True):
        fixed = sizes.setdefault(want, have) if isinstance(want, str) and want != "?" else want
        if isinstance(fixed, int) and have != fixed:
            raise BadInputError(msg, "samples come first, then the axes of the input")
    first = spec.shape[0]
    return first if isinstance(first, int) else 1
