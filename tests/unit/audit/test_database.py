"""Opening an index: new ones, old ones, and what is none."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import audit_world as worlds
import pytest
import sqlalchemy as sql

from buildkit.audit import database, schema
from buildkit.errors import InputError, StoreError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_new_index_has_all_tables_and_keeps_a_log(tmp_path: Path) -> None:
    file = tmp_path / "new folder" / "audit?#.sqlite"
    with database.open(file) as index:
        assert index.dialect == "sqlite"
        assert set(worlds.dump(index, but=())) == {t.name for t in schema.METADATA.sorted_tables}
        with index.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    assert file.is_file()


def test_what_is_read_is_of_one_moment(tmp_path: Path) -> None:
    with database.open(tmp_path / "a.sqlite") as index:
        count = sql.select(sql.func.count()).select_from(schema.SOURCE)
        with index.connect() as reader:
            assert reader.execute(count).scalar() == 0
            with index.write() as writer:
                row = {"id": 1, "name": "x", "state": ""}
                writer.execute(sql.insert(schema.SOURCE), [row])
            assert reader.execute(count).scalar() == 0
        with index.connect() as reader:
            assert reader.execute(count).scalar() == 1


def test_an_error_takes_back_what_was_written(tmp_path: Path) -> None:
    with database.open(tmp_path / "a.sqlite") as index:
        row = {"id": 1, "name": "x", "state": ""}
        with pytest.raises(StoreError, match="UNIQUE"), index.write() as writer:
            writer.execute(sql.insert(schema.SOURCE), [row, row])
        assert worlds.dump(index)["source"] == []


def test_readonly_writes_nothing_and_makes_none(tmp_path: Path) -> None:
    file = tmp_path / "a.sqlite"
    with pytest.raises(StoreError, match="no index here"):
        database.open(file, readonly=True)
    database.open(file).close()
    with (
        database.open(file, readonly=True) as index,
        pytest.raises(StoreError),
        index.write() as connection,
    ):
        connection.execute(sql.delete(schema.META))


def test_an_older_index_is_made_anew(tmp_path: Path) -> None:
    file = tmp_path / "a.sqlite"
    _set_version(file, "0")
    with pytest.raises(StoreError, match="older"):
        database.open(file, readonly=True)
    with database.open(file) as index, index.connect() as connection:
        assert connection.execute(sql.select(schema.META.c.value)).scalars().all() == [
            str(schema.VERSION)
        ]


def test_a_newer_index_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "a.sqlite"
    _set_version(file, str(schema.VERSION + 1))
    before = file.read_bytes()
    with pytest.raises(StoreError, match="newer version"):
        database.open(file)
    assert file.read_bytes() == before


def _set_version(file: Path, version: str) -> None:
    with database.open(file) as index, index.write() as connection:
        connection.execute(sql.update(schema.META).values(value=version))
    with sqlite3.connect(file) as plain:
        plain.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    plain.close()


def test_what_is_no_index_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("this is no database at all, whatever its name may be\n" * 100)
    with pytest.raises(InputError, match="no index"):
        database.open(text)
    other = tmp_path / "other.sqlite"
    plain = sqlite3.connect(other)
    plain.execute("CREATE TABLE mine (a)")
    plain.close()
    with pytest.raises(InputError, match="other tables"):
        database.open(other)
    with pytest.raises(StoreError):
        database.open(tmp_path / "text" / "below")
    with pytest.raises(StoreError):
        database.open(tmp_path)


@pytest.mark.parametrize(
    "url",
    ["mysql://x/y", "postgresql+asyncpg://x/y", "http://x", "sqlite:///x", "postgresql://x:y"],
)
def test_urls_that_mean_nothing(url: str) -> None:
    with pytest.raises(InputError):
        database.open(url)


def test_a_server_that_does_not_answer(tmp_path: Path) -> None:
    url = f"postgresql://me:secret@/x?host={tmp_path}"
    with pytest.raises(StoreError) as caught:
        database.open(url)
    assert "secret" not in caught.value.message
