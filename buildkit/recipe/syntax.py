"""TOML text to plain values, with the library's errors in our words."""

from __future__ import annotations

from typing import Any

import tomli

from buildkit.errors import Problem

_BYTE_ORDER_MARK = "\ufeff"

# How the library's message begins → what to say, and what to do. A message that is not here is
# passed on as it is.
_WORDS = (
    ("Cannot overwrite a value", "a key stands twice", "keep one of them"),
    ("Duplicate inline table key", "a key stands twice", "keep one of them"),
    ("Cannot declare", "a table stands twice", "put all of its keys under one header"),
    ("Cannot mutate", "adds to a table or array that is closed already", "write it in one place"),
    ("Cannot redefine", "adds to a table that is closed already", "write it in one place"),
    ("Unterminated string", "a string is not closed", "add the closing quote"),
    ("Unclosed array", "an array is not closed, or a comma is missing", "add `,` or `]`"),
    ("Unclosed inline table", "a table is not closed, or a comma is missing", "add `,` or `}`"),
    ("Expected '=' after a key", "no `=` after a key", "write KEY = VALUE"),
    ("Expected ']", "the header of a table is not closed", "write [TABLE]"),
    ("Expected newline", "something follows on the same line", "begin a new line"),
    ("Invalid value", "the value is not TOML", "put text into double quotes"),
    ("Invalid date", "no such date or time", "write it as 2026-01-31"),
    ("Unescaped '\\'", "a backslash in a string means something else", "write it twice"),
    ("Illegal character '\\n'", "a string is not closed on its line", "add the closing quote"),
    ("Invalid statement", "neither a key nor a table begins here", "write KEY = VALUE"),
)


def parse(text: str) -> tuple[dict[str, Any], Problem | None]:
    """Parse TOML.

    Args:
        text: the document.

    Returns:
        The document, and nothing; or nothing, and why it is not TOML.
    """
    if text.startswith(_BYTE_ORDER_MARK):
        message = "the file begins with a byte-order mark"
        return {}, Problem(
            path="", line=1, message=message, remedy="save it as UTF-8 without a byte-order mark"
        )
    try:
        return tomli.loads(text), None
    except tomli.TOMLDecodeError as error:
        return {}, _translated(error)
    except RecursionError:
        message, remedy = "arrays or tables are nested too deeply", "a recipe needs three levels"
    except ValueError as error:
        # A whole number of more digits than Python reads.
        message, remedy = f"a value cannot be read: {error}", "write a smaller one"
    return {}, Problem(path="", line=0, message=message, remedy=remedy)


def _translated(error: tomli.TOMLDecodeError) -> Problem:
    own = error.msg[:1].lower() + error.msg[1:], "see toml.io for the form of TOML"
    message, remedy = next(
        ((words, help_) for begin, words, help_ in _WORDS if error.msg.startswith(begin)), own
    )
    where = f"not TOML, at column {error.colno}: {message}"
    return Problem(path="", line=error.lineno, message=where, remedy=remedy)
