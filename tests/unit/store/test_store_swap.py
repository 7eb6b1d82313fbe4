"""Compare-and-swap of names: of those who try at once, one succeeds."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from buildkit.errors import StoreError
from buildkit.records import Descriptor
from buildkit.store import REF_NAME, Store

if TYPE_CHECKING:
    from pathlib import Path

_FORK = multiprocessing.get_context("fork")
CHANNEL, JOURNAL = "digits:canary", "digits:canary.channel"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store")


def put(store: Store, text: str) -> Descriptor:
    return store.put_bytes(text.encode(), "text/plain")


def names(store: Store) -> dict[str, str]:
    found = [(each.annotations.get(REF_NAME), each.digest) for each in store.entries()]
    named = [(name, digest) for name, digest in found if name is not None]
    assert len(named) == len(dict(named))
    return dict(named)


def test_a_swap_sets_all_names_or_none(store: Store) -> None:
    one, two, other = (put(store, each) for each in ("one", "two", "other"))
    absent = {CHANNEL: "", JOURNAL: ""}
    assert store.swap([(one, CHANNEL), (two, JOURNAL)], absent)
    there = {CHANNEL: one.digest, JOURNAL: two.digest}
    assert names(store) == there
    before = (store.root / "index.json").read_bytes()
    for expected in (
        absent,
        {**there, CHANNEL: ""},
        {**there, JOURNAL: one.digest},
        {**there, "digits:1.0.0": one.digest},
        {CHANNEL: other.digest},
    ):
        assert not store.swap([(other, CHANNEL), (other, JOURNAL)], expected)
    assert (store.root / "index.json").read_bytes() == before
    assert store.swap([(other, CHANNEL), (one, JOURNAL)], there)
    assert names(store) == {CHANNEL: other.digest, JOURNAL: one.digest}
    # The entry that lost its name is still one.
    assert two.digest in {each.digest for each in store.entries()}


def test_a_swap_to_what_is_there_succeeds(store: Store) -> None:
    one = put(store, "one")
    assert store.swap([(one, CHANNEL)], {CHANNEL: ""})
    assert store.swap([(one, CHANNEL)], {CHANNEL: one.digest})


def test_a_name_that_two_entries_have_is_nowhere(store: Store) -> None:
    one, two = put(store, "one"), put(store, "two")
    store.tag(one, CHANNEL)
    store.tag(two, "digits:1")
    index = store.root / "index.json"
    index.write_text(index.read_text().replace("digits:1", CHANNEL))
    for digest in ("", one.digest, two.digest):
        assert not store.swap([(one, CHANNEL)], {CHANNEL: digest})


def test_a_swap_to_what_is_not_there(store: Store) -> None:
    absent = Descriptor(media_type="text/plain", digest="sha256:" + "a" * 64, size=1)
    with pytest.raises(StoreError, match="missing"):
        store.swap([(absent, CHANNEL)], {CHANNEL: ""})
    assert names(store) == {}


def test_one_of_many_threads_wins_each_round(store: Store) -> None:
    made = [put(store, str(number)) for number in range(8)]
    at = ""
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            expected = {CHANNEL: at, JOURNAL: at}

            def attempt(each: Descriptor, expected: dict[str, str] = expected) -> bool:
                return store.swap([(each, CHANNEL), (each, JOURNAL)], expected)

            others = [each for each in made if each.digest != at]
            won = [each for each, ok in zip(others, pool.map(attempt, others), strict=True) if ok]
            assert len(won) == 1
            at = won[0].digest
            assert names(store) == {CHANNEL: at, JOURNAL: at}


def count_up(root: Path, number: int) -> None:
    """Add one to what the name leads to, ten times, whoever else does."""
    store, done = Store.open(root), 0
    while done < 10:
        at = names(store)[CHANNEL]
        value = int(store.read(at).partition(b" ")[0])
        # Each writes bytes of its own, so that nobody takes another's for theirs.
        found = put(store, f"{value + 1} {number}")
        done += store.swap([(found, CHANNEL)], {CHANNEL: at})


def test_processes_lose_no_step(store: Store) -> None:
    store.tag(put(store, "0"), CHANNEL)
    workers = [_FORK.Process(target=count_up, args=(store.root, number)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(300)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert store.read(names(store)[CHANNEL]).startswith(b"40 ")
