"""Keys of boards: they vouch for test results, and for nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from buildkit.cli import main
from buildkit.errors import InputError, SignerError
from buildkit.evidence import signers
from buildkit.evidence.keys import KeyRing, change, private
from buildkit.run import run

if TYPE_CHECKING:
    from pathlib import Path


def pem() -> bytes:
    return private.generate("ecdsa-p256", "", created=0).public.pem


def test_a_board_is_enrolled_and_enrolled_again(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    one, two = pem(), pem()
    first = change.add_device(folder, one, "shelf-1", epoch=1)
    assert (first.state, first.name, first.created) == ("device", "shelf-1", 1)
    # The same key again changes nothing; another one beside it is that of a board flashed anew.
    assert change.add_device(folder, one, "shelf-1", epoch=2) == first
    second = change.add_device(folder, two, "shelf-1", epoch=3)
    assert KeyRing.load(folder).keys == (first, second)
    with pytest.raises(InputError, match="more than one key") as refused:
        change.retire(folder, "shelf-1", epoch=4)
    assert first.id in refused.value.remedy
    assert change.retire(folder, first.id, epoch=4).state == "retired"
    assert change.remove(folder, second.id) == second


def test_a_board_gets_another_name(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    one = pem()
    change.add_device(folder, one, "shelf-1", epoch=1)
    renamed = change.add_device(folder, one, "shelf-2", epoch=2)
    assert (renamed.name, renamed.created) == ("shelf-2", 1)
    assert KeyRing.load(folder).keys == (renamed,)


def test_no_key_is_a_boards_and_somebody_elses(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    own = change.make(folder, epoch=1)
    friend, board = pem(), pem()
    change.add(folder, friend, "friend", epoch=1)
    change.add_device(folder, board, "shelf-1", epoch=1)
    before = KeyRing.load(folder)
    for key in (own.pem, friend):
        with pytest.raises(InputError, match="already"):
            change.add_device(folder, key, "shelf-2", epoch=2)
    for name in ("default", "friend"):
        with pytest.raises(InputError, match="already"):
            change.add_device(folder, pem(), name, epoch=2)
    with pytest.raises(InputError, match="already"):
        change.add(folder, board, "other", epoch=2)
    with pytest.raises(InputError, match="already"):
        change.make(folder, epoch=2, name="shelf-1")
    assert KeyRing.load(folder) == before


def test_a_retired_board_stays_retired(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    one = pem()
    key = change.add_device(folder, one, "shelf-1", epoch=1)
    change.retire(folder, key.id, epoch=2)
    with pytest.raises(InputError, match="retired"):
        change.add_device(folder, one, "shelf-1", epoch=3)
    assert change.add_device(folder, pem(), "shelf-1", epoch=3).state == "device"


def test_a_boards_key_is_found_by_its_id(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    own = change.make(folder, epoch=1)
    key = change.add_device(folder, pem(), "shelf-1", epoch=1)
    assert KeyRing.load(folder).device(key.id) == key
    change.retire(folder, key.id, epoch=2)
    ring = KeyRing.load(folder)
    for identity, why in ((own.id, "active"), (key.id, "retired"), ("0" * 16, "not in")):
        with pytest.raises(InputError, match=why) as refused:
            ring.device(identity)
        assert "--device" in refused.value.remedy


def test_a_boards_key_does_not_sign(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    change.add_device(folder, pem(), "shelf-1", epoch=1)
    ring = KeyRing.load(folder)
    assert ring.names() == ()
    assert ring.active("shelf-1") is None
    with pytest.raises(InputError, match="no key of yours"):
        change.rotate(folder, epoch=2, name="shelf-1")
    settings = signers.Settings(keys=folder, epoch=2, runner=run, passphrase=lambda _: None)
    with pytest.raises(SignerError, match="does not sign"):
        signers.signer("key:shelf-1", settings)
    # A board's key is none of one's own: the first build still makes that.
    assert signers.signer("key", settings) is not None


def test_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGE_BUILDKIT_KEYS", str(tmp_path / "keys"))
    (tmp_path / "shelf-1.pub").write_bytes(pem())
    assert main(["keys", "import", "--device", str(tmp_path / "shelf-1.pub")]) == 0
    assert "for test results" in capsys.readouterr().out
    assert main(["keys"]) == 0
    listed = capsys.readouterr().out.splitlines()[1].split()
    assert listed[1:3] == ["shelf-1", "device"]
