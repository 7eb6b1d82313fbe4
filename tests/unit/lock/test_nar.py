from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit.errors import InputError
from buildkit.nix import nar
from buildkit.run import run

if TYPE_CHECKING:
    from pathlib import Path

    Kind = Literal["flat", "recursive"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Everything that an archive can hold, in an order that sorting must mend."""
    folder = tmp_path / "tree"
    (folder / "bin").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "bin/tool").write_bytes(b"#!/bin/sh\n")
    (folder / "bin/tool").chmod(0o755)
    (folder / "bin/a.txt").write_bytes(b"12345678")
    (folder / "bin/B").write_bytes(b"")
    (folder / "link").symlink_to("bin/tool")
    (folder / "caf\u00e9").write_bytes(bytes(range(256)) * 5000)
    return folder


def test_the_archive_of_an_empty_file_is_the_one_of_the_format(tmp_path: Path) -> None:
    def word(text: bytes) -> bytes:
        return len(text).to_bytes(8, "little") + text + bytes(-len(text) % 8)

    words = [b"nix-archive-1", b"(", b"type", b"regular", b"contents", b"", b")"]
    (tmp_path / "file").write_bytes(b"")
    expected = hashlib.sha256(b"".join(map(word, words))).hexdigest()
    assert nar.nar_sha256(tmp_path / "file") == expected


def test_only_what_the_format_knows_counts(tree: Path) -> None:
    before = nar.nar_sha256(tree)
    os.utime(tree / "bin/tool", (0, 0))
    (tree / "bin/a.txt").chmod(0o600)
    (tree / "bin/tool").chmod(0o700)
    assert nar.nar_sha256(tree) == before
    (tree / "bin/tool").chmod(0o644)
    assert nar.nar_sha256(tree) != before


def test_what_nix_cannot_hold_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="pipe: neither file, link nor folder"):
        nar.nar_sha256(tmp_path)


def test_base32_is_nixes() -> None:
    # The empty string's SHA-256, as `nix-hash --to-base32` writes it.
    empty = hashlib.sha256(b"").digest()
    assert nar.base32(empty) == "0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73"


@given(st.binary(max_size=64))
def test_base32_has_one_length_and_says_everything(data: bytes) -> None:
    text = nar.base32(data)
    assert len(text) == (len(data) * 8 + 4) // 5
    number = 0
    for sign in text:
        number = number * 32 + nar._ALPHABET.index(sign)
    assert number.to_bytes(len(data) + 1, "little")[: len(data)] == data


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_compressing_is_linear(left: bytes, right: bytes) -> None:
    def both(first: bytes, second: bytes) -> bytes:
        return bytes(a ^ b for a, b in zip(first, second, strict=True))

    assert nar.compress(both(left, right)) == both(nar.compress(left), nar.compress(right))


@pytest.mark.parametrize("name", ["", ".hidden", "a b", "a/b", "~", "a" * 212])
def test_names_that_nix_refuses_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="cannot name a store path"):
        nar.store_path(name, "0" * 64, "flat")
    with pytest.raises(InputError):
        nar.store_path("fine", "0" * 63, "flat")


@pytest.mark.nix
def test_the_real_nix_agrees(tree: Path, tmp_path: Path) -> None:
    assert run(["nix-hash", "--type", "sha256", tree]).text.strip() == nar.nar_sha256(tree)
    file = tree / "bin/a.txt"
    flat = hashlib.sha256(file.read_bytes()).hexdigest()
    cases: list[tuple[Path, str, Kind, list[str]]] = [
        (file, flat, "flat", []),
        (tree, nar.nar_sha256(tree), "recursive", ["--recursive"]),
    ]
    for path, digest, kind, words in cases:
        added = run(
            ["nix-store", "--store", tmp_path / "root", "--add-fixed", *words, "sha256", path],
            env={"NIX_CONFIG": "build-users-group ="},
        )
        assert added.text.strip() == nar.store_path(path.name, digest, kind)
