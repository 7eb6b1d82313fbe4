"""The life of a key: made, replaced, retired, forgotten; alone and with others at it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from buildkit.errors import InputError, SignerError
from buildkit.evidence.keys import ALGORITHMS, KeyRing, change, private

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from buildkit.evidence.keys import PublicKey


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def unlocked(folder: Path, key: PublicKey, word: bytes | None = None) -> private.PrivateKey:
    return private.load(change.private_file(folder, key), key, lambda: word)


def refuse() -> bytes | None:
    msg = "asked for a passphrase"
    raise AssertionError(msg)


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_only_the_owner_can_read_what_is_made(tmp_path: Path, umask: int) -> None:
    folder = tmp_path / "config/keys"
    folder.parent.mkdir()
    before = os.umask(umask)
    try:
        key = change.make(folder, epoch=7)
    finally:
        os.umask(before)
    assert mode(folder) == 0o700
    assert mode(change.private_file(folder, key)) == 0o600
    assert mode(folder / "ring.json") == 0o600
    assert KeyRing.load(folder).keys == (key,)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("word", [None, b"correct horse", "pässwörd".encode()])
def test_a_private_key_comes_back(tmp_path: Path, algorithm: str, word: bytes | None) -> None:
    key = change.make(tmp_path / "keys", epoch=7, algorithm=algorithm, passphrase=word)
    file = change.private_file(tmp_path / "keys", key)
    assert private.is_encrypted(file) == (word is not None)
    secret = private.load(file, key, (lambda: word) if word else refuse)
    key.verify(secret.sign(b"x"), b"x")
    assert "PRIVATE" not in repr(secret)


@pytest.mark.parametrize("word", [b"wrong", b"x" * 5000])
def test_a_wrong_passphrase(tmp_path: Path, word: bytes) -> None:
    key = change.make(tmp_path / "keys", epoch=7, passphrase=b"right")
    with pytest.raises(SignerError, match="passphrase is wrong") as refused:
        unlocked(tmp_path / "keys", key, word)
    assert "EDGE_BUILDKIT_KEY_PASSPHRASE" in refused.value.remedy
    assert "right" not in refused.value.message


@pytest.mark.parametrize("word", [None, b""])
def test_no_passphrase(tmp_path: Path, word: bytes | None) -> None:
    key = change.make(tmp_path / "keys", epoch=7, passphrase=b"right")
    with pytest.raises(SignerError, match="there is no passphrase"):
        unlocked(tmp_path / "keys", key, word)


def test_openssl_reads_an_encrypted_key(tmp_path: Path) -> None:
    key = change.make(tmp_path / "keys", epoch=7, passphrase=b"right")
    file = change.private_file(tmp_path / "keys", key)
    words = ["openssl", "pkey", "-in", str(file), "-passin", "pass:right", "-pubout"]
    assert subprocess.run(words, check=True, capture_output=True).stdout == key.pem


def _spoil(text: bytes) -> Callable[[Path], object]:
    return lambda file: file.write_bytes(text)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda file: file.chmod(0o640), "others may use"),
        (lambda file: file.chmod(0o604), "others may use"),
        (lambda file: file.unlink(), "is not there"),
        (_spoil(b"not a key"), "not a private key"),
        (_spoil(b""), "not a private key"),
        (
            lambda file: file.write_bytes(
                private.dump(private.generate("ed25519", "x", created=0), None)
            ),
            "not the private half",
        ),
    ],
)
def test_a_private_key_that_cannot_be_used(
    tmp_path: Path, spoil: Callable[[Path], object], why: str
) -> None:
    key = change.make(tmp_path / "keys", epoch=7)
    spoil(change.private_file(tmp_path / "keys", key))
    with pytest.raises(SignerError, match=why) as refused:
        unlocked(tmp_path / "keys", key)
    assert refused.value.remedy


def test_a_name_signs_with_one_key(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    first = change.make(folder, epoch=1, algorithm="ed25519")
    with pytest.raises(InputError, match="already") as refused:
        change.make(folder, epoch=2)
    assert "rotate" in refused.value.remedy
    second = change.rotate(folder, epoch=3)
    third = change.rotate(folder, epoch=4, algorithm="ecdsa-p256")
    assert [key.algorithm for key in (first, second, third)] == ["ed25519", "ed25519", "ecdsa-p256"]
    ring = KeyRing.load(folder)
    assert [key.state for key in ring.keys] == ["old", "old", "active"]
    assert ring.find("default") == third
    for key in ring.keys:
        key.verify(unlocked(folder, key).sign(b"x"), b"x")


@pytest.mark.parametrize("name", ["", "a/b", "-x", "a" * 65, "ä", "a\n"])
def test_names_that_are_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot be the name"):
        change.make(tmp_path / "keys", epoch=1, name=name)
    assert not (tmp_path / "keys").exists()


def test_an_unknown_algorithm(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no algorithm"):
        change.make(tmp_path / "keys", epoch=1, algorithm="rsa")


def test_rotation_does_not_lose_the_passphrase(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    first = change.make(folder, epoch=1, passphrase=b"word")
    with pytest.raises(SignerError, match="no passphrase for the new one"):
        change.rotate(folder, epoch=2)
    assert KeyRing.load(folder).keys == (first,)
    second = change.rotate(folder, epoch=2, passphrase=b"other")
    assert private.is_encrypted(change.private_file(folder, second))


def test_rotation_needs_a_key_of_ones_own(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    pem = private.generate("ed25519", "x", created=0).public.pem
    change.add(folder, pem, "team", epoch=1)
    for name in ("team", "default"):
        with pytest.raises(InputError, match="no key of yours"):
            change.rotate(folder, epoch=2, name=name)


def test_a_retired_key_is_remembered(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    key = change.make(folder, epoch=1)
    gone = change.retire(folder, "default", epoch=9)
    assert (gone.id, gone.state, gone.retired) == (key.id, "retired", 9)
    assert change.retire(folder, key.id, epoch=10) == gone
    assert KeyRing.load(folder).with_hint(key.hint) == gone
    with pytest.raises(SignerError, match="was retired") as refused:
        change.first(folder, epoch=11, passphrase=None)
    assert "rotate" in refused.value.remedy
    assert change.rotate(folder, epoch=12).state == "active"


def test_somebody_elses_key(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    pem = private.generate("ecdsa-p256", "x", created=0).public.pem
    key = change.add(folder, pem, "team", epoch=4)
    assert (key.state, key.name, key.created) == ("imported", "team", 4)
    assert KeyRing.load(folder).keys == (key,)
    assert not change.private_file(folder, key).exists()
    for data, name in (
        (pem, "again"),
        (private.generate("ed25519", "", created=0).public.pem, "team"),
    ):
        with pytest.raises(InputError, match="already"):
            change.add(folder, data, name, epoch=5)
    assert change.remove(folder, "team") == key
    assert KeyRing.load(folder).keys == ()


def test_a_key_in_use_is_not_forgotten(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    key = change.make(folder, epoch=1)
    with pytest.raises(InputError, match="still counts") as refused:
        change.remove(folder, "default")
    assert f"retire {key.id}" in refused.value.remedy
    change.retire(folder, key.id, epoch=2)
    change.remove(folder, key.id)
    assert KeyRing.load(folder).keys == ()
    assert not change.private_file(folder, key).exists()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SignerError, match="cannot be kept here") as refused:
        change.make(tmp_path / "file/keys", epoch=1)
    assert "EDGE_BUILDKIT_KEYS" in refused.value.remedy


def test_what_a_killed_process_left_is_taken_away(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    change.make(folder, epoch=1)
    debris = folder / f"write-999999999-1-{'0' * 16}"
    debris.write_text("half a key")
    change.rotate(folder, epoch=2)
    assert not debris.exists()


_MAKE = """
import json, sys
from pathlib import Path
from buildkit.evidence.keys import change
folder, name = Path(sys.argv[1]), sys.argv[2]
if name:
    key = change.make(folder, epoch=1, name=name)
else:
    key, _ = change.first(folder, epoch=1, passphrase=None)
print(json.dumps(key.id))
"""


def at_once(folder: Path, names: list[str]) -> list[str]:
    """Make keys in several processes; the ids that they say they made."""
    running = [
        subprocess.Popen([sys.executable, "-c", _MAKE, folder, name], stdout=subprocess.PIPE)
        for name in names
    ]
    said = [process.communicate(timeout=300)[0] for process in running]
    assert [process.returncode for process in running] == [0] * len(names)
    return [json.loads(text) for text in said]


def test_of_several_first_builds_one_makes_the_key(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    ids = at_once(folder, [""] * 6)
    ring = KeyRing.load(folder)
    assert [key.id for key in ring.keys] == [ids[0]]
    assert set(ids) == {ids[0]}
    assert len(list(folder.glob("*.key"))) == 1


def test_no_key_is_lost_when_several_make_one(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    ids = at_once(folder, [f"n{number}" for number in range(6)])
    assert {key.id for key in KeyRing.load(folder).keys} == set(ids)
    assert len(set(ids)) == 6
