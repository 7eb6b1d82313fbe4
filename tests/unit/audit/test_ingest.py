"""What an index holds of a small history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import audit_world as worlds
import pytest
import sqlalchemy as sql
from audit_world import World, key_id
from signed_world import statements
from world_boms import cyclonedx

from buildkit import canonical
from buildkit.audit import facts, schema
from buildkit.errors import EvidenceError
from buildkit.evidence import kinds
from buildkit.evidence.statement import Statement, Subject

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from buildkit.audit.database import Index


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = worlds.history(tmp_path_factory.mktemp("audit") / "world")
    world.indexed().close()
    return world


@pytest.fixture(scope="module")
def index(built: World) -> Iterator[Index]:
    with built.index() as found:
        yield found


@pytest.fixture
def world(built: World, tmp_path: Path) -> World:
    return built.copied(tmp_path / "world")


def ask(index: Index, query: str, **values: Any) -> list[tuple[Any, ...]]:
    with index.connect() as connection:
        return [tuple(row) for row in connection.execute(sql.text(query), values)]


# Artifacts ---------------------------------------------------------------------------------------


def test_artifacts_are_what_their_manifests_say(built: World, index: Index) -> None:
    made = built.made["tiny:1.1.0"]
    found = {
        digest: row
        for digest, *row in ask(
            index, "SELECT digest, role, variant, lock FROM artifact WHERE version = '1.1.0'"
        )
    }
    assert found == {
        made.image: ["image", "", made.lock_digest],
        made.models: ["models", "", made.lock_digest],
        **{one: ["platform", name, made.lock_digest] for name, one in made.platforms.items()},
        **{one: ["model", name, made.lock_digest] for name, one in made.variants.items()},
    }


def test_size_is_that_of_a_manifest_and_what_it_names(built: World, index: Index) -> None:
    made = built.made["tiny:1.0.0"]
    digest = made.platforms["linux/arm64"]
    ((size,),) = ask(index, "SELECT size FROM artifact WHERE digest = :one", one=digest)
    document = canonical.load(built.store.read(digest))
    named = [document["config"], *document["layers"]]
    assert size == len(built.store.read(digest)) + sum(each["size"] for each in named)


def test_parts_lead_from_the_image_to_the_models(built: World, index: Index) -> None:
    made = built.made["tiny:1.0.0"]
    found = ask(
        index,
        """SELECT one.digest, part.role, other.digest FROM part
        JOIN artifact one ON one.id = parent JOIN artifact other ON other.id = child
        WHERE one.digest IN (:image, :models)""",
        image=made.image,
        models=made.models,
    )
    assert sorted(found) == sorted(
        [
            *((made.image, "platform", each) for each in made.platforms.values()),
            (made.image, "models", made.models),
            *((made.models, "model", each) for each in made.variants.values()),
        ]
    )


def test_names_are_those_of_the_store(built: World, index: Index) -> None:
    made = built.made["tiny:1.0.0"]
    query = """SELECT presence.name FROM presence JOIN artifact ON artifact.id = artifact
        WHERE digest = :one ORDER BY 1"""
    names = [name for (name,) in ask(index, query, one=made.image)]
    assert names == ["tiny:1.0.0", "tiny:canary", "tiny:stable"]
    assert ask(index, query, one=made.platforms["linux/arm64"]) == [("",)]


# Statements --------------------------------------------------------------------------------------


def test_all_that_was_honestly_said_is_true(index: Index) -> None:
    found = ask(index, "SELECT kind, reason, count(*) FROM statement GROUP BY 1, 2 ORDER BY 1, 2")
    assert [(kind, reason) for kind, reason, _ in found] == [
        ("cyclonedx", ""),
        ("promotion", ""),
        ("provenance", ""),
        ("rebuild", ""),
        ("run", ""),
        ("spdx", ""),
        ("test-result", ""),
        ("test-result", "signer-unknown"),
        ("verdict", ""),
    ]


def test_signers_are_called_by_name(index: Index) -> None:
    found = ask(index, "SELECT name, kind, subject, label, state FROM signer")
    wanted = [("key", "good", "active"), ("key", "friend", "named")]
    wanted += [("device", name, "device") for name in worlds.BOARDS]
    assert sorted(found) == sorted(
        (
            f"device key {key_id(label)}" if kind == "device" else f"key {key_id(label)}",
            kind,
            key_id(label),
            label,
            state,
        )
        for kind, label, state in wanted
    )


def test_what_a_stranger_said_is_there_and_no_fact(built: World, index: Index) -> None:
    ((number, signer, message),) = ask(
        index, "SELECT id, signer, message FROM statement WHERE reason = 'signer-unknown'"
    )
    assert signer is None
    assert "neither policy nor key ring knows" in message
    about = ask(index, "SELECT artifact FROM about WHERE statement = :one", one=number)
    made = built.made["tiny:1.1.0"]
    parts = (made.platforms["linux/arm64"], made.variants["pi5"])
    assert {one for (one,) in about} == set(map(facts.artifact, parts))
    assert ask(index, "SELECT * FROM run WHERE statement = :one", one=number) == []


def test_a_statement_is_about_all_that_it_hangs_on(built: World, index: Index) -> None:
    made = built.made["other:1.0.0"]
    found = ask(
        index,
        """SELECT artifact.digest FROM build JOIN about ON about.statement = build.statement
        JOIN artifact ON artifact.id = about.artifact
        WHERE recipe = 'other' AND build.version = '1.0.0'""",
    )
    assert {one for (one,) in found} == set(made.everything()) - {made.weight}


# Facts -------------------------------------------------------------------------------------------


def test_packages_are_those_of_the_lock(built: World, index: Index) -> None:
    made = built.made["tiny:1.0.0"]
    pins = made.lock.platforms["linux/arm64"]
    found = ask(
        index,
        """SELECT type, package.name, package.version, sha256, kind FROM holds
        JOIN package ON package.id = package JOIN artifact ON artifact.id = artifact
        JOIN statement ON statement.id = statement WHERE artifact.digest = :one""",
        one=made.platforms["linux/arm64"],
    )
    wanted = [("deb", pin) for pin in pins.debian] + [("pypi", pin) for pin in pins.wheels]
    assert sorted(found) == sorted(
        (kind, pin.name, pin.version, f"sha256:{pin.sha256}", "cyclonedx") for kind, pin in wanted
    )


def test_spdx_speaks_where_cyclonedx_does_not(world: World) -> None:
    made = world.made["tiny:1.0.0"]
    digest = made.platforms["linux/arm64"]
    query = """SELECT DISTINCT kind, package.name FROM holds JOIN package ON package.id = package
        JOIN artifact ON artifact.id = artifact JOIN statement ON statement.id = statement
        WHERE artifact.digest = :one ORDER BY 1, 2"""
    names = ["libc6", "numpy", "python3.11-minimal"]
    with world.indexed() as index:
        assert ask(index, query, one=digest) == [("cyclonedx", name) for name in names]
        gone = [
            each.digest
            for each in world.store.entries()
            if each.annotations.get("dev.sigstore.bundle.predicateType")
            == kinds.CYCLONEDX.predicate_type
            and (about := world.store.links(each).subject)
            and about.digest == digest
        ]
        kept = world.store.entries()
        assert len(gone) == 1
        world.entries(lambda rows: [row for row in rows if row["digest"] not in gone])
        world.sync(index)
        worlds.check(index)
        assert ask(index, query, one=digest) == [("spdx", name) for name in names]
        back = [each.to_json() for each in kept if each.digest in gone]
        world.entries(lambda rows: [*rows, *back])
        world.sync(index)
        assert ask(index, query, one=digest) == [("cyclonedx", name) for name in names]


def test_a_build_names_its_materials_down_to_the_seed(built: World, index: Index) -> None:
    made = built.made["tiny:1.0.0"]
    found = ask(
        index,
        """SELECT m.name, m.uri, m.digest, m."commit", uses FROM made_from
        JOIN build ON build.statement = made_from.build JOIN material m ON m.id = material
        WHERE lock = :lock""",
        lock=made.lock_digest,
    )
    by_name = {row[0]: row for row in found}
    assert by_name["busybox-static"][4] == "host amd64 seed"
    assert by_name["recipe.lock"][2] == made.lock_digest
    assert by_name["source"][1:] == ("git+https://example.org/tiny", "", "0" * 40, "source")
    assert by_name["builder amd64"] == (
        *("builder amd64", f"nix:/nix/store/{'a' * 32}-builder", f"nix:{'a' * 32}", ""),
        "builder",
    )


def test_a_test_result_is_one_row_on_the_device_s_own_bundle(built: World, index: Index) -> None:
    found = ask(
        index,
        """SELECT run.mark, result, device.label, signer.label, count(*) OVER (
            PARTITION BY s.payload), (SELECT count(*) FROM statement o
            WHERE o.payload = s.payload)
        FROM run JOIN statement s ON s.id = run.statement JOIN signer ON signer.id = s.signer
        LEFT JOIN signer device ON device.id = run.device ORDER BY ended""",
    )
    assert found == [
        ("", "PASSED", "board", "board", 1, 2),
        ("", "PASSED", "board2", "board2", 1, 2),
        ("", "FAILED", "board2", "board2", 1, 2),
        ("", "WARNED", "board", "board", 1, 2),
        ("", "PASSED", "board", "board", 1, 2),
        ("stand-in", "PASSED", "board2", "board2", 1, 2),
        ("local", "PASSED", None, "good", 1, 1),
    ]
    del built


def test_the_device_s_word_takes_the_place_of_the_host_s(world: World) -> None:
    made = world.made["tiny:1.0.0"]
    query = """SELECT device IS NULL, signer.label FROM run JOIN statement s ON s.id = statement
        JOIN signer ON signer.id = s.signer WHERE s.payload = :one"""
    with world.indexed() as index:
        payload = world.run(made, "board", host=("good", "friend"))
        before = [each.digest for each in world.store.entries()]
        one = facts.payload_digest(payload)
        world.sync(index)
        assert ask(index, query, one=one) == [(0, "board")]
        signed = ask(
            index,
            """SELECT manifest FROM carried JOIN statement s ON s.id = statement
            JOIN signer ON signer.id = s.signer
            WHERE s.payload = :one AND signer.kind = 'device'""",
            one=one,
        )
        gone = {manifest for (manifest,) in signed}
        assert gone <= set(before)
        world.entries(lambda rows: [row for row in rows if row["digest"] not in gone])
        world.sync(index)
        ((is_none, label),) = ask(index, query, one=one)
        assert (is_none, label in ("good", "friend")) == (1, True)


def test_verdicts_name_devices_and_what_was_weighed(built: World, index: Index) -> None:
    found = ask(
        index,
        """SELECT outcome, judged.device, "key", (SELECT count(*) FROM weighed w
            JOIN statement s ON s.payload = w.payload JOIN run ON run.statement = s.id
            WHERE w.verdict = verdict.statement)
        FROM verdict JOIN judged ON judged.verdict = verdict.statement ORDER BY at""",
    )
    board, board2 = (key_id(name) for name in worlds.BOARDS)
    assert found == [
        ("PASS", "board", board, 1),
        ("PASS", "board2", board2, 1),
        ("FAIL", "board", board, 1),
        ("PASS", "board", board, 1),
    ]
    del built


def test_a_channel_s_history_is_its_journal(built: World, index: Index) -> None:
    found = ask(
        index,
        """SELECT channel, number, restores, image.digest, previous = '' FROM promotion
        JOIN artifact image ON image.id = image ORDER BY channel, number""",
    )
    one, two = (built.made[ref].image for ref in ("tiny:1.0.0", "tiny:1.1.0"))
    assert found == [
        ("canary", 1, 0, one, 1),
        ("canary", 2, 0, two, 0),
        ("canary", 3, 1, one, 0),
        ("stable", 1, 0, one, 1),
    ]


def test_a_record_that_did_not_come_true_is_no_fact(world: World) -> None:
    """The journal is written before the tag in a registry; this is what remains of a lost race."""
    with world.indexed() as index:
        before = worlds.dump(index)["promotion"]
        made = world.made["tiny:1.1.0"]
        from buildkit.evidence.journal import Coming, Journal
        from buildkit.pipeline.channels import InStore

        home = InStore(world.store, "tiny")
        seen = home.read("canary")
        lost = Journal(
            records=seen.journal.records,
            coming=Coming(record=seen.journal.records[0], image=made.image),
        )
        head = world.store.put_bytes(lost.dump(), "application/vnd.oci.image.manifest.v1+json")
        world.store.tag(head, "tiny:canary.channel")
        world.sync(index)
        assert worlds.dump(index)["promotion"] == before


@pytest.mark.parametrize("key", ["friend", "stranger", "retired", "board"])
def test_only_who_counts_promotes(world: World, key: str) -> None:
    with world.indexed() as index:
        world.promote("tiny:1.1.0", "stable", key=key)
        world.sync(index)
        stable = "SELECT number FROM promotion WHERE channel = 'stable' ORDER BY 1"
        numbers = [number for (number,) in ask(index, stable)]
        # Who refuses one record of a journal, believes none of it.
        assert numbers == ([1, 2] if key == "friend" else [])
        refused = ask(
            index,
            "SELECT reason FROM statement WHERE kind = 'promotion' AND reason != '' ORDER BY 1",
        )
        assert len(refused) == (0 if key == "friend" else 2)


# Hostile texts -----------------------------------------------------------------------------------


def _bom(digest: str, *components: dict[str, Any]) -> Statement:
    return Statement(
        subjects=(Subject(name="x", digest=digest),),
        predicate_type=kinds.CYCLONEDX.predicate_type,
        predicate={
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "metadata": {
                "component": {
                    "type": "container",
                    "name": "x",
                    "hashes": [{"alg": "SHA-256", "content": digest.removeprefix("sha256:")}],
                }
            },
            "components": list(components),
        },
    )


def test_zeros_and_very_long_texts_do_no_harm(world: World) -> None:
    made = world.made["tiny:1.0.0"]
    digest = made.platforms["linux/arm64"]
    long = "pkg:generic/" + "W" * 100_000
    components = [
        {"type": "library", "name": "a", "purl": purl, "licenses": [{"license": {"name": name}}]}
        for purl, name in (
            ("pkg:pypi/zero%00\0zero@1", "L\0"),
            (long + "1", "幅" * 5000),
            (long + "2", "'; DROP TABLE package; --"),
            ("not a package URL", "<script>"),
        )
    ]
    pins = made.lock.platforms["linux/arm64"]
    honest = cyclonedx("tiny", digest, (*pins.debian, *pins.wheels))["components"]
    world.say(made, _bom(digest, *honest, *components))
    with world.indexed() as index:
        found = ask(
            index,
            """SELECT purl, type, package.name, licence FROM holds
            JOIN package ON package.id = package JOIN statement ON statement.id = statement
            WHERE licence != ''""",
        )
        assert len(found) == 4
        assert not any("\0" in text for row in found for text in row)
        assert max(len(text.encode()) for row in found for text in row) <= 1000
        assert len({row[0] for row in found}) == 4
        assert ("not a package URL", "", "not a package URL", "<script>") in found


def test_long_texts_stay_apart_and_short_ones_stay() -> None:
    assert facts.clip("short") == "short"
    one, other = facts.clip("é" * 5000 + "a"), facts.clip("é" * 5000 + "b")
    assert one != other
    assert all(len(text.encode()) <= 1000 for text in (one, other))


@pytest.mark.parametrize(
    ("purl", "found"),
    [
        ("pkg:deb/debian/libc6@2.36-9%2Bdeb12u4?arch=arm64", ("deb", "libc6", "2.36-9+deb12u4")),
        ("pkg:pypi/numpy@2.0", ("pypi", "numpy", "2.0")),
        ("pkg:npm/%40scope/name@1.2.3#path", ("npm", "@scope/name", "1.2.3")),
        ("pkg:npm/@scope/name", ("npm", "@scope/name", "")),
        ("pkg:npm/@scope/name@1", ("npm", "@scope/name", "1")),
        ("pkg:deb/debian/curl/@1", ("deb", "curl", "1")),
        ("pkg:deb", ("", "pkg:deb", "")),
        ("pkg:golang/github.com/x/y@v1.0.0", ("golang", "github.com/x/y", "v1.0.0")),
        ("pkg:generic/busybox", ("generic", "busybox", "")),
        ("pkg:PyPI/x@1", ("pypi", "x", "1")),
        ("pkg:", ("", "pkg:", "")),
        ("", ("", "", "")),
    ],
)
def test_package_urls(purl: str, found: tuple[str, str, str]) -> None:
    row = facts.package(purl, "", "")
    assert (row["type"], row["name"], row["version"]) == found


def test_two_texts_with_one_number_are_found_out(world: World) -> None:
    """Nobody can make them share all of a digest; 63 bits of one, somebody might."""
    with world.index() as index:
        digest = world.made["tiny:1.0.0"].image
        with index.write() as connection:
            connection.execute(
                sql.update(schema.ARTIFACT)
                .where(schema.ARTIFACT.c.digest == digest)
                .values(digest="sha256:" + "0" * 64)
            )
        world.run(world.made["tiny:1.0.0"])
        world.untag("tiny:1.0.0")
        world.rebuild(world.made["tiny:1.0.0"])
        with pytest.raises(EvidenceError, match="share the number"):
            world.sync(index)


def test_reading_is_strict_about_numbers(world: World) -> None:
    made = world.made["tiny:1.0.0"]
    said = statements(made)["run"]
    assert facts.of_statement(said, kinds.RUN, "").time == 1795237200
    assert facts._number({"a": 1 << 63}, "a") is None
    assert facts._number({"a": True}, "a") is None
    assert facts._number({"a": (1 << 63) - 1}, "a") == (1 << 63) - 1
