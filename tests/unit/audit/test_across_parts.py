"""What is rightly signed, and contradicts what it is about; what is not signed, and misleads.

Each test does what somebody who owns the store, or has one of its keys, can do, and asks for what
an auditor would be told.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.append(str(Path(__file__).parents[1] / "evidence/verify"))

import audit_world as worlds
import pytest
import signed_world
from signed_world import signed, statements
from smoke_world import ARM, judged, ran
from world_boms import cyclonedx

from buildkit import audit, canonical, media
from buildkit.audit.report.facts import facts as report
from buildkit.errors import InputError
from buildkit.evidence import kinds
from buildkit.evidence.policytypes import Policy, Rebuilders
from buildkit.evidence.smoke import payload_digest
from buildkit.evidence.statement import Statement, Subject

if TYPE_CHECKING:
    from audit_world import World
    from signed_world import Made

    from buildkit.audit import Answer, Index, Step
    from buildkit.audit.report.types import Report
    from buildkit.records import Descriptor


def reasons(index: Index, kind: str) -> set[str]:
    """Why statements of a kind by somebody who counts are refused."""
    query = "SELECT DISTINCT kind, reason FROM statement WHERE signer IS NOT NULL AND reason <> ''"
    return {str(reason) for each, reason in audit.sql(index, query).rows if each == kind}


def count(index: Index, table: str) -> int:
    """How many rows a table has."""
    return next(each.count for each in audit.status(index).rows if each.name == table)


def page(index: Index, ref: str) -> Report:
    """What a report would show."""
    with index.connect() as connection:
        return report(connection, ref)


def path(index: Index, ref: str) -> Answer[Step]:
    """A chain from an artifact to one of its packages."""
    return audit.path(index, ref, "numpy")


def wrapper(world: World, made: Made, **notes: str) -> Descriptor:
    """An index of images that nobody signed, of platforms that somebody else built."""
    document = canonical.load(world.store.read(made.image))
    document["annotations"] |= notes
    return world.store.put_bytes(canonical.dump(document), media.INDEX)


def built_otherwise(world: World) -> Made:
    """``tiny:1.0.0`` by a lock that was made with another model file."""
    lock = world.made["tiny:1.0.0"].lock
    forged = dataclasses.replace(lock.model, quantized_sha256="0" * 64)
    lock = dataclasses.replace(lock, model=forged)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signed_world, "make_lock", lambda *_: lock)
        return world.build("tiny", "1.0.0")


# Names ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("question", ["devices", "materials", "who", "path", "report"])
def test_an_old_version_under_a_new_name_is_not_answered_for(world: World, question: str) -> None:
    old = world.made["tiny:1.0.0"]
    world.untag("tiny:1.1.0")
    world.store.tag(world.store.resolve(old.image), "tiny:1.1.0")
    with world.indexed() as index:
        ask: Any = {"path": path, "report": page}.get(question) or getattr(audit, question)
        with pytest.raises(InputError, match=r"calls itself 'tiny:1\.0\.0'"):
            ask(index, "tiny:1.1.0")
        # By its own name, and by its digest, it is what it was.
        assert audit.devices(index, "tiny:1.0.0") == audit.devices(index, old.image)
        names = page(index, old.image).top.names
        assert "tiny:1.1.0 in store (it is not that)" in names


def test_a_name_of_ones_own_may_lead_anywhere(world: World) -> None:
    old = world.made["tiny:1.0.0"]
    world.store.tag(world.store.resolve(old.image), "shelf:best")
    with world.indexed() as index:
        assert audit.devices(index, "shelf:best") == audit.devices(index, old.image)


def test_what_ran_as_another_version_is_not_told_of_an_index_around_it(world: World) -> None:
    made = world.made["tiny:1.0.0"]
    forged = wrapper(world, made, **{media.VERSION: "9.9.9"})
    world.store.tag(forged, "tiny:9.9.9")
    with world.indexed() as index:
        assert audit.devices(index, made.image).rows
        assert audit.devices(index, "tiny:9.9.9").rows == ()
        assert audit.who(index, "tiny:9.9.9").rows == ()
        assert forged.digest not in {row.image for row in audit.contains(index, "numpy").rows}
        assert page(index, "tiny:9.9.9").runs == ()
        assert page(index, made.platforms[ARM]).top.digest == made.image


def test_what_ran_with_the_model_is_not_told_of_another_image(world: World) -> None:
    """An unsigned image of the same name and version that names an honest model."""
    made = world.made["tiny:1.1.0"]
    document = canonical.load(world.store.read(made.image))
    child = canonical.load(world.store.read(made.platforms[ARM]))
    child["layers"] = child["layers"][:1]
    config = canonical.load(world.store.read(child["config"]["digest"]))
    config["rootfs"]["diff_ids"] = config["rootfs"]["diff_ids"][:1]
    child["config"] = world.store.put_json(config, media.CONFIG).to_json()
    evil = world.store.put_json(child, media.MANIFEST, platform=ARM)
    document["manifests"] = [evil.to_json()]
    image = world.store.put_json(document, media.INDEX)
    world.store.tag(image, "shelf:new")
    with world.indexed() as index:
        assert audit.devices(index, made.image).rows
        assert audit.devices(index, image.digest).rows == ()
        found = page(index, image.digest)
        assert (found.runs, found.verdicts) == ((), ())
        assert {row.image for row in audit.devices(index, made.models).rows} == {
            made.platforms[ARM]
        }


# Channels ---------------------------------------------------------------------------------------


def test_a_tag_that_was_moved_without_a_record_is_marked(world: World) -> None:
    one, two = world.made["tiny:1.0.0"], world.made["tiny:1.1.0"]
    with world.indexed() as index:
        assert {row.mark for row in audit.history(index, "tiny:canary").rows} == {""}
        before = worlds.dump(index)
        world.store.tag(world.store.resolve(two.image), "tiny:canary")
        world.sync(index)
        mark = f"its tag leads to {two.image}"
        marks = [(row.number, row.mark) for row in audit.history(index, "tiny:canary").rows]
        assert marks == [(3, mark), (2, ""), (1, "")]
        at = {row.channel: row.mark for row in audit.at(index, world.now).rows}
        assert at == {"tiny:canary": mark, "tiny:stable": ""}
        first = audit.history(index, "tiny:canary").rows[-1]
        assert {row.mark for row in audit.at(index, first.at).rows} == {""}
        held = {
            (row.name, row.mark)
            for row in audit.contains(index, "numpy").rows
            if row.what == "channel"
        }
        assert held == {("tiny:canary", mark), ("tiny:stable", "")}
        promoted = page(index, one.image).promotions
        leads = [each.channel for each in promoted if each.leads_here]
        assert leads == ["stable"]
        assert {each.name for each in audit.status(index).refused} >= {"name"}
        # Led back, it is as it was.
        world.store.tag(world.store.resolve(one.image), "tiny:canary")
        world.sync(index)
        assert worlds.dump(index, but=("meta", "sought", "source")) == {
            table: rows for table, rows in before.items() if table != "source"
        }


def test_a_channel_without_its_tag_is_marked(world: World) -> None:
    world.store.untag("tiny:canary")
    with world.indexed() as index:
        (newest, *_) = audit.history(index, "tiny:canary").rows
        assert newest.mark == "it has no tag"


def test_a_record_that_names_another_model_than_its_image_is_no_fact(world: World) -> None:
    made = world.made["tiny:1.1.0"]
    world.made["tiny:1.1.0"] = dataclasses.replace(made, models=world.made["other:1.0.0"].models)
    world.promote("tiny:1.1.0", "next")
    with world.indexed() as index:
        assert audit.history(index, "tiny:next").rows == ()
        assert reasons(index, "promotion") == {"subject"}


# Test results -----------------------------------------------------------------------------------


def test_a_device_that_signs_what_another_saw_takes_nothing_from_it(world: World) -> None:
    made = world.made["tiny:1.1.0"]
    at = world.now + 60
    said = ran(made, nonce="copied", change=in_run("", "ended", canonical.timestamp(at)))
    for key in ("board", "board2"):
        world.say(made, said, key)
    world.judge(made, [said.payload()], devices=("board",))
    with world.indexed() as index:
        found = [
            (row.device, row.verdict)
            for row in audit.devices(index, made.image, all_runs=True).rows
            if row.ended == at
        ]
        assert sorted(found) == [("board", "PASS"), ("board2", "")]
        (newest, *_) = audit.passed(index).rows
        assert (newest.devices, newest.named) == (1, 1)


def test_who_signs_first_does_not_matter(world: World, tmp_path: Path) -> None:
    """One row for each device, whatever comes and goes in between."""
    made = world.made["tiny:1.1.0"]
    said = ran(made, nonce="copied")
    with world.indexed() as index:
        for key in ("good", "board2", "board", "older"):
            world.say(made, said, key)
            world.sync(index)
        with worlds.opened(tmp_path / "anew.sqlite") as anew:
            world.sync(anew)
            assert worlds.dump(index) == worlds.dump(anew)
        query = """SELECT payload, label FROM run JOIN statement s ON s.id = statement
            LEFT JOIN signer ON signer.id = device"""
        payload = f"sha256:{payload_digest(said.payload())}"
        found = [label for each, label in audit.sql(index, query).rows if each == payload]
        assert sorted(map(str, found)) == ["board", "board2"]


def in_run(key: str, name: str, value: str) -> Any:
    def change(found: dict[str, Any]) -> None:
        (found["run"][key] if key else found["run"])[name] = value

    return change


def test_a_device_cannot_pair_an_image_with_the_model_of_another(world: World) -> None:
    """It says that this model is one of the image's; the image's own index says it is not."""
    made, other = world.made["tiny:1.1.0"], world.made["other:1.0.0"]
    model = other.variants["pi5"]
    said = ran(
        made, change=in_run("model", "manifest", model), subjects=(made.platforms[ARM], model)
    )
    with world.indexed() as index:
        before = count(index, "run")
        # On the image alone, where nothing about the model is at hand.
        signed_world.attach(
            world.store,
            dataclasses.replace(made, variants={}),
            said,
            signed(said.payload(), "board"),
        )
        world.sync(index)
        assert count(index, "run") == before
        assert "subject" in reasons(index, "test-result")


def test_what_is_refused_on_the_model_is_refused_on_the_image(world: World) -> None:
    made = world.made["tiny:1.1.0"]

    def other_golden(found: dict[str, Any]) -> None:
        found["configuration"][0]["digest"]["sha256"] = "0" * 64

    def other_target(found: dict[str, Any]) -> None:
        found["run"]["target"] = "jetson"

    def other_file(found: dict[str, Any]) -> None:
        found["run"]["report"]["model"]["sha256"] = "0" * 64

    with world.indexed() as index:
        before = count(index, "run")
        for change in (other_golden, other_target, other_file):
            world.say(made, ran(made, change=change), "board")
        world.sync(index)
        assert count(index, "run") == before
        assert reasons(index, "test-result") == {"model"}


def test_a_test_result_as_part_of_another_image_index(world: World) -> None:
    made = world.made["tiny:1.1.0"]
    index_ = world.made["tiny:1.0.0"].image
    with world.indexed() as index:
        before = count(index, "run")
        world.say(made, ran(made, change=in_run("image", "index", index_)), "board")
        world.sync(index)
        assert count(index, "run") == before
        assert reasons(index, "test-result") == {"subject"}


# What comes later -------------------------------------------------------------------------------


def test_an_index_that_comes_later_is_held_against_what_was_there(world: World) -> None:
    """Which models an image has, says their index; while that is away, nobody can object."""
    made, model = world.made["tiny:1.1.0"], "sha256:" + "5" * 64
    said = ran(
        made, change=in_run("model", "manifest", model), subjects=(made.platforms[ARM], model)
    )
    away: list[Any] = []

    def remove(rows: list[Any]) -> list[Any]:
        away.extend(row for row in rows if row["digest"] == made.models)
        return [row for row in rows if row not in away]

    with world.indexed() as index:
        world.entries(remove)
        world.sync(index)
        before = count(index, "run")
        alone = dataclasses.replace(made, variants={}, models="")
        signed_world.attach(world.store, alone, said, signed(said.payload(), "board"))
        for _ in range(2):
            world.sync(index)
            assert count(index, "run") == before + 1
            world.entries(lambda rows: [*rows, *away])
            world.sync(index)
            assert count(index, "run") == before
            assert "subject" in reasons(index, "test-result")
            away.clear()
            world.entries(remove)


def test_a_lock_that_comes_later_is_held_against_what_was_there(world: World) -> None:
    """With the entry that leads to it, as a pull brings it."""
    false = built_otherwise(world)
    path = world.store.path(false.lock_digest)
    data = path.read_bytes()
    path.unlink()
    with world.indexed() as index:
        assert reasons(index, "provenance") == set()
        path.write_bytes(data)
        world.store.tag(world.store.resolve(false.image), "again:1")
        world.sync(index)
        assert reasons(index, "provenance") == {"model"}
        path.unlink()
        world.store.tag(world.store.resolve(false.image), "again:2")
        world.sync(index)
        assert reasons(index, "provenance") == set()


# Verdicts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["lock", "other"])
def test_a_verdict_about_a_model_that_is_none_of_the_image(world: World, what: str) -> None:
    made, other = world.made["tiny:1.1.0"], world.made["other:1.0.0"]
    wrong = {"pi5": made.image if what == "lock" else other.variants["pi5"]}
    said = judged(dataclasses.replace(made, variants=wrong), [b"run"])
    with world.indexed() as index:
        before = audit.passed(index)
        world.say(dataclasses.replace(made, models="", variants={}), said)
        world.sync(index)
        assert audit.passed(index) == before
        assert reasons(index, "verdict") == {"subject"}


@pytest.mark.parametrize(
    ("case", "wanted"),
    [
        ("honest", (1, 1, "")),
        ("taken away", (0, 1, "")),
        ("failed", (0, 1, "")),
        ("unsigned", (0, 1, "")),
        ("another device", (0, 1, "")),
        ("another platform", (0, 1, "")),
        ("stand-in", (0, 1, "stand-in")),
    ],
)
def test_devices_that_passed_are_those_that_say_so(
    world: World, case: str, wanted: tuple[int, int, str]
) -> None:
    made = world.made["tiny:1.1.0"]
    how: dict[str, Any] = {
        "failed": {"result": "FAILED"},
        "unsigned": {"device": ""},
        "another device": {"device": "board2"},
        "another platform": {"platform": "linux/amd64", "target": "amd64"},
        "stand-in": {"mark": "stand-in"},
    }.get(case, {})
    payload = b"nothing" if case == "taken away" else world.run(made, **how)
    world.judge(made, [payload], devices=("board",))
    with world.indexed() as index:
        (newest, *_) = audit.passed(index, target="pi5").rows
        assert (newest.devices, newest.named, newest.mark) == wanted
        assert newest.at == world.now


# SBOMs and provenance ---------------------------------------------------------------------------


def test_an_sbom_that_leaves_out_what_is_locked_is_no_fact(world: World) -> None:
    made = world.made["tiny:1.0.0"]
    digest = made.platforms[ARM]
    pins = made.lock.platforms[ARM]
    said = Statement(
        subjects=(Subject(name="x", digest=digest),),
        predicate_type=kinds.CYCLONEDX.predicate_type,
        predicate=cyclonedx("tiny", digest, pins.debian),
    )
    with world.indexed() as index:
        before = worlds.dump(index)["holds"]
        world.say(made, said)
        world.sync(index)
        assert worlds.dump(index)["holds"] == before
        assert reasons(index, "cyclonedx") == {"sbom"}


def _change(name: str) -> Any:
    def change(found: dict[str, Any]) -> None:
        listed = found["buildDefinition"]["resolvedDependencies"]
        if name == "left out":
            listed.pop()
        elif name == "more":
            listed.append({"name": "left-pad", "uri": "pkg:npm/left-pad@1", "digest": {}})
        elif name == "recipe":
            found["buildDefinition"]["externalParameters"]["recipe"]["name"] = "other"

    return change


@pytest.mark.parametrize(
    ("name", "reason"), [("left out", "material"), ("more", "material"), ("recipe", "name")]
)
def test_a_provenance_that_its_lock_does_not_bear_out(world: World, name: str, reason: str) -> None:
    made = world.made["tiny:1.0.0"]
    said = statements(made)["provenance"]
    predicate = json.loads(json.dumps(said.predicate))
    _change(name)(predicate)
    with world.indexed() as index:
        before = audit.materials(index, made.image)
        world.say(made, dataclasses.replace(said, predicate=predicate))
        world.sync(index)
        assert audit.materials(index, made.image) == before
        assert reasons(index, "provenance") == {reason}


@pytest.mark.parametrize("kind", ["provenance", "cyclonedx linux/arm64"])
def test_two_statements_that_cannot_both_be_true_are_a_gap(world: World, kind: str) -> None:
    made = world.made["tiny:1.0.0"]
    said = statements(made)[kind]
    word = kind.partition(" ")[0]
    with world.indexed() as index:
        assert {row.gap for row in audit.gaps(index, kinds=[word]).rows} == set()
        # The same bytes by somebody else are no contradiction.
        world.say(made, said, "older")
        world.sync(index)
        assert {row.gap for row in audit.gaps(index, kinds=[word]).rows} == set()
        renamed = tuple(
            dataclasses.replace(each, name=f"{each.name} too") for each in said.subjects
        )
        world.say(made, dataclasses.replace(said, subjects=renamed))
        world.sync(index)
        rows = audit.gaps(index, kinds=[word]).rows
        assert {row.gap for row in rows} == {"differ"}
        about = {each.digest for each in said.subjects} - {made.weight}
        assert {row.digest for row in rows} == about
        assert {len(row.evidence) for row in rows} == {3}
        assert audit.gaps(index, kinds=[word], retired=True).rows == ()


@pytest.mark.parametrize("kind", ["provenance", "run"])
@pytest.mark.parametrize("case", ["more", "fewer", "two images"])
def test_a_statement_about_more_or_less_than_one_build(world: World, kind: str, case: str) -> None:
    made = world.made["tiny:1.0.0"]
    said = statements(made)[kind]
    more = {"more": "sha256:" + "0" * 64, "two images": world.made["other:1.0.0"].image}
    subjects = [*said.subjects]
    if case == "fewer":
        subjects = [each for each in subjects if each.digest != made.weight]
    else:
        subjects.append(Subject(name="more", digest=more[case]))
    with world.indexed() as index:
        before = count(index, "build"), count(index, "about")
        world.say(made, dataclasses.replace(said, subjects=tuple(subjects)))
        world.sync(index)
        assert count(index, "build") == before[0]
        assert reasons(index, kind) == {"subject"}


def test_another_model_file_than_the_lock_was_made_with(world: World) -> None:
    built_otherwise(world)
    with world.indexed() as index:
        assert "model" in reasons(index, "provenance")


def test_an_altered_lock_is_found_and_a_mended_one_too(world: World) -> None:
    made = world.made["tiny:1.0.0"]
    path = world.store.path(made.lock_digest)
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data + b" ")
    with world.indexed() as index:
        assert audit.materials(index, made.image).rows == ()
        assert reasons(index, "provenance") == {"blob-digest"}
        path.write_bytes(data)
        world.sync(index)
        assert audit.materials(index, made.image).rows
        assert reasons(index, "provenance") == set()


# Rebuilds ---------------------------------------------------------------------------------------


def test_only_rebuilders_say_that_they_built_it_again(world: World) -> None:
    made = world.made["other:1.0.0"]
    (world.root / "friend.pub").write_bytes(signed_world.pem("friend"))
    policy = Policy(rebuilders=Rebuilders(needed=1, keys=("friend.pub",)))
    world.rebuild(made)
    with worlds.opened(world.root / "mine.sqlite") as index:
        world.sync(index, policy)
        gaps = {row.digest: row for row in audit.gaps(index, kinds=["rebuild"]).rows}
        assert gaps[made.image].gap == "refused"
        world.rebuild(made, key="friend")
        world.sync(index, policy)
        gaps = {row.digest: row for row in audit.gaps(index, kinds=["rebuild"]).rows}
        assert made.image not in gaps


def test_the_world_is_what_these_tests_take_it_for(world: World) -> None:
    """Nothing honest is refused, and nothing is marked."""
    with world.indexed() as index:
        assert {each.name for each in audit.status(index).refused} == {"signer-unknown"}
        assert {row.mark for row in audit.contains(index, "numpy").rows} == {""}
        rows = audit.passed(index).rows
        assert {(row.devices, row.named, row.mark) for row in rows} == {(1, 1, "")}
