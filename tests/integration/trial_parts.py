"""A stand-in that the session shares, and a project whose images are tried on it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from buildkit.evidence import keys, signers
from buildkit.pipeline import standins
from buildkit.run import run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from real_project import Project

    from buildkit.evidence.signer import Signer
    from buildkit.store import Store

NAME = "tests"
HOST = "10.0.2.100"
"""Where the board finds this machine's loopback."""

_LOOK = """
import json, pathlib, subprocess
data = pathlib.Path.home() / ".local/share/edge-buildkit"
listed = subprocess.run(["sudo", "-n", "crun", "list", "-q"], capture_output=True, text=True)
words = []
for entry in pathlib.Path("/proc").iterdir():
    try:
        words.append((entry / "cmdline").read_bytes().decode().split(chr(0)))
    except (OSError, ValueError):
        pass
def names(folder):
    return sorted(each.name for each in (data / folder).glob("*"))
print(json.dumps({
    "containers": listed.stdout.split(),
    "runs": names("runs"),
    "images": names("images"),
    "blobs": names("blobs/sha256"),
    "touched": [(data / each).stat().st_mtime_ns if (data / each).exists() else 0
                for each in ("runs", "images")],
    "agents": sum("edge-buildkit/agent-" in " ".join(each) for each in words),
    "workers": sum("smoke.worker" in each for each in words),
}))
"""
_AWAIT = """
import pathlib, sys, time
end = time.monotonic() + 240
while time.monotonic() < end:
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if b"smoke.worker" in (entry / "cmdline").read_bytes():
                sys.exit(0)
        except OSError:
            pass
    time.sleep(0.05)
sys.exit("no model is loaded")
"""


@dataclass(frozen=True, kw_only=True)
class Board:
    """A stand-in of the session's own.

    Attributes:
        project: in which commands run.
        name: of the stand-in, and of the device that it is enrolled as.
        config: of OpenSSH.
        port: of this machine's loopback that it reaches at `HOST`.
    """

    project: Project
    name: str
    config: Path
    port: int

    def cli(self, *words: str | Path, status: int | None = 0) -> Any:
        """Run a command; the object it prints."""
        done = self.project.cli(*words, "--json", status=status)
        return json.loads(done.stdout)

    def fault(self, name: str, value: str = "") -> None:
        """Order a fault, as a user would."""
        self.cli("standin", "fault", name, value, "--board", self.name)

    def strike(self, name: str, value: str = "") -> None:
        """A fault at once, in the midst of something: a command would first have to start."""
        standins.one(self.name).fault(name, value)

    def calm(self, name: str) -> None:
        """Put it right at once."""
        standins.one(self.name).heal(name)

    @contextmanager
    def faulty(self, name: str, value: str = "") -> Iterator[None]:
        """A fault that is put right in any case."""
        self.fault(name, value)
        try:
            yield
        finally:
            self.heal(name)

    def heal(self, *names: str) -> None:
        """Put a fault right, or all."""
        self.cli("standin", "heal", *names, "--board", self.name)

    def ssh(self, script: str, *, given: str = "") -> str:
        """Run a script of the shell on it, past everything that is under test; what it printed."""
        done = subprocess.run(
            ["ssh", "-F", self.config, self.name, script],
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def python(self, program: str) -> str:
        """Run a program of Python on it; what it printed."""
        return self.ssh("python3 -I -", given=program)

    def look(self) -> dict[str, Any]:
        """What is on it: containers, runs, images, blobs, programs of ours."""
        found: dict[str, Any] = json.loads(self.python(_LOOK))
        return found

    def idle(self) -> None:
        """Nothing of a run is left, at once or soon: the agent may just be putting things right.

        How soon is of the emulation, and of what else this machine does.
        """
        end = time.monotonic() + 180
        while True:
            found = self.look()
            left = {each: found[each] for each in ("containers", "runs", "agents", "workers")}
            if not any(left.values()):
                return
            assert time.monotonic() < end, left


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The board, and a project of the session's own: tests add images and limits to it."""

    board: Board
    project: Project

    @property
    def store(self) -> Store:
        return self.project.store

    @property
    def signer(self) -> Signer:
        """Whom the board trusts."""
        return signer_of(keys.location())

    def words(self, what: str | Path, *more: str | Path) -> tuple[str | Path, ...]:
        """The command."""
        return ("smoke", what, "--device", self.board.name, "--profile", "quick", "--json", *more)

    def smoke(self, what: str | Path, *more: str | Path, status: int) -> dict[str, Any]:
        """Try it on the board; the one trial."""
        words = self.words(what, *more)
        done = self.project.cli(*words, status=status)
        found = json.loads(done.stdout)
        (trial,) = found["trials"]
        assert found["outcome"] == trial["outcome"]
        assert {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 2}[trial["outcome"]] == status
        result: dict[str, Any] = trial
        return result

    @contextmanager
    def running(self, what: str | Path, *more: str | Path) -> Iterator[subprocess.Popen[str]]:
        """Try it, and meanwhile do something else."""
        with subprocess.Popen(
            [sys.executable, "-m", "buildkit", *map(str, self.words(what, *more))],
            cwd=self.project.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    def loading(self, process: subprocess.Popen[str]) -> None:
        """Wait until the run has read the sensors once, and begins to load the model."""
        with subprocess.Popen(
            ["ssh", "-F", self.board.config, self.board.name, "python3 -I -"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        ) as there:
            assert there.stdin is not None
            there.stdin.write(_AWAIT)
            there.stdin.close()
            while there.poll() is None:
                if process.poll() is not None:
                    there.kill()
                    pytest.fail(f"it ended before: {process.communicate()}")
                time.sleep(0.05)
            assert there.returncode == 0

    def limits(self, table: str, *, name: str = "digits") -> Path:
        """A recipe that builds what is there under `name`, with a table ``[smoke]`` of its own."""
        folder = self.project.root / "limits"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.project.folder, folder)
        file = folder / "recipe.toml"
        text = file.read_text().partition("[smoke]")[0]
        file.write_text(f"{text}[smoke]\n{table}\n".replace('name = "digits"', f'name = "{name}"'))
        return file


def ended(process: subprocess.Popen[str], *, status: int) -> dict[str, Any]:
    """Wait for a command of `Bench.running`; the one trial."""
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == status, f"{process.returncode}\n{stdout}\n{stderr}"
    assert "Traceback" not in stderr, stderr
    (trial,) = json.loads(stdout)["trials"]
    result: dict[str, Any] = trial
    return result


def rules(trial: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Rule and blame of every finding."""
    return {(each["rule"], each["blame"]) for each in trial["findings"]}


def signer_of(folder: Path) -> Signer:
    """The active key of a key ring; made when there is none."""
    settings = signers.Settings(keys=folder, epoch=1, runner=run, passphrase=lambda _: None)
    made = signers.signer("key", settings)
    assert made is not None
    return made
