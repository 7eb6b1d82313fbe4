from __future__ import annotations

import re
from pathlib import Path

from test_gate_verdict import CASES, FAILURES

from buildkit.gate import Outcome
from buildkit.gate.conditions import ARTIFACT_KINDS, NOISE
from buildkit.gate.verdict import TRANSIENT

TEXT = (Path(__file__).parents[3] / "docs" / "gate.md").read_text(encoding="utf-8")


def rows() -> list[tuple[set[str], list[str]]]:
    """Words and the other cells of each row of the findings."""
    part = TEXT.split("## Findings")[1].split("## Where times")[0]
    found = [line.strip("|").split(" | ") for line in part.splitlines() if line.startswith("| `")]
    return [
        (set(re.findall(r"`(\w+)`", cells[0])), [each.strip() for each in cells]) for cells in found
    ]


def test_every_finding_of_the_tests_is_told() -> None:
    told = {(word, cells[1]) for words, cells in rows() for word in words}
    used = {(case.rule, str(case.outcome)) for case in CASES}
    # Told in words, for every number that has a limit.
    assert used - told == {("memory", "INCONCLUSIVE")}
    kinds = {word for words, _ in rows() for word in words}
    assert {kind for kind, *_ in FAILURES} - kinds == {"something new"}


def test_which_are_tried_again() -> None:
    again = {word for words, cells in rows() for word in words if cells[4] == "yes"}
    assert again == TRANSIENT


def test_whose_fault_it_is() -> None:
    for words, cells in rows():
        if cells[1] == Outcome.FAIL:
            assert cells[2:4] == ["artifact", "itself"], words
    failures = {word for words, cells in rows() for word in words if cells[1] == Outcome.FAIL}
    assert failures >= ARTIFACT_KINDS
    told = {(word, cells[1]): cells[2] for words, cells in rows() for word in words}
    for case in CASES:
        fault = told.get((case.rule, str(case.outcome)))
        assert fault is None or case.blame in {"host", fault}


def test_numbers() -> None:
    assert f"more than {NOISE} % apart" in TEXT
