"""The player itself: it must find out what GitHub would refuse, and what it does not know."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from real_project import Project
from workflow_player import Player
from workflow_player_words import Lenient, UnknownError, Words, from_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONTEXTS: dict[str, Any] = {
    "vars": Lenient({"REGISTRY": "here", "FLAG": "true"}),
    "matrix": {"name": "digits", "list": ["a", "b"]},
    "needs": {"plan": {"result": "success", "outputs": {"matrix": '{"include":[]}'}}},
}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "always": lambda: True,
    "success": lambda: False,
    "failure": lambda: True,
    "fromJSON": from_json,
}
WORDS = Words(CONTEXTS, FUNCTIONS)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("vars.REGISTRY", "here"),
        ("vars.NONE", None),
        ("vars.NONE == ''", True),
        ("vars.REGISTRY != ''", True),
        ("vars.FLAG == 'TRUE' && '--plain-http' || ''", "--plain-http"),
        ("vars.NONE == 'true' && '--plain-http' || ''", ""),
        ("vars.NONE || 'else'", "else"),
        ("vars.NONE || vars.FLAG != 'true' && 'token' || ''", ""),
        ("vars.NONE || vars.OTHER != 'true' && 'token' || ''", "token"),
        ("!vars.NONE", True),
        ("!(1 == 2) && 'it''s'", "it's"),
        ("true == 1", True),
        ("'a' == 0", False),
        ("null == 0", True),
        ("matrix['name']", "digits"),
        ("needs.plan.outputs.matrix != '{\"include\":[]}'", False),
        ("fromJSON(needs.plan.outputs.matrix)", {"include": []}),
    ],
)
def test_an_expression_comes_to_what_github_makes_of_it(expression: str, value: object) -> None:
    found = WORDS.value(expression)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "expression",
    [
        "matrix.nmae",
        "matrx.name",
        "needs.plan.outputs.martix",
        "startsWith('a', 'b')",
        "1 < 2",
        "vars.A vars.B",
        "vars.",
        "(vars.A",
        "fromJSON('{')",
        "",
    ],
)
def test_what_is_misspelt_or_unknown_is_an_error(expression: str) -> None:
    with pytest.raises(UnknownError):
        WORDS.value(expression)


def test_texts_keep_their_form_and_lone_expressions_their_type() -> None:
    assert WORDS.filled("${{ matrix.list }}") == ["a", "b"]
    assert WORDS.filled({"a": ["x-${{ matrix.name }}-${{ vars.NONE }}"]}) == {"a": ["x-digits-"]}
    with pytest.raises(UnknownError, match="an object inside a text"):
        WORDS.filled("x ${{ matrix }}")


def test_a_condition_asks_for_success_unless_it_says_otherwise() -> None:
    assert not WORDS.holds("true")
    assert WORDS.holds("always()")
    assert WORDS.holds("${{ failure() && vars.FLAG == 'true' }}")


def play(tmp_path: Path, files: dict[str, str], **how: Any) -> Player:
    origin = tmp_path / "origin"
    for name, text in files.items():
        (origin / name).parent.mkdir(parents=True, exist_ok=True)
        (origin / name).write_text(text)
    subprocess.run(["git", "init", "-q", "-b", "main", origin], check=True)
    Project(origin, "none").commit()
    player = Player(origin=origin, folder=tmp_path / "played", shared=tmp_path / "tools", **how)
    player.play("main.yml")
    return player


JOB = """\
on: push
permissions: {}
jobs:
  a:
    runs-on: here
    permissions: {}
    steps:
"""


TOLD = "${{ steps.one.outputs.word }}"


def test_outputs_variables_paths_and_summaries_travel(tmp_path: Path) -> None:
    player = play(
        tmp_path,
        {
            "main.yml": JOB.replace(
                "steps:", "outputs: {told: '${{ steps.one.outputs.word }}'}\n    steps:"
            )
            + """\
      - uses: actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1
        with: {persist-credentials: false}
      - id: one
        env: {FROM: '${{ github.sha }}'}
        run: |
          test "$(git rev-parse HEAD)" = "$FROM"
          echo "word=yes" >> "$GITHUB_OUTPUT"
          echo "LATER=kept" >> "$GITHUB_ENV"
          echo '# told' >> "$GITHUB_STEP_SUMMARY"
      - uses: $/setup
        with: {loud: 'true'}
      - env: {IS: '${{ env.LATER }}'}
        run: test "$IS" = kept && test "$LATER" = kept && of-the-action
  b:
    runs-on: here
    needs: a
    permissions: {}
    env: {TOLD: '${{ needs.a.outputs.told }}'}
    steps:
      - run: test "$TOLD" = yes
""",
            "setup/action.yml": """\
name: A
description: B
inputs: {loud: {description: C, default: 'false'}}
runs:
  using: composite
  steps:
    - if: inputs.loud == 'true'
      shell: bash
      run: |
        mkdir -p "$GITHUB_ACTION_PATH/bin"
        printf '#!/bin/sh\\necho here' > "$GITHUB_ACTION_PATH/bin/of-the-action"
        chmod +x "$GITHUB_ACTION_PATH/bin/of-the-action"
        echo "$GITHUB_ACTION_PATH/bin" >> "$GITHUB_PATH"
""",
        },
    )
    assert {name: job.result for name, job in player.jobs.items()} == {
        "a": "success",
        "b": "success",
    }
    assert player.jobs["a"].summary == "# told\n"


def test_after_a_failure_only_what_asks_for_it_runs(tmp_path: Path) -> None:
    player = play(
        tmp_path,
        {
            "main.yml": JOB
            + """\
      - {name: one, run: 'false; true'}
      - {name: two, run: 'true'}
      - {name: three, if: always(), run: 'true'}
  b: {runs-on: here, needs: a, permissions: {}, steps: [{run: 'true'}]}
  c: {runs-on: here, needs: b, permissions: {}, steps: [{run: 'true'}]}
  d: {runs-on: here, needs: [a, b], if: failure(), permissions: {}, steps: [{run: 'true'}]}
"""
        },
    )
    assert player.jobs["a"].steps == {"one": "failure", "three": "success"}
    ends = {name: job.result for name, job in player.jobs.items()}
    assert ends == {"a": "failure", "b": "skipped", "c": "skipped", "d": "success"}


def test_identity_tokens_are_for_jobs_that_may_ask(tmp_path: Path) -> None:
    ask = 'test -n "${ACTIONS_ID_TOKEN_REQUEST_URL:-}"'
    text = (
        JOB
        + f"""\
      - run: "! {ask.replace(chr(34), chr(92) + chr(34))}"
  b:
    runs-on: here
    permissions: {{id-token: write}}
    steps:
      - run: {ask}
"""
    )
    player = play(tmp_path, {"main.yml": text}, tokens=("http://127.0.0.1:1/identity", "word"))
    assert [job.result for job in player.jobs.values()] == ["success", "success"]


UP = "actions/upload-artifact@043fb46d1a93c77aae656e7c1c64a875d1fc6a0a"
DOWN = "actions/download-artifact@3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c"
CACHE = "actions/cache@27d5ce7f107fe9357f9df03efb73ab90386fccae"


@pytest.mark.parametrize(("count", "where"), [(1, "got/f"), (2, "got/made-0/f")])
def test_what_fits_a_pattern_alone_has_no_folder_of_its_own(
    count: int, where: str, tmp_path: Path
) -> None:
    text = JOB + "      - run: mkdir up && echo hello > up/f\n"
    for number in range(count):
        text += f"      - {{uses: {UP}, with: {{name: made-{number}, path: up}}}}\n"
    text += f"      - {{uses: {DOWN}, with: {{pattern: made-*, path: got}}}}\n"
    player = play(tmp_path, {"main.yml": text + f"      - run: grep hello {where}\n"})
    assert player.jobs["a"].result == "success", player.jobs["a"].said


ACTION = """\
name: A
description: B
runs: {using: composite, steps: [{shell: bash, run: 'true', env: {IT: '${{ CONTEXT }}'}}]}
"""


@pytest.mark.parametrize("context", ["secrets.IT", "vars.IT", "needs.x.result"])
def test_an_action_knows_nothing_but_what_it_is_given(context: str, tmp_path: Path) -> None:
    files = {"main.yml": JOB + "      - uses: $/it\n", "it/action.yml": ACTION}
    files["it/action.yml"] = ACTION.replace("CONTEXT", context)
    with pytest.raises(UnknownError, match="is not known"):
        play(tmp_path, files)


CALLED = """\
on: {workflow_call: {inputs: {n: {type: number}}}}
permissions: {}
jobs: {x: {runs-on: here, permissions: {contents: write}, steps: [{run: 'true'}]}}
"""
CALLS = """\
on: push
permissions: {}
jobs: {a: {uses: $/called.yml, permissions: {contents: MAY}, with: {n: NUMBER}}}
"""
STEP = "      - run: 'true'\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (JOB + "      - run: echo ${{ github.sha }}\n", "an expression inside a script"),
        (JOB + "      - uses: somebody/else@v1\n", "no equivalent"),
        (JOB + "      - uses: actions/checkout@v6\n", "no equivalent"),
        (JOB + "      - {run: 'true', continue-on-error: true}\n", "continue-on-error"),
        (JOB.replace("permissions: {}", "name: x") + STEP, "may do"),
        (JOB.replace("here", "here\n    container: x") + STEP, "container"),
        (JOB.replace("here", "${{ matrix.runner }}") + STEP, "matrix is not known"),
        (JOB.replace("here", "${{ secrets.RUNNER }}") + STEP, "secrets is not known"),
        (JOB.replace("here", "here\n    if: secrets.IT != ''") + STEP, "secrets is not known"),
        (JOB + "      - {run: 'true', if: secrets.IT != ''}\n", "secrets is not known"),
        (
            JOB.replace("here", "here\n    env: {T: '${{ runner.temp }}'}") + STEP,
            "runner is not known",
        ),
        (JOB.replace("here", "here\n    strategy: {matrix: {include: []}}") + STEP, "without rows"),
        (JOB + f"      - {{uses: {CACHE}, with: {{path: x, key: 'x-'}}}}\n", "named after nothing"),
        (CALLS.replace("MAY", "read").replace("NUMBER", "1"), "contents: write"),
        (CALLS.replace("MAY", "write").replace("NUMBER", "'1'"), "no number"),
    ],
)
def test_what_github_would_refuse_is_refused(text: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(UnknownError, match=why):
        play(tmp_path, {"main.yml": text, "called.yml": CALLED})
