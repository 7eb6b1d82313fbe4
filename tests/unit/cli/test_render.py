"""What people see; text of others is shown harmless."""

from __future__ import annotations

import json
import sys
import unicodedata
from argparse import Namespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit import amounts
from buildkit.cli import render
from buildkit.errors import AccuracyError, BuildkitError, Problem, RecipeError

ESCAPE = "\x1b[2J\x1b]0;title\x07"
BIDI = "safe\u202egpj.exe\u2066\u200b"
MARK = "\N{REPLACEMENT CHARACTER}"


@given(st.text())
def test_plain_text_cannot_steer_a_terminal(text: str) -> None:
    shown = render.plain(text)
    assert len(shown) == len(text)
    assert not {unicodedata.category(each) for each in shown} & {"Cc", "Cf", "Cs"}
    assert render.plain(shown) == shown


@given(st.text())
def test_lines_stay_lines_and_are_plain(text: str) -> None:
    shown = render.lines(text)
    assert shown.count("\n") == text.count("\n")
    assert all(render.plain(line) == line for line in shown.split("\n"))


def test_words_of_any_language_stay() -> None:
    for text in ("größer", "ディジット", "שלום", "→ ¹ €", "\N{GRINNING FACE}"):
        assert render.plain(text) == text


@pytest.mark.parametrize("text", [ESCAPE, BIDI, "a\rb", "a\0b", "\ud800", "\x9b31m", "\u2028"[:0]])
def test_hostile_text(text: str) -> None:
    shown = render.plain(text)
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    shown.encode()


def test_a_table_has_columns_and_no_trailing_blanks() -> None:
    rows = [("name", "size"), ("a-long-name", ""), ("b", "10 MB")]
    assert render.table(rows, indent="  ").split("\n") == [
        "  name         size",
        "  a-long-name",
        "  b            10 MB",
    ]


def test_a_table_shows_cells_harmless() -> None:
    assert render.table([(ESCAPE, "x\ny")]).count(MARK) == 4
    assert "\n" not in render.table([("a\nb", "c")])


def test_a_table_needs_rows_of_one_length() -> None:
    with pytest.raises(ValueError, match="zip"):
        render.table([("a",), ("b", "c")])


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (48_123_456, "48.1 MB"),
        (999_999_999, "1000.0 MB"),
        (10**9, "1.0 GB"),
        (5 * 10**12, "5000.0 GB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert amounts.size(count) == text


def test_a_document_is_one_object_in_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    render.document({"b": "é\udcff", "a": 1})
    said = capsys.readouterr().out
    assert said.isascii()
    assert list(json.loads(said)) == ["a", "b"]


def test_an_error_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    render.error(AccuracyError(f"too low{ESCAPE}\n  98 %", "use more data"), as_json=False)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "error: too low" + f"{MARK}[2J{MARK}]0;title{MARK}",
        "  98 %",
        "  → use more data",
    ]


def test_an_error_without_a_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    render.error(BuildkitError("no"), as_json=False)
    assert capsys.readouterr().err == "error: no\n"


RECIPE = RecipeError(
    "recipe.toml",
    (
        Problem(path="name", line=2, message="is empty", remedy="give one"),
        Problem(path="", line=0, message=f"no table{BIDI}"),
    ),
)


def test_all_mistakes_of_a_recipe_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    render.error(RECIPE, as_json=False)
    assert capsys.readouterr().err.splitlines() == [
        "recipe.toml:2: name: is empty",
        "    → give one",
        f"recipe.toml: no tablesafe{MARK}gpj.exe{MARK}{MARK}",
        "error: recipe.toml: 2 mistakes",
        "  → correct the lines above, then run the command again",
    ]


def test_all_mistakes_of_a_recipe_for_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    render.error(RECIPE, as_json=True)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    document = json.loads(said.err)
    assert document["kind"] == "RecipeError"
    assert document["problems"][0] == {
        "path": "name",
        "line": 2,
        "message": "is empty",
        "remedy": "give one",
    }


class Terminal:
    """A standard error that says whether it is a terminal."""

    def __init__(self, *, live: bool) -> None:
        self.live, self.said = live, ""

    def isatty(self) -> bool:
        return self.live

    def write(self, text: str) -> int:
        self.said += text
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""


@pytest.mark.parametrize(
    ("quiet", "as_json", "live", "shown"),
    [
        (False, False, False, True),
        (False, False, True, True),
        (False, True, False, False),
        (False, True, True, True),
        (True, False, True, False),
        (True, True, True, False),
    ],
)
def test_who_sees_progress(
    monkeypatch: pytest.MonkeyPatch, *, quiet: bool, as_json: bool, live: bool, shown: bool
) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal(live=live))
    found = render.progress(Namespace(quiet=quiet, json=as_json))
    assert (found is not None) is shown


def test_progress_in_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Terminal(live=False)
    monkeypatch.setattr(sys, "stderr", log)
    progress = render.Lines()
    progress.stage("fetch", "bringing inputs")
    progress.step(1, 9, "first")
    progress.step(2, 9, "second")
    progress.output("a line of a tool")
    progress.note(f"note{ESCAPE}")
    progress.finished("fetch", 0.4)
    progress.finished("nix", 2.31)
    assert "\r" not in log.said
    assert "\x1b" not in log.said
    said = log.said.splitlines()
    assert said[0] == "fetch     bringing inputs …"
    assert sum("/9" in line for line in said) <= 1
    assert "a line of a tool" not in log.said
    assert said[-1] == "nix       done in 2.3 s"
    assert not any("0.4" in line for line in said)


def test_progress_on_a_terminal_stays_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(live=True)
    monkeypatch.setattr(sys, "stderr", terminal)
    progress = render.Lines()
    for number in range(3):
        progress.step(number, 3, f"x{ESCAPE}" * 50)
    progress.output(f"tool{ESCAPE}")
    progress.output("")
    assert "\n" not in terminal.said
    assert terminal.said.replace("\r\x1b[K", "").count("\x1b") == 0
    assert all(len(part) <= 100 for part in terminal.said.split("\r\x1b[K"))
    progress.note("done")
    assert terminal.said.endswith("\r\x1b[K          done\n")
