"""No question reads a big table from end to end, as the database itself says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from audit_world import key_id
from sqlalchemy import event

from buildkit import audit
from buildkit.audit import types

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit.audit import Answer, Index

BIG = {"about", "carried", "holds", "judged", "made_from", "run", "statement", "weighed"}
FLAGS = re.compile(r"SCAN (\w+)")

QUESTIONS: dict[str, Callable[[Index], Answer[Any]]] = {
    "contains": lambda index: audit.contains(index, "numpy<3"),
    "contains hash": lambda index: audit.contains(index, "sha256:1506"),
    "contains licence": lambda index: audit.contains(index, "licence:MIT"),
    "contains url": lambda index: audit.contains(index, "pkg:pypi/numpy"),
    "from": lambda index: audit.made_from(index, "numpy<3"),
    "from digest": lambda index: audit.made_from(index, "sha256:1506789"),
    "from commit": lambda index: audit.made_from(index, "0123456789abcdef"),
    "from store path": lambda index: audit.made_from(index, "nix:aaaaaaaaaa"),
    "from builder": lambda index: audit.made_from(index, "builder:pinned"),
    "materials": lambda index: audit.materials(index, "tiny:1.0.0"),
    "signed-by": lambda index: audit.signed_by(index, "good"),
    "signed-by kind": lambda index: audit.signed_by(index, "good", kind="run", since=0),
    "devices": lambda index: audit.devices(index, "tiny:1.1.0"),
    "all runs": lambda index: audit.devices(index, "tiny:1.1.0", all_runs=True),
    "passed": lambda index: audit.passed(index, target="pi5", since=5),
    "history": lambda index: audit.history(index, "tiny:canary"),
    "at": lambda index: audit.at(index, 2_000_000_000),
    "who": lambda index: audit.who(index, "tiny:1.1.0"),
    "path": lambda index: audit.path(index, key_id("board"), "numpy"),
    "path in common": lambda index: audit.path(index, "tiny:1.0.0", "other:1.0.0"),
    "path of a package": lambda index: audit.path(index, "pkg:pypi/numpy", "tiny:canary"),
    "path of a signer": lambda index: audit.path(index, "good", "tiny:1.0.0"),
    "gaps of tests": lambda index: audit.gaps(index, kinds=["test-result", "verdict"]),
    "gaps": audit.gaps,
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_question_finds_an_index(index: Index, question: str) -> None:
    asked: list[tuple[str, Any]] = []

    def before(_c: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        asked.append((statement, values))

    event.listen(index._engine, "before_cursor_execute", before)
    try:
        QUESTIONS[question](index)
    finally:
        event.remove(index._engine, "before_cursor_execute", before)
    plans = [(text, values) for text, values in asked if text.startswith("SELECT")]
    assert plans
    scans = []
    with index.connect() as connection:
        for text, values in plans:
            names = dict(re.findall(r"(?:FROM|JOIN) (\w+) AS (\w+)", text))
            aliases = {alias: table for table, alias in names.items()}
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values):
                found = FLAGS.match(row[3])
                if found and aliases.get(found[1], found[1]) in BIG:
                    scans.append((row[3], text))
    assert scans == []


def test_answers_are_bounded() -> None:
    assert types.LIMIT <= 1000
