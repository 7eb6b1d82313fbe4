"""A statement of one's own reads, and does nothing else."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import audit_world as worlds
import pytest

from buildkit import audit
from buildkit.errors import InputError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from audit_world import World

    from buildkit.audit import Index

# However the index was opened.
BOTH = pytest.mark.parametrize("readonly", [False, True])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = worlds.World.empty(tmp_path_factory.mktemp("sql") / "world")
    world.passed(world.build())
    world.indexed().close()
    return world


@pytest.fixture
def index(world: World) -> Iterator[Index]:
    found = world.index()
    yield found
    found.close()


def file_of(world: World) -> Path:
    return world.root / "audit.sqlite"


def test_it_answers(index: Index) -> None:
    found = audit.sql(index, "SELECT target, count(*) AS runs FROM run GROUP BY target;")
    assert found.columns == ("target", "runs")
    assert found.rows == (("pi5", 1),)
    assert not found.more
    recursive = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    assert audit.sql(index, recursive, limit=3).rows == ((1,), (2,), (3,))
    assert audit.sql(index, recursive, limit=3).more
    values = audit.sql(index, "SELECT NULL, 1.5, x'00ff', 'text'").rows
    assert values == ((None, 1.5, b"\0\xff", "text"),)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM run",
        "INSERT INTO meta VALUES ('a', 'b')",
        "UPDATE statement SET reason = ''",
        "DROP TABLE holds",
        "CREATE TABLE mine (a)",
        "CREATE TEMP TABLE mine (a)",
        "PRAGMA query_only = 0",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA writable_schema = 1",
        "ATTACH 'other.sqlite' AS other",
        "ATTACH ':memory:' AS other",
        "DETACH main",
        "VACUUM",
        "VACUUM INTO 'copy.sqlite'",
        "REINDEX",
        "ANALYZE",
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT a",
        "SELECT load_extension('mine')",
        "SELECT * FROM pragma_table_info('run'); DROP TABLE run",
        "SELECT 1; SELECT 2",
        "SELECT 1; DELETE FROM run",
        "WITH a AS (SELECT 1) DELETE FROM run",
        "EXPLAIN",
        "SELECT * FROM no_such_table",
        "SELECT no_such_column FROM run",
        "SELECT CAST(x'ff' AS TEXT)",
        "SELECT ?",
        "not sql at all",
        "",
        " ",
        "SELECT '\0'",
        "SELECT '\udcff'",
        "-- nothing",
        "SELECT zeroblob(100000000)",
    ],
)
@BOTH
def test_all_else_is_refused(world: World, statement: str, *, readonly: bool) -> None:
    index = audit.open(file_of(world), readonly=readonly)
    before = worlds.dump(index, but=())
    with pytest.raises(InputError):
        audit.sql(index, statement)
    assert worlds.dump(index, but=()) == before
    # Whatever it may and may not do, is nobody else's.
    assert audit.status(index).sources == ("store",)
    index.close()


def test_a_writer_can_go_on_afterwards(index: Index, world: World) -> None:
    audit.sql(index, "SELECT 1")
    with pytest.raises(InputError):
        audit.sql(index, "DELETE FROM run")
    world.build("later")
    assert world.sync(index).added


def test_it_ends_in_time(index: Index) -> None:
    endless = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    )
    began = time.monotonic()
    with pytest.raises(InputError, match="no answer within"):
        audit.sql(index, endless, seconds=0.2)
    assert time.monotonic() - began < 60


def test_without_an_index(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        audit.open(tmp_path / "audit.sqlite", readonly=True)
    assert list(tmp_path.iterdir()) == []
