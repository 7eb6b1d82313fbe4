"""A recipe that builds in seconds, and a look at all that a command could leave behind."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from buildkit.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

RECIPE = """\
schema = 1
name = "tiny"
version = "1.0.0"
platforms = ["linux/amd64"]
targets = ["amd64"]
source_date_epoch = 1767225600

[image]
dockerfile = "app/Dockerfile"
context = "app"

[image.debian]
suite = "bookworm"
packages = ["python3.11-minimal"]

[image.python]
version = "3.11"
requirements = []

[model.file]
path = "model.onnx"
sha256 = "@"

[model.prepare]
quantization = "static-int8"

[model.calibration]
data = "calibration.npz"

[model.golden]
data = "golden.npz"
max_drop = 5.0
"""
TRAINED = '[model.train]\nscript = "train.py"\nseed = 1'
_FILE = re.compile(r'\[model\.file\]\npath = .*\nsha256 = ".*"')
DOCKERFILE = """\
FROM scratch
COPY main.py /app/main.py
ENTRYPOINT ["/usr/bin/python3.11", "/app/main.py"]
"""
_MARK = "EDGE_TEST_MARK"
_GIT = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "a"), ("EMAIL", "a@example.org"), ("DATE", "2026-01-02T00:00:00Z"))
}


def model(*, opset: int = 17, scale: float = 1.0) -> bytes:
    """A float model: (N, 8) → MatMul, Relu → (N, 4)."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(_weights() * np.float32(scale), "w")],
    )
    found = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    found.ir_version = min(found.ir_version, 8) if opset < 20 else onnx.IR_VERSION
    return bytes(found.SerializeToString())


def _weights() -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(1).normal(size=(8, 4)).astype(np.float32)


def write_data(folder: Path) -> None:
    """Calibration and golden data; the labels are the float model's own answers."""
    x = np.random.default_rng(2).normal(size=(64, 8)).astype(np.float32)
    np.savez(folder / "calibration.npz", x=x)
    np.savez(folder / "golden.npz", x=x, label=np.maximum(x @ _weights(), 0).argmax(1))


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a command said, and its exit status."""

    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        assert self.stdout, self.stderr
        return json.loads(self.stdout)

    def refusal(self, status: int, *fragments: str, remedy: str) -> dict[str, Any]:
        """The one JSON object of an error, which must say all of `fragments`."""
        assert self.status == status, (self.status, self.stdout, self.stderr)
        assert self.stdout == ""
        said: dict[str, Any] = json.loads(self.stderr)
        assert {"error", "kind", "remedy"} <= said.keys()
        told = json.dumps(said, ensure_ascii=False)
        for fragment in fragments:
            assert fragment in told
        remedies = [said["remedy"], *(each["remedy"] for each in said.get("problems", []))]
        assert any(remedy in each for each in remedies), remedies
        return said


@dataclass(frozen=True, kw_only=True)
class Tiny:
    """A git work tree with the recipe in it, and folders of its own for what must not be left.

    Attributes:
        root: the project; `home` beside it holds cache and temporary files.
        home: folder for everything else.
        mounts: those of the machine when the last command began.
    """

    root: Path
    home: Path
    mounts: set[str] = field(default_factory=set)

    @property
    def recipe(self) -> Path:
        return self.root / "recipe.toml"

    @property
    def lock(self) -> Path:
        return self.root / "recipe.lock"

    @property
    def dockerfile(self) -> Path:
        return self.root / "app/Dockerfile"

    @property
    def temporary(self) -> Path:
        return self.home / "tmp"

    @property
    def store(self) -> Store:
        return Store.open(self.root / ".buildkit/store")

    def edit(self, before: str, after: str) -> None:
        """Change the recipe."""
        text = self.recipe.read_text()
        assert before in text
        self.recipe.write_text(text.replace(before, after))

    def use_model(self, data: bytes) -> None:
        """Another source model, named by the recipe with its right hash."""
        (self.root / "model.onnx").write_bytes(data)
        text = self.recipe.read_text()
        digest = hashlib.sha256(data).hexdigest()
        self.recipe.write_text(re.sub(r'sha256 = ".*"', f'sha256 = "{digest}"', text))

    def use_training(self, script: str) -> None:
        """A training script in place of the model file."""
        (self.root / "train.py").write_text(script)
        self.recipe.write_text(_FILE.sub(TRAINED, self.recipe.read_text()))

    def start(
        self, *words: str | Path, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start ``python -m buildkit`` in a process group of its own, as a terminal would."""
        self.temporary.mkdir(parents=True, exist_ok=True)
        self.mounts.clear()
        self.mounts.update(_mounts())
        return subprocess.Popen(
            [sys.executable, "-m", "buildkit", *map(str, words)],
            cwd=self.root,
            env={
                **os.environ,
                "TMPDIR": str(self.temporary),
                _MARK: str(self.home),
                **(environment or {}),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def cli(
        self,
        *words: str | Path,
        environment: Mapping[str, str] | None = None,
        patience: float = 300,
    ) -> Answer:
        """Run it to its end."""
        with self.start(*words, environment=environment) as process:
            return self.end(process, patience)

    def end(self, process: subprocess.Popen[str], patience: float = 300) -> Answer:
        """Wait for it, and look for what it left: processes, temporary files, mounts."""
        try:
            stdout, stderr = process.communicate(timeout=patience)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        assert not stderr.startswith("Traceback"), stderr
        assert "\nTraceback" not in stderr, stderr
        assert self._processes() == []
        left = sorted(path.name for path in self.temporary.iterdir())
        assert left == [], left
        assert [line for line in _mounts() - self.mounts if str(self.home) in line] == []
        return Answer(status=process.returncode, stdout=stdout, stderr=stderr)

    def _processes(self) -> list[str]:
        """Programs that the command started and that have not ended, not even a moment later."""
        mark = f"{_MARK}={self.home}".encode()
        end = time.monotonic() + 10
        while True:
            found = []
            for entry in Path("/proc").iterdir():
                if entry.name.isdigit():
                    try:
                        command = (entry / "cmdline").read_text().replace("\0", " ")
                        ours = mark in (entry / "environ").read_bytes().split(b"\0")
                        # The engine stays, if this command had to start it.
                        if ours and "buildkit.engine.launch" not in command:
                            found.append(command)
                    except OSError:
                        continue
            if not found or time.monotonic() > end:
                return found
            time.sleep(0.02)

    @contextmanager
    def untouched(self) -> Iterator[None]:
        """Hold that nothing in the project changes, and nothing that a reader of the store sees."""
        before, index = self._files(), self._index()
        yield
        assert self._files() == before
        assert self._index() == index
        if index:
            assert self.store.check() == ()
            assert list((self.root / ".buildkit/store/.ingest").iterdir()) == []

    def _files(self) -> dict[str, str]:
        found = {}
        for folder, names, files in os.walk(self.root):
            names[:] = [name for name in names if name not in {".git", ".buildkit"}]
            for name in files:
                path = Path(folder, name)
                found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
        return found

    def _index(self) -> bytes:
        file = self.root / ".buildkit/store/index.json"
        return file.read_bytes() if file.exists() else b""


def _mounts() -> set[str]:
    return set(Path("/proc/self/mountinfo").read_text().splitlines())


_made: list[Tiny] = []


def locked(folder: Callable[[str], Path]) -> Tiny:
    """The recipe, locked and built, once for the session; tests take a `copy`.

    Args:
        folder: makes a folder with about this name.
    """
    if not _made:
        home = folder("tiny")
        project = Tiny(root=home / "project", home=home)
        (project.root / "app").mkdir(parents=True)
        project.recipe.write_text(RECIPE)
        project.use_model(model())
        write_data(project.root)
        project.dockerfile.write_text(DOCKERFILE)
        (project.root / "app/main.py").write_text("print('hello')\n")
        for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "tiny"]):
            subprocess.run(
                ["git", *words], cwd=project.root, env={**os.environ, **_GIT}, check=True
            )
        # On a new machine it fetches everything first.
        assert project.cli("lock", project.recipe, patience=1800).status == 0
        # Lets the engine come up, whose processes stay.
        subprocess.run(
            [sys.executable, "-m", "buildkit", "build", project.recipe, "--quiet"], check=True
        )
        _made.append(project)
    return _made[0]


def copy(made: Tiny, folder: Path) -> Tiny:
    """The same project, for one test to spoil."""
    project = Tiny(root=folder / "project", home=folder)
    shutil.copytree(made.root, project.root, symlinks=True)
    return project
