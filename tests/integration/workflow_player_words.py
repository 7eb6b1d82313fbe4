"""Expressions of GitHub Actions, as far as our workflows use them; anything else is an error.

Source: GitHub's documents "Expressions" and "Contexts". Missing properties are errors here unless
their context says otherwise, because GitHub's silent null hides every misspelt name.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>-?\d+(?:\.\d+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_-]*)|(?P<mark>\|\||&&|==|!=|!|\(|\)|\[|\]|,|\.))"
)
_HOLE = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_WORDS = {"true": True, "false": False, "null": None}


class UnknownError(Exception):
    """A workflow says something that the player does not know, or that nobody defined."""


class Lenient(dict[str, Any]):
    """A context whose missing properties are null: nobody can know which ones a user has set."""


@dataclass(frozen=True)
class Words:
    """What an expression may refer to: contexts by name, and functions."""

    contexts: Mapping[str, Any]
    functions: Mapping[str, Callable[..., Any]]

    def value(self, expression: str) -> Any:
        """What an expression (without `${{ }}`) comes to."""
        parser = _Parser(expression, self)
        found = parser.either()
        if parser.tokens[parser.at :]:
            msg = f"{expression!r}: {parser.tokens[parser.at][1]!r} does not belong there"
            raise UnknownError(msg)
        return found

    def filled(self, template: Any) -> Any:
        """A value of the YAML with every `${{ }}` filled in; alone it keeps its type."""
        if isinstance(template, Mapping):
            return {key: self.filled(each) for key, each in template.items()}
        if isinstance(template, list):
            return [self.filled(each) for each in template]
        if not isinstance(template, str):
            return template
        alone = _HOLE.fullmatch(template.strip())
        if alone and "${{" not in alone[1]:
            return self.value(alone[1])
        return _HOLE.sub(lambda hole: text(self.value(hole[1])), template)

    def holds(self, condition: Any) -> bool:
        """Whether an `if:` lets its job or step run; `success()` unless it asks for the status."""
        said = str(condition).strip()
        alone = _HOLE.fullmatch(said)
        expression = alone[1] if alone else said
        if "${{" in expression:
            msg = f"if: {said}: a text, not an expression"
            raise UnknownError(msg)
        asked = re.search(r"\b(always|success|failure|cancelled)\s*\(", expression)
        if not asked and not self.functions["success"]():
            return False
        return true(self.value(expression))


def true(value: Any) -> bool:
    """GitHub's truth: empty text, 0 and null are false; objects are true."""
    if isinstance(value, float) and math.isnan(value):
        return False
    return value not in (None, False, 0, "") if not isinstance(value, dict | list) else True


def text(value: Any) -> str:
    """A value inside a text.

    Raises:
        UnknownError: GitHub would write `Object` or `Array`, which nobody wants.
    """
    if isinstance(value, dict | list):
        msg = f"an object inside a text: {value}"
        raise UnknownError(msg)
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def same(a: Any, b: Any) -> bool:
    """GitHub's loose equality: texts without case; of two types, their numbers."""
    if isinstance(a, dict | list) or isinstance(b, dict | list):
        return a is b
    if isinstance(a, str) and isinstance(b, str):
        return a.casefold() == b.casefold()
    if a is None and b is None:
        return True
    return _number(a) == _number(b)


def _number(value: Any) -> float:
    if value is None:
        return 0.0
    if isinstance(value, bool | int | float):
        return float(value)
    try:
        return float(value.strip() or 0)
    except ValueError:
        return math.nan


class _Parser:
    """Recursive descent: either > both > equal > unary > primary."""

    def __init__(self, expression: str, words: Words) -> None:
        self.expression = expression
        self.words = words
        self.tokens: list[tuple[str, str]] = []
        at, body = 0, expression.rstrip()
        while at < len(body):
            found = _TOKEN.match(body, at)
            if found is None:
                msg = f"{expression!r}: {body[at:].strip()!r} is not known"
                raise UnknownError(msg)
            self.tokens.append((str(found.lastgroup), found[str(found.lastgroup)]))
            at = found.end()
        self.at = 0

    def take(self, *marks: str) -> str:
        """The next token, if it is one of `marks`; else nothing."""
        if self.at < len(self.tokens):
            kind, said = self.tokens[self.at]
            if kind == "mark" and said in marks:
                self.at += 1
                return said
        return ""

    def need(self, mark: str) -> None:
        if not self.take(mark):
            msg = f"{self.expression!r}: {mark} is missing"
            raise UnknownError(msg)

    def either(self) -> Any:
        found = self.both()
        while self.take("||"):
            other = self.both()
            found = found if true(found) else other
        return found

    def both(self) -> Any:
        found = self.equal()
        while self.take("&&"):
            other = self.equal()
            found = other if true(found) else found
        return found

    def equal(self) -> Any:
        found = self.unary()
        while mark := self.take("==", "!="):
            found = same(found, self.unary()) == (mark == "==")
        return found

    def unary(self) -> Any:
        return not true(self.unary()) if self.take("!") else self.primary()

    def primary(self) -> Any:
        if self.take("("):
            found = self.either()
            self.need(")")
            return found
        if self.at == len(self.tokens):
            msg = f"{self.expression!r}: it ends too early"
            raise UnknownError(msg)
        kind, said = self.tokens[self.at]
        self.at += 1
        if kind == "text":
            return said[1:-1].replace("''", "'")
        if kind == "number":
            return float(said) if "." in said else int(said)
        if kind == "mark":
            msg = f"{self.expression!r}: {said!r} does not belong there"
            raise UnknownError(msg)
        if said in _WORDS:
            return _WORDS[said]
        return self.call(said) if self.take("(") else self.path(said)

    def call(self, name: str) -> Any:
        given: list[Any] = []
        if not self.take(")"):
            given.append(self.either())
            while self.take(","):
                given.append(self.either())
            self.need(")")
        if name not in self.words.functions:
            msg = f"{self.expression!r}: the function {name} is not known"
            raise UnknownError(msg)
        return self.words.functions[name](*given)

    def path(self, name: str) -> Any:
        if name not in self.words.contexts:
            msg = f"{self.expression!r}: the context {name} is not known"
            raise UnknownError(msg)
        found, way = self.words.contexts[name], name
        while mark := self.take(".", "["):
            if mark == "[":
                key = self.either()
                self.need("]")
            else:
                kind, key = self.tokens[self.at] if self.at < len(self.tokens) else ("", "")
                self.at += 1
                if kind != "name":
                    msg = f"{self.expression!r}: a name is missing after {way}."
                    raise UnknownError(msg)
            way = f"{way}.{key}"
            if isinstance(found, Lenient):
                found = found.get(key)
            elif isinstance(found, Mapping) and key in found:
                found = found[key]
            elif found is not None:
                msg = f"{self.expression!r}: nobody defined {way}"
                raise UnknownError(msg)
        return found


def from_json(value: str) -> Any:
    """``fromJSON``."""
    try:
        return json.loads(value)
    except ValueError as error:
        msg = f"fromJSON: {value!r}: {error}"
        raise UnknownError(msg) from error


def to_json(value: Any) -> str:
    """``toJSON``."""
    return json.dumps(value, indent=2)


def formatted(template: str, *given: Any) -> str:
    """``format``."""
    return re.sub(r"\{(\d+)\}", lambda hole: text(given[int(hole[1])]), template)
