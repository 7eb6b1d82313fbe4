"""The documents say what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from buildkit import audit
from buildkit.audit.schema import METADATA
from buildkit.cli.audit import OTHERS, QUESTIONS

DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_every_column_is_explained() -> None:
    text = (DOCS / "audit-schema.md").read_text()
    sections = dict(re.findall(r"^## `(\w+)`\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE))
    documented = {
        table: re.findall(r"^\| `(\w+)` \|", body, re.MULTILINE) for table, body in sections.items()
    }
    assert documented == {table.name: list(table.c.keys()) for table in METADATA.sorted_tables}


def test_every_question_has_its_example() -> None:
    text = (DOCS / "audit.md").read_text()
    for name in (*QUESTIONS, "sql"):
        assert f"audit {name} " in text or f"audit {name}\n" in text, name
    for name in (*OTHERS, *audit.__all__):
        assert name in text or name in {"open", "Counted", "Index"}, name


@pytest.mark.parametrize(
    "query", re.findall(r"\n\n((?:    .*\n)+)", (DOCS / "audit-schema.md").read_text())
)
def test_the_examples_run(query: str, tmp_path: Path) -> None:
    index = audit.open(tmp_path / "audit.sqlite")
    assert audit.sql(index, query).columns
    index.close()
