"""JSON that nobody vouches for, read with limits and without a second meaning."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from typing import Any

LARGEST = 32 * 1024 * 1024
DEEPEST = 64
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def load(data: bytes, largest: int = LARGEST) -> Any:
    """Parse strictly: UTF-8, no key twice in an object, no NaN, at most `DEEPEST` levels.

    Raises:
        ValueError: says what is wrong.
    """
    if len(data) > largest:
        message = f"{len(data)} bytes long; {largest} are allowed"
        raise ValueError(message)
    try:
        value = json.loads(
            data.decode(),
            object_pairs_hook=_unique,
            parse_constant=_refuse,
            parse_float=_finite,
            parse_int=_whole,
        )
    except RecursionError:
        message = "nested too deeply"
        raise ValueError(message) from None
    # Half a character (a lone surrogate), which nobody can write again as UTF-8.
    if b"\\ud" in data.lower():
        json.dumps(value, ensure_ascii=False).encode()
    _refuse_depth(value)
    return value


def dump(value: Any) -> bytes:
    """Canonical JSON: keys sorted, no spaces, UTF-8 (RFC 8785 as far as it is used)."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def obj(value: Any, where: str, known: set[str] | None = None) -> dict[str, Any]:
    """`value` as an object, with no key but the `known` ones.

    Raises:
        ValueError: says what is wrong, and `where`.
    """
    if not isinstance(value, dict):
        raise _wrong(where, "not an object")
    unknown = sorted(value.keys() - known) if known is not None else []
    if unknown:
        raise _wrong(where, f"unknown key {unknown[0]!r}")
    return value


def array(value: Any, where: str, most: int = 1024) -> list[Any]:
    """`value` as a list of at most `most`."""
    if not isinstance(value, list) or len(value) > most:
        raise _wrong(where, f"not a list of at most {most}")
    return value


def text(value: Any, where: str, longest: int = 1024) -> str:
    """`value` as a text of at most `longest` characters."""
    if not isinstance(value, str) or len(value) > longest:
        raise _wrong(where, f"not a text of at most {longest} characters")
    return value


def word(value: Any, where: str, pattern: str) -> str:
    """`value` as a text that matches `pattern` wholly."""
    if not isinstance(value, str) or re.fullmatch(pattern, value) is None:
        raise _wrong(where, f"not of the form {pattern}")
    return value


def number(value: Any, where: str, least: int = 0, most: int = 1 << 62) -> int:
    """`value` as a whole number in a range."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise _wrong(where, f"not a whole number from {least} to {most}")
    return value


def digest(value: Any, where: str) -> str:
    """`value` as ``sha256:<hex>``."""
    if not isinstance(value, str) or DIGEST.fullmatch(value) is None:
        raise _wrong(where, "not a sha256 digest")
    return value


def decoded(value: Any, where: str) -> bytes:
    """`value` as the bytes that its base64 stands for; not empty."""
    try:
        found = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except (binascii.Error, ValueError):
        found = b""
    if not found:
        raise _wrong(where, "not base64, or empty")
    return found


def _wrong(where: str, why: str) -> ValueError:
    return ValueError(f"{where}: {why}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        message = "a key stands twice in one object"
        raise ValueError(message)
    return found


def _refuse(constant: str) -> float:
    message = f"{constant} is not JSON"
    raise ValueError(message)


def _finite(digits: str) -> float:
    found = float(digits)
    if not math.isfinite(found):
        message = f"{digits[:40]} is too large"
        raise ValueError(message)
    return found


def _whole(digits: str) -> int:
    # Python 3.9 takes time that grows with the square of the length.
    if len(digits) > 100:
        message = f"{digits[:40]}\u2026 is too large"
        raise ValueError(message)
    return int(digits)


def _refuse_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    message = f"nested deeper than {DEEPEST} levels"
    raise ValueError(message)
