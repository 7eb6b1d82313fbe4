"""Writes ``docs/tampering.md`` from the tables of the tamper matrix: run this file."""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import tamper_rows
from tamper import CASES, CONTROLS, UNDECIDED, Case

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FILE = Path(__file__).parents[4] / "docs/tampering.md"

_HEAD = """\
# What `verify` refuses

{cases} ways to tamper with a signed store. Each is applied to a copy of an honest one, in CI, and
must end in exit 1 with exactly the reasons in its row: not one more, not one fewer, no traceback.
[verify.md](verify.md) explains the reasons.

Whoever tampers owns the store, or the registry that it came from, and recomputes every digest that
can be recomputed. They have keys, but not the right one. Rows that say "rightly signed" go further:
there somebody with the right key said what is not true, or what does not hold together.

The honest store holds two recipes with two platforms and two models each, and all evidence
(`tests/unit/evidence/verify/signed_world.py`). Those that damage bytes or move evidence are applied
to a store that a real build wrote as well (`tests/integration/test_verify.py`).

This page is written by `tests/unit/evidence/verify/tamper_docs.py`, and a test compares.
"""
_CONTROLS = """
## Controls

{controls} changes that must not matter. The verdict stays as it was: it holds.
"""
_UNDECIDED = """
## Cannot be decided

{undecided} ways to leave nothing that could be looked at. The answer is exit 2 with an error that
names a remedy: neither yes nor no, and a script never takes it for yes.
"""


def written() -> str:
    """The page."""
    assert tamper_rows.GROUPS
    lines = [_HEAD.format(cases=len(CASES))]
    ordered = sorted(CASES, key=lambda case: _groups(CASES).index(case.group))
    for group, cases in groupby(ordered, key=lambda case: case.group):
        lines += [f"## {group}", "", "| what is done | reasons |", "|---|---|"]
        lines += [f"| {_cell(case.what)} | {', '.join(case.reasons)} |" for case in cases]
        lines += [""]
    lines[-1:] = [_CONTROLS.format(controls=len(CONTROLS)), *_list(CONTROLS)]
    lines += [_UNDECIDED.format(undecided=len(UNDECIDED)), *_list(UNDECIDED)]
    return "\n".join(lines) + "\n"


def _groups(cases: Sequence[Case]) -> list[str]:
    return list(dict.fromkeys(case.group for case in cases))


def _list(cases: Sequence[Case]) -> Iterator[str]:
    yield from (f"- {case.what}" for case in cases)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(f"{len(CASES)} rows, {len(CONTROLS)} controls, {len(UNDECIDED)} undecided\n")
    FILE.write_text(written())
