"""How many golden inputs the models get right: recorded in the lock, and replayed from it. Pure.

What a float model answers differs between CPUs in the last bits, and so may what a quantised one
does where it computes in float32. Now and then that moves an input to another class. The counts
stand in the model's card, so the card would have another digest on another CPU.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from buildkit.errors import DigestError

if TYPE_CHECKING:
    from collections.abc import Mapping

# Of the samples; one sample where these are few.
TOLERANCE = Fraction(5, 1000)
_PLACES = 4


def counts(accuracy: Mapping[str, Any]) -> dict[str, int]:
    """What a lock records of ``accuracy.json``."""
    samples = int(accuracy["samples"])
    return {
        "samples": samples,
        "float": int(accuracy["correct"]["float"]),
        "quantised": int(accuracy["correct"]["quantised"]),
        "agreeing": round(Fraction(accuracy["agreement"]) * samples / 100),
    }


def replay(fresh: Mapping[str, Any], recorded: Mapping[str, int]) -> dict[str, Any]:
    """``accuracy.json`` as it was when the lock was made, if this CPU agrees with it.

    Args:
        fresh: what the check stage wrote just now.
        recorded: `counts` out of the lock; `fresh` stands when there are none.

    Raises:
        DigestError: a count differs by more than `TOLERANCE` of the samples.
    """
    if not recorded:
        return dict(fresh)
    found = counts(fresh)
    samples = recorded["samples"]
    allowed = max(1, int(TOLERANCE * samples))
    for name, before in recorded.items():
        far = found[name] != before if name == "samples" else abs(found[name] - before) > allowed
        if far:
            msg = (
                f"golden data: {name} is {found[name]} on this machine, but {before} in the lock, "
                f"of {samples} samples; {allowed} may differ"
            )
            raise DigestError(msg, "if the model was changed on purpose, lock it again")
    right = {name: recorded[name] for name in ("float", "quantised")}
    return {
        **fresh,
        "samples": samples,
        "correct": right,
        "float": percent(right["float"], samples),
        "quantised": percent(right["quantised"], samples),
        "drop": percent(right["float"] - right["quantised"], samples),
        "agreement": percent(recorded["agreeing"], samples),
    }


def percent(part: int, whole: int) -> float:
    """``100 * part / whole``, rounded exactly to four decimal places."""
    return float(round(Fraction(100 * part, whole), _PLACES))
