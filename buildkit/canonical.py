"""The one home of canonical bytes: the same value is always the same bytes.

JSON follows RFC 8785 (JCS) as far as we use it: keys sorted, no spaces, UTF-8,
no duplicate keys. Numbers are integers, or floats that Python and JCS print alike
(`repr`, the shortest form that reads back as the same double).
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any


class DuplicateKeyError(ValueError):
    """A JSON object names one key twice, so two readers may disagree on its meaning."""


def dump(value: Any) -> bytes:
    """`value` as canonical JSON.

    Raises:
        ValueError: `value` holds NaN or an infinity, which JSON cannot say.
        TypeError: `value` holds something that is not JSON.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def dump_pretty(value: Any) -> bytes:
    """`value` as JSON for people: keys sorted, two spaces, a final newline; as stable as `dump`."""
    text = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()


def load(data: bytes | str) -> Any:
    """Parse JSON strictly: UTF-8, no duplicate keys, no NaN or infinities.

    Raises:
        ValueError: not JSON, or JSON that two readers may read differently.
    """
    # The library would guess UTF-16 and UTF-32, and pass over a byte-order mark.
    text = data.decode() if isinstance(data, bytes) else data
    try:
        return json.loads(
            text, object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_finite
        )
    except RecursionError as error:
        msg = "JSON is nested too deeply"
        raise ValueError(msg) from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        msg = f"key {twice!r} stands twice in one object"
        raise DuplicateKeyError(msg)
    return found


def _refuse(constant: str) -> float:
    msg = f"{constant} is not JSON"
    raise ValueError(msg)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        msg = f"{text} is too large for a double"
        raise ValueError(msg)
    return number


def timestamp(epoch: int) -> str:
    """Seconds since 1970 as RFC 3339 in UTC: ``2026-01-01T00:00:00Z``."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
