"""Collects the mistakes of one recipe, so that all of them are told at once."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from buildkit.errors import Problem
from buildkit.recipe.locate import locate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from buildkit.recipe.locate import KeyPath, Lines


class Notes:
    """The mistakes found so far.

    Args:
        text: the recipe, valid TOML; its lines are looked up with the first mistake, and never
            for a recipe without one.
        document: the same, parsed.
    """

    def __init__(self, text: str, document: Mapping[str, Any]) -> None:
        self._text = text
        self._document = document
        self._lines: Lines | None = None
        self._found: list[Problem] = []

    def add(self, path: KeyPath, message: str, remedy: str = "", *, missing: bool = False) -> None:
        """Note one mistake.

        Args:
            path: of the key or array element.
            message: what is wrong, without a full stop.
            remedy: what to write instead.
            missing: `path` is not in the file; the line is that of the table around it.
        """
        if self._lines is None:
            self._lines = locate(self._text)
        line = self._lines.around(path) if missing else self._lines.of(path)
        self._found.append(Problem(path=dotted(path), line=line, message=message, remedy=remedy))

    def wrote(self, *path: str) -> bool:
        """Whether the file itself has this key, right or wrong."""
        found: Any = self._document
        for part in path:
            if not isinstance(found, dict) or part not in found:
                return False
            found = found[part]
        return True

    def problems(self) -> tuple[Problem, ...]:
        """All mistakes by line; those without a line first."""
        return tuple(sorted(self._found, key=lambda problem: problem.line))


def dotted(path: KeyPath) -> str:
    """A key path as people write it: ``model.train.inputs[0]``, ``"odd key".x``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            bare = re.fullmatch(r"[A-Za-z0-9_-]+", part) is not None
            text += ("." if text else "") + (part if bare else shown(part))
    return text


def shown(value: Any) -> str:
    """A value of the file for a message, in one short line."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            text = json.dumps(value, ensure_ascii=False)
            return text if len(text) <= 80 else f'{text[:70]}…"'
        case int() | float():
            return str(value) if abs(value) < 10**20 else "a huge number"
        case dict():
            return "a table"
        case list():
            return "an array"
        case _:
            return f"the date or time {value}"


def listed(names: Iterable[object]) -> str:
    """Names for a message: ``"a", "b" or "c"``."""
    *most, last = [shown(name) for name in names]
    return f"{', '.join(most)} or {last}" if most else last


def meant(word: object, known: Iterable[str]) -> str:
    """The known word that `word` looks like, or nothing."""
    # Only a mistake needs it, and it costs as much to import as a whole recipe to read.
    import difflib  # noqa: PLC0415

    return next(iter(difflib.get_close_matches(str(word).lower(), list(known), 1)), "")
