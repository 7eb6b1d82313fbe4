"""Turns what devices report into PASS, FAIL or INCONCLUSIVE; pure.

One way: `reading` (JSON that nobody vouches for) → `report` (one report as `measured` numbers) →
`conditions` (does the run count?) → `combined` (several runs together) → `limits` and `compare`
(rules) → `verdict`. `settings` makes rules of a recipe, `documents` makes and reads evidence, and
`page` shows all of it.
"""

from __future__ import annotations

from buildkit.gate.documents import extension, run_of, statement, unrun
from buildkit.gate.settings import digest, document, rules
from buildkit.gate.types import Blame, Expected, Failure, Finding, Outcome, Row, Rules, Run, Verdict
from buildkit.gate.verdict import judge, retry

__all__ = [
    "Blame",
    "Expected",
    "Failure",
    "Finding",
    "Outcome",
    "Row",
    "Rules",
    "Run",
    "Verdict",
    "digest",
    "document",
    "extension",
    "judge",
    "retry",
    "rules",
    "run_of",
    "statement",
    "unrun",
]
