"""Changes one table of a TOML text and leaves the rest, comments among it, as its author wrote it.

What comes out must be read again by the caller: this goes by lines, and knows that it may be wrong.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from buildkit.recipe.locate import locate

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEAD = "devices"
# A key with a value of one line, and what follows it.
_LINE = re.compile(
    r"(?P<before>\s*(?P<name>[A-Za-z0-9_]+)\s*=\s*)"
    r"(?P<value>\"(?:[^\"\\]|\\.)*\"|'[^']*'|[0-9]+)"
    r"(?P<after>\s*(?:#.*)?)"
)


def with_entry(
    text: str, name: str, values: Mapping[str, str | int], *, is_there: bool
) -> str | None:
    """The text with ``[devices.NAME]`` of `values`, or nothing when this does not know how.

    Args:
        text: valid TOML; empty for a new file.
        name: of the table; a bare key.
        values: all of its keys; those that the text has and this has not are taken out.
        is_there: whether the text has it.
    """
    end = "\r\n" if "\r\n" in text else "\n"
    if text and not text.endswith("\n"):
        text += end
    if not is_there:
        lines = [f"[{_HEAD}.{name}]", *_written(values), ""]
        if not text:
            return "\n".join(["schema = 1", "", *lines])
        gap = "" if text.endswith(end * 2) else end
        return text + gap + end.join(lines)
    block = _block(text, name)
    if block is None:
        return None
    lines, first, last = block
    kept: list[str] = []
    left = dict(values)
    for line in lines[first + 1 : last]:
        bare = line.rstrip("\r\n")
        found = _LINE.fullmatch(bare)
        if found is None:
            if bare.strip() and not bare.lstrip().startswith("#"):
                return None
            kept.append(line)
        elif found["name"] in left:
            value = left.pop(found["name"])
            kept.append(found["before"] + _value(value) + found["after"] + line[len(bare) :])
    # After the last key, before what the author wrote behind it.
    at = max((at for at, line in enumerate(kept, 1) if _LINE.match(line)), default=0)
    kept[at:at] = [each + end for each in _written(left)]
    return "".join([*lines[: first + 1], *kept, *lines[last:]])


def without_entry(text: str, name: str) -> str | None:
    """The text without ``[devices.NAME]``, or nothing when this does not know how."""
    block = _block(text, name)
    if block is None:
        return None
    lines, first, last = block
    head, tail = lines[:first], lines[last:]
    # One of the empty lines around it goes with it.
    if head and not head[-1].strip() and (not tail or not tail[0].strip()):
        head.pop()
    return "".join([*head, *tail])


def _block(text: str, name: str) -> tuple[list[str], int, int] | None:
    """The lines of the text, and which of them are the table: first, and one after the last."""
    lines = text.splitlines(keepends=True)
    # Other line breaks than TOML's would count differently.
    if len(lines) != text.count("\n") + (not text.endswith("\n")):
        return None
    places = locate(text).places
    path = (_HEAD, name)
    first = places.get(path, 0) - 1
    if first < 0 or not lines[first].lstrip().startswith("["):
        return None
    others = [line - 1 for place, line in places.items() if place[:2] != path]
    last = min((line for line in others if line > first), default=len(lines))
    inside = [line - 1 for place, line in places.items() if place[:2] == path]
    if any(not first <= line < last for line in inside):
        return None
    # Comments that stand before the next table belong to that.
    while last > max(inside) + 1 and not lines[last - 1].split("#")[0].strip():
        last -= 1
    return lines, first, last


def _written(values: Mapping[str, str | int]) -> list[str]:
    return [f"{name} = {_value(value)}" for name, value in values.items()]


def _value(value: str | int) -> str:
    """As TOML; JSON writes a string without control characters alike."""
    return json.dumps(value, ensure_ascii=False)
