"""Real parts for the integration tests: a built project, the running engine, a board."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trial_parts
from namespaces import private_sockets
from real_project import Docker, Project, make_project
from registry_parts import NO_ROOT, Tools, held_port
from trial_parts import Bench, Board

from buildkit.engine import Engine
from buildkit.engine.control import state_home
from buildkit.nix import Nix
from buildkit.run import run

if TYPE_CHECKING:
    from collections.abc import Iterator


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
