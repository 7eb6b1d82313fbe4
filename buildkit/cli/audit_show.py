"""How answers of ``audit`` look: a table for people, JSON and CSV for programs. All of it harmless.

JSON has every value as it is, with everything but ASCII as escapes. Tables and CSV have no control
and no formatting characters; tables shorten what is long. No cell of CSV is a formula.
"""

from __future__ import annotations

import csv
import dataclasses
import re
import sys
import unicodedata
from typing import TYPE_CHECKING, Any

from buildkit import canonical
from buildkit.audit import types
from buildkit.cli import render

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence

    from buildkit.audit import Answer, Cells, Status
    from buildkit.audit.sync import Synced

SCHEMA = "buildkit/audit/v1"

_TIMES = {"at", "time", "began", "ended", "first", "last"}
_DIGEST = re.compile(r"sha256:([0-9a-f]{12})[0-9a-f]{52}")
_LONGEST = 60
# What spreadsheets take for the beginning of a formula, also in its wide forms.
_WIDE = "\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}\N{FULLWIDTH HYPHEN-MINUS}"
_FORMULA = tuple(f"=+-@|%\t\r\n{_WIDE}\N{FULLWIDTH COMMERCIAL AT}")
_EARLIEST, _LATEST = -62_135_596_800, 253_402_300_799

# Columns of the table for people: heading and attribute.
_COLUMNS: dict[type, tuple[tuple[str, str], ...]] = {
    types.Holder: (
        ("what", "what"),
        ("name", "name"),
        ("version", "version"),
        ("for", "variant"),
        ("holds", "package"),
        ("digest", "digest"),
        ("since", "at"),
        ("mark", "mark"),
    ),
    types.Made: (
        ("what", "role"),
        ("name", "name"),
        ("version", "version"),
        ("for", "variant"),
        ("digest", "digest"),
        ("made from", "input"),
        ("which is", "uri"),
        ("used for", "uses"),
    ),
    types.Source: (
        ("depth", "depth"),
        ("name", "name"),
        ("uri", "uri"),
        ("digest", "digest"),
        ("commit", "commit"),
        ("used for", "uses"),
    ),
    types.Signed: (
        ("time", "time"),
        ("kind", "kind"),
        ("about", "names"),
        ("digest", "about"),
        ("signer", "signer"),
        ("key is", "state"),
        ("does not count", "reason"),
    ),
    types.Seen: (
        ("ended", "ended"),
        ("device", "device"),
        ("key", "key"),
        ("target", "target"),
        ("result", "result"),
        ("verdict", "verdict"),
        ("mark", "mark"),
        ("board", "board"),
        ("kernel", "kernel"),
        ("firmware", "firmware"),
        ("runs", "runs"),
    ),
    types.Passed: (
        ("at", "at"),
        ("name", "name"),
        ("version", "version"),
        ("target", "target"),
        ("devices", "devices"),
        ("named", "named"),
        ("mark", "mark"),
        ("runs", "runs"),
        ("image", "image"),
        ("model", "model"),
    ),
    types.Move: (
        ("channel", "channel"),
        ("record", "number"),
        ("at", "at"),
        ("name", "name"),
        ("version", "version"),
        ("image", "image"),
        ("back to", "restores"),
        ("mark", "mark"),
        ("signer", "signer"),
    ),
    types.Word: (
        ("what", "role"),
        ("for", "variant"),
        ("digest", "about"),
        ("kind", "kind"),
        ("signer", "signer"),
        ("key is", "state"),
        ("times", "count"),
        ("last", "last"),
        ("does not count", "reason"),
    ),
    types.Step: (("", "by"), ("what", "kind"), ("name", "name"), ("id", "id")),
    types.Gap: (
        ("gap", "gap"),
        ("what", "role"),
        ("name", "name"),
        ("version", "version"),
        ("for", "variant"),
        ("digest", "digest"),
        ("because", "detail"),
    ),
}
_ROWS = {
    "contains": types.Holder,
    "from": types.Made,
    "materials": types.Source,
    "signed-by": types.Signed,
    "devices": types.Seen,
    "passed": types.Passed,
    "history": types.Move,
    "at": types.Move,
    "who": types.Word,
    "path": types.Step,
    "gaps": types.Gap,
}
_NOTHING = {
    "contains": "nothing holds it",
    "from": "nothing was made from it",
    "materials": "nobody who counts says what it was made from",
    "signed-by": "nothing is signed by that",
    "devices": "no device ran it",
    "passed": "nothing passed",
    "history": "no such channel was ever moved",
    "at": "no channel led anywhere then",
    "who": "nothing is said about it",
    "path": "there is no chain of evidence between them",
    "gaps": "nothing is missing",
}


def answer(found: Answer[Any], options: argparse.Namespace) -> None:
    """Show the answer to a question, in the form that was asked for."""
    kind = _ROWS[options.question]
    names = [field.name for field in dataclasses.fields(kind)]
    if options.json:
        rows = [{name: _exact(row, name) for name in names} for row in found.rows]
        render.document(
            {"schema": SCHEMA, "question": options.question, "rows": rows, "more": found.more}
        )
        return
    if options.csv:
        sheet(names, ([_exact(row, name) for name in names] for row in found.rows))
    elif found.rows:
        columns = [each for each in _COLUMNS[kind] if _is_shown(each[1], found.rows)]
        heads = [*(head for head, _ in columns), "evidence"]
        shown = [*(name for _, name in columns), "evidence"]
        # Rows may differ in what has no column: the hash of a wheel for another processor, say.
        unlike = {tuple(_text(_exact(row, name)) for name in shown): row for row in found.rows}
        cells = [[cell(_exact(row, name)) for name in shown] for row in unlike.values()]
        print(render.table([heads, *cells]))
    else:
        print(_NOTHING[options.question])
    _tell_more(options, more=found.more)


def cells(found: Cells, options: argparse.Namespace) -> None:
    """Show what a statement of SQL answers."""
    if options.json:
        render.document(
            {
                "schema": SCHEMA,
                "question": "sql",
                "columns": list(found.columns),
                "rows": [[_value(each) for each in row] for row in found.rows],
                "more": found.more,
            }
        )
        return
    rows = [[_value(each) for each in row] for row in found.rows]
    if options.csv:
        sheet(found.columns, rows)
    else:
        print(render.table([[cell(each) for each in row] for row in (found.columns, *rows)]))
    _tell_more(options, more=found.more)


def status(found: Status, done: Synced | None, options: argparse.Namespace) -> None:
    """Show of what an index is, and what was done to it."""
    if options.json:
        document = {"schema": SCHEMA, "question": "index", **dataclasses.asdict(found)}
        document["rows"] = {each.name: each.count for each in found.rows}
        document["refused"] = {each.name: each.count for each in found.refused}
        document["done"] = None if done is None else dataclasses.asdict(done)
        render.document(document)
        return
    if done is not None and done.unchanged:
        print("the index is up to date")
    elif done is not None:
        print(
            f"{done.added} statements are new ({done.refused} of them do not count), "
            f"{done.removed} are gone"
        )
    rows = [("index", found.name), ("policy", found.policy or "built in")]
    rows += [("source", cell(name)) for name in found.sources]
    rows += [("read again each time", cell(name)) for name in found.unfinished]
    rows += [(f"{each.name} rows", str(each.count)) for each in found.rows]
    rows += [(f"refused: {each.name}", str(each.count)) for each in found.refused]
    print(render.table(rows))


def _tell_more(options: argparse.Namespace, *, more: bool) -> None:
    if more:
        # Not among the rows: a program reads those.
        stream = sys.stderr if options.csv else sys.stdout
        print(f"there is more: --limit {options.limit * 10}", file=stream)


def _exact(row: Any, name: str) -> Any:
    """A value as JSON has it."""
    value = getattr(row, name)
    if name in _TIMES and isinstance(value, int):
        return _time(value)
    return list(value) if isinstance(value, tuple) else value


def _time(seconds: int) -> str:
    if not _EARLIEST <= seconds <= _LATEST:
        return f"{seconds} s since 1970"
    return canonical.timestamp(seconds)


def _value(value: Any) -> Any:
    """A value of SQL as JSON can say it."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):  # noqa: PLR0124 - NaN
        return str(value)
    return value


def _text(value: Any) -> str:
    if value is None:
        return ""
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def sheet(heads: Sequence[str], rows: Iterable[Iterable[Any]]) -> None:
    """CSV on standard output."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    for row in (heads, *rows):
        writer.writerow([_harmless(_text(each)) for each in row])


def _harmless(text: str) -> str:
    """A cell of CSV that no terminal and no spreadsheet runs."""
    text = _visible(text)
    # A spreadsheet may pass over blanks before it looks.
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text


def _visible(text: str) -> str:
    """As `render.plain`, and without separators of lines and paragraphs."""
    return render.plain(
        "".join("\0" if unicodedata.category(each) in ("Zl", "Zp") else each for each in text)
    )


def cell(value: Any, longest: int = _LONGEST) -> str:
    """A cell for people: digests short, and of several the first."""
    if isinstance(value, (list, tuple)):
        first = cell(value[0], longest) if value else ""
        return f"{first} +{len(value) - 1}" if len(value) > 1 else first
    text = _DIGEST.sub(r"\1", _text(value)[: 4 * longest])
    if len(text) > longest:
        text = f"{text[: longest - 1]}…"
    return _visible(text)


def _is_shown(name: str, rows: Sequence[Any]) -> bool:
    """Whether a column says anything; a depth of 1 and no roll-back say nothing."""
    dull = {"depth": 1, "restores": 0}.get(name, "")
    return any(getattr(row, name) not in (dull, "", None, ()) for row in rows)
