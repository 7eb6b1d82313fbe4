from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from buildkit import tools
from buildkit.errors import ToolError
from buildkit.run import run

ROOT = Path(__file__).resolve().parents[3]


def program(folder: Path, name: str, says: str) -> str:
    file = folder / name
    file.write_text(f"#!/bin/sh\necho '{says}'\n")
    file.chmod(0o755)
    return str(folder)


def test_every_program_says_what_it_is_for() -> None:
    known = {"nix", "nix-store", "apt-get", "apt-cache", "git", "ssh", "diffoscope"}
    assert set(tools.TOOLS) == known
    for tool in tools.TOOLS.values():
        assert tool.reason
        assert tool.package in tool.remedy


def test_find_gives_the_path(tmp_path: Path) -> None:
    path = program(tmp_path, "git", "")
    assert tools.find("git", path) == tmp_path / "git"


def test_a_missing_program_has_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="nix is not on this machine") as caught:
        tools.find("nix", str(tmp_path))
    assert "apt-get install --no-install-recommends nix-bin" in caught.value.remedy


@pytest.mark.parametrize(
    ("says", "number"),
    [
        ("git version 2.39.5", (2, 39, 5)),
        ("git version 2.47.0.windows.1", (2, 47, 0)),
        ("git 2.30 (Debian)", (2, 30)),
    ],
)
def test_the_version_is_read(tmp_path: Path, says: str, number: tools.Version) -> None:
    assert tools.version("git", run, program(tmp_path, "git", says)) == number


def test_a_program_without_a_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="gives no version"):
        tools.version("git", run, program(tmp_path, "git", "hello"))


def test_an_old_program_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"nix 2\.3\.7 is too old: 2\.8 or later"):
        tools.require("nix", run, program(tmp_path, "nix", "nix (Nix) 2.3.7"))
    assert tools.require("nix", run, program(tmp_path, "nix", "nix (Nix) 2.8.0")) == (2, 8, 0)


def test_the_folders_of_nix_come_after_path() -> None:
    folders = tools.search_path({"PATH": "/bin"}).split(":")
    assert folders[0] == "/bin"
    assert "/nix/var/nix/profiles/default/bin" in folders


def test_bootstrap_installs_what_the_table_names() -> None:
    needs = tomllib.loads((ROOT / "requirements/system.toml").read_text())["need"]
    packages = {need["program"]: need["package"] for need in needs if "program" in need}
    # Debian cannot be without APT, so bootstrap does not ask for it.
    for tool in tools.TOOLS.values():
        if tool.name in packages:
            assert packages[tool.name] == tool.package
    assert {"git", "nix"} <= packages.keys()
