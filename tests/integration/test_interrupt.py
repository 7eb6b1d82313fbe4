"""Ctrl-C, SIGTERM and worse, in every stage: nothing half-done stays, the next build is whole."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import tiny_project
from tiny_project import Tiny

from buildkit import digests
from buildkit.lock import codec
from buildkit.lock.types import WheelPin
from buildkit.nix import nar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.nix, pytest.mark.engine, pytest.mark.network]

CTRL_C, TERM = signal.SIGINT, signal.SIGTERM
STATUS = {CTRL_C: 130, TERM: 143, signal.SIGHUP: 129}
SLOW = "import time; token = '{}'; time.sleep(600)"


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return tiny_project.locked(tmp_path_factory.mktemp)


@pytest.fixture
def tiny(made: Tiny, tmp_path: Path) -> Tiny:
    return tiny_project.copy(made, tmp_path)


@pytest.fixture
def token() -> Iterator[str]:
    """A word that the slow part of a build has in its command line or environment."""
    yield (word := uuid.uuid4().hex)
    kill_all(word)


def with_word(word: str) -> list[int]:
    """Processes that have `word` in their command line or environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                said = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue
            if word.encode() in said:
                found.append(int(entry.name))
    return found


def kill_all(word: str) -> None:
    """Nobody with `word` is left, nor whom one of them has started meanwhile."""

    def over() -> bool:
        for process in (found := with_word(word)):
            # Those whose parent was killed may just be ending by themselves.
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        return not found

    until(over)


def until(ready: Callable[[], object], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.02)


def catches(process: subprocess.Popen[str], number: signal.Signals) -> bool:
    """Whether it has a handler for a signal (proc(5), ``SigCgt``), or has ended."""
    if process.poll() is not None:
        return True
    said = Path(f"/proc/{process.pid}/status").read_text()
    caught = next(line for line in said.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def send(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """As a terminal sends Ctrl-C, to the whole group; anything else, to the command alone."""
    if number is CTRL_C:
        os.killpg(process.pid, number)
    else:
        os.kill(process.pid, number)


def stop_at(tiny: Tiny, number: signal.Signals, line: str, *words: str | Path) -> int:
    """Run a command, and send a signal as soon as it says `line`; its exit status."""
    with tiny.start(*words) as process:
        assert process.stderr is not None
        for said in process.stderr:
            if said.startswith(line):
                break
        send(process, number)
        return tiny.end(process).status


@contextmanager
def next_build_is_whole(tiny: Tiny, made: Tiny) -> Iterator[None]:
    """Undo what the test changes, and hold that a build then gives what it always gave."""
    before = {file: file.read_bytes() for file in (tiny.recipe, tiny.lock, tiny.dockerfile)}
    yield
    for file, data in before.items():
        file.write_bytes(data)
    assert tiny.store.check() == ()
    again = tiny.cli("build", tiny.recipe, "--json").json
    first = made.cli("build", made.recipe, "--json").json
    assert (again["image"], again["models"]) == (first["image"], first["models"])
    assert tiny.store.check() == ()


@pytest.fixture
def silent_index() -> Iterator[socket.socket]:
    """An index that takes calls and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(90)
        yield server


@pytest.mark.parametrize("number", STATUS)
@pytest.mark.parametrize("command", ["fetch", "build"])
def test_while_it_fetches(
    tiny: Tiny, made: Tiny, silent_index: socket.socket, command: str, number: signal.Signals
) -> None:
    with next_build_is_whole(tiny, made):
        lock = codec.load(tiny.lock)
        name = f"tiny-{uuid.uuid4().hex}"
        file = f"{name.replace('-', '_')}-1.0-py3-none-any.whl"
        sha256 = digests.hex_of(digests.of_bytes(name.encode()))
        pin = WheelPin(name=name, version="1.0", file=file, sha256=sha256)
        platforms = {
            platform: dataclasses.replace(pins, wheels=(*pins.wheels, pin))
            for platform, pins in lock.platforms.items()
        }
        tiny.lock.write_bytes(codec.dump(dataclasses.replace(lock, platforms=platforms)))
        cache = tiny.home / "cache"
        index = f"http://127.0.0.1:{silent_index.getsockname()[1]}/simple"
        environment = {
            "XDG_CACHE_HOME": str(cache),
            "PIP_INDEX_URL": index,
            "PIP_EXTRA_INDEX_URL": "",
            "no_proxy": "127.0.0.1",
        }
        with (
            tiny.untouched(),
            tiny.start(command, tiny.recipe, environment=environment) as process,
        ):
            caller, _ = silent_index.accept()
            with caller:
                send(process, number)
                answer = tiny.end(process)
        assert answer.status == STATUS[number]
        assert "interrupted" in answer.stderr
        assert [path for path in cache.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("number", [CTRL_C, TERM])
def test_while_a_lock_is_resolved(
    tiny: Tiny, made: Tiny, silent_index: socket.socket, number: signal.Signals
) -> None:
    index = f"http://127.0.0.1:{silent_index.getsockname()[1]}/simple"
    environment = {"PIP_INDEX_URL": index, "PIP_EXTRA_INDEX_URL": "", "no_proxy": "127.0.0.1"}
    words = ("lock", tiny.recipe, "--update", "numpy")
    with (
        next_build_is_whole(tiny, made),
        tiny.untouched(),
        tiny.start(*words, environment=environment) as process,
    ):
        caller, _ = silent_index.accept()
        with caller:
            send(process, number)
            assert tiny.end(process).status == STATUS[number]


def slow_training(tiny: Tiny, token: str) -> str:
    """A training script that never ends; a word that only its process in the sandbox has."""
    tiny.use_training(SLOW.format(token))
    sha256 = digests.hex_of(digests.of_file(tiny.root / "train.py"))
    return Path(nar.store_path("file-train.py", sha256, "flat")).name


@pytest.mark.parametrize("number", [CTRL_C, TERM])
def test_while_a_lock_is_made(tiny: Tiny, made: Tiny, token: str, number: signal.Signals) -> None:
    with next_build_is_whole(tiny, made):
        word = slow_training(tiny, token)
        with tiny.untouched(), tiny.start("lock", tiny.recipe) as process:
            until(lambda: with_word(word))
            send(process, number)
            assert tiny.end(process).status == STATUS[number]
        until(lambda: not with_word(word), 30)


@pytest.mark.parametrize("number", [CTRL_C, TERM])
def test_while_nix_builds(tiny: Tiny, made: Tiny, token: str, number: signal.Signals) -> None:
    with next_build_is_whole(tiny, made):
        tiny.use_training("import shutil, os; shutil.copy('model.onnx', os.environ['OUT'])")
        tiny.edit('script = "train.py"', 'script = "train.py"\ninputs = ["model.onnx"]')
        assert tiny.cli("lock", tiny.recipe).status == 0
        lock = codec.load(tiny.lock)
        (tiny.root / "train.py").write_text(SLOW.format(token))
        data = (tiny.root / "train.py").read_bytes()
        sha256 = digests.hex_of(digests.of_bytes(data))
        files = tuple(
            dataclasses.replace(pin, sha256=sha256, size=len(data))
            if pin.path == "train.py"
            else pin
            for pin in lock.model.files
        )
        model = dataclasses.replace(lock.model, files=files)
        tiny.lock.write_bytes(codec.dump(dataclasses.replace(lock, model=model)))
        word = Path(nar.store_path("file-train.py", sha256, "flat")).name
        with tiny.untouched(), tiny.start("build", tiny.recipe, "--json") as process:
            until(lambda: with_word(word))
            send(process, number)
            answer = tiny.end(process)
        answer.refusal(STATUS[number], "interrupted", remedy="run it again")
        until(lambda: not with_word(word), 30)


@pytest.mark.parametrize("number", STATUS)
def test_while_buildkit_runs_a_step(
    tiny: Tiny, made: Tiny, token: str, number: signal.Signals
) -> None:
    with next_build_is_whole(tiny, made):
        step = f'RUN ["/usr/bin/python3.11", "-c", "{SLOW.format(token)}"]'
        tiny.dockerfile.write_text(f'FROM base\n{step}\nENTRYPOINT ["/usr/bin/python3.11"]\n')
        with tiny.untouched(), tiny.start("build", tiny.recipe) as process:
            until(lambda: with_word(token))
            send(process, number)
            assert tiny.end(process).status == STATUS[number]
        until(lambda: not with_word(token), 30)


def test_twice_in_a_row(tiny: Tiny, made: Tiny, token: str) -> None:
    with next_build_is_whole(tiny, made):
        step = f'RUN ["/usr/bin/python3.11", "-c", "{SLOW.format(token)}"]'
        tiny.dockerfile.write_text(f'FROM base\n{step}\nENTRYPOINT ["/usr/bin/python3.11"]\n')
        with tiny.untouched(), tiny.start("build", tiny.recipe) as process:
            until(lambda: with_word(token))
            send(process, CTRL_C)
            time.sleep(0.005)
            send(process, CTRL_C)
            assert tiny.end(process).status in {130, -CTRL_C}


@pytest.mark.parametrize("number", [CTRL_C, TERM, signal.SIGKILL])
@pytest.mark.parametrize("stage", ["check", "fetch", "nix", "model", "image", "store"])
def test_at_the_beginning_of_a_stage(
    tiny: Tiny, made: Tiny, stage: str, number: signal.Signals
) -> None:
    """Short stages may be over when the signal comes; what holds, holds anyhow."""
    subprocess.run(["rm", "-rf", tiny.root / ".buildkit"], check=True)
    if number is signal.SIGKILL:
        with tiny.start("build", tiny.recipe) as process:
            assert process.stderr is not None
            for said in process.stderr:
                if said.startswith(stage):
                    break
            process.kill()
        kill_all(str(tiny.home))
        subprocess.run(["rm", "-rf", tiny.temporary], check=True)
        if (tiny.root / ".buildkit/store/index.json").exists():
            assert not any(item.is_damage for item in tiny.store.check())
            assert tiny.cli("gc").status == 0
    else:
        status = stop_at(tiny, number, stage, "build", tiny.recipe)
        assert status in {0, STATUS[number], -number}
    index = tiny.root / ".buildkit/store/index.json"
    if not index.exists():
        assert tiny.cli("build", tiny.recipe).status == 0
    with next_build_is_whole(tiny, made):
        pass
    if number is not signal.SIGKILL:
        assert list((tiny.root / ".buildkit/store/.ingest").iterdir()) == []


@pytest.mark.parametrize("delay", [0.0, 0.03, 0.06, 0.09, 0.12, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0])
def test_at_any_moment(tiny: Tiny, made: Tiny, delay: float) -> None:
    (tiny.root / "app/new").write_text("new")
    with tiny.start("build", tiny.recipe, "--quiet") as process:
        # Python itself needs some time before anything of ours can catch a signal. Of the signals
        # that we catch, it is this one that Python does not.
        until(lambda: catches(process, TERM))
        time.sleep(delay)
        send(process, CTRL_C)
        # At the very end Python leaves signals to the system again.
        assert tiny.end(process).status in {0, 130, -signal.SIGINT}
    (tiny.root / "app/new").unlink()
    with next_build_is_whole(tiny, made):
        pass


ENGINE = """
import json, os, signal, subprocess, sys, time
command = [sys.executable, "-m", "buildkit"]
recipe, delay = sys.argv[1], float(sys.argv[2])
process = subprocess.Popen(
    [*command, "build", recipe], stderr=subprocess.PIPE, text=True, start_new_session=True
)
for line in process.stderr:
    if "starting the BuildKit engine" in line:
        break
else:
    sys.exit("it did not start an engine")
time.sleep(delay)
os.killpg(process.pid, signal.SIGINT)
said = process.stderr.read()
if process.wait() not in (0, 130) or "Traceback" in said:
    sys.exit(f"{process.returncode}: {said}")
try:
    subprocess.run([*command, "build", recipe, "--json"], check=True)
finally:
    subprocess.run([*command, "engine", "stop", "--json"], check=True, stdout=subprocess.DEVNULL)
"""


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.4])
def test_while_the_engine_comes_up(tiny: Tiny, made: Tiny, delay: float) -> None:
    """In a mount namespace where no engine is known, so that the session's own stays."""
    subprocess.run(["rm", "-rf", tiny.root / ".buildkit/store"], check=True)
    hide = 'mkdir -p /run/edge-buildkit && mount -t tmpfs none /run/edge-buildkit && exec "$@"'
    with next_build_is_whole(tiny, made):
        done = subprocess.run(
            [
                *("unshare", "--mount", "sh", "-c", hide, "sh"),
                *(sys.executable, "-c", ENGINE, str(tiny.recipe), str(delay)),
            ],
            env={**os.environ, "XDG_STATE_HOME": str(tiny.home / "state")},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
    until(lambda: not with_word(str(tiny.home / "state")), 30)
