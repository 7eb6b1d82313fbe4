from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import signed_world
import tamper_rows
from tamper import CASES, CONTROLS, UNDECIDED, Case

from buildkit.cli import main
from buildkit.evidence.reasons import Reason

if TYPE_CHECKING:
    from pathlib import Path

    from signed_world import World

assert tamper_rows.GROUPS


@pytest.fixture(scope="session")
def honest(tmp_path_factory: pytest.TempPathFactory) -> World:
    return signed_world.build(tmp_path_factory.mktemp("honest") / "world")


def _answer(world: World, capsys: pytest.CaptureFixture[str]) -> tuple[int, Any, str]:
    status = main(world.command())
    said = capsys.readouterr()
    assert "Traceback" not in said.err + said.out
    return status, json.loads(said.out) if said.out else None, said.err


def _name(case: Case) -> str:
    return case.name


@pytest.mark.parametrize("case", CASES, ids=_name)
def test_tampering_is_refused_for_the_right_reason(
    case: Case, honest: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = honest.copied(tmp_path / "world")
    case.attack(world)
    status, answer, errors = _answer(world, capsys)
    assert (status, errors) == (1, "")
    found = sorted({each["reason"] for each in answer["findings"]})
    assert tuple(found) == case.reasons, answer["findings"]
    assert not answer["holds"]


@pytest.mark.parametrize("case", CONTROLS, ids=_name)
def test_what_changes_nothing_is_not_refused(
    case: Case, honest: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = honest.copied(tmp_path / "world")
    case.attack(world)
    status, answer, errors = _answer(world, capsys)
    assert (status, errors) == (0, ""), answer
    assert answer["holds"]
    assert answer["findings"] == []


@pytest.mark.parametrize("case", UNDECIDED, ids=_name)
def test_what_cannot_be_read_is_not_decided(
    case: Case, honest: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = honest.copied(tmp_path / "world")
    case.attack(world)
    status, answer, errors = _answer(world, capsys)
    assert status == 2
    assert answer is None
    said = json.loads(errors)
    assert said["error"]
    assert said["kind"] != "Fault", said


def test_the_matrix_is_large_and_names_every_reason() -> None:
    assert len(CASES) >= 200
    named = {reason for case in CASES for reason in case.reasons}
    assert named == set(map(str, Reason))
