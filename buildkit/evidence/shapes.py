"""Values of a predicate that somebody else wrote: each is what it should be, or refused. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

from buildkit import digests
from buildkit.errors import EvidenceError
from buildkit.evidence.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_HEX = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?"
    r"(?:Z|[+-][0-9]{2}:[0-9]{2})"
)
_LONGEST = 2000
_MOST = 1024


def refuse(where: str, why: str) -> NoReturn:
    """Raise what all of these raise: an `EvidenceError` with the reason ``predicate``."""
    raise EvidenceError(Reason.PREDICATE, f"{where}: {why}")


def object(  # noqa: A001 - as JSON calls it; used with the module's name
    value: Any,
    where: str,
    *,
    needed: Collection[str] = (),
    most: Collection[str] | None = None,
) -> Mapping[str, Any]:
    """An object with the keys `needed`, and with no others than `most` if that is given."""
    if not isinstance(value, dict):
        refuse(where, "not an object")
    if absent := sorted(set(needed) - value.keys()):
        refuse(where, f"no `{absent[0]}`")
    if most is not None and (unknown := sorted(value.keys() - set(most))):
        refuse(where, f"unknown key {unknown[0]!r}")
    return value


def array(value: Any, where: str) -> list[Any]:
    """A list that is not too long."""
    if not isinstance(value, list) or len(value) > _MOST:
        refuse(where, f"not a list of at most {_MOST}")
    return value


def text(value: Any, where: str) -> str:
    """A text that is not empty, and not too long."""
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST:
        refuse(where, "not a text")
    return value


def uri(value: Any, where: str) -> str:
    """A URI, as far as that can be told."""
    if ":" not in text(value, where):
        refuse(where, "not a URI")
    found: str = value
    return found


def digest(value: Any, where: str) -> str:
    """``sha256:<hex>``."""
    if not digests.is_digest(value):
        refuse(where, "not a SHA-256 digest")
    found: str = value
    return found


def sha256(value: Any, where: str) -> str:
    """The hex digits of ``{"sha256": "<hex>"}``, as in-toto writes a digest."""
    found = value.get("sha256") if isinstance(value, dict) else None
    if not isinstance(found, str) or _HEX.fullmatch(found) is None:
        refuse(where, "no SHA-256 digest")
    return found


def time(value: Any, where: str) -> datetime:
    """A time of RFC 3339, in UTC."""
    if not isinstance(value, str) or _TIME.fullmatch(value) is None:
        refuse(where, "not a time of RFC 3339")
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        refuse(where, "not a time of RFC 3339")
