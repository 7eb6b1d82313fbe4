"""The first thing that runs on a bare machine, and the locks that it installs from."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tomllib
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from buildkit.run import run

if TYPE_CHECKING:
    from buildkit.run import Result

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ROOT / "requirements"
PIN = re.compile(r"^([a-z0-9.-]+)==(\S+) ;", re.MULTILINE)

# A machine whose APT knows no package and fails to install; it writes down what it is asked.
PROGRAMS = {
    "apt-get": 'echo "$@" >>"$CALLS"; case "$*" in *install*) echo "E: none here"; exit 9;; esac',
    "apt-cache": "echo 'nix-bin:'; echo '  Candidate: (none)'",
    "env": 'while case "$1" in *=*) true;; *) false;; esac; do shift; done; exec "$@"',
    "sudo": 'while case "$1" in --*) true;; *) false;; esac; do shift; done; exec "$@"',
    "true": "exit 0",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    place = tmp_path / "checkout"
    for folder in ("scripts", "requirements"):
        shutil.copytree(ROOT / folder, place / folder)
    return place


def bootstrap(checkout: Path, programs: dict[str, str]) -> Result:
    """Run it where PATH has nothing but `programs`."""
    folder = checkout.parent / "bin"
    folder.mkdir()
    for name, script in programs.items():
        (folder / name).write_text(f"#!/bin/bash\n{script}\n")
        (folder / name).chmod(0o755)
    path = {"PATH": str(folder), "CALLS": str(checkout / "calls"), "HOME": str(checkout)}
    return run([sys.executable, checkout / "scripts/bootstrap"], env=path, check=False)


def test_without_apt_it_says_what_to_install(checkout: Path) -> None:
    result = bootstrap(checkout, {})
    assert result.code == 2
    assert "no APT here" in result.stderr
    assert "nix-bin" in result.stderr
    assert result.stdout == b""
    assert not (checkout / ".venv").exists()


def test_apt_is_asked_again_with_fresh_lists(checkout: Path) -> None:
    result = bootstrap(checkout, PROGRAMS)
    assert result.code == 2
    calls = (checkout / "calls").read_text().splitlines()
    assert [("update" in call, "install" in call) for call in calls] == [
        (True, False),
        (False, True),
    ] * 2
    assert all("DPkg::Lock::Timeout" in call for call in calls)
    assert "E: none here" in result.stderr
    assert "this failed: " in result.stderr


def of_a_plain_user(sudo: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, as a plain user runs it whose machine has APT and this `sudo`."""
    for name, script in {"apt-get": "exit 1", "sudo": sudo}.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    loader = SourceFileLoader("bootstrap", str(ROOT / "scripts/bootstrap"))
    module = ModuleType(loader.name)
    module.__file__ = loader.path
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader.exec_module(module)
    return module


def test_without_sudo_the_command_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = of_a_plain_user("exit 1", tmp_path, monkeypatch)
    with pytest.raises(module.NotReadyError) as caught:
        module.root_prefix(["nix-bin", "git"])
    by_hand = "apt-get update && apt-get install --no-install-recommends nix-bin git"
    assert by_hand in str(caught.value)


def test_who_may_do_all_without_a_password_is_not_asked_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the group sudo, `sudo --validate` wants one in spite of NOPASSWD; a command does not."""
    sudo = 'for each; do case "$each" in -v | --validate) exit 1;; esac; done'
    module = of_a_plain_user(sudo, tmp_path, monkeypatch)
    assert module.root_prefix(["nix-bin"])[0] == "sudo"


def pins(level: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, version in PIN.findall((LOCKS / f"{level}.lock").read_text()):
        found.setdefault(name, []).append(version)
    return found


def test_tests_run_with_the_versions_that_users_get() -> None:
    run_pins, dev_pins = pins("run"), pins("dev")
    assert {"docker", "onnx", "python-on-whales", "tomli"} <= run_pins.keys()
    assert {name: dev_pins.get(name) for name in run_pins} == run_pins


@pytest.mark.parametrize("level", ["run", "dev"])
def test_a_lock_is_all_hashes_and_no_hosts(level: str) -> None:
    text = (LOCKS / f"{level}.lock").read_text()
    assert "://" not in text
    assert "file:" not in text
    # Each pin is followed by its hashes, and nothing else stands there.
    blocks = re.split(r"\n(?=[a-z])", text.partition("\n")[2].rstrip())
    assert len(blocks) == len(PIN.findall(text)) > 10
    for block in blocks:
        first, *hashes = block.splitlines()
        assert first.endswith(" \\")
        assert hashes
        assert all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line) for line in hashes)


def test_the_locks_hold_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    run_names, dev_names = (
        {re.split(r"[^A-Za-z0-9_.-]", text)[0].lower().replace("_", "-") for text in requirements}
        for requirements in (project["dependencies"], project["optional-dependencies"]["dev"])
    )
    assert run_names <= pins("run").keys()
    assert run_names | dev_names <= pins("dev").keys()


def test_every_need_of_the_system_says_why() -> None:
    needs = tomllib.loads((LOCKS / "system.toml").read_text())["need"]
    assert [need["package"] for need in needs if need["for"] == "run"]
    for need in needs:
        assert need["for"] in {"run", "tests"}
        assert need["reason"]
        assert len(need.keys() & {"program", "file", "module"}) == 1
