"""Parsed JSON against parsed JSON, key by key. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST = 300
_DEEPEST = 32


def said(value: Any) -> str:
    """A value for people: a text as it is, all else as JSON; long ones cut."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else _written(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def moved(before: Any, after: Any, at: str = "", depth: int = 0) -> Iterator[tuple[str, Any, Any]]:
    """(dotted key, before, after) of all that differs; nothing stands for what is not there."""
    if isinstance(before, Mapping) and isinstance(after, Mapping) and depth < _DEEPEST:
        for key in sorted({*before, *after}):
            yield from moved(
                before.get(key), after.get(key), f"{at}.{key}" if at else str(key), depth + 1
            )
    elif _written(before) != _written(after):
        yield at, before, after


def split(before: Any, after: Any) -> tuple[list[Any], list[Any]] | None:
    """Of two lists of texts, what only the one and only the other has; nothing for other values."""
    if not (_texts(before) and _texts(after)):
        return None
    return (
        [each for each in before if each not in set(after)],
        [each for each in after if each not in set(before)],
    )


def _written(value: Any) -> str:
    # Tells 1 from 1.0 and from true, and 0.0 from -0.0, which `==` does not.
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)
