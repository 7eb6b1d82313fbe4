from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from store_samples import SBOM_TYPE, image

from buildkit.errors import StoreError
from buildkit.store import REF_NAME, Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Forked children start in milliseconds; these tests have no other threads at that time.
_FORK = multiprocessing.get_context("fork")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store")


def run_all(work: Callable[[Path, int], None], root: Path, count: int) -> list[int | None]:
    workers = [_FORK.Process(target=work, args=(root, number)) for number in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    return [worker.exitcode for worker in workers]


def tag_fifty(root: Path, number: int) -> None:
    store = Store.open(root)
    for turn in range(50):
        found = store.put_bytes(b"%d" % turn, "text/plain")
        store.tag(found, f"w{number}:{turn}", {"writer": str(number)})


def test_four_writers_lose_no_entry(store: Store) -> None:
    assert run_all(tag_fifty, store.root, 4) == [0] * 4
    names = {each.annotations.get(REF_NAME) for each in store.entries()}
    assert names == {f"w{number}:{turn}" for number in range(4) for turn in range(50)}
    assert len(store.entries()) == 200
    assert store.check() == ()


def build_and_collect(root: Path, number: int) -> None:
    store = Store.open(root)
    for turn in range(10):
        if number == 0:
            store.gc(untagged=True, wait=60)
            continue
        with store.lease():
            one = image(store, b"%d %d" % (number, turn))
            store.tag(one, f"w{number}:{turn}")
            store.attach(one, SBOM_TYPE, [(b"%d" % turn, SBOM_TYPE)])


def test_builds_and_collections_at_once(store: Store) -> None:
    assert run_all(build_and_collect, store.root, 4) == [0] * 4
    assert store.check() == ()
    assert len(store.entries()) == 3 * 10 * 2
    assert store.gc(untagged=True).blobs == 0


def write_for_ever(root: Path, number: int) -> None:
    store = Store.open(root)
    turn = 0
    while True:
        turn += 1
        with store.lease():
            one = image(store, b"%d %d" % (number, turn) + os.urandom(200_000))
            store.tag(one, f"w{number}:{turn % 5}")
            store.attach(one, SBOM_TYPE, [(os.urandom(50_000), SBOM_TYPE)])


def test_killed_writers_leave_nothing_half_written(store: Store) -> None:
    chance = random.Random(7)  # noqa: S311  (moments to kill at, no secret)
    done = rounds = 0
    # How much they come to depends on the disk; a few times is the least that says something.
    while rounds < 10 or (done <= 10 and rounds < 400):
        rounds += 1
        workers = [_FORK.Process(target=write_for_ever, args=(store.root, n)) for n in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            time.sleep(chance.uniform(0.02, 0.15))
            worker.kill()
        for worker in workers:
            worker.join()
            assert worker.exitcode == -signal.SIGKILL
        assert not [finding for finding in store.check() if finding.is_damage]
        done = max(done, len(store.entries()))
    assert done > 10
    for entry in store.entries():
        assert len(list(store.walk(entry))) in (3, 4)
    collected = store.gc()
    assert store.check() == ()
    assert list((store.root / ".ingest").iterdir()) == []
    assert collected.blobs > 0
    store.tag(image(store), "after:1")


def create_for_ever(folder: Path, number: int) -> None:
    turn = 0
    while True:
        Store.create(folder / f"{number}-{turn}" / ".buildkit" / "store")
        turn += 1


def test_a_killed_create_can_be_done_again(tmp_path: Path) -> None:
    chance = random.Random(7)  # noqa: S311  (moments to kill at, no secret)
    roots: list[Path] = []
    number = 0
    while number < 10 or (len(roots) < 5 and number < 400):
        number += 1
        worker = _FORK.Process(target=create_for_ever, args=(tmp_path, number))
        worker.start()
        time.sleep(chance.uniform(0.01, 0.05))
        worker.kill()
        worker.join()
        roots = sorted(tmp_path.glob("*/.buildkit/store"))
    assert len(roots) >= 5
    for root in roots:
        store = Store.create(root)
        store.gc()
        assert store.check() == ()


_HOLDER = """
import sys
from pathlib import Path
from buildkit.store import Store
with Store.open(Path(sys.argv[1])).lease():
    print("held", flush=True)
    sys.stdin.read()
"""


def hold_lease(store: Store) -> subprocess.Popen[bytes]:
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(store.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    return holder


def test_collection_waits_and_says_for_whom(store: Store) -> None:
    store.put_bytes(b"debris", "text/plain")
    with hold_lease(store) as holder:
        begin = time.monotonic()
        with pytest.raises(StoreError, match="is in use by process") as caught:
            store.gc(wait=0.2)
        assert 0.2 <= time.monotonic() - begin < 60
        assert f"process {holder.pid} ({sys.executable} -c" in caught.value.message
        assert caught.value.remedy
        assert store.gc(dry_run=True).blobs == 1
        assert holder.stdin is not None
        threading.Timer(0.2, holder.stdin.close).start()
        assert store.gc(wait=30).blobs == 1
        holder.stdin = None


def test_the_lease_of_a_killed_build_is_free(store: Store) -> None:
    with hold_lease(store) as holder:
        holder.kill()
        holder.wait()
        store.gc(wait=5)


def test_a_lock_file_that_buildkit_removed(store: Store) -> None:
    """BuildKit unlinks ``index.json.lock`` after use."""
    lock = store.root / "index.json.lock"
    stop = threading.Event()

    def remove() -> None:
        while not stop.is_set():
            lock.unlink(missing_ok=True)
            time.sleep(0.001)

    def add(number: int) -> None:
        for turn in range(15):
            store.tag(store.put_bytes(b"%d" % turn, "text/plain"), f"t{number}:{turn}")

    remover = threading.Thread(target=remove)
    adders = [threading.Thread(target=add, args=(number,)) for number in range(3)]
    for thread in (*adders, remover):
        thread.start()
    for thread in adders:
        thread.join()
    stop.set()
    remover.join()
    # `remove` does not heed who holds the file, as BuildKit does: then an entry may be lost. What
    # must hold even so: the index is whole, and nobody waits for a lock without a name.
    assert store.check() == ()
    store.tag(store.put_bytes(b"last", "text/plain"), "last:1")
