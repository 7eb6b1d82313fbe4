from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from audit_world import World
from osv_records import VECTOR, record, write

from buildkit.cli import main

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = "=cmd|' /C calc'!A0\x1b[31m\u202e<script>"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    found = World.empty(tmp_path_factory.mktemp("osv") / "world")
    found.build("tiny", "1.0.0")
    return found


def ask(world: World, place: Path, *words: str) -> int:
    store, keys = world.root / "store", world.root / "keys"
    command = ["audit", "vulnerabilities", *words, "--osv", str(place), "--quiet"]
    return main([*command, "--store", str(store), "--keys", str(keys)])


def test_a_table_for_people(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    severity = [{"type": "CVSS_V3", "score": VECTOR}]
    place = write(tmp_path / "osv", record(severity=severity))
    assert ask(world, place, "tiny:1.0.0") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:4] == ["score", "id", "package", "version"]
    assert lines[1].split()[:7] == ["9.8", "TEST-1", "libc6", "?", "1.0-1", "1.0-2", "tiny:1.0.0"]
    assert any("against 1 records of Debian" in line for line in lines)
    assert any("source packages" in line for line in lines)


def test_nothing_is_affected(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = write(tmp_path / "osv", record(name="elsewhere"))
    assert ask(world, place) == 0
    assert "no record says that anything is affected" in capsys.readouterr().out


def test_nobody_knows_what_is_inside(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = world.copied(tmp_path / "world")
    mine.build("third", "3.0.0", key="retired")
    place = write(tmp_path / "osv", record(name="elsewhere"))
    assert ask(mine, place, "third:3.0.0") == 2
    assert "4 have no SBOM that counts" in capsys.readouterr().out


def test_json_has_everything_as_it_is(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = write(tmp_path / "osv", record(summary=HOSTILE))
    assert ask(world, place, "--json") == 1
    text = capsys.readouterr().out
    assert text.isascii()
    found: Any = json.loads(text)
    assert found["rows"][0]["summary"] == HOSTILE
    assert (found["schema"], found["question"]) == ("buildkit/audit/v1", "vulnerabilities")
    assert found["database"]["records"] == 1


def test_csv_is_harmless(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = write(tmp_path / "osv", record(summary=HOSTILE, aliases=[HOSTILE]))
    assert ask(world, place, "--csv") == 1
    said = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(said.out)))
    assert len(rows) == 2
    for row in rows:
        assert row["summary"].startswith("'=")
        assert "\x1b" not in row["summary"] + row["aliases"]
        assert "\u202e" not in row["summary"] + row["aliases"]
    assert "against 1 records" in said.err


def test_a_table_is_harmless(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = record(severity=[{"type": "x", "score": "\x1b[2J"}])
    evil["id"] = "TEST-1\x1b]0;title\x07\u202e" + "x" * 500
    place = tmp_path / "osv"
    place.mkdir()
    (place / "a.json").write_text(json.dumps(evil))
    (place / "b\x1b[31m.json").write_text("no record")
    assert ask(world, place) == 1
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "\u202e" not in said
    assert "1 files are no OSV records" in said
    assert max(map(len, said.splitlines())) < 400


def test_without_records_it_cannot_be_answered(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(world, tmp_path / "none") == 2
    assert "cannot be read" in capsys.readouterr().err
