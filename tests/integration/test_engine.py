"""The pinned engine: beside everything else, clean after a crash, one for all who ask."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from buildkit.engine import Engine, EngineSpec
from buildkit.engine.control import preferred_binfmt
from buildkit.errors import EngineError
from buildkit.run import run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from real_project import Docker, Project

pytestmark = [pytest.mark.nix, pytest.mark.engine]


@pytest.fixture
def spec(digits: Project, engine: Engine) -> EngineSpec:
    """What the digits engine is made of."""
    del engine
    (link,) = (digits.root / ".buildkit/nix").glob("digits-hostTools-*")
    paths = json.loads(link.read_text())
    return EngineSpec(
        tree=Path(paths["engine"]),
        tools=Path(paths["tools"]),
        tools_library=Path(paths["library_path"]),
        tools_loader=Path(paths["loader"]),
        emulator=paths["foreign"],
        foreign="arm64" if os.uname().machine == "x86_64" else "amd64",
    )


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Engine]:
    """An engine apart from the session's, and from those of other test runs; with its own state."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    found = Engine(secrets.token_hex(6), run)
    yield found
    found.forget()


def processes(engine: Engine) -> list[int]:
    """Processes whose environment or arguments name the engine's folder, or that live in it."""
    found = []
    namespace = os.stat(f"/proc/{engine.status().pid}/ns/mnt").st_ino  # noqa: PTH116
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.stat(entry / "ns/mnt").st_ino == namespace:  # noqa: PTH116
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def gone(pids: list[int]) -> bool:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return True
        time.sleep(0.05)
    return False


def test_it_builds_for_both_architectures_and_has_no_network(
    docker_api: Docker, engine: Engine
) -> None:
    information = docker_api.client.info()
    assert information["Driver"] == "overlayfs"
    links = Path(f"/proc/{engine.status().pid}/net/dev").read_text().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in links] == ["lo"]


def test_it_leaves_the_machine_alone(engine: Engine) -> None:
    del engine
    mounts = Path("/proc/self/mountinfo").read_text()
    assert "/run/edge-buildkit/" not in mounts
    if preferred_binfmt() == "private":
        listing = Path("/proc/sys/fs/binfmt_misc")
        assert not list(listing.glob("edge-buildkit-*"))


def test_stopping_leaves_no_process_and_no_folder(other: Engine, spec: EngineSpec) -> None:
    assert other.start(spec).running
    pids = processes(other)
    assert len(pids) >= 2
    assert other.stop()
    assert gone(pids)
    assert not other.runtime.exists()
    assert not other.status().running
    assert not other.stop()


@pytest.mark.parametrize("victim", ["first", "supervisor"])
def test_a_crash_leaves_nothing_and_the_next_start_works(
    victim: str, other: Engine, spec: EngineSpec
) -> None:
    first = other.start(spec).pid
    pids = processes(other)
    supervisor = int(Path(f"/proc/{first}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(first if victim == "first" else supervisor, signal.SIGKILL)
    assert gone(pids)
    assert not other.status().running
    again = other.start(spec)
    assert again.running
    assert again.pid != first


def test_two_starts_at_once_give_one_engine(other: Engine, spec: EngineSpec) -> None:
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(Engine(other.identity, run).start(spec).pid))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert len(set(found)) == 1


def test_a_stale_record_is_not_taken_for_an_engine(other: Engine, spec: EngineSpec) -> None:
    other.start(spec)
    record = other.runtime / "engine.json"
    stale = json.loads(record.read_text())
    other.stop()
    other.runtime.mkdir(parents=True)
    # The same process number, of another process: this one.
    record.write_text(json.dumps({**stale, "pid": os.getpid()}))
    assert not other.status().running
    assert not other.stop()
    assert other.start(spec).running


def test_a_tree_that_is_no_engine_is_refused_with_the_reason(
    other: Engine, spec: EngineSpec, tmp_path: Path
) -> None:
    (tmp_path / "tree").mkdir()
    broken = EngineSpec(
        tree=tmp_path / "tree",
        tools=spec.tools,
        tools_library=spec.tools_library,
        tools_loader=spec.tools_loader,
        emulator=spec.emulator,
        foreign=spec.foreign,
    )
    with pytest.raises(EngineError) as caught:
        other.start(broken)
    assert "No such file" in caught.value.message
    assert not other.status().running


def test_without_a_list_of_its_own_it_shares_the_machines(
    other: Engine, spec: EngineSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = Path(f"/proc/sys/fs/binfmt_misc/edge-buildkit-{spec.foreign}")
    mounted = (rule.parent / "register").exists()
    if not mounted:
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", rule.parent], check=True)
    try:
        monkeypatch.setattr("buildkit.engine.control.preferred_binfmt", lambda: "shared")
        said: list[str] = []
        assert other.start(spec, said.append).binfmt == "shared"
        assert rule.exists()
        assert "shared" in said[0]
        other.stop()
        assert not rule.exists()
    finally:
        if not mounted:
            subprocess.run(["umount", rule.parent], check=True)


def test_two_builds_at_once_share_a_store(project: Project) -> None:
    app = project.folder / "app/main.py"
    app.write_text(app.read_text() + f"# {time.time_ns()}\n")
    words = [sys.executable, "-m", "buildkit", "build", str(project.recipe), "--json", "--quiet"]
    builds = [
        subprocess.Popen(words, cwd=project.root, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    answers = [json.loads(build.communicate(timeout=600)[0]) for build in builds]
    assert [build.returncode for build in builds] == [0, 0]
    assert answers[0]["image"] == answers[1]["image"]
    assert project.store.check() == ()


def test_a_builder_of_ones_own_gives_the_same_digests(project: Project, engine: Engine) -> None:
    pinned = project.build()
    shutil.rmtree(project.store.root)
    own = {
        "PATH": f"{engine.runtime / 'client'}:{os.environ['PATH']}",
        "DOCKER_HOST": f"unix://{engine.socket}",
        "DOCKER_CONFIG": str(engine.runtime / "client"),
    }
    done = project.cli("build", project.recipe, "--builder", "default", env=own)
    assert "your own builder default" in done.stderr
    again = project.build("--builder", "default", env=own)
    assert again["cached"] is True
    assert again["image"] == pinned["image"]


def test_status_and_logs_are_for_people_and_for_scripts(digits: Project, engine: Engine) -> None:
    found = json.loads(digits.cli("engine", "status", "--json").stdout)["engines"]
    (ours,) = [item for item in found if item["identity"] == engine.identity]
    assert ours["running"] is True
    assert engine.identity in digits.cli("engine", "status").stdout
    # Containers fill the log, and an engine may have been started in the middle of it.
    lines = str(len(engine.log.read_text(errors="replace").splitlines()) + 1000)
    assert "API listen" in digits.cli("engine", "logs", engine.identity, "--lines", lines).stdout
    digits.cli("engine", "stop", "ffffffffffff", status=2)
