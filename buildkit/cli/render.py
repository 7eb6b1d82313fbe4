"""What people see: progress, tables, errors. Hostile text is shown harmless."""

from __future__ import annotations

import json
import sys
import time
import unicodedata
from typing import TYPE_CHECKING, Any

from buildkit.errors import BuildkitError, EvidenceError, RecipeError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence


def plain(text: str) -> str:
    """Text without control and formatting characters (terminal escapes, bidirectional marks)."""
    return "".join(
        character
        if unicodedata.category(character) not in ("Cc", "Cf", "Cs")
        else "\N{REPLACEMENT CHARACTER}"
        for character in text
    )


def lines(text: str) -> str:
    """As `plain`, line by line."""
    return "\n".join(plain(line) for line in text.split("\n"))


def table(rows: Iterable[Sequence[str]], *, indent: str = "") -> str:
    """Rows as columns; every cell is shown harmless."""
    cells = [[plain(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        indent
        + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def document(value: Any) -> None:
    """One JSON object on standard output."""
    print(json.dumps(value, indent=2, sort_keys=True))


def error(problem: BuildkitError, *, as_json: bool) -> None:
    """An error with its remedy, on standard error; as JSON for a script."""
    if as_json:
        said: dict[str, Any] = {
            "error": problem.message,
            "kind": type(problem).__name__,
            "remedy": problem.remedy,
        }
        if isinstance(problem, EvidenceError):
            said["reason"] = problem.reason
        if isinstance(problem, RecipeError):
            said["problems"] = [
                {
                    "path": item.path,
                    "line": item.line,
                    "message": item.message,
                    "remedy": item.remedy,
                }
                for item in problem.problems
            ]
        print(json.dumps(said, sort_keys=True), file=sys.stderr)
        return
    if isinstance(problem, RecipeError):
        for item in problem.problems:
            where = f"{problem.file}:{item.line}" if item.line else problem.file
            path = f"{item.path}: " if item.path else ""
            print(lines(f"{where}: {path}{item.message}"), file=sys.stderr)
            if item.remedy:
                print(lines(f"    → {item.remedy}"), file=sys.stderr)
    print(lines(f"error: {problem.message}"), file=sys.stderr)
    if problem.remedy:
        print(lines(f"  → {problem.remedy}"), file=sys.stderr)


def progress(options: argparse.Namespace) -> Lines | None:
    """Where a command's progress goes.

    With ``--json`` a script reads standard error too, for the one object that an error is: there
    progress is only for a terminal.
    """
    if options.quiet or (options.json and not sys.stderr.isatty()):
        return None
    return Lines()


class Lines:
    """Progress as lines on standard error; on a terminal, steps stay on one line."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._open = False
        self._last = 0.0

    def stage(self, name: str, what: str) -> None:
        """A stage begins."""
        self._say(f"{name:9} {what} …")

    def step(self, done: int, total: int, what: str) -> None:
        """Show a step: on a terminal all of them, in a log at most one every ten seconds."""
        text = plain(f"          {done}/{total} {what}")
        if self._live:
            print(f"\r\033[K{text[:100]}", end="", file=sys.stderr, flush=True)
            self._open = True
        elif time.monotonic() - self._last > 10:
            self._last = time.monotonic()
            self._say(text)

    def note(self, text: str) -> None:
        """Something that a person should know."""
        self._say(f"          {lines(text)}")

    def output(self, line: str) -> None:
        """Show a tool's last line on a terminal; a log has it in the error if there is one."""
        if self._live and line:
            print(f"\r\033[K{plain(line)[:100]}", end="", file=sys.stderr, flush=True)
            self._open = True

    def finished(self, name: str, seconds: float) -> None:
        """A stage has ended."""
        if seconds >= 1:
            self._say(f"{name:9} done in {seconds:.1f} s")

    def _say(self, text: str) -> None:
        start = "\r\033[K" if self._open else ""
        self._open = False
        print(start + text, file=sys.stderr, flush=True)
