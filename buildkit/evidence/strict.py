"""JSON from somebody else, read with limits, and with an error that a verifier can report."""

from __future__ import annotations

from typing import Any

from buildkit import canonical
from buildkit.errors import EvidenceError
from buildkit.evidence.reasons import Reason

LARGEST = 32 * 1024 * 1024
DEEPEST = 64

_CONTAINERS = (dict, list)
_SHORT = 4096


def load(data: bytes, what: str, *, largest: int = LARGEST) -> Any:
    """Parse JSON that nobody vouches for.

    Args:
        data: the bytes.
        what: for the message: ``bundle sha256:…``.
        largest: bytes that an honest document does not exceed.

    Raises:
        EvidenceError: too long, nested deeper than `DEEPEST`, not UTF-8, not JSON, or a key twice
            in one object.
    """
    if len(data) > largest:
        msg = f"{what} is {len(data)} bytes long; {largest} are allowed"
        raise EvidenceError(Reason.TOO_LARGE, msg)
    try:
        value = canonical.load(data)
        # Half a character (a lone surrogate), which nobody can write again as UTF-8.
        # (One byte is looked for ten times faster than two.)
        if b"\\" in data and b"\\ud" in data.lower():
            canonical.dump(value)
    except ValueError as error:
        if isinstance(error.__cause__, RecursionError):
            raise _too_deep(what) from error
        msg = f"{what}: {error}"
        raise EvidenceError(Reason.JSON, msg) from error
    except RecursionError as error:
        raise _too_deep(what) from error
    # With fewer brackets it cannot be too deep; those in texts count as well, and do no harm. In a
    # long document it takes longer to count them.
    if len(data) > _SHORT or data.count(b"{") + data.count(b"[") > DEEPEST:
        _refuse_depth(value, what)
    return value


def _refuse_depth(value: Any, what: str) -> None:
    """Level by level, since a function that calls itself would be what such a document attacks."""
    level = [value] if isinstance(value, _CONTAINERS) else []
    for _ in range(DEEPEST):
        following: list[Any] = []
        for outer in level:
            inner = outer.values() if isinstance(outer, dict) else outer
            following += [each for each in inner if isinstance(each, _CONTAINERS)]
        if not following:
            return
        level = following
    raise _too_deep(what)


def _too_deep(what: str) -> EvidenceError:
    return EvidenceError(Reason.TOO_LARGE, f"{what} is nested deeper than {DEEPEST} levels")
