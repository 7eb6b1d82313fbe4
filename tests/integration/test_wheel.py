"""The project's own wheel in an empty environment, without a checkout."""

from __future__ import annotations

import email
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from real_project import ROOT

import buildkit
from buildkit.store import Store

pytestmark = [pytest.mark.nix, pytest.mark.engine, pytest.mark.network]


@dataclass(frozen=True)
class Installed:
    """An environment that has the wheel and what it asks for, nothing else."""

    folder: Path
    wheel: Path

    def __call__(self, *words: str | Path, cwd: Path) -> str:
        """Run a program of the environment, far from the checkout."""
        # Whatever led these tests to the checkout must not lead the wheel there.
        gone = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
        done = subprocess.run(
            [self.folder / "bin" / words[0], *words[1:]],
            cwd=cwd,
            env={name: value for name, value in os.environ.items() if name not in gone},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"]
    subprocess.run([*command, folder, ROOT], check=True)
    (found,) = folder.iterdir()
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("installed") / "env"
    # A virtual environment made inside another one would end with it.
    base = getattr(sys, "_base_executable", sys.executable)
    subprocess.run([base, "-m", "venv", folder], check=True)
    python = str(folder / "bin/python")
    pip = (python, "-m", "pip", "--quiet", "--disable-pip-version-check", "install")
    asked = ("--requirement", str(ROOT / "requirements/run.lock"))
    subprocess.run([*pip, "--require-hashes", "--only-binary", ":all:", *asked], check=True)
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True)
    return Installed(folder, wheel)


def test_the_wheel_has_the_code_and_what_nix_needs_and_nothing_else(wheel: Path) -> None:
    listed = subprocess.run(
        [
            *("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--"),
            *("buildkit", "device-smoke", "nix", "recipes/digits"),
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    wanted = set()
    for name in filter(None, listed.split("\0")):
        if name.startswith("buildkit/"):
            wanted.add(name)
        elif not name.startswith("recipes/digits/") or name.endswith((".py", "/Dockerfile")):
            wanted.add(f"buildkit/_data/{name}")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name for name in names if ".dist-info/" not in name} == wanted


def test_the_wheels_metadata_is_right(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [each for each in archive.namelist() if each.endswith(".dist-info/METADATA")]
        metadata = email.message_from_bytes(archive.read(name))
        scripts = archive.read(name.replace("METADATA", "entry_points.txt")).decode()
    assert metadata["Name"] == "edge-buildkit"
    assert metadata["Version"] == buildkit.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert "edge-buildkit = buildkit.cli:main" in scripts
    asked = [each for each in metadata.get_all("Requires-Dist", []) if "extra ==" not in each]
    assert {each.split(">=")[0] for each in asked} == {
        "cryptography",
        "docker",
        "onnx",
        "packaging",
        "python-on-whales",
        "sigstore",
        "sqlalchemy",
        "tomli",
        "urllib3",
    }


def test_the_wheel_inits_locks_and_builds_in_an_empty_folder(
    installed: Installed, tmp_path: Path
) -> None:
    assert installed("edge-buildkit", "--version", cwd=tmp_path).split() == [
        "edge-buildkit",
        buildkit.__version__,
    ]
    where = installed("python", "-c", "import buildkit; print(buildkit.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(installed.folder)
    project = tmp_path / "project"
    project.mkdir()
    installed("edge-buildkit", "init", ".", cwd=project)
    assert (project / "recipe.toml").is_file()
    assert not (project / "recipe.lock").exists()
    installed("python", "-m", "buildkit", "lock", "recipe.toml", cwd=project)
    built = json.loads(
        installed("edge-buildkit", "build", "recipe.toml", "--json", "--quiet", cwd=project)
    )
    store = Store.open(project / ".buildkit/store")
    assert Path(built["store"]) == store.root
    assert [each["platform"] for each in built["image"]["platforms"]] == [
        "linux/amd64",
        "linux/arm64",
    ]
    for digest in (built["image"]["digest"], *(each["digest"] for each in built["models"])):
        assert store.has(digest)
    assert store.check() == ()
    assert all(each["accuracy"]["quantised"] > 97 for each in built["models"])
    again = installed("edge-buildkit", "build", "recipe.toml", "--json", "--quiet", cwd=project)
    assert json.loads(again)["cached"] is True
    # Nothing of the checkout is in what it wrote down.
    assert str(ROOT) not in (project / "recipe.lock").read_text()
