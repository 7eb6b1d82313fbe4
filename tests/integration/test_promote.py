"""Twenty promoters at once, as the processes that people start; some of them are killed."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from registry_parts import serving

sys.path.append(str(Path(__file__).parents[1] / "unit/pipeline"))

import promote_world as worlds
from promote_world import ONE, THREE, TWO, Promoter

from buildkit.evidence.keys import change
from buildkit.registry import Patience
from buildkit.registry.claim import Times
from buildkit.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MANY = 20
SEED = int(os.environ.get("EDGE_BUILDKIT_TEST_SEED", "6"))
UNPROVEN = "tiny:9.9.9"
VERSIONS = (ONE, TWO, THREE, UNPROVEN)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with three versions that passed and one that did not, and a key that can sign."""
    root = tmp_path_factory.mktemp("promoters") / "world"
    worlds.build(root)
    worlds.publish(Store.open(root / "store"), "9.9.9")
    change.first(root / "keys", epoch=int(time.time()), passphrase=None)
    return root


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """Debian's own, which has no compare-and-swap."""
    (tmp_path / "registry").mkdir()
    with serving(tmp_path / "registry") as address:
        yield address


def started(who: Promoter, *words: str) -> subprocess.Popen[bytes]:
    """``python -m buildkit promote``, as a user would."""
    there = ["--in", who.place, "--plain-http"] if who.address else []
    policy, store = str(who.root / "policy.toml"), str(who.root / "store")
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "buildkit", "promote", "--to", "canary", "--json"),
            *("--policy", policy, "--store", store, *there, *words),
        ],
        cwd=who.root,
        env={**os.environ, "EDGE_BUILDKIT_KEYS": str(who.root / "keys"), "HOME": str(who.root)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def ended(process: subprocess.Popen[bytes]) -> tuple[int, Any, str]:
    out, err = process.communicate(timeout=600)
    return process.returncode, json.loads(out) if out else None, err.decode()


@contextmanager
def watched(who: Promoter) -> Iterator[list[str]]:
    """Where the channel's tag led to, one after the other."""
    seen: list[str] = []
    over = threading.Event()
    home = who.home()

    def watch() -> None:
        ended = False
        # Once more after the end: whoever was last may have been quicker than this.
        while not ended:
            ended = over.wait(0.05)
            at = tag(who, home)
            if not seen or seen[-1] != at:
                seen.append(at)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def tag(who: Promoter, home: Any, name: str = "canary") -> str:
    if not who.address:
        names = {each.annotations.get(worlds.REF_NAME): each for each in who.store.entries()}
        found = names.get(f"{who.place}:{name}")
        return "" if found is None else found.digest
    return str(home._repository.points_to(name))


def race(promoters: Sequence[Promoter]) -> tuple[str, list[str]]:
    """All of them at once; who won, and where the tag led to meanwhile."""
    first = promoters[0]
    refs = [VERSIONS[number % len(VERSIONS)] for number in range(len(promoters))]
    with watched(first) as seen:
        running = [
            started(who, ref, "--expect", "none") for who, ref in zip(promoters, refs, strict=True)
        ]
        done = [ended(process) for process in running]
    codes = [code for code, _, _ in done]
    assert sorted(codes) == [0] + [1] * (len(promoters) - 1), [err for _, _, err in done]
    won = codes.index(0)
    promoted = done[won][1]["promoted"]
    assert (promoted["number"], promoted["moved"]) == (1, True)
    digest = first.digest(refs[won])
    for number, (code, said, err) in enumerate(done):
        if refs[number] == UNPROVEN:
            assert code == 1
            # Refused by the policy, unless the channel was elsewhere before it was asked.
            assert said["promoted"] is None if said else "not to none" in err
        elif number != won:
            assert f"leads to {digest}" in err
            assert f"{first.place}:canary was moved meanwhile" in err or "not to none" in err
    assert seen in (["", digest], [digest])
    return digest, refs


def holds(who: Promoter, digest: str, count: int) -> None:
    """The tag leads where the newest of so many records says, and that is proven."""
    records = who.records()
    assert [each.said.number for each in records] == list(range(count, 0, -1))
    assert who.home().read("canary").pointed == digest == records[0].said.image
    assert not who.moved(digest).moved


def test_one_of_twenty_wins_in_a_registry(world: Path, registry: str, tmp_path: Path) -> None:
    mine = Promoter(world, address=registry)
    for ref in VERSIONS:
        mine.home().publish(mine.digest(ref))
    promoters = [mine.copied(tmp_path / f"p{number}") for number in range(MANY)]
    digest, _ = race(promoters)
    holds(mine.copied(tmp_path / "judge"), digest, 1)


def test_one_of_twenty_wins_in_a_store(world: Path, tmp_path: Path) -> None:
    mine = Promoter(world).copied(tmp_path / "mine")
    digest, _ = race([mine] * MANY)
    holds(mine, digest, 1)
    assert mine.store.check() == ()


def test_who_is_killed_leaves_no_lie(world: Path, registry: str, tmp_path: Path) -> None:
    dice = random.Random(SEED)  # noqa: S311 - the same again
    mine = Promoter(world, address=registry).copied(tmp_path / "mine")
    home = mine.home()
    for ref in VERSIONS:
        home.publish(mine.digest(ref))
    mine.moved(ONE)
    nobody, moves = tag(mine, home, "canary.claim"), 1
    for ref, other in ((TWO, THREE), (ONE, TWO)):
        victims = [started(mine.copied(tmp_path / f"{ref} {n}"), ref) for n in range(2)]
        end = time.monotonic() + 120
        while tag(mine, home, "canary.claim") == nobody:
            assert time.monotonic() < end
            time.sleep(0.02)
        time.sleep(dice.uniform(0, 3.2))
        for victim in victims:
            victim.kill()
            ended(victim)
        at = tag(mine, home)
        assert at in {mine.digest(ref), mine.records()[0].said.image}
        moves = mine.records()[0].said.number + 1
        # Nobody else lives, so nobody's lease need be longer than this.
        quick = mine.having(times=Times(window_s=0.5, lease_s=12.0), patience=Patience())
        assert quick.moved(other).number == moves
        holds(mine, mine.digest(other), moves)


def test_a_machine_with_nothing_rolls_back(world: Path, registry: str, tmp_path: Path) -> None:
    mine = Promoter(world, address=registry).copied(tmp_path / "mine")
    mine.moved(ONE)
    mine.moved(TWO)
    bare = mine.copied(tmp_path / "bare")
    shutil.rmtree(bare.root / "store")
    code, said, err = ended(started(bare, "--rollback", "--expect", mine.digest(TWO)))
    assert code == 0, err
    assert said["promoted"]["digest"] == mine.digest(ONE)
    assert said["promoted"]["restores"] == 1
    holds(mine, mine.digest(ONE), 3)
    assert bare.store.check() == ()
    code, said, err = ended(started(bare, "--rollback"))
    assert (code, said) == (1, None)
    assert "led nowhere before" in err
