"""JSON from somebody else, read with limits, and with an error that a verifier can report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from buildkit import canonical
from buildkit.errors import EvidenceError
from buildkit.evidence.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

LARGEST = 32 * 1024 * 1024
DEEPEST = 64


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
        if b"\\ud" in data.lower():
            canonical.dump(value)
    except ValueError as error:
        if isinstance(error.__cause__, RecursionError):
            raise _too_deep(what) from error
        msg = f"{what}: {error}"
        raise EvidenceError(Reason.JSON, msg) from error
    except RecursionError as error:
        raise _too_deep(what) from error
    _refuse_depth(value, what)
    return value


def _refuse_depth(value: Any, what: str) -> None:
    """Level by level, since a function that calls itself would be what such a document attacks."""
    level = _containers([value])
    for _ in range(DEEPEST):
        level = _containers(
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        )
        if not level:
            return
    raise _too_deep(what)


def _containers(values: Iterable[Any]) -> list[Any]:
    return [each for each in values if isinstance(each, dict | list)]


def _too_deep(what: str) -> EvidenceError:
    return EvidenceError(Reason.TOO_LARGE, f"{what} is nested deeper than {DEEPEST} levels")
