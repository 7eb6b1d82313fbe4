"""Which line says what: TOML key paths to line numbers, which the TOML library does not keep.

The text must already be valid TOML 1.0 (or 1.1, as far as the TOML library takes it), so this is
a scan of its tokens and no second parser: it decides nothing about meaning.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TypeAlias

import tomli

KeyPath: TypeAlias = tuple[str | int, ...]

# Long strings first, or their quotes would read as empty short ones. A long string may end in up
# to two quotes of its own, before the three that close it.
_STRINGS = (
    r'"""(?:\\.|[^\\])*?"{3,5}',
    r"'''.*?'{3,5}",
    r'"(?:\\.|[^"\\\n])*"',
    r"'[^'\n]*'",
)
_TOKEN = (
    f"(?P<string>{'|'.join(_STRINGS)})"
    r"|(?P<comment>#[^\n]*)"
    r"|(?P<newline>\n)"
    r"|(?P<mark>[\[\]{}=,.])"
    r"|(?P<bare>[^\s\"'\[\]{}=,.#]+)"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Lines:
    """Where each key, table and array element of a document begins.

    Attributes:
        places: path → line, from 1. A table that has a header is where its header is, any other
            where it is first named.
        headers: the paths of `places` that stand for themselves, and are not only the way to
            another (``[a.b]`` names ``a`` on the way to ``a.b``).
    """

    places: dict[KeyPath, int]
    headers: frozenset[KeyPath]

    def of(self, path: KeyPath) -> int:
        """The line of `path`, or of the nearest thing around it; 0 when there is none."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, 0)

    def around(self, path: KeyPath) -> int:
        """The line of the nearest table around a missing `path`; 0 when none was written out."""
        path = path[:-1]
        while path and path not in self.headers:
            path = path[:-1]
        return self.places.get(path, 0)


@dataclass(slots=True)
class _Frame:
    """One open bracket, or the statements of the file itself."""

    closes: str
    base: KeyPath
    index: int = 0
    key: list[str] = field(default_factory=list)
    in_value: bool = False


class _Scan:
    """What has been seen so far, one token after the other."""

    def __init__(self) -> None:
        self.places: dict[KeyPath, int] = {}
        self.headers: set[KeyPath] = set()
        self.frames = [_Frame(closes="", base=())]
        self.header: list[str] | None = None
        self.brackets = 0
        self.last: dict[KeyPath, int] = {}

    def token(self, text: str, line: int, *, quoted: bool) -> None:
        frame, header = self.frames[-1], self.header
        if header is not None:
            self._header_token(header, text, line, quoted=quoted)
        elif frame.closes == "]" or frame.in_value:
            self._value_token(frame, text, line, quoted=quoted)
        else:
            self._key_token(frame, text, line, quoted=quoted)

    def newline(self) -> None:
        frame = self.frames[-1]
        if not frame.closes:
            frame.key, frame.in_value = [], False
            self.header, self.brackets = None, 0

    def _header_token(self, header: list[str], text: str, line: int, *, quoted: bool) -> None:
        if quoted or text not in "[].":
            header.append(_name(text))
        elif text == "[":
            self.brackets += 1
        elif text == "]" and header:
            self.frames[0].base = self._open(header, line)
            header.clear()

    def _open(self, parts: list[str], line: int) -> KeyPath:
        """The path that a header names, with the current element of every array of tables."""
        path: KeyPath = ()
        for depth, part in enumerate(parts, 1):
            path = (*path, part)
            is_last = depth == len(parts)
            if is_last and self.brackets == 2:
                self.places.setdefault(path, line)
                self.headers.add(path)
                self.last[path] = self.last.get(path, -1) + 1
            elif is_last and path not in self.headers:
                self.places.pop(path, None)
            if path in self.last:
                path = (*path, self.last[path])
            self.places.setdefault(path, line)
        self.headers.add(path)
        return path

    def _key_token(self, frame: _Frame, text: str, line: int, *, quoted: bool) -> None:
        if not quoted and text == "[" and not frame.closes:
            self.header, self.brackets = [], 1
        elif not quoted and text == "}":
            self.frames.pop()
        elif not quoted and text == "=":
            path = frame.base
            for part in frame.key:
                path = (*path, part)
                self.places.setdefault(path, line)
            self.headers.add(path)
            frame.in_value = True
        elif quoted or text not in ".,":
            frame.key.append(_name(text))

    def _value_token(self, frame: _Frame, text: str, line: int, *, quoted: bool) -> None:
        if not quoted and text == frame.closes:
            self.frames.pop()
        elif not quoted and text == ",":
            frame.index += 1
            frame.key, frame.in_value = [], False
        else:
            path = (*frame.base, *frame.key)
            if frame.closes == "]":
                path = (*frame.base, frame.index)
                self.places.setdefault(path, line)
                self.headers.add(path)
            if not quoted and text in "[{":
                self.frames.append(_Frame(closes="]" if text == "[" else "}", base=path))


def _name(text: str) -> str:
    """A key as written, as its name."""
    if text[0] == "'":
        return text[1:-1]
    if text[0] != '"':
        return text
    return next(iter(tomli.loads(text + " = 0"))) if "\\" in text else text[1:-1]


def locate(text: str) -> Lines:
    """Find the line of every key path of a valid TOML document.

    Args:
        text: the document.

    Returns:
        A path for each table, key and array element; elements are counted from 0.
    """
    scan, line = _Scan(), 1
    for match in re.finditer(_TOKEN, text.replace("\r\n", "\n"), re.DOTALL):
        token, kind = match[0], match.lastgroup
        if kind == "newline":
            scan.newline()
        elif kind != "comment":
            scan.token(token, line, quoted=kind == "string")
        line += token.count("\n")
    return Lines(places=scan.places, headers=frozenset(scan.headers))
