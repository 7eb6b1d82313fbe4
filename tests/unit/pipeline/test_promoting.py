"""Channels, in a store and in a registry: what gets in, what does not, and what ends midway."""

from __future__ import annotations

import itertools
import json
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import promote_world as worlds
import pytest
from fake_registry import Fake, serving
from promote_world import ONE, THREE, TWO, Clock, Promoter, passed

from buildkit import digests, media
from buildkit.errors import (
    EvidenceError,
    InputError,
    PolicyError,
    PromotionError,
    RegistryError,
    StoreError,
)
from buildkit.evidence.journal import SUFFIX, Journal, parse
from buildkit.evidence.signer import NOBODY
from buildkit.pipeline import promote
from buildkit.registry.claim import free
from buildkit.registry.patience import Again
from buildkit.store import REF_NAME, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from buildkit.registry.transport import Request


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("promote") / "world"
    worlds.build(root)
    return root


@pytest.fixture
def here(built: Path, tmp_path: Path) -> Promoter:
    """Somebody who promotes in their store."""
    return Promoter(built).copied(tmp_path / "mine")


@pytest.fixture
def fake() -> Iterator[Fake]:
    with serving(Fake(api=False)) as served:
        yield served


@pytest.fixture(params=["store", "registry"])
def anywhere(request: pytest.FixtureRequest, built: Path, tmp_path: Path) -> Iterator[Promoter]:
    """Somebody who promotes in their store, and somebody who does in a registry."""
    mine = Promoter(built).copied(tmp_path / "mine")
    if request.param == "store":
        yield mine
    else:
        with serving(Fake(api=False)) as served:
            yield mine.having(address=served.address)


def pointed(who: Promoter, channel: str = "canary") -> str:
    return who.home().read(channel).pointed


# What gets in ------------------------------------------------------------------------------------


def test_a_channel_moves_and_says_so(anywhere: Promoter) -> None:
    who = anywhere
    assert pointed(who) == ""
    first, second = who.moved(ONE), who.moved(TWO)
    assert (first.number, first.previous, first.moved) == (1, "", True)
    assert (second.number, second.previous, second.moved) == (2, first.digest, True)
    assert pointed(who) == second.digest == who.digest(TWO)
    records = who.records()
    assert [each.said.image for each in records] == [second.digest, first.digest]
    assert [each.said.name for each in records] == [TWO, ONE]
    assert records[0].bundle == second.record
    assert records[0].said.devices == {"pi5": (worlds.key_id("board"),)}
    assert records[0].said.policy == digests.of_bytes((who.root / "policy.toml").read_bytes())
    assert who.records("stable") == ()


def test_channels_are_apart(anywhere: Promoter) -> None:
    who = anywhere
    who.moved(ONE)
    who.moved(TWO, "stable")
    assert [pointed(who, each) for each in ("canary", "stable")] == [
        who.digest(ONE),
        who.digest(TWO),
    ]


def test_what_is_there_already_is_not_moved(anywhere: Promoter) -> None:
    who = anywhere
    first = who.moved(ONE)
    before = who.home().read("canary")
    again = who.moved(ONE)
    assert (again.moved, again.number, again.record) == (False, 1, first.record)
    assert who.home().read("canary") == before


def test_a_digest_is_enough(anywhere: Promoter) -> None:
    done = anywhere.moved(anywhere.digest(ONE))
    assert done.digest == anywhere.digest(ONE)


def test_expectations(anywhere: Promoter) -> None:
    who = anywhere
    with pytest.raises(PromotionError, match=f"leads to none, not to {who.digest(ONE)}"):
        who.having(expect=who.digest(ONE)).promote(TWO)
    who.having(expect="none").moved(ONE)
    with pytest.raises(PromotionError, match="not to none"):
        who.having(expect="none").promote(TWO)
    who.having(expect=who.digest(ONE)).moved(TWO)
    assert pointed(who) == who.digest(TWO)


@pytest.mark.parametrize("name", ["1.0.0", "Canary", "canary.channel", "canary-model", ""])
def test_names_of_channels(name: str, here: Promoter) -> None:
    with pytest.raises(InputError, match="cannot name a channel"):
        here.promote(ONE, name)


def test_what_is_no_image(here: Promoter) -> None:
    store = here.store
    platform = next(iter(store.walk(store.resolve(ONE)))).descriptor
    for ref in ("tiny-model:1.0.0", store.links(platform).children[0][1].digest):
        with pytest.raises(InputError, match="not an image with a model"):
            here.promote(ref)
    with pytest.raises(StoreError, match="not in the store"):
        here.promote("tiny:9")


def test_nobody_signs(here: Promoter) -> None:
    with pytest.raises(InputError, match="nobody to sign"):
        here.promote(ONE, signer=NOBODY)


@pytest.mark.parametrize(
    "smoke", ["", "[smoke]\ndevices = 0\n", '[smoke]\ntargets = ["pi5"]\ndevices = 0\n']
)
def test_a_policy_that_asks_for_no_device(smoke: str, here: Promoter) -> None:
    (here.root / "policy.toml").write_text(f"schema = 1\n{smoke}")
    with pytest.raises(PolicyError) as raised:
        here.promote(ONE)
    assert [each.path for each in raised.value.problems] == ["smoke"]


# What does not -----------------------------------------------------------------------------------


def refused(who: Promoter, ref: str) -> list[str]:
    before = who.home().read("canary")
    answer = who.promote(ref)
    assert answer.promoted is None
    assert who.home().read("canary") == before
    return [each.reason for each in answer.report.findings]


def test_no_verdict(anywhere: Promoter) -> None:
    worlds.publish(anywhere.store, "2.0.0")
    anywhere.moved(ONE)
    assert refused(anywhere, "tiny:2.0.0") == ["smoke"]


def test_a_fail_after_it_passed(anywhere: Promoter) -> None:
    store = anywhere.store
    made = worlds.publish(store, "2.0.0")
    passed(store, made, days=2)
    passed(store, made, "FAIL", device="board2", days=1)
    assert refused(anywhere, "tiny:2.0.0") == ["smoke"]


def test_a_stand_in(anywhere: Promoter) -> None:
    store = anywhere.store
    passed(store, worlds.publish(store, "2.0.0"), standin=True)
    assert refused(anywhere, "tiny:2.0.0") == ["smoke"]
    policy = f"{worlds.POLICY}standins = true\n"
    (anywhere.root / "policy.toml").write_text(policy)
    assert anywhere.moved("tiny:2.0.0").moved


def test_an_old_verdict(anywhere: Promoter) -> None:
    passed(anywhere.store, worlds.publish(anywhere.store, "2.0.0"), days=40)
    assert refused(anywhere, "tiny:2.0.0") == ["smoke"]


def test_bytes_that_were_changed(here: Promoter) -> None:
    store = here.store
    image = store.resolve(ONE)
    layer = next(each.descriptor for each in store.walk(image) if each.role == "layer")
    data = bytearray(store.path(layer.digest).read_bytes())
    data[-1] ^= 1
    store.path(layer.digest).unlink()
    store.path(layer.digest).write_bytes(bytes(data))
    assert "blob-digest" in refused(here, ONE)


def test_what_only_the_registry_knows_counts(built: Path, tmp_path: Path, fake: Fake) -> None:
    mine = Promoter(built, address=fake.address).copied(tmp_path / "mine")
    theirs = mine.copied(tmp_path / "theirs")
    made = worlds.publish(theirs.store, "1.0.0")
    assert made.image == mine.digest(ONE)
    passed(theirs.store, made, "FAIL", device="board2", days=0)
    theirs.home().publish(made.image)
    assert refused(mine, ONE) == ["smoke"]


# Journals that lie -------------------------------------------------------------------------------


def test_a_channel_that_was_moved_by_other_means(anywhere: Promoter) -> None:
    who = anywhere
    who.moved(ONE)
    put_tag(who, "canary", who.digest(TWO))
    for attempt in (lambda: who.promote(THREE), lambda: who.promote(TWO), who.roll_back):
        with pytest.raises(PromotionError, match="moved it by other means") as raised:
            attempt()
        assert raised.value.remedy == f"if that is well: --expect {who.digest(TWO)}"
    # What was put there unproven is proven now, and the journal says so.
    done = who.having(expect=who.digest(TWO)).moved(TWO)
    assert (done.moved, done.number, done.name) == (True, 2, TWO)
    assert [each.said.image for each in who.records()] == [who.digest(TWO), who.digest(ONE)]


def test_a_roll_back_from_what_was_put_there_goes_to_what_should_be_there(
    anywhere: Promoter,
) -> None:
    who = anywhere
    who.moved(ONE)
    who.moved(TWO)
    put_tag(who, "canary", who.digest(THREE))
    done = who.having(expect=who.digest(THREE)).roll_back()
    assert (done.digest, done.restores) == (who.digest(TWO), 2)
    assert who.roll_back().digest == who.digest(ONE)


def put_tag(who: Promoter, name: str, digest: str) -> None:
    """Somebody who has the right to, and does not use `promote`."""
    store = who.store
    if who.address:
        found = store.resolve(digest)
        if found.media_type == media.INDEX:
            who.home().publish(digest)
        repository = who.home()._repository  # type: ignore[attr-defined]
        repository.put_manifest(name, store.read(digest), found.media_type)
    else:
        store.tag(store.resolve(digest), f"{who.place}:{name}")


def test_something_else_in_the_place_of_the_journal(anywhere: Promoter) -> None:
    put_tag(anywhere, f"canary{SUFFIX}", anywhere.digest(ONE))
    with pytest.raises(EvidenceError):
        anywhere.promote(ONE)


@pytest.mark.parametrize("key", ["stranger", "board", "retired"])
def test_a_forged_record(key: str, anywhere: Promoter) -> None:
    who = anywhere
    who.moved(ONE)
    forged = replace(who.records()[0].said, number=2, previous=who.records()[0].payload)
    bundle = worlds.signed(forged.statement().payload(), key)
    state = who.home().read("canary")
    assert who.home().move("canary", state, who.store.resolve(ONE), bundle)
    with pytest.raises(EvidenceError, match="signed"):
        who.promote(TWO)
    with pytest.raises(EvidenceError, match="signed"):
        who.roll_back()
    assert pointed(who) == who.digest(ONE)


def test_a_journal_of_another_channel(anywhere: Promoter) -> None:
    who = anywhere
    who.moved(ONE)
    who.moved(TWO)
    journal = who.home().read("canary")
    for name, digest in (("stable", journal.pointed), (f"stable{SUFFIX}", journal.head)):
        put_tag(who, name, digest)
    with pytest.raises(EvidenceError, match=r"it is about .*:canary"):
        who.promote(THREE, "stable")


def test_a_record_that_was_dropped(anywhere: Promoter) -> None:
    who = anywhere
    for ref in (ONE, TWO, THREE):
        who.moved(ref)
    state = who.home().read("canary")
    newest, _, oldest = state.journal.records
    for kept in ([newest, oldest], [newest]):
        data = Journal(records=tuple(kept)).dump()
        found = who.store.put_bytes(data, media.MANIFEST)
        put_tag(who, f"canary{SUFFIX}", found.digest)
        with pytest.raises(EvidenceError, match=r"does not follow|ends at record 3"):
            who.promote(ONE)


def test_an_older_journal_with_its_older_image(built: Path, tmp_path: Path, fake: Fake) -> None:
    mine = Promoter(built, address=fake.address).copied(tmp_path / "mine")
    mine.moved(ONE)
    before = dict(fake.tags)
    mine.moved(TWO)
    fake.tags = before
    newest = mine.store.resolve(f"{mine.place}:canary{SUFFIX}")
    seen = parse(mine.store.read(newest.digest), "it").records[0].digest
    with pytest.raises(PromotionError, match=f"no longer has the record {seen}") as raised:
        mine.promote(THREE)
    assert raised.value.remedy.endswith(f"--expect {mine.digest(ONE)}")
    # Who has never looked before cannot know; who says that it is well may go on.
    assert mine.copied(tmp_path / "bare", empty=True).records()[0].said.number == 1
    assert mine.having(expect=mine.digest(ONE)).moved(THREE).number == 2
    assert mine.moved(TWO).number == 3


def test_a_key_that_was_retired_since(anywhere: Promoter) -> None:
    who = anywhere
    who.moved(ONE)
    ring = who.root / "keys/ring.json"
    document = json.loads(ring.read_bytes())
    signer = worlds.key_id("good")
    # Evidence stays good, only the promoter's key is another.
    who.having(key="older").moved(TWO)
    for each in document["keys"]:
        if each["id"] == worlds.key_id("older"):
            each.update(state="retired", retired=1)
    ring.write_text(json.dumps(document))
    with pytest.raises(EvidenceError, match="which was retired") as raised:
        who.promote(THREE)
    assert "--expect" in raised.value.remedy
    done = who.having(expect=who.digest(TWO)).moved(THREE)
    assert done.number == 3
    assert [each.signer for each in who.records()][::2] == [f"key {signer}"] * 2


# Roll-backs --------------------------------------------------------------------------------------


def test_back_once_twice_and_no_further(anywhere: Promoter) -> None:
    who = anywhere
    with pytest.raises(PromotionError, match="led nowhere before"):
        who.roll_back()
    who.moved(ONE)
    with pytest.raises(PromotionError, match="led nowhere before"):
        who.roll_back()
    who.moved(TWO)
    who.moved(THREE)
    back = who.roll_back()
    assert (back.digest, back.restores, back.number, back.name) == (who.digest(TWO), 2, 4, TWO)
    back = who.roll_back()
    assert (back.digest, back.restores, back.number) == (who.digest(ONE), 1, 5)
    with pytest.raises(PromotionError, match="led nowhere before"):
        who.roll_back()
    assert pointed(who) == who.digest(ONE)
    who.moved(THREE)
    assert who.roll_back().digest == who.digest(ONE)
    assert [each.said.restores for each in who.records()] == [1, 0, 1, 2, 0, 0, 0]


def test_age_does_not_hinder_a_roll_back_but_a_fail_does(anywhere: Promoter) -> None:
    who, store = anywhere, anywhere.store
    made = worlds.publish(store, "2.0.0")
    passed(store, made, days=40)
    (who.root / "older.toml").write_text(f"{worlds.POLICY}days = 60\n")
    who.having(policy="older.toml").moved("tiny:2.0.0")
    who.moved(ONE)
    assert who.promote("tiny:2.0.0").promoted is None
    assert who.roll_back().digest == made.image
    who.moved(ONE)
    passed(store, made, "FAIL", device="board2")
    answer = promote.roll_back(who.asked(), lambda _: None)
    assert answer.promoted is None
    assert [each.reason for each in answer.report.findings] == ["smoke"]
    assert pointed(who) == who.digest(ONE)


def test_a_machine_with_nothing_rolls_back(built: Path, tmp_path: Path, fake: Fake) -> None:
    mine = Promoter(built, address=fake.address).copied(tmp_path / "mine")
    mine.moved(ONE)
    mine.moved(TWO)
    bare = mine.copied(tmp_path / "bare", empty=True)
    assert bare.roll_back().digest == mine.digest(ONE)
    assert pointed(mine) == mine.digest(ONE)
    names = {each.annotations.get(REF_NAME) for each in bare.store.entries()} - {None}
    assert names == {f"{bare.place}:canary", f"{bare.place}:canary{SUFFIX}"}
    assert bare.store.check() == ()


def test_what_a_roll_back_needs_has_a_tag(built: Path, tmp_path: Path, fake: Fake) -> None:
    who = Promoter(built, address=fake.address).copied(tmp_path / "mine")
    first, _ = who.moved(ONE), who.moved(TWO)
    kept = f"promoted-{digests.hex_of(first.digest)[:16]}"
    assert fake.tags[kept] == first.digest
    assert fake.tags[f"{kept}-model"] == first.models
    assert fake.tags["canary-model"] != first.models


def test_models_that_the_builds_record_does_not_name_travel_too(
    built: Path, tmp_path: Path, fake: Fake
) -> None:
    who = Promoter(built, address=fake.address).copied(tmp_path / "mine")
    made = worlds.signed_world.put_artifacts(who.store, "bare", "1.0.0")
    for statement in worlds.signed_world.statements(made).values():
        bundle = worlds.signed(statement.payload())
        worlds.signed_world.attach(who.store, made, statement, bundle)
    passed(who.store, made)
    assert who.moved("bare:1.0.0").models == made.models
    assert fake.tags["canary-model"] == made.models
    assert set(made.everything()) <= {*fake.manifests, *fake.blobs}


def test_each_record_is_asked_for_once(built: Path, tmp_path: Path, fake: Fake) -> None:
    mine = Promoter(built, address=fake.address).copied(tmp_path / "mine")
    for ref in (ONE, TWO, THREE):
        mine.moved(ref)
    assert asked_for(fake, mine) == [0, 0, 0]
    fresh = mine.copied(tmp_path / "fresh", empty=True)
    fresh.roll_back()
    assert asked_for(fake, fresh) == [0, 1, 1, 1]
    fresh.roll_back()
    assert asked_for(fake, fresh) == [0, 0, 1, 1, 1]


def test_a_record_that_a_collection_took_is_brought_again(
    built: Path, tmp_path: Path, fake: Fake
) -> None:
    mine = Promoter(built, address=fake.address).copied(tmp_path / "mine")
    mine.moved(ONE)
    mine.moved(TWO)
    fresh = mine.copied(tmp_path / "fresh", empty=True)
    fresh.roll_back(home=Between(fresh.home(), fresh.store.gc))
    assert fresh.store.check() == ()
    assert asked_for(fake, fresh) == [0, 2, 2]


def asked_for(fake: Fake, who: Promoter) -> list[int]:
    """How often each record's bytes went over the line, newest first."""
    return [len(fake.asked("GET", f"/blobs/{each.bundle}")) for each in who.records()]


# Who is second -----------------------------------------------------------------------------------


class Between:
    """A home in which something happens right before the move."""

    def __init__(self, home: Any, what: Callable[[], Any]) -> None:
        self._home = home
        self._what = what

    def __getattr__(self, name: str) -> Any:
        return getattr(self._home, name)

    def move(self, *about: Any) -> bool:
        self._what()
        return bool(self._home.move(*about))


def test_who_comes_second_is_told_who_won(anywhere: Promoter) -> None:
    who = anywhere
    who.moved(ONE)
    home = Between(who.home(), lambda: who.moved(TWO))
    with pytest.raises(PromotionError) as raised:
        who.promote(THREE, home=home)
    signer = worlds.key_id("good")
    assert raised.value.message == (
        f"{who.place}:canary was moved meanwhile: it leads to {who.digest(TWO)} now "
        f"(record 2: {TWO}, by key {signer})"
    )
    assert [each.said.number for each in who.records()] == [2, 1]


def test_second_with_the_same_is_no_loss_but_for_who_expected_something(
    anywhere: Promoter,
) -> None:
    who = anywhere
    done = who.moved(TWO, home=Between(who.home(), lambda: who.moved(TWO)))
    assert (done.moved, done.number) == (False, 1)
    expecting = who.having(expect=who.digest(TWO))
    home = Between(who.home(), lambda: who.moved(ONE))
    with pytest.raises(PromotionError, match="was moved meanwhile"):
        expecting.promote(ONE, home=home)


def test_there_and_back_is_a_move_too(anywhere: Promoter) -> None:
    who = anywhere
    who.moved(ONE)

    def there_and_back() -> None:
        who.moved(TWO)
        who.moved(ONE)

    with pytest.raises(PromotionError, match="was moved meanwhile"):
        who.promote(THREE, home=Between(who.home(), there_and_back))


# Who ends midway ---------------------------------------------------------------------------------


class Killed(BaseException):
    """A process that does nothing more, not even clean up."""


class Trouble:
    """Counts requests from the first one that is about the claim, and does something to one.

    Args:
        at: which, from 0.
        how: ``before`` or ``after`` it, the process ends; ``lost``: its answer is; ``never``: it
            is itself; ``late``: it comes when `deliver` is called.
    """

    def __init__(self, at: int, how: str) -> None:
        self.at = at
        self.how = how
        self.seen = 0
        self.met = ""
        self.dead = False
        self.deliver: Callable[[], None] = lambda: None

    def __call__(self, send: Callable[[], Any], request: Request) -> Any:
        if self.dead:
            raise Killed
        if not self.seen and "canary.claim" not in request.url:
            return send()
        self.seen += 1
        if self.seen - 1 != self.at:
            return send()
        self.met = f"{request.method} {request.url.rpartition('/')[2]}"
        if self.how in ("before", "after"):
            self.dead = True
        if self.how in ("after", "lost"):
            send().close()
        if self.dead:
            raise Killed
        if self.how == "late":
            self.deliver = lambda: send().close()
        why = "cut"
        raise Again(why)


@contextmanager
def moving(built: Path, tmp_path: Path) -> Iterator[tuple[Fake, Promoter]]:
    """A channel that leads to ONE, and somebody who has all the time in the world."""
    with serving(Fake(api=False)) as fake:
        who = Promoter(built, address=fake.address).copied(tmp_path / "mine")
        who.moved(ONE)
        for ref in (TWO, THREE):
            who.home().publish(who.digest(ref))
        yield fake, who.having(reader=who.home())


REQUESTS = 15


def test_whoever_ends_wherever_leaves_no_lie(built: Path, tmp_path: Path) -> None:
    with moving(built, tmp_path) as (fake, who):
        at_first = dict(fake.tags)
        met = []
        for at, how in itertools.product(range(REQUESTS), ("before", "after")):
            anew(fake, who, at_first)
            trouble = Trouble(at, how)
            with pytest.raises(Killed):
                who.having(over=trouble).moves(TWO)
            met.append(trouble.met)
            check(fake, who)
            came_through = fake.tags["canary"] == who.digest(TWO)
            clock = Clock()
            assert who.having(patience=clock.patience()).moves(THREE)
            assert who.records()[0].said.number == (3 if came_through else 2)
            assert clock.at < 150
            assert fake.tags["canary.claim"] == digests.of_bytes(free())
            check(fake, who)
        # The last of them all is the one that lets others in.
        assert met[-1] == "PUT canary.claim"
        assert [each for each in met[::2] if each.startswith("PUT")] == [
            "PUT canary.claim",
            "PUT canary.channel",
            "PUT canary-model",
            "PUT canary",
            "PUT canary.channel",
            "PUT canary.claim",
        ]


def anew(fake: Fake, who: Promoter, tags: dict[str, str]) -> None:
    """All as it was, and nobody remembers."""
    fake.tags = dict(tags)
    for name in ("canary", f"canary{SUFFIX}"):
        with suppress(StoreError):
            who.store.untag(f"{who.place}:{name}")


def check(fake: Fake, who: Promoter, number: int = 0) -> None:
    """The tag leads to something proven, and the journal agrees with it."""
    newest = who.records()[0]
    assert number in (0, newest.said.number)
    assert fake.tags["canary"] == newest.said.image
    assert fake.tags["canary"] in {who.digest(each) for each in (ONE, TWO, THREE)}
    assert fake.tags["canary-model"] in fake.manifests


@pytest.mark.parametrize("how", ["lost", "never", "late"])
def test_answers_and_requests_that_are_lost_or_late(how: str, built: Path, tmp_path: Path) -> None:
    """Each is cut and tried again; the late one comes when all is over."""
    with moving(built, tmp_path) as (fake, who):
        at_first = dict(fake.tags)
        for at in range(REQUESTS):
            anew(fake, who, at_first)
            trouble = Trouble(at, how)
            assert who.having(over=trouble, patience=Clock().patience()).moves(TWO)
            if trouble.met.startswith("PUT"):
                trouble.deliver()
            check(fake, who, 2)
            assert who.having(patience=Clock().patience()).moves(THREE)
            check(fake, who, 3)


def test_a_claim_that_comes_late_hinders_nobody_who_is_inside(built: Path, tmp_path: Path) -> None:
    with moving(built, tmp_path) as (fake, who):
        at_first = dict(fake.tags)
        for moment in range(REQUESTS):
            anew(fake, who, at_first)
            late = Trouble(2, "late")
            with pytest.raises(Killed):
                # Its claim is under way when it ends.
                who.having(over=_both(late, Trouble(3, "before"))).moves(TWO)
            assert late.met == "PUT canary.claim"
            deliver = _Deliver(moment, late.deliver)
            assert who.having(over=deliver, patience=Clock().patience()).moves(THREE)
            check(fake, who, 2)
            assert who.having(patience=Clock().patience()).moves(TWO)
            check(fake, who, 3)


def _both(first: Trouble, second: Trouble) -> Callable[..., Any]:
    return lambda send, request: second(lambda: first(send, request), request)


class _Deliver(Trouble):
    def __init__(self, at: int, what: Callable[[], None]) -> None:
        super().__init__(at, "late")
        self._what = what

    def __call__(self, send: Callable[[], Any], request: Request) -> Any:
        self.seen += bool(self.seen or "canary.claim" in request.url)
        if self.seen - 1 == self.at:
            self._what()
        return send()


def test_who_finds_a_claim_says_that_it_waits(built: Path, tmp_path: Path) -> None:
    with moving(built, tmp_path) as (_, who):
        with pytest.raises(Killed):
            who.having(over=Trouble(4, "before")).moves(TWO)
        said: list[str] = []
        who.moved(THREE, home=who.having(patience=Clock().patience()).home(said))
        assert said == ["somebody holds canary.claim: waiting for them"]


def test_a_move_that_others_undo_at_once_is_told(built: Path, tmp_path: Path) -> None:
    with moving(built, tmp_path) as (fake, who):
        one = who.digest(ONE)

        def meddle(handler: Any) -> bool:
            if handler.command in ("GET", "HEAD") and handler.path.endswith("/manifests/canary"):
                fake.tags["canary"] = one
            return False

        fake.before = meddle
        with pytest.raises(RegistryError, match="right after it was moved") as raised:
            who.promote(TWO)
        assert "only `promote`" in raised.value.remedy


# Names in stores ---------------------------------------------------------------------------------


def test_names_in_a_store(here: Promoter) -> None:
    store = here.store
    assert promote.name_in_store(store, ONE) == "tiny"
    assert promote.name_in_store(store, here.digest(ONE)) == "tiny"
    with pytest.raises(InputError, match="a name with a host"):
        promote.name_in_store(store, "registry.example/tiny:1")
    store.tag(store.resolve(ONE), "again:1")
    with pytest.raises(InputError, match="2 names"):
        promote.name_in_store(store, here.digest(ONE))
    with pytest.raises(StoreError, match="not in the store"):
        promote.name_in_store(store, "tiny")


def test_a_collection_keeps_the_journal(here: Promoter) -> None:
    here.moved(ONE)
    here.moved(TWO)
    here.moved(THREE, "stable")
    records = [each.bundle for each in here.records()]
    store = here.store
    store.gc(untagged=True)
    assert store.check() == ()
    assert [each.bundle for each in here.records()] == records
    assert here.roll_back().digest == here.digest(ONE)
    # The journals that were replaced are debris.
    names = [each.annotations.get(REF_NAME) for each in store.entries()]
    assert names.count(f"tiny:canary{SUFFIX}") == 1
    dropped = store.gc(untagged=True)
    assert all(each.digest not in {x.digest for x in store.entries()} for each in dropped.entries)
    kept = store.resolve(f"tiny:canary{SUFFIX}")
    assert len(parse(store.read(kept.digest), "it").records) == 3


def test_a_store_that_is_new_has_no_channel(tmp_path: Path, built: Path) -> None:
    bare = Promoter(built).copied(tmp_path / "bare", empty=True)
    assert bare.store.entries() == Store.open(bare.root / "store").entries() == ()
    with pytest.raises(PromotionError, match="led nowhere before"):
        bare.roll_back()
