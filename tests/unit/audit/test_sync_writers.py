"""Several who write at once, and some who are killed: nothing is lost, nothing is there twice."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import audit_world as worlds
import postgres
import pytest
from audit_world import World, dump, opened
from test_sync import live

from buildkit.audit import sync
from buildkit.audit.sources import OfStore

if TYPE_CHECKING:
    from collections.abc import Iterator

WRITERS = 8
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def cluster() -> Iterator[postgres.Cluster]:
    # A path that is short enough for a socket, and that another user may go down.
    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        Path(folder).chmod(0o755)
        with postgres.serving(Path(folder) / "c") as found:
            yield found


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new index."""
    if request.param == "sqlite":
        return str(tmp_path / "audit.sqlite")
    cluster: postgres.Cluster = request.getfixturevalue("cluster")
    return cluster.fresh(f"{tmp_path.name}-{time.monotonic_ns()}"[-60:])


Process = subprocess.Popen[str]


def start(world: World, where: str, *names: str, batch: int = 12) -> Process:
    """A process that gets ready to write."""
    words = [sys.executable, str(HERE / "writer.py"), str(world.root), where, str(batch), *names]
    pipe = subprocess.PIPE
    return subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def wait(process: Process) -> None:
    """Until it is ready."""
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "ready\n", process.stderr.read()


def go(process: Process) -> None:
    """Let it begin."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def end(process: Process, *, kill: bool = False) -> None:
    """See it end, well unless it is killed."""
    if kill:
        process.kill()
    _, errors = process.communicate(timeout=120)
    assert kill or process.returncode == 0, errors


def sequential(world: World, folder: Path, *names: str) -> worlds.Rows:
    with opened(folder / "sequential.sqlite") as index:
        for name in names:
            world.sync(index, name=name)
        return dump(index)


def test_eight_processes_at_once(world: World, where: str, tmp_path: Path) -> None:
    names = [f"shelf {number}" for number in range(WRITERS)]
    processes = [start(world, where, "store", name) for name in names]
    for step in (wait, go, end):
        for process in processes:
            step(process)
    with opened(where) as index:
        worlds.check(index)
        assert dump(index) == sequential(world, tmp_path, "store", *names)


def test_eight_threads_while_the_store_changes(world: World, where: str, tmp_path: Path) -> None:
    faults: list[BaseException] = []
    done = threading.Event()
    with opened(where) as index:

        def write(number: int) -> None:
            dice = random.Random(number)  # noqa: S311 - a seed that can be named
            try:
                while not done.is_set():
                    with world.store.reading():
                        source = OfStore(world.store)
                        sync.source(
                            index, source, world.trust(), name="store", batch=dice.randint(1, 9)
                        )
                    time.sleep(dice.random() / 50)
            except BaseException as error:  # noqa: BLE001 - told below
                faults.append(error)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
        for thread in threads:
            thread.start()
        one = world.made["tiny:1.0.0"]
        for number in range(4):
            world.passed(one, worlds.BOARDS[number % 2])
            world.promote(("tiny:1.0.0", "tiny:1.1.0")[number % 2], "stable")
        world.build("tiny", "1.2.0")
        world.untag("other:1.0.0")
        done.set()
        for thread in threads:
            thread.join()
        assert faults == []
        world.sync(index)
        world.collect()
        world.sync(index)
        worlds.check(index)
        assert dump(index) == sequential(world, tmp_path, "store")


def test_killed_at_any_moment_it_goes_on(world: World, where: str, tmp_path: Path) -> None:
    dice = random.Random(7)  # noqa: S311 - a seed that can be named
    processes = [start(world, where, "store", "again", batch=1) for _ in range(6)]
    for process in processes:
        wait(process)
        go(process)
        time.sleep(dice.random() * 0.3)
        end(process, kill=True)
        assert process.returncode in (0, -signal.SIGKILL)
    with opened(where) as index:
        world.sync(index)
        world.sync(index, name="again")
        worlds.check(index)
        assert dump(index) == sequential(world, tmp_path, "store", "again")
    assert [process.returncode for process in processes].count(-signal.SIGKILL) > 1


@pytest.mark.parametrize("seed", [100, 101])
def test_a_random_life_in_postgresql(seed: int, cluster: postgres.Cluster, tmp_path: Path) -> None:
    live(seed, tmp_path, cluster.fresh(f"life {seed}"))


def test_postgresql_and_sqlite_hold_the_same(
    world: World, cluster: postgres.Cluster, tmp_path: Path
) -> None:
    with opened(cluster.fresh("same")) as one, opened(tmp_path / "audit.sqlite") as other:
        for index in (one, other):
            world.sync(index)
        assert dump(one) == dump(other)
        world.untag("tiny:1.1.0")
        world.untag("other:2.0.0")
        world.store.untag("tiny:canary.channel")
        world.collect()
        for index in (one, other):
            assert world.sync(index).removed
        assert dump(one) == dump(other)
        assert dump(one) == sequential(world, tmp_path, "store")
