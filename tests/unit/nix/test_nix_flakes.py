from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from buildkit.errors import InputError
from buildkit.nix.flakes import Reference

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HASH = "sha256-EHIPgUKPDfGBc6H0RHPcZsD0/ChfO4LjGhi/P2YFan+="


@pytest.mark.parametrize(
    ("text", "place", "query", "package", "local"),
    [
        ("github:acme/env#python", "github:acme/env", "", "python", False),
        ("github:acme/env", "github:acme/env", "", "", False),
        ("git+ssh://example.org/e?ref=v1#a.b", "git+ssh://example.org/e", "ref=v1", "a.b", False),
        ("path:./env#python", "path:./env", "", "python", True),
        ("path:../env?dir=sub", "path:../env", "dir=sub", "", True),
    ],
)  # fmt: skip
def test_a_reference_comes_apart_and_together(
    text: str, place: str, query: str, package: str, *, local: bool
) -> None:
    found = Reference.parse(text)
    assert found == Reference(place=place, query=query, package=package, nar_hash="")
    assert found.is_local is local
    assert found.written(found.place) == text


@pytest.mark.parametrize("text", ["path:./env#python", "path:./env?dir=sub#python", "path:./env"])
def test_a_hash_survives_the_way_to_text_and_back(text: str) -> None:
    found = Reference.parse(text)
    pinned = found.written(found.place, HASH)
    assert Reference.parse(pinned) == replace(found, nar_hash=HASH)
    assert found.written("path:.") == text.replace("path:./env", "path:.")


@pytest.fixture
def env(tmp_path: Path) -> Path:
    folder = tmp_path / "env"
    folder.mkdir()
    (folder / "flake.nix").write_text("{ }")
    return folder


def test_a_folder_is_found_from_the_recipe(env: Path) -> None:
    assert Reference.parse("path:./env#x").folder(env.parent) == env
    assert Reference.parse("path:../env#x").folder(env.parent / "recipe") == env
    with pytest.raises(InputError, match="there is no folder"):
        Reference.parse("path:./nowhere#x").folder(env.parent)


@pytest.mark.parametrize(
    "change",
    [
        lambda env: (env / "flake.nix").write_text("{ a = 1; }"),
        lambda env: (env / "flake.nix").chmod(0o755),
        lambda env: (env / "more").write_text(""),
        lambda env: (env / "flake.nix").rename(env / "other.nix"),
    ],
)
def test_every_change_of_a_folder_is_seen(env: Path, change: Callable[[Path], None]) -> None:
    flake = Reference.parse("path:./env#x")
    before = flake.content(env.parent)
    assert before == flake.content(env.parent)
    change(env)
    assert flake.content(env.parent) != before
