"""Real parts for the integration tests: a project of its own, the real CLI, the real engine."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trial_parts
from namespaces import private_sockets
from registry_parts import NO_ROOT, Tools, held_port
from trial_parts import Bench, Board

from buildkit.engine import Engine
from buildkit.engine.control import state_home
from buildkit.nix import Nix
from buildkit.run import run
from buildkit.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[2]
_GIT = {
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_AUTHOR_DATE": "2026-01-02T00:00:00Z",
    "GIT_COMMITTER_DATE": "2026-01-02T00:00:00Z",
}


@dataclass(frozen=True)
class Project:
    """A git work tree with one recipe in it."""

    root: Path
    name: str

    @property
    def recipe(self) -> Path:
        return self.root / "recipes" / self.name / "recipe.toml"

    @property
    def lock(self) -> Path:
        return self.recipe.with_suffix(".lock")

    @property
    def folder(self) -> Path:
        return self.recipe.parent

    @property
    def store(self) -> Store:
        return Store.open(self.root / ".buildkit/store")

    def cli(
        self,
        *words: str | Path,
        env: Mapping[str, str] | None = None,
        prefix: tuple[str, ...] = (),
        status: int | None = 0,
    ) -> subprocess.CompletedProcess[str]:
        """Run ``python -m buildkit`` as a user would."""
        done = subprocess.run(
            [*prefix, sys.executable, "-m", "buildkit", *map(str, words)],
            cwd=self.root,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=1200,
        )
        if status is not None:
            assert done.returncode == status, (
                f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
            )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def build(self, *words: str | Path, **how: Any) -> dict[str, Any]:
        """``build --json``: the object it prints."""
        done = self.cli("build", self.recipe, "--json", *words, **how)
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    def commit(self) -> None:
        """Commit everything, with fixed names and times."""
        for words in (["add", "-A"], ["commit", "-q", "--allow-empty", "-m", "a change"]):
            subprocess.run(["git", *words], cwd=self.root, env={**os.environ, **_GIT}, check=True)


def make_project(root: Path, name: str) -> Project:
    """A new project with a copy of one of our recipes, committed."""
    shutil.copytree(
        ROOT / "recipes" / name,
        root / "recipes" / name,
        ignore=shutil.ignore_patterns("__pycache__", ".buildkit"),
    )
    project = Project(root, name)
    subprocess.run(["git", "init", "-q", "-b", "main", root], check=True)
    project.commit()
    return project


@pytest.fixture(scope="session", autouse=True)
def _keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A key ring of the tests' own: builds sign, and make a key when there is none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_BUILDKIT_KEYS", str(tmp_path_factory.mktemp("keys") / "ring"))
        yield


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The digits recipe, built once; tests must not change it."""
    project = make_project(tmp_path_factory.mktemp("digits") / "project", "digits")
    project.build()
    return project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """The digits recipe in a project of the test's own, not built yet."""
    return make_project(tmp_path / "project", "digits")


@pytest.fixture(scope="session")
def engine(digits: Project) -> Engine:
    """The running engine that the digits recipe pins."""
    status = json.loads(digits.cli("engine", "start", digits.recipe, "--json").stdout)["engines"][0]
    return Engine(status["identity"], run)


@pytest.fixture(scope="session", autouse=True)
def _signals() -> None:
    """As in a terminal: whoever starts us in the background has Ctrl-C ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def _apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Stand-ins and devices of the session's own; engines too where several pytest processes run.

    For all of the session, so that no test finds another machine than the one before it. A single
    process goes on with the user's engines, and what they have built.
    """
    home = tmp_path_factory.mktemp("state")
    with ExitStack() as stack:
        if "PYTEST_XDIST_WORKER" in os.environ:
            stack.enter_context(private_sockets())
        else:
            kept = state_home()
            kept.mkdir(parents=True, exist_ok=True)
            (home / "edge-buildkit").mkdir()
            (home / "edge-buildkit" / kept.name).symlink_to(kept.absolute())
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("XDG_STATE_HOME", str(home))
        patch.setenv("EDGE_BUILDKIT_DEVICES", str(home / "devices.toml"))
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_engine_left(_apart: None) -> Iterator[None]:
    """Stop what the session started."""
    before = {engine.identity for engine in Engine.known(run) if engine.status().running}
    yield
    for engine in Engine.known(run):
        if engine.identity not in before:
            engine.stop()


class Docker:
    """The engine's Docker API: loads images, fills volumes, runs containers."""

    def __init__(self, engine: Engine) -> None:
        import docker

        self.client = docker.DockerClient(base_url=f"unix://{engine.socket}")

    def load(self, archive: bytes) -> str:
        """Load an image archive; the image's id."""
        return str(self.client.images.load(archive)[0].id)

    def volume(self, name: str, image: str, files: Mapping[str, bytes]) -> str:
        """A volume that holds `files`; a container of `image` is the way in."""
        self.client.volumes.create(name)
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            for path, data in files.items():
                info = tarfile.TarInfo(path)
                info.size, info.mode = len(data), 0o444
                archive.addfile(info, io.BytesIO(data))
        holder = self.client.containers.create(image, volumes={name: {"bind": "/in", "mode": "rw"}})
        try:
            holder.put_archive("/in", stream.getvalue())
        finally:
            holder.remove(v=False)
        return name

    def run(self, image: str, command: list[str], volumes: Mapping[str, str]) -> str:
        """Run a container without a network on a read-only root; its standard output."""
        output = self.client.containers.run(
            image,
            command,
            network_mode="none",
            read_only=True,
            remove=True,
            volumes={name: {"bind": path, "mode": "ro"} for name, path in volumes.items()},
        )
        return bytes(output).decode()


@pytest.fixture(scope="session")
def docker_api(engine: Engine) -> Docker:
    return Docker(engine)


@pytest.fixture(scope="session")
def board(digits: Project) -> Iterator[Board]:
    """A stand-in that runs, for all tests of the session; they leave it without a fault."""
    process = 0
    # So that whoever ends the tests (`timeout`, a CI that cancels) leaves no board behind.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    with held_port() as port:
        words = ("standin", "start", trial_parts.NAME, "--reach", str(port), "--json")
        try:
            (made,) = json.loads(digits.cli(*words).stdout)["standins"]
            process = made["pid"]
            config = Path(made["ssh"]["config"])
            yield Board(project=digits, name=trial_parts.NAME, config=config, port=port)
        finally:
            signal.signal(signal.SIGTERM, before)
            digits.cli("standin", "forget", trial_parts.NAME, status=None)
            if process:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)


@pytest.fixture(scope="module")
def _tried(digits: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the built digits: evidence of trials, and images that are wrong, go here.

    Of each module's own: what is said about parts that images share is said about all of them.
    """
    root = tmp_path_factory.mktemp("tried") / "project"
    shutil.copytree(digits.root / "recipes", root / "recipes")
    shutil.copytree(digits.store.root, root / ".buildkit/store")
    subprocess.run(["git", "init", "-q", "-b", "main", root], check=True)
    return Project(root, digits.name)


@pytest.fixture(scope="module")
def _enrolled(board: Board) -> Iterator[Board]:
    """The board, enrolled, without a fault and with nothing that runs; left so, too."""
    # Another module may have wiped it.
    board.cli("device", "enroll", f"standin:{board.name}", "--name", board.name, "--replace")
    yield board
    board.heal()
    board.idle()


@pytest.fixture(scope="module")
def bench(_enrolled: Board, _tried: Project) -> Bench:
    """The board to try images on."""
    return Bench(board=_enrolled, project=_tried)


@pytest.fixture(scope="session")
def tools(digits: Project, tmp_path_factory: pytest.TempPathFactory) -> Tools:
    """The tools of the digits recipe's lock."""
    nix = Nix(run, digits.root / ".buildkit/nix-store")
    (link,) = (digits.root / ".buildkit/nix").glob("digits-hostTools-*")
    paths = json.loads(nix.physical(str(link.readlink())).read_bytes())
    home = tmp_path_factory.mktemp("home")
    (home / "root.json").write_bytes(NO_ROOT)
    return Tools(
        start=(
            str(nix.physical(paths["loader"])),
            "--library-path",
            str(nix.physical(paths["library_path"])),
        ),
        bin=nix.physical(paths["tools"]) / "usr/bin",
        home=home,
    )
