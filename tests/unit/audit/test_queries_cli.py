"""``audit`` as a shell, a script and an auditor see it."""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import signed_world
from audit_world import key_id

from buildkit import cli
from buildkit.audit import types
from buildkit.cli import audit as command
from buildkit.cli import audit_show

if TYPE_CHECKING:
    from collections.abc import Callable

    from audit_world import World

    Run = Callable[..., tuple[int, str, str]]

ROOT = Path(__file__).resolve().parents[3]
QUESTIONS: tuple[tuple[str, ...], ...] = (
    ("contains", "numpy<3"),
    ("from", "busybox-static"),
    ("materials", "tiny:1.0.0"),
    ("signed-by", "good"),
    ("devices", "tiny:1.1.0"),
    ("devices", "tiny:1.1.0", "--all"),
    ("passed", "--target", "pi5", "--since", "2020-01-01"),
    ("history", "tiny:canary"),
    ("who", "tiny:1.1.0"),
    ("path", "tiny:canary", "numpy"),
    ("gaps", "--kind", "rebuild"),
    ("at", "2040-01-01T00:00:00Z"),
)
POLICY = """\
schema = 1

[trust]
keys = ["good.pem", "friend.pem"]

[smoke]
targets = ["pi5"]
devices = 1
keys = ["board.pem", "board2.pem"]
"""


@pytest.fixture
def run(world: World, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: str) -> tuple[int, str, str]:
        status = cli.main(
            ["audit", *words, "--store", f"{world.root}/store", "--keys", f"{world.root}/keys"]
        )
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


@pytest.mark.parametrize("question", QUESTIONS, ids=" ".join)
def test_each_form_has_the_same_rows(run: Run, question: tuple[str, ...]) -> None:
    expected = 1 if question[0] == "gaps" else 0
    status, out, err = run(*question, "--json")
    assert (status, err) == (expected, "")
    document = json.loads(out)
    assert (document["schema"], document["question"]) == ("buildkit/audit/v1", question[0])
    rows = document["rows"]
    assert rows
    assert document["more"] is False
    status, out, _ = run(*question, "--csv")
    assert status == expected
    listed = list(csv.DictReader(io.StringIO(out)))
    assert [row["evidence"].split() for row in listed] == [row["evidence"] for row in rows]
    assert set(listed[0]) == set(rows[0])
    status, out, _ = run(*question)
    assert status == expected
    head, *lines = out.splitlines()
    assert head.split()[-1] == "evidence"
    assert len(lines) == len(rows)


def test_rows_that_people_cannot_tell_apart_are_one_row_of_a_table(
    capsys: pytest.CaptureFixture[str],
) -> None:
    wheel = types.Holder(
        what="model",
        name="tiny",
        version="1.0.0",
        variant="pi5",
        digest=f"sha256:{1:064x}",
        image="",
        at=None,
        mark="",
        package="pkg:pypi/numpy@2.4.6",
        licence="",
        sha256=f"sha256:{2:064x}",
        evidence=(f"sha256:{3:064x}",),
    )
    # The wheel for another processor; and what differs only where a table shortens it.
    other, long = replace(wheel, sha256=f"sha256:{4:064x}"), replace(wheel, package="n" * 100)
    rows = (wheel, other, long, replace(long, package=long.package + "m"))
    options = argparse.Namespace(question="contains", json=False, csv=False, limit=10)
    audit_show.answer(types.Answer(rows=rows, more=False), options)
    assert len(capsys.readouterr().out.splitlines()) == 1 + 3
    options.csv = True
    audit_show.answer(types.Answer(rows=rows, more=False), options)
    assert len(capsys.readouterr().out.splitlines()) == 1 + 4


def test_nothing_is_an_answer_too(run: Run) -> None:
    assert run("contains", "no-such-package")[:2] == (0, "nothing holds it\n")
    assert run("history", "no-such")[0] == 0
    assert run("passed", "--since", "now")[0] == 0
    status, out, _ = run("contains", "no-such-package", "--csv")
    assert (status, out.count("\n")) == (0, 1)


def test_exit_status(run: Run, world: World) -> None:
    assert run("gaps", "--kind", "provenance")[0] == 0
    assert run("gaps", "--kind", "poem")[0] == 2
    # A stranger's word leads nowhere.
    refused = json.loads(
        run("sql", "SELECT bundle FROM statement WHERE reason <> ''", "--json")[1]
    )["rows"][0][0]
    assert run("path", refused.partition("@")[0], "tiny:1.1.0")[0] == 1
    assert run("path", "tiny:1.0.0", "no such thing")[0] == 2
    assert run("devices", "no-such:1")[0] == 2
    assert run("contains", "<2")[0] == 2
    assert run("sql", "DELETE FROM run")[0] == 2
    for words in (
        ("at", "yesterday"),
        ("contains", "a", "--limit", "0"),
        ("sql", "x", "--seconds", "-1"),
    ):
        assert run(*words)[0] == 2
    assert run("contains", "numpy", "--policy", f"{world.root}/none.toml")[0] == 2


def test_more_than_the_limit_is_said(run: Run) -> None:
    status, out, _ = run("gaps", "--limit", "2")
    assert status == 1
    assert out.splitlines()[-1] == "there is more: --limit 20"
    _, out, err = run("gaps", "--limit", "2", "--csv")
    assert out.count("\n") == 3
    assert err == "there is more: --limit 20\n"


def test_sql(run: Run) -> None:
    query = "SELECT target, result, count(*) AS runs FROM run GROUP BY target, result ORDER BY 2"
    status, out, _ = run("sql", query, "--json")
    assert status == 0
    document = json.loads(out)
    assert document["columns"] == ["target", "result", "runs"]
    assert document["rows"][0] == ["pi5", "FAILED", 1]
    assert run("sql", query)[1].split() == [
        *("target", "result", "runs", "pi5", "FAILED", "1", "pi5", "PASSED", "5"),
        *("pi5", "WARNED", "1"),
    ]
    assert run("sql", query, "--csv")[1].splitlines()[1] == "pi5,FAILED,1"


def test_index(run: Run, world: World) -> None:
    def index(*words: str) -> dict[str, Any]:
        status, out, _ = run("index", *words, "--json")
        assert status == 0
        found: dict[str, Any] = json.loads(out)
        return found

    made = index()
    assert made["done"]["added"] > 50
    assert made["refused"] == {"signer-unknown": 1}
    assert index()["done"]["unchanged"]
    again = index("anew")
    assert again["done"]["added"] == made["done"]["added"]
    assert again["rows"] == made["rows"]
    status = index("status")
    assert status["done"] is None
    assert status["sources"] == ["store"]
    assert "the index is up to date" in run("index")[1]
    assert "signer-unknown" in run("index", "status")[1]
    with world.index() as found:
        assert found.name


def test_a_question_reads_what_is_new_first(run: Run, world: World) -> None:
    assert run("materials", "new:1.0.0")[0] == 2
    world.build("new")
    assert run("materials", "new:1.0.0", "--no-sync")[0] == 2
    assert run("materials", "new:1.0.0")[0] == 0


def test_whose_word_counts_is_read_anew(
    run: Run, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "board" in run("contains", "numpy")[1]
    shutil.rmtree(world.root / "keys")
    assert run("contains", "numpy", "--quiet")[:2] == (0, "nothing holds it\n")
    capsys.readouterr()
    signed_world.ring(world.root / "keys")
    assert "board" in run("contains", "numpy", "--quiet")[1]


def test_an_auditor_with_nothing_but_store_and_keys(world: World, run: Run, tmp_path: Path) -> None:
    """No Nix, no Docker, no key ring, no project: the same answers."""
    away = tmp_path / "auditor"
    (away / "home").mkdir(parents=True)
    shutil.copytree(world.root / "store", away / "store")
    for name in ("good", "friend", "board", "board2"):
        (away / f"{name}.pem").write_bytes(signed_world.pem(name))
    (away / "policy.toml").write_text(POLICY)
    for question in (QUESTIONS[0], QUESTIONS[4], QUESTIONS[7], QUESTIONS[10]):
        words = [sys.executable, "-m", "buildkit", "audit", *question, "--json"]
        words += ["--policy", str(away / "policy.toml"), "--store", str(away / "store")]
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            check=False,
            cwd=away / "home",
            env={"HOME": str(away / "home"), "PATH": "/nowhere", "PYTHONPATH": str(ROOT)},
        )
        mine = json.loads(run(*question, "--json")[1])
        assert done.returncode in (0, 1), done.stderr
        theirs = json.loads(done.stdout)
        # What they call a board is their own business.
        for row in (*mine["rows"], *theirs["rows"]):
            for key in ("device", "name"):
                row[key] = row.get(key, "").replace(".pem", "")
        assert theirs == mine, done.stderr
    assert list((away / "home").iterdir()) == []


def test_an_index_of_ones_own(world: World, run: Run, tmp_path: Path) -> None:
    mine = tmp_path / "mine.sqlite"
    status, out, _ = run("contains", "numpy", "--index", str(mine))
    assert (status, mine.is_file()) == (0, True)
    assert not (world.root / "audit.sqlite").exists()
    # Without the store it is asked as it is.
    shutil.rmtree(world.root / "store")
    assert run("contains", "numpy", "--index", str(mine))[:2] == (0, out)
    assert run("contains", "numpy")[0] == 2


def test_an_error_is_one_object(run: Run) -> None:
    status, out, err = run("devices", "no-such:1", "--json")
    assert (status, out) == (2, "")
    assert json.loads(err)["kind"] == "InputError"


def test_when() -> None:
    assert command.when("1970-01-02") == 86_400
    assert command.when("1970-01-01T01:00:00+01:00") == 0
    assert command.when("1970-01-01T00:00:05Z") == 5
    assert abs(command.when("now") - command.when("1d") - 86_400) <= 1


def test_only_what_is_asked_for_is_loaded() -> None:
    program = (
        "import sys; import buildkit.audit; import buildkit.cli.audit; "
        "print([m for m in sys.modules if m.startswith(('sqlalchemy', 'psycopg', 'cryptography'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == "[]\n"
    assert key_id("good")


def test_a_list_that_is_written_again_is_looked_at(run: Run, world: World) -> None:
    entries = world.root / "store/index.json"
    os.utime(entries, ns=(1, 1))
    # Until it is old enough to be told by its times.
    time.sleep(0.15)
    assert run("index")[0] == 0
    assert run("materials", "new:1.0.0")[0] == 2
    before = entries.stat()
    world.build("new")
    # Even when its times are those of before.
    os.utime(entries, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert run("materials", "new:1.0.0")[0] == 0
