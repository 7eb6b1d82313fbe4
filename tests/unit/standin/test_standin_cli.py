"""What `standin` says when there is little to say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from buildkit.cli import main, parser
from buildkit.standin import FAULTS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def test_no_board_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["standin", "status"]) == 0
    assert "standin start" in capsys.readouterr().out
    assert main(["standin", "status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"standins": []}


@pytest.mark.parametrize(
    "words",
    [
        ["status", "shop"],
        ["stop"],
        ["cut", "shop"],
        ["forget", "shop"],
        ["fault", "throttled", "1"],
        ["heal"],
    ],
)
def test_a_board_that_is_not_there_is_an_error(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["standin", *words, "--json"]) == 2
    said = json.loads(capsys.readouterr().err)
    assert "stand-in" in said["error"]
    assert "standin start" in said["remedy"]
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize(
    "words",
    [["fault", "meteor"], ["heal", "meteor"], ["fault", "line", "bent"], ["start", "Not A Name"]],
)
def test_what_makes_no_sense_is_refused(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["standin", *words, "--json"]) == 2
    assert json.loads(capsys.readouterr().err)["kind"] == "InputError"


def test_a_clock_can_go_back() -> None:
    options = parser("standin").parse_args(["standin", "fault", "clock", "-3600"])
    assert (options.fault, options.value) == ("clock", "-3600")


@pytest.mark.parametrize("action", ["fault", "heal"])
def test_the_help_names_every_fault(action: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["standin", action, "--help"])
    said = capsys.readouterr().out
    assert [name for name in FAULTS if f"  {name}" not in said] == []
