"""`flake.nix` on the real Nix: the same derivations as the library's own call."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from real_project import ROOT, Project, make_project

from buildkit import canonical
from buildkit.lock import codec
from buildkit.nix import Nix
from buildkit.nix.adapter import system
from buildkit.pipeline.nixstage import NixStage
from buildkit.pipeline.progress import Silent
from buildkit.recipe import load
from buildkit.run import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit.run import Result

# What the digits recipe needs is in the store once it was built.
pytestmark = [pytest.mark.nix, pytest.mark.engine, pytest.mark.usefixtures("digits")]

SYSTEMS = ("aarch64-linux", "x86_64-linux")
OTHER = next(name for name in SYSTEMS if name != system())
# The library's attribute of each package.
PACKAGES = {
    "digits-build": "build",
    "digits-builder": "builder",
    "digits-engine": "engine",
    "digits-layer-debian-amd64": 'layers."linux/amd64".debian',
    "digits-layer-debian-arm64": 'layers."linux/arm64".debian',
    "digits-layer-python-amd64": 'layers."linux/amd64".python',
    "digits-layer-python-arm64": 'layers."linux/arm64".python',
    "digits-model": "model.quantised",
    "digits-model-accuracy": "model.accuracy",
    "digits-model-float": "model.float",
    "digits-seen-amd64": 'layers."linux/amd64".seen',
    "digits-seen-arm64": 'layers."linux/arm64".seen',
    "digits-syft": "syft",
    "digits-tools": "tools",
}


@dataclass(frozen=True)
class Flake:
    """A clone of this project, with the digits recipe of another."""

    root: Path
    nix: Nix

    def __call__(self, *words: str, check: bool = True) -> Result:
        return run(["nix", *words, *self.nix.options()], cwd=self.root, check=check)

    def json(self, *words: str) -> Any:
        return json.loads(self(*words).stdout)


def clone(root: Path) -> Flake:
    """What the flake reads, committed, with inputs that `fetch` or a build has brought."""
    project = make_project(root, "digits")
    names = run(
        [
            *("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--"),
            *("flake.nix", "nix", "buildkit"),
        ],
        cwd=ROOT,
    ).text
    for name in filter(None, names.split("\0")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    project.commit()
    return Flake(root, Nix(run, root / ".buildkit/nix-store"))


@pytest.fixture(scope="module")
def flake(tmp_path_factory: pytest.TempPathFactory) -> Flake:
    return clone(tmp_path_factory.mktemp("flake") / "clone")


def test_show_lists_everything_for_both_hosts(flake: Flake) -> None:
    shown = (
        flake.json("flake", "show", "--json", "--all-systems")
        if _is_new()
        else flake.json("flake", "show", "--json")
    )
    for name in SYSTEMS:
        assert set(shown["packages"][name]) == set(PACKAGES)
        assert set(shown["checks"][name]) == {"digits-layers", "digits-model", "digits-tools"}
        assert {entry["type"] for entry in shown["apps"][name].values()} == {"app"}


def _is_new() -> bool:
    """Whether `flake show` leaves other systems out unless asked (Nix 2.9 and later)."""
    return "--all-systems" in run(["nix", "flake", "show", "--help"], check=False).text


@pytest.mark.parametrize("host", SYSTEMS)
def test_the_derivations_are_those_of_the_library(
    flake: Flake, digits: Project, tmp_path: Path, host: str
) -> None:
    recipe = load(digits.recipe)
    lock = codec.load(digits.lock)
    stage = NixStage(recipe, lock, work=tmp_path, runner=run, progress=Silent())
    arguments = tmp_path / "arguments.json"
    arguments.write_bytes(canonical.dump({**stage._arguments(digits.lock), "system": host}))
    named = "".join(f'"{name}" = made.{path}.drvPath; ' for name, path in PACKAGES.items())
    call = f'import {ROOT / "nix"} {{ file = "{arguments}"; }}'
    library = flake.json(
        *("eval", "--json", "--impure", "--expr", f"let made = {call}; in {{ {named}}}")
    )
    ours = flake.json(
        *("eval", "--json", f".#packages.{host}"),
        *("--apply", "all: builtins.mapAttrs (_: package: package.drvPath) all"),
    )
    assert ours == library


def test_a_build_of_the_library_has_made_the_flakes_packages(flake: Flake, digits: Project) -> None:
    (link,) = (digits.root / ".buildkit/nix").glob("digits-build-*")
    out = flake.json("eval", "--json", f".#packages.{system()}.digits-build.outPath")
    assert str(link.readlink()) == out


def test_check_holds_and_builds_nothing_for_the_other_host(flake: Flake) -> None:
    flake("flake", "check")
    checks = flake.json(
        *("eval", "--json", ".#checks"),
        *("--apply", "builtins.mapAttrs (_: builtins.mapAttrs (_: check: check.outPath))"),
    )
    said = {name: Path(path) for name, path in checks[system()].items()}
    assert (
        "7 calibration ranges, made again"
        in flake.nix.physical(str(said["digits-model"])).read_text()
    )
    assert len(said["digits-layers"].read_text().splitlines()) == 8
    assert not [path for path in checks[OTHER].values() if flake.nix.has(path)]


def falsify(part: str, change: Callable[[dict[str, Any]], None], flake: Flake) -> str:
    """Change a clone's lock behind its back; what the check of `part` then says."""
    lock = flake.root / "recipes/digits/recipe.lock"
    document = json.loads(lock.read_bytes())
    change(document)
    lock.write_bytes(canonical.dump_pretty(document))
    done = flake("build", "--no-link", "-L", f".#checks.{system()}.digits-{part}", check=False)
    assert done.code != 0
    return done.stderr


def test_check_refuses_another_model_than_the_lock_names(tmp_path: Path) -> None:
    def change(lock: dict[str, Any]) -> None:
        lock["model"]["float_sha256"] = "0" * 64

    said = falsify("model", change, clone(tmp_path / "clone"))
    assert f"the lock says sha256:{'0' * 64}" in said
    assert "quantised model" not in said


def test_check_refuses_a_model_below_the_golden_limit(tmp_path: Path) -> None:
    def change(lock: dict[str, Any]) -> None:
        lock["recipe"]["document"]["model"]["golden"]["max_drop"] = -50

    assert "-50 points allowed" in falsify("model", change, clone(tmp_path / "clone"))


def test_an_input_that_was_not_fetched_says_what_to_run(tmp_path: Path) -> None:
    def change(lock: dict[str, Any]) -> None:
        pins = lock["hosts"]["amd64" if system() == "x86_64-linux" else "arm64"]
        pins["tools_debian"][0]["sha256"] = "0" * 64

    assert "missing-input-run-buildkit-fetch" in falsify("tools", change, clone(tmp_path / "clone"))


def test_a_recipe_with_a_builder_of_its_own_has_only_what_does_not_need_it(
    tmp_path: Path,
) -> None:
    flake = clone(tmp_path / "clone")
    lock = flake.root / "recipes/digits/recipe.lock"
    document = json.loads(lock.read_bytes())
    document["recipe"]["document"]["builder"] = "github:acme/env#builder"
    lock.write_bytes(canonical.dump_pretty(document))
    names = flake.json("eval", "--json", f".#packages.{system()}", "--apply", "builtins.attrNames")
    assert names == ["digits-engine", "digits-syft", "digits-tools"]


@pytest.mark.parametrize(
    ("app", "words", "said"),
    [
        ("oras", ["version"], "Version:"),
        ("cosign", ["version"], "GitVersion:"),
        ("docker", ["--version"], "Docker version"),
        ("syft", ["version"], "1.18.1"),
        ("prepare", ["--help"], "Prepare an ONNX model"),
    ],
)
def test_apps_run(flake: Flake, app: str, words: list[str], said: str) -> None:
    done = subprocess.run(
        ["nix", "run", *flake.nix.options(), f".#digits-{app}", "--", *words],
        cwd=flake.root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert said in done.stdout + done.stderr
