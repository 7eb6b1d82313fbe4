from __future__ import annotations

import json
import sqlite3
import threading
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
from audit_world import World
from osv_records import VECTOR, record, write

from buildkit.audit import osv, osvcache, osvread
from buildkit.errors import InputError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from buildkit.audit.database import Index
    from buildkit.audit.osvtypes import Vulnerabilities

LIBC = "pkg:deb/debian/libc6@1.0-1?arch=arm64&distro=debian-12"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    found = World.empty(tmp_path_factory.mktemp("osv") / "world")
    found.build("tiny", "1.0.0")
    found.build("other", "2.0.0")
    return found


@pytest.fixture(scope="module")
def index(world: World) -> Iterator[Index]:
    made = world.indexed()
    yield made
    made.close()


def ask(index: Index, place: Path, ref: str = "", limit: int = 1000) -> Vulnerabilities:
    with osv.Database.open(place, osv.cache_file(place.parent, place)) as database:
        return osv.vulnerabilities(index, database, ref, limit=limit)


def table(place: Path) -> Path:
    (found,) = place.parent.glob(f"{osv.cache_file(place.parent, place).name}*")
    return found


def test_an_affected_package_is_found_in_each_image(index: Index, tmp_path: Path) -> None:
    more: dict[str, Any] = {
        "aliases": ["B-1", "A-1"],
        "upstream": ["CVE-1"],
        "summary": "a hole",
        "severity": [{"type": "CVSS_V2", "score": "AV:L"}, {"type": "CVSS_V3", "score": VECTOR}],
    }
    found = ask(index, write(tmp_path / "osv", record(**more)))
    assert {(row.artifact, row.release, row.variant) for row in found.rows} == {
        (name, release, platform)
        for name, release in (("tiny", "1.0.0"), ("other", "2.0.0"))
        for platform in ("linux/amd64", "linux/arm64")
    }
    row = next(row for row in found.rows if row.package == LIBC and row.artifact == "tiny")
    assert (row.id, row.aliases, row.upstream) == ("TEST-1", ("A-1", "B-1"), ("CVE-1",))
    assert (row.summary, row.severity, row.score) == ("a hole", VECTOR, 9.8)
    assert (row.ecosystem, row.name, row.version) == ("Debian:12", "libc6", "1.0-1")
    assert (row.fixed, row.role, row.variant) == (("1.0-2",), "platform", "linux/arm64")
    # Its SBOM names no source package.
    assert row.assumed
    assert LIBC in found.assumed
    assert not found.more
    assert (found.database.records, found.database.ecosystems) == (1, ("Debian",))
    assert found.database.newest == "2026-01-01T00:00:00Z"


def test_the_answer_names_the_sboms_that_it_rests_on(
    world: World, index: Index, tmp_path: Path
) -> None:
    found = ask(index, write(tmp_path / "osv", record()), "tiny:1.0.0")
    store = world.store
    assert {row.digest for row in found.rows} == set(world.made["tiny:1.0.0"].platforms.values())
    for row in found.rows:
        assert len(row.evidence) == 1
        assert b"dsseEnvelope" in store.read(row.evidence[0])


def test_a_model_is_asked_about_too(index: Index, tmp_path: Path) -> None:
    wheel = record(name="onnx", ecosystem="PyPI")
    wheel["affected"][0]["ranges"] = []
    wheel["affected"][0]["versions"] = ["2.0"]
    found = ask(index, write(tmp_path / "osv", wheel), "tiny-model:1.0.0")
    assert {(row.role, row.variant) for row in found.rows} == {("model", "pi5"), ("model", "amd64")}
    assert not found.rows[0].assumed


@pytest.mark.parametrize(
    "change",
    [
        {"withdrawn": "2026-02-01T00:00:00Z"},
        {"affected": []},
        {
            "affected": [
                {"package": {"ecosystem": "Debian:11", "name": "libc6"}, "versions": ["1.0-1"]}
            ]
        },
        {"affected": [{"package": {"ecosystem": "PyPI", "name": "libc6"}, "versions": ["1.0-1"]}]},
    ],
)
def test_what_says_nothing_about_it(index: Index, tmp_path: Path, change: dict[str, Any]) -> None:
    other = record(2, name="elsewhere")
    found = ask(index, write(tmp_path / "osv", record(**change), other))
    assert found.rows == ()
    assert found.packages > 3


def test_the_gravest_stand_first_and_the_rest_is_told(index: Index, tmp_path: Path) -> None:
    low = VECTOR.replace("C:H/I:H/A:H", "C:L/I:N/A:N")
    records = (
        record(1),
        record(2, severity=[{"type": "CVSS_V3", "score": low}]),
        record(3, severity=[{"type": "CVSS_V3", "score": VECTOR}]),
        record(4, database_specific={"severity": "HIGH"}),
    )
    place = write(tmp_path / "osv", *records)
    found = ask(index, place)
    assert list(dict.fromkeys(row.id for row in found.rows)) == [
        "TEST-3",
        "TEST-2",
        "TEST-1",
        "TEST-4",
    ]
    assert found.rows[-1].severity == "HIGH"
    some = ask(index, place, limit=3)
    assert some.rows == found.rows[:3]
    assert some.more


def test_what_cannot_be_decided_is_told_and_is_no_vulnerability(
    index: Index, tmp_path: Path
) -> None:
    odd = record()
    odd["affected"][0]["ranges"][0]["events"] = [{"introduced": "0"}, {"fixed": "soon"}]
    found = ask(index, write(tmp_path / "osv", odd), "tiny:1.0.0")
    assert found.rows == ()
    assert [(each.id, each.package) for each in found.undecided if "libc6" in each.package] == [
        ("TEST-1", LIBC.replace("arm64", "amd64")),
        ("TEST-1", LIBC),
    ]
    assert "'soon'" in found.undecided[0].why


def test_the_later_of_two_records_with_one_id_counts(index: Index, tmp_path: Path) -> None:
    place = tmp_path / "osv"
    write(place / "a", record(summary="newer", modified="2026-03-01T00:00:00Z"))
    write(place / "b", record(summary="older"))
    assert {row.summary for row in ask(index, place).rows} == {"newer"}
    # One that was withdrawn meanwhile does not come back through an older copy.
    later: dict[str, Any] = {
        "modified": "2026-04-01T00:00:00Z",
        "withdrawn": "2026-04-01T00:00:00Z",
    }
    write(place / "c", record(**later), record(2, name="elsewhere"))
    assert ask(index, place).rows == ()


def test_archives_are_read_like_folders(index: Index, tmp_path: Path) -> None:
    plain = ask(index, write(tmp_path / "osv", record()))
    place = tmp_path / "zips"
    place.mkdir()
    with zipfile.ZipFile(place / "all.zip", "w") as archive:
        archive.writestr("TEST-1.json", json.dumps(record()))
        archive.writestr("README", "no record")
    assert ask(index, place).rows == plain.rows
    assert ask(index, place / "all.zip").rows == plain.rows


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "[]",
        "{}",
        '{"id": 7}',
        '{"id": "X", "id": "Y"}',
        '{"id": "X", "affected": 7}',
        '{"id": "X", "affected": [{"package": {"ecosystem": 1, "name": "x"}}]}',
        json.dumps(record()).replace('"type": "ECOSYSTEM", ', ""),
        json.dumps(record()).replace('"1.0-2"', "12"),
        '{"id": "X", "aliases": [1]}',
        "[" * 100_000,
        "\0",
    ],
)
def test_what_is_no_record_is_told(index: Index, tmp_path: Path, broken: str) -> None:
    place = write(tmp_path / "osv", record())
    (place / "broken.json").write_text(broken)
    found = ask(index, place)
    assert len(found.rows) == 4
    assert found.database.broken == 1
    assert "broken.json" in found.database.unreadable[0]


def test_an_archive_that_is_none_is_told(index: Index, tmp_path: Path) -> None:
    place = write(tmp_path / "osv", record())
    (place / "all.zip").write_bytes(b"PK no archive")
    assert ask(index, place).database.broken == 1


def test_a_folder_without_records_is_an_error(index: Index, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="no OSV records"):
        ask(index, empty)
    with pytest.raises(InputError, match="cannot be read"):
        ask(index, tmp_path / "missing")
    (empty / "package.json").write_text("{}")
    with pytest.raises(InputError, match="no OSV records"):
        ask(index, empty)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_what_is_not_in_the_index_is_an_error(index: Index, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not in the index"):
        ask(index, write(tmp_path / "osv", record()), "nothing:1.0.0")


def test_what_has_no_sbom_that_counts_is_not_clean(world: World, tmp_path: Path) -> None:
    mine = world.copied(tmp_path / "world")
    made = mine.build("third", "3.0.0", key="retired")
    index = mine.indexed()
    place = write(tmp_path / "osv", record(name="elsewhere"))
    found = ask(index, place, "third:3.0.0")
    assert (found.rows, found.packages) == ((), 0)
    assert found.unknown == tuple(sorted((*made.platforms.values(), *made.variants.values())))
    assert ask(index, place).unknown == found.unknown
    assert ask(index, place, "tiny:1.0.0").unknown == ()
    index.close()


# What is kept -----------------------------------------------------------------------------------


def test_records_are_read_once(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = write(tmp_path / "osv", record())
    first = ask(index, place)

    def never(_: Path) -> Any:
        raise AssertionError

    monkeypatch.setattr(osvread, "records", never)
    monkeypatch.setattr(osvcache, "lookup", never)
    assert ask(index, place) == first


def test_another_record_is_seen(index: Index, tmp_path: Path) -> None:
    place = write(tmp_path / "osv", record())
    assert {row.id for row in ask(index, place).rows} == {"TEST-1"}
    write(place, record(2))
    assert {row.id for row in ask(index, place).rows} == {"TEST-1", "TEST-2"}
    # Also one that is as long as before.
    (place / "TEST-2.json").write_text(json.dumps(record(3)))
    assert {row.id for row in ask(index, place).rows} == {"TEST-1", "TEST-3"}
    (place / "TEST-1.json").unlink()
    assert {row.id for row in ask(index, place).rows} == {"TEST-3"}
    # Of all these tables, the last one is left.
    assert table(place).is_file()


def test_new_packages_are_held_against_what_is_kept(world: World, tmp_path: Path) -> None:
    mine = world.copied(tmp_path / "world")
    place = write(tmp_path / "osv", record())
    index = mine.indexed()
    assert {row.artifact for row in ask(index, place).rows} == {"tiny", "other"}
    mine.build("third", "3.0.0")
    mine.sync(index)
    assert {row.artifact for row in ask(index, place).rows} == {"tiny", "other", "third"}
    index.close()


@pytest.mark.parametrize("spoilt", [b"", b"no table", b"SQLite format 3\0" + b"\0" * 4096])
def test_a_spoilt_table_is_made_again(index: Index, tmp_path: Path, spoilt: bytes) -> None:
    place = write(tmp_path / "osv", record())
    first = ask(index, place)
    table(place).write_bytes(spoilt)
    assert ask(index, place) == first


def test_a_table_of_another_version_is_made_again(index: Index, tmp_path: Path) -> None:
    place = write(tmp_path / "osv", record())
    first = ask(index, place)
    connection = sqlite3.connect(table(place))
    connection.execute("UPDATE meta SET value = 'older' WHERE key = 'version'")
    connection.execute("DELETE FROM affects")
    connection.execute("DELETE FROM looked")
    connection.commit()
    connection.close()
    assert ask(index, place) == first


def test_where_nothing_can_be_kept_the_answer_is_the_same(index: Index, tmp_path: Path) -> None:
    place = write(tmp_path / "osv", record())
    with osv.Database.open(place, tmp_path / "nowhere/table.sqlite") as database:
        found = osv.vulnerabilities(index, database)
    assert found == ask(index, place)
    assert not (tmp_path / "nowhere").exists()


def test_several_may_ask_at_once(index: Index, tmp_path: Path) -> None:
    place = write(tmp_path / "osv", *(record(at) for at in range(40)))
    answers: list[Any] = []

    def work() -> None:
        try:
            answers.append(ask(index, place))
        except StoreError as error:
            answers.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(answers) == 6
    assert all(each == answers[0] for each in answers)
    assert len({row.id for row in answers[0].rows}) == 40
    # Drafts are gone.
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(["osv", table(place).name])
