from __future__ import annotations

import re
from pathlib import Path

import tamper_docs

from buildkit.evidence.reasons import Reason

DOCS = Path(__file__).parents[4] / "docs"


def test_the_published_matrix_is_the_one_that_runs() -> None:
    assert tamper_docs.FILE.read_text() == tamper_docs.written(), "run tamper_docs.py"


def test_every_reason_is_explained() -> None:
    _, _, text = (DOCS / "verify.md").read_text().partition("## Reasons")
    explained = re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE)
    assert explained == list(map(str, Reason))
