"""An index that is kept up to date is the one that would be made anew, row by row."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import audit_world as worlds
import pytest
import signed_world
from audit_world import BOARDS, World, dump, opened
from signed_world import signed
from smoke_world import ARM, ran

from buildkit.audit import sync
from buildkit.audit.sources import OfStore
from buildkit.errors import StoreError
from buildkit.store import REF_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from buildkit.audit.database import Index
    from buildkit.records import Descriptor

HERE = Path(__file__).parent


class Killed(BaseException):
    """The process ended here."""


@dataclass
class Mortal(OfStore):
    """A store as a source, whose reader dies after some reads."""

    world: World
    left: int

    def __post_init__(self) -> None:
        super().__init__(self.world.store)

    def _spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed

    def manifest(self, wanted: Descriptor) -> bytes | None:
        self._spend()
        return super().manifest(wanted)

    def record(self, blob: Descriptor) -> bytes:
        self._spend()
        return super().record(blob)


def kept(world: World, index: Index) -> worlds.Rows:
    world.sync(index)
    worlds.check(index)
    return dump(index)


def anew(world: World, folder: Path) -> worlds.Rows:
    with opened(folder / "anew.sqlite") as index:
        sync.make_anew(index, world.trust())
        found = kept(world, index)
    for file in folder.glob("anew.sqlite*"):
        file.unlink()
    return found


def same(one: worlds.Rows, other: worlds.Rows) -> None:
    """Shows the table that differs, and not all of them."""
    assert list(one) == list(other)
    for table, rows in one.items():
        assert rows == other[table], table


# Random histories --------------------------------------------------------------------------------


@dataclass
class Life:
    """What happens to a store, one thing after the other, as dice want it."""

    world: World
    dice: random.Random
    payloads: dict[str, list[bytes]] = field(default_factory=dict)
    versions: int = 0
    lost: list[tuple[Descriptor, Any]] = field(default_factory=list)

    def step(self) -> None:
        deeds: Sequence[tuple[int, Callable[[], Any]]] = (
            (2, self.build),
            (6, self.run),
            (4, self.judge),
            (4, self.promote),
            (2, self.rebuild),
            (2, self.untag),
            (2, self.collect),
            (3, self.lose),
            (3, self.bring),
            (2, self.contradict),
            (1, self.damage),
        )
        deed = self.dice.choices([one for _, one in deeds], [often for often, _ in deeds])[0]
        if not self.world.made:
            deed = self.build
        deed()

    def any(self) -> str:
        return self.dice.choice(sorted(self.world.made))

    def build(self) -> None:
        if len(self.world.made) < 4:
            self.versions += 1
            self.world.build(self.dice.choice(("tiny", "other")), f"1.{self.versions}.0")

    def run(self) -> None:
        ref = self.any()
        device = self.dice.choice((*BOARDS, "", "stranger"))
        host = self.dice.choice(((), ("good",), ("friend",), ("good", "ed25519")))
        mark = "local" if not device else self.dice.choice(("", "stand-in"))
        if device or host:
            payload = self.world.run(self.world.made[ref], device, host=host, mark=mark)
            self.payloads.setdefault(ref, []).append(payload)

    def judge(self) -> None:
        ref = self.any()
        outcome = self.dice.choice(("PASS", "FAIL"))
        inputs = self.payloads.get(ref, [])[-2:]
        self.world.judge(self.world.made[ref], inputs, outcome=outcome)

    def promote(self) -> None:
        self.world.promote(self.any(), self.dice.choice(("canary", "stable")))

    def rebuild(self) -> None:
        self.world.rebuild(self.world.made[self.any()], identical=self.dice.random() < 0.7)

    def untag(self) -> None:
        ref = self.any()
        self.world.untag(ref)
        del self.world.made[ref]
        self.payloads.pop(ref, None)

    def collect(self) -> None:
        self.world.collect()

    def lose(self) -> None:
        """Somebody takes some entries out of the store's index."""
        gone = self.dice.sample(range(40), 3)

        known = {each.digest: each for each in self.world.store.entries()}

        def change(rows: list[Any]) -> list[Any]:
            self.lost += [(known[row["digest"]], row) for at, row in enumerate(rows) if at in gone]
            return [row for at, row in enumerate(rows) if at not in gone]

        self.world.entries(change)
        # What has no name of its own any more cannot be promoted or tested.
        names = {each.annotations.get(REF_NAME) for each in self.world.store.entries()}
        for ref in list(self.world.made):
            name, _, version = ref.rpartition(":")
            if not {ref, f"{name}-model:{version}"} <= names:
                del self.world.made[ref]

    def bring(self) -> None:
        """Entries come back, in any order, unless what they lead to was collected."""
        self.dice.shuffle(self.lost)
        back, self.lost = self.lost[:2], self.lost[2:]
        names = {each.annotations.get(REF_NAME) for each in self.world.store.entries()} - {None}
        fresh = [
            row
            for each, row in back
            if each.annotations.get(REF_NAME) not in names and self._is_whole(each)
        ]
        self.world.entries(lambda rows: [*rows, *(row for row in fresh if row not in rows)])

    def _is_whole(self, each: Descriptor) -> bool:
        store = self.world.store
        try:
            return all(store.has(node.descriptor.digest) for node in store.walk(each))
        except StoreError:
            return False

    def contradict(self) -> None:
        """A board says something that only another part of the build shows to be wrong."""
        made, other = (self.world.made[self.any()] for _ in range(2))
        model, image = other.variants["pi5"], self.dice.choice((made, other)).image

        def change(found: dict[str, Any]) -> None:
            found["run"]["model"]["manifest"] = model
            found["run"]["image"]["index"] = image

        said = ran(made, change=change, subjects=(made.platforms[ARM], model))
        part = replace(made, variants={"pi5": model})
        signed_world.attach(self.world.store, part, said, signed(said.payload(), "board"))

    def damage(self) -> None:
        """A bundle's file is gone before anybody has read it."""
        before = {each.digest for each in self.world.store.entries()}
        self.run()
        fresh = [each for each in self.world.store.entries() if each.digest not in before]
        for each in fresh[:1]:
            layer = self.world.store.links(each).children[-1][1]
            self.world.store.path(layer.digest).unlink()


def live(seed: int, tmp_path: Path, where: str | None = None) -> None:
    """A random life, and after each piece of it the index held against one that is made anew."""
    world = World.empty(tmp_path / "world")
    life = Life(world, random.Random(seed))  # noqa: S311 - a seed that can be named
    with world.index(where) as index:
        for _ in range(5):
            for _ in range(life.dice.randint(1, 7)):
                life.step()
            for _ in range(life.dice.randint(0, 2)):
                try:
                    source = Mortal(world, life.dice.randint(0, 60))
                    sync.source(index, source, world.trust(), name="store", batch=5)
                except Killed:
                    continue
            if life.dice.random() < 0.7:
                same(kept(world, index), anew(world, tmp_path))
        same(kept(world, index), anew(world, tmp_path))


@pytest.mark.parametrize("seed", range(6))
def test_after_a_random_life_it_is_as_if_made_anew(seed: int, tmp_path: Path) -> None:
    live(seed, tmp_path)


def test_batches_of_one_make_no_difference(world: World, tmp_path: Path) -> None:
    with opened(tmp_path / "one.sqlite") as index:
        sync.source(index, OfStore(world.store), world.trust(), name="store", batch=1)
        same(dump(index), anew(world, tmp_path))


def test_what_did_not_change_is_not_looked_at(world: World) -> None:
    with world.indexed() as index:
        assert world.sync(index) == sync.Synced(unchanged=True)
        source = Mortal(world, 0)
        assert sync.source(index, source, world.trust(), name="store").unchanged


def test_only_what_is_new_is_read(world: World) -> None:
    with world.indexed() as index:
        world.run(world.made["tiny:1.0.0"])
        source = Mortal(world, 10_000)
        done = sync.source(index, source, world.trust(), name="store")
        assert (done.added, done.removed) == (2, 0)
        # Four referrers and two bundles, what they hang on, and the indexes and journals that
        # lead to all the rest.
        read = 10_000 - source.left
        assert read < 40


# Whose word counts -------------------------------------------------------------------------------


def test_who_is_retired_is_believed_no_longer(world: World, tmp_path: Path) -> None:
    with world.indexed() as index:
        runs = dump(index)["run"]
        assert len(runs) == 7
        _set_state(world, "board2", "retired")
        said: list[str] = []
        trust = world.trust()
        sync.source(index, OfStore(world.store), trust, name="store", say=said.append)
        assert said == ["whose word counts has changed: everything is judged anew"]
        # The host's word on them is left.
        mine = {row[1] for row in dump(index)["run"]}
        assert len(mine) == 2
        same(dump(index), anew(world, tmp_path))
        refused = [row[6] for row in dump(index)["statement"] if row[6]]
        assert refused.count("signer-retired") == 3
        _set_state(world, "board2", "device")
        world.sync(index)
        assert dump(index)["run"] == runs


def test_two_who_believe_otherwise_do_not_share_an_index(world: World) -> None:
    trust = world.trust()
    with world.index() as index:

        class Meddler(OfStore):
            def entries(self) -> Sequence[Descriptor]:
                sync.make_anew(index, other)
                return super().entries()

        _set_state(world, "board", "retired")
        other = world.trust()
        with pytest.raises(StoreError, match="another policy") as caught:
            sync.source(index, Meddler(world.store), trust, name="store")
        assert "--index" in caught.value.remedy


def _set_state(world: World, name: str, state: str) -> None:
    from buildkit import canonical

    file = world.root / "keys/ring.json"
    document = canonical.load(file.read_bytes())
    for key in document["keys"]:
        if key["name"] == name:
            key.update(state=state, retired=int(state == "retired"))
    file.unlink()
    file.write_bytes(canonical.dump(document))


# Several sources ---------------------------------------------------------------------------------


def test_what_two_have_stays_when_one_loses_it(world: World, tmp_path: Path) -> None:
    other = world.copied(tmp_path / "other")
    with world.index() as index:
        world.sync(index)
        one = dump(index)
        other.sync(index, name="other")
        assert len(dump(index)["statement"]) == len(one["statement"])
        assert len(dump(index)["carried"]) == 2 * len(one["carried"])
        other.untag("tiny:1.1.0")
        other.store.untag("tiny:canary.channel")
        other.collect()
        assert other.sync(index, name="other").removed == 0
        worlds.check(index)
        assert sync.forget(index, "other").removed == 0
        same(dump(index), one)
        other.sync(index, name="other")
        sync.forget(index, "store")
        worlds.check(index)
        with opened(tmp_path / "only.sqlite") as only:
            other.sync(only, name="other")
            same(dump(index), dump(only))


def test_a_source_that_is_not_there_cannot_be_forgotten(world: World) -> None:
    with world.indexed() as index, pytest.raises(StoreError, match="no source"):
        sync.forget(index, "elsewhere")


class Repository:
    """What a registry tells of a repository: tags, and referrers of each manifest apart."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._store = world.store
        self._name = name
        self.asked: list[str] = []

    def state(self) -> str:
        return ""

    def entries(self) -> Sequence[Descriptor]:
        from buildkit.records import Descriptor

        found = []
        for each in self._store.entries():
            name, colon, tag = each.annotations.get(REF_NAME, "").partition(":")
            if colon:
                tagged = f"{self._name}/{name}:{tag}"
                found.append(
                    Descriptor(
                        media_type=each.media_type,
                        digest=each.digest,
                        size=each.size,
                        annotations={REF_NAME: tagged},
                    )
                )
        return found

    def manifest(self, wanted: Descriptor) -> bytes | None:
        self.asked.append(wanted.digest)
        return self._store.read(wanted.digest) if self._store.has(wanted.digest) else None

    def referrers(self, digest: str) -> Sequence[Descriptor]:
        return self._store.referrers(digest)

    def record(self, blob: Descriptor) -> bytes:
        return self._store.read(blob.digest)

    def short(self, digest: str, limit: int) -> bytes | None:
        return self._store.read(digest, limit=limit) if self._store.has(digest) else None

    def is_files(self) -> bool:
        return False


def test_a_repository_says_what_a_store_says(world: World, tmp_path: Path) -> None:
    facts = (
        *("artifact", "part", "package", "holds", "material", "build", "made_from", "run"),
        *("verdict", "judged", "weighed", "signer"),
    )
    with world.indexed() as one, opened(tmp_path / "registry.sqlite") as other:
        source = Repository(world, "127.0.0.1:5000")
        sync.source(other, source, world.trust(), name="127.0.0.1:5000/tiny")
        worlds.check(other)
        here, there = dump(one), dump(other)
        # Records name the store's channels: in a registry they would name that.
        assert there["promotion"] == []
        for table in facts:
            assert there[table] == here[table], table
        names = {row[2] for row in there["presence"]}
        assert "127.0.0.1:5000/tiny:1.0.0" in names
        source.asked.clear()
        sync.source(other, source, world.trust(), name="127.0.0.1:5000/tiny")
        # Indexes and journals; what they lead to is known.
        assert len(source.asked) <= 12


# What is damaged ---------------------------------------------------------------------------------


def test_what_is_mended_counts_again(world: World, tmp_path: Path) -> None:
    payload = world.run(world.made["tiny:1.0.0"])
    entry = world.store.entries()[-4]
    layer = world.store.links(entry).children[-1][1]
    path = world.store.path(layer.digest)
    data = path.read_bytes()
    path.unlink()
    with world.indexed() as index:
        assert _reasons(index) == ["blob-missing", "blob-missing", "signer-unknown"]
        path.write_bytes(data[:-1])
        world.sync(index)
        assert _reasons(index) == ["blob-digest", "blob-digest", "signer-unknown"]
        same(dump(index), anew(world, tmp_path))
        path.write_bytes(data)
        world.sync(index)
        assert _reasons(index) == ["signer-unknown"]
        same(dump(index), anew(world, tmp_path))
        assert world.sync(index).unchanged
    del payload


def test_an_image_that_cannot_be_read_says_so(world: World, tmp_path: Path) -> None:
    made = world.made["other:1.0.0"]
    path = world.store.path(made.image)
    data = path.read_bytes()
    path.unlink()
    with world.indexed() as index:
        missing = [row for row in dump(index)["statement"] if row[6] == "blob-missing"]
        assert f"@{made.image}" in {row[1] for row in missing}
        same(dump(index), anew(world, tmp_path))
        path.write_bytes(data)
        world.sync(index)
        assert _reasons(index) == ["signer-unknown"]
        same(dump(index), anew(world, tmp_path))


def _reasons(index: Index) -> list[str]:
    return sorted(row[6] for row in dump(index)["statement"] if row[6])


def test_what_hangs_on_nothing_is_passed_over(world: World, tmp_path: Path) -> None:
    made = world.made["other:2.0.0"]
    world.entries(lambda rows: [row for row in rows if row["digest"] != made.image])
    with world.indexed() as index:
        found = dump(index)
        assert made.image not in {row[1] for row in found["artifact"]}
        same(found, anew(world, tmp_path))
