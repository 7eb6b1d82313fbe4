"""Whether calibration ranges that were derived again agree with those in a lock."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# ONNX Runtime's float32 activations differ in their last bits from processor to processor. Over a
# few hundred operators that stays far below a step of int8 (4e-3 of a range).
TOLERANCE = 1e-5


def disagreements(
    recorded: Mapping[str, Sequence[float]], fresh: Mapping[str, Sequence[float]], way: str
) -> tuple[str, ...]:
    """The tensors whose ranges do not agree, sorted.

    Args:
        recorded: tensor → (lowest, highest), from the lock.
        fresh: the same, derived again.
        way: ``exact``: every bit must be equal; ``onnxruntime``: each end may move by `TOLERANCE`
            of the recorded range.
    """
    found = set(recorded) ^ set(fresh)
    for name in set(recorded) & set(fresh):
        (low, high), (new_low, new_high) = recorded[name], fresh[name]
        # A quantised range always holds zero, so that is the width which an error is held against.
        room = 0.0 if way == "exact" else TOLERANCE * (max(high, 0.0) - min(low, 0.0))
        # Said this way round, because a NaN is within no room.
        if not (abs(new_low - low) <= room and abs(new_high - high) <= room):
            found.add(name)
    return tuple(sorted(found))
