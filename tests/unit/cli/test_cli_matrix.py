"""``matrix`` as a workflow calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from buildkit import cli

RECIPES = Path(__file__).resolve().parents[3] / "recipes"


def test_one_line_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["matrix", str(RECIPES), "--by", "runner", "--runner", "linux/arm64=pi"]
    assert cli.main(words) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.count("\n") == 1
    found = json.loads(said.out)["include"]
    assert {(each["platform"], each["runner"]) for each in found} == {
        ("linux/amd64", "ubuntu-24.04"),
        ("linux/arm64", "pi"),
    }
    assert {"digits", "vision"} <= {each["name"] for each in found}
    assert list(found[0]) == [
        *("architecture", "name", "platform", "recipe", "runner", "version"),
    ]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--runner", "linux/riscv64=x"], "must be a platform"),
        (["--runner", "linux/arm64"], "must be a platform"),
        (["--runner", "linux/arm64= "], "must be a platform"),
        (["--runner", "linux/arm64=a", "--runner", "linux/arm64=b"], "twice"),
        (["--by", "recipe"], "invalid choice"),
        (["--since", "refs/heads/nowhere"], "no such commit"),
    ],
)
def test_a_mistake_gives_no_matrix(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["matrix", str(RECIPES), *words, "--json"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert says in json.loads(said.err)["error"]


def test_all_is_taken_where_there_is_no_revision_to_compare_with(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def said(*words: str) -> str:
        assert cli.main(["matrix", str(RECIPES), *words]) == 0
        return capsys.readouterr().out

    assert said("--since", "") == said("--since", "0" * 40) == said()
