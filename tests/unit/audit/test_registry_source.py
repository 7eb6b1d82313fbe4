"""An index of a repository of a registry: as one of a store, but for names and channels."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.append(str(Path(__file__).parents[1] / "registry"))

import audit_world as worlds
import pytest
from audit_world import World, dump, opened
from fake_registry import Fake, serving
from registry_world import access
from signed_world import statements

from buildkit import digests
from buildkit.audit import sync
from buildkit.errors import RegistryError
from buildkit.pipeline import audit_registry
from buildkit.registry import parse
from buildkit.registry.tags import tags
from buildkit.store import REF_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildkit.audit.database import Index
    from buildkit.audit.sync import Synced

NAME = "tiny"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = worlds.World.empty(tmp_path_factory.mktemp("audit") / "world")
    one = world.build(NAME, "1.0.0")
    world.passed(one)
    world.run(one, "stranger", host=())
    return world


@pytest.fixture(params=[True, False], ids=["api", "tags"])
def fake(request: pytest.FixtureRequest, built: World) -> Iterator[Fake]:
    """A registry that has all that the store has."""
    with serving(Fake(api=request.param, page=3)) as served:
        fill(served, built)
        yield served


def fill(fake: Fake, world: World) -> None:
    fake.tags.clear()
    fake.manifests.clear()
    for path in (world.root / "store/blobs/sha256").iterdir():
        data = path.read_bytes()
        digest = digests.of_bytes(data)
        fake.blobs[digest] = data
        document = json.loads(data) if data[:1] == b"{" else {}
        if "schemaVersion" in document:
            fake.manifests[digest] = (document["mediaType"], data)
    hanging: dict[str, list[str]] = {}
    for each in world.store.entries():
        name, colon, tag = each.annotations.get(REF_NAME, "").partition(":")
        if colon:
            fake.tags[f"{tag}{name.removeprefix(NAME)}"] = each.digest
    for digest, (_, data) in list(fake.manifests.items()):
        subject = json.loads(data).get("subject")
        if subject:
            hanging.setdefault(subject["digest"], []).append(digest)
    if fake.api:
        return
    for subject, found in hanging.items():
        index = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [
                {
                    "mediaType": fake.manifests[each][0],
                    "digest": each,
                    "size": len(fake.manifests[each][1]),
                }
                for each in found
            ],
        }
        data = json.dumps(index).encode()
        digest = digests.of_bytes(data)
        fake.manifests[digest] = (index["mediaType"], data)  # type: ignore[assignment]
        fake.tags[subject.replace(":", "-")] = digest


def refresh(index: Index, fake: Fake, world: World) -> Synced:
    where = parse(f"{fake.address}/{NAME}")
    return audit_registry.refresh(index, where, access=access(), trust=world.trust())


def test_it_says_what_the_store_says(fake: Fake, built: World, tmp_path: Path) -> None:
    with opened(tmp_path / "store.sqlite") as one, opened(tmp_path / "other.sqlite") as other:
        built.sync(one)
        assert refresh(other, fake, built).refused == 1
        worlds.check(other)
        here, there = dump(one), dump(other)
        for table in here.keys() - {"source", "presence", "carried"}:
            assert here[table] == there[table], table
        names = {row[2] for row in there["presence"]}
        assert names == {"", *(f"{fake.address}/{NAME}:1.0.0{end}" for end in ("", "-model"))}
        # The same again reads tags, indexes and lists alone.
        fake.requests.clear()
        assert refresh(other, fake, built) == sync.Synced(artifacts=6)
        assert dump(other) == there
        assert not any("/blobs/" in path for _, path, _ in fake.requests)


def test_both_in_one_index(fake: Fake, built: World, tmp_path: Path) -> None:
    with opened(tmp_path / "both.sqlite") as index:
        built.sync(index)
        before = dump(index)
        assert refresh(index, fake, built).added == 0
        fake.tags.clear()
        assert refresh(index, fake, built).removed == 0
        after = dump(index)
        for table in before.keys() - {"source"}:
            assert before[table] == after[table], table


def test_a_blob_that_is_gone_is_refused_alone(fake: Fake, built: World, tmp_path: Path) -> None:
    with opened(tmp_path / "a.sqlite") as whole, opened(tmp_path / "b.sqlite") as index:
        refresh(whole, fake, built)
        bundle = next(row[1] for row in dump(whole)["statement"] if row[3] == "verdict")
        data = fake.blobs.pop(bundle)
        refresh(index, fake, built)
        assert dump(index)["verdict"] == []
        reasons = sorted(row[6] for row in dump(index)["statement"] if row[6])
        assert reasons == ["blob-missing", "blob-missing", "signer-unknown"]
        fake.blobs[bundle] = data
        refresh(index, fake, built)
        assert dump(index) == dump(whole)


def test_statements_are_held_against_the_lock_there(
    fake: Fake, built: World, tmp_path: Path
) -> None:
    world = built.copied(tmp_path / "world")
    made = world.made[f"{NAME}:1.0.0"]
    said = statements(made)["provenance"]
    predicate = json.loads(json.dumps(said.predicate))
    predicate["buildDefinition"]["resolvedDependencies"].pop()
    world.say(made, dataclasses.replace(said, predicate=predicate))
    fill(fake, world)
    with opened(tmp_path / "index.sqlite") as index:
        refresh(index, fake, world)
        assert {row[6] for row in dump(index)["statement"]} == {"", "signer-unknown", "material"}
        assert len(dump(index)["build"]) == 1


def test_tags_are_listed_page_by_page(fake: Fake) -> None:
    repository = access().repository(parse(f"{fake.address}/{NAME}"))
    assert tags(repository) == tuple(sorted(fake.tags))
    fake.tags["no/tag"] = "sha256:" + "0" * 64
    with pytest.raises(RegistryError, match="cannot be a tag"):
        tags(repository)


def test_a_registry_that_is_not_there_leaves_the_index_as_it_was(
    built: World, tmp_path: Path
) -> None:
    with opened(tmp_path / "index.sqlite") as index:
        with serving(Fake()) as fake:
            fill(fake, built)
            refresh(index, fake, built)
        before = dump(index)
        with pytest.raises(RegistryError):
            refresh(index, fake, built)
        assert dump(index) == before
