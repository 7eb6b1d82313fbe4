"""What `push`, `copy`, `pull` and `show` do with the tags and names of channels."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import promote_world as worlds
import pytest
from fake_registry import Fake, serving
from promote_world import ONE, REF_NAME, TWO, Promoter

from buildkit import media
from buildkit.cli import main
from buildkit.errors import InputError
from buildkit.evidence import journal as journals
from buildkit.pipeline import registries
from buildkit.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def fake() -> Iterator[Fake]:
    with serving(Fake(api=False)) as served:
        yield served


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tags") / "world"
    worlds.build(root)
    return root


@pytest.fixture
def who(fake: Fake, built: Path, tmp_path: Path) -> Promoter:
    """Somebody who has promoted ONE in a registry, and in their store."""
    found = Promoter(built, address=fake.address).copied(tmp_path / "mine")
    found.moved(ONE)
    found.having(address="").moved(ONE)
    return found


@pytest.mark.parametrize("tag", ["canary", "canary-model", "canary.channel", "canary.claim"])
def test_push_and_copy_leave_channels_alone(tag: str, who: Promoter, fake: Fake) -> None:
    before = dict(fake.tags)
    goal = f"{who.place}:{tag}"
    with pytest.raises(InputError, match="canary is a channel") as raised:
        registries.push(TWO, goal, store=who.store, access=who.access)
    assert f"promote REF --to canary --policy FILE --in {who.place}" in raised.value.remedy
    with pytest.raises(InputError, match="canary is a channel"):
        registries.copy(
            f"{who.place}:promoted-{who.digest(ONE)[7:23]}",
            goal,
            from_access=who.access,
            to_access=who.access,
        )
    assert fake.tags == before


def test_other_tags_are_free(who: Promoter, fake: Fake) -> None:
    registries.push(TWO, f"{who.place}:stable", store=who.store, access=who.access)
    assert fake.tags["stable"] == who.digest(TWO)


def test_pull_brings_the_journal(who: Promoter, tmp_path: Path) -> None:
    who.moved(TWO)
    store = Store.create(tmp_path / "auditor")
    registries.pull(f"{who.place}:canary", store=store, access=who.access)
    named = {each.annotations.get(REF_NAME): each.digest for each in store.entries()}
    assert named["tiny:canary"] == named[f"{who.place}:canary"] == who.digest(TWO)
    journal = journals.parse(store.read(named[f"{who.place}:canary.channel"]), "it")
    assert journal == who.home().read("canary").journal
    for each in journal.records:
        assert len(store.read(each.digest)) == each.size
    assert store.check() == ()
    store.gc(untagged=True)
    assert store.resolve(f"{who.place}:canary.channel").digest


def test_pull_of_anything_else_brings_none(who: Promoter, tmp_path: Path, fake: Fake) -> None:
    store = Store.create(tmp_path / "auditor")
    kept = f"promoted-{who.digest(ONE)[7:23]}"
    fake.tags[f"{kept}.channel"] = fake.tags["canary-model"]
    registries.pull(f"{who.place}:{kept}", store=store, access=who.access)
    names = {each.annotations.get(REF_NAME) for each in store.entries()} - {None}
    assert names == {f"tiny:{kept}", f"tiny-model:{kept}"}


def test_pull_leaves_a_channel_of_the_store_alone(who: Promoter) -> None:
    before = who.store.entries()
    with pytest.raises(InputError, match="tiny:canary is a channel of this store"):
        registries.pull(f"{who.place}:canary", store=who.store, access=who.access)
    assert who.store.entries() == before
    registries.pull(f"{who.place}:canary", store=who.store, access=who.access, name="tiny:seen")
    assert who.digest("tiny:seen") == who.digest(ONE)


def test_show_and_verify(
    who: Promoter, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_BUILDKIT_KEYS", str(who.root / "keys"))
    there = ["--store", str(who.root / "store")]
    assert main(["show", *there]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    kinds = {row[0]: row[1] for row in rows if len(row) > 1}
    assert kinds["tiny:canary.channel"] == "edge-buildkit.channel.v1"
    assert kinds[f"{who.place}:canary.channel"] == "edge-buildkit.channel.v1"
    for name in ("tiny:canary", f"{who.place}:canary"):
        assert main(["verify", name, "--json", *there]) == 0
        assert json.loads(capsys.readouterr().out)["artifact"] == who.digest(ONE)
    assert main(["show", "tiny:canary.channel", *there]) == 0
    assert who.having(address="").records()[0].bundle in capsys.readouterr().out
    # A journal is no artifact.
    assert main(["verify", "tiny:canary.channel", *there]) in (1, 2)
    assert media.CHANNEL.startswith("application/")


def test_both_rooms_mean_the_same_tag() -> None:
    assert registries.JOURNAL == journals.SUFFIX
