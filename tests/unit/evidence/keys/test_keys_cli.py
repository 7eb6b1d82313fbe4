"""``python -m buildkit keys``, as a shell sees it."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from buildkit import cli
from buildkit.evidence.keys import KeyRing, private

if TYPE_CHECKING:
    from pathlib import Path

    Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGE_BUILDKIT_KEYS", str(tmp_path / "keys"))
    monkeypatch.delenv("EDGE_BUILDKIT_KEY_PASSPHRASE", raising=False)
    return tmp_path / "keys"


def answer(capsys: Capture, *words: str, status: int = 0) -> dict[str, Any]:
    assert cli.main(["keys", *words, "--json"]) == status
    said = capsys.readouterr()
    found: dict[str, Any] = json.loads(said.err if status else said.out)
    return found


def test_the_life_of_a_key(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    assert answer(capsys)["keys"] == []
    assert not folder.exists()
    first = answer(capsys, "make", "--algorithm", "ed25519")["key"]
    second = answer(capsys, "rotate")["key"]
    answer(capsys, "retire", first["id"])
    team = tmp_path / "team.pub"
    team.write_bytes(private.generate("ecdsa-p256", "", created=0).public.pem)
    answer(capsys, "import", str(team))
    listed = {key["id"]: key for key in answer(capsys)["keys"]}
    assert [(key["name"], key["state"]) for key in listed.values()] == [
        ("default", "retired"),
        ("default", "active"),
        ("team", "imported"),
    ]
    assert listed[second["id"]] == second
    assert answer(capsys, "remove", "team")["key"]["state"] == "imported"
    assert cli.main(["keys", "export"]) == 0
    assert capsys.readouterr().out == second["pem"]


def test_for_people(capsys: Capture) -> None:
    assert cli.main(["keys"]) == 0
    assert "no keys in" in capsys.readouterr().out
    for words in (["make", "--name", "release"], ["rotate", "release"], ["retire", "release"]):
        assert cli.main(["keys", *words]) == 0
        assert "(release, ecdsa-p256)" in capsys.readouterr().out
    assert cli.main(["keys"]) == 0
    assert "retired" in capsys.readouterr().out


def test_the_passphrase_of_the_environment(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_BUILDKIT_KEY_PASSPHRASE", "word")
    key = answer(capsys, "make")["key"]
    assert private.is_encrypted(folder / f"{key['id']}.key")
    monkeypatch.setenv("EDGE_BUILDKIT_KEY_PASSPHRASE", "")
    assert answer(capsys, "rotate", status=2)["kind"] == "SignerError"
    assert len(KeyRing.load(folder).keys) == 1


@pytest.mark.parametrize(
    "words",
    [
        ("export",),
        ("retire", "nobody"),
        ("import", "/nothing/there.pub"),
        ("make", "--name", "a b"),
        ("make", "--passphrase"),
    ],
)
def test_what_cannot_be_done(
    capsys: Capture, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert cli.main(["keys", *words]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("error: ")
    assert "→" in said.err
    assert said.out == ""
