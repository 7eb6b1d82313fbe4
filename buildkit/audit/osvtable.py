"""The tables of an OSV database (`osvcache`), and how records come into them."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import zlib
from typing import TYPE_CHECKING

from buildkit import __version__
from buildkit.audit import osvread
from buildkit.audit.osvpackages import normal
from buildkit.audit.osvranges import Affected, Range
from buildkit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from buildkit.audit.osvread import Record

# Another one reads the records, or judges versions, in another way.
VERSION = f"1 {__version__}"

_WAIT_S = 60
_TOLD = 20
_TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE record (number INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL,
        modified TEXT NOT NULL, withdrawn INTEGER NOT NULL, aliases TEXT NOT NULL,
        upstream TEXT NOT NULL, summary TEXT NOT NULL, severity TEXT NOT NULL,
        word TEXT NOT NULL)""",
    """CREATE TABLE affects (record INTEGER NOT NULL, ecosystem TEXT NOT NULL,
        name TEXT NOT NULL, body BLOB NOT NULL)""",
    """CREATE TABLE looked (purl TEXT PRIMARY KEY, ecosystem TEXT NOT NULL, name TEXT NOT NULL,
        version TEXT NOT NULL, assumed INTEGER NOT NULL, why TEXT NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE found (purl TEXT NOT NULL, record INTEGER NOT NULL, ecosystem TEXT NOT NULL,
        fixed TEXT NOT NULL, severity TEXT NOT NULL, score REAL NOT NULL, why TEXT NOT NULL,
        PRIMARY KEY (purl, record)) WITHOUT ROWID""",
)
_INDEXES = (
    "CREATE INDEX affects_name ON affects (name, ecosystem)",
    "CREATE INDEX found_score ON found (score DESC, record, purl)",
)


def connected(name: str) -> sqlite3.Connection:
    """A connection that begins no transaction by itself."""
    connection = sqlite3.connect(name, timeout=_WAIT_S, isolation_level=None)
    connection.execute("PRAGMA mmap_size=1073741824")
    return connection


def made(name: str, place: Path, state: str) -> sqlite3.Connection:
    """Make the tables of all records.

    Args:
        name: of the file, or ``:memory:``.
        place: where the user has the records.
        state: fingerprint of what stands there.

    Raises:
        InputError: there are none.
    """
    connection = connected(name)
    try:
        # Nobody looks at it before it is whole: its end is written to the disk once.
        with writing(connection):
            for each in _TABLES:
                connection.execute(each)
            told = _fill(connection, osvread.records(place))
            for each in _INDEXES:
                connection.execute(each)
            _refuse_none(place, told)
            told |= {"version": VERSION, "state": state}
            connection.executemany("INSERT INTO meta VALUES (?,?)", told.items())
    except BaseException:
        connection.close()
        raise
    return connection


def _refuse_none(place: Path, told: dict[str, str]) -> None:
    """A folder in which nothing is a record was named by mistake."""
    if told["records"] == "0" and told["broken"] != "0":
        names = json.loads(told["unreadable"])
        msg = f"{place}: {told['broken']} files that are no OSV records, as {names[0]}"
        raise InputError(msg, "name the folder of a whole download")


def _fill(
    connection: sqlite3.Connection, records: Iterable[Record | osvread.Unreadable]
) -> dict[str, str]:
    known: dict[str, tuple[int, str]] = {}
    unreadable: list[str] = []
    broken = 0
    for each in records:
        if isinstance(each, osvread.Unreadable):
            broken += 1
            if len(unreadable) < _TOLD:
                unreadable.append(f"{each.name}: {each.why}")
            continue
        # Withdrawn ones too: an older copy of the same record must not speak in its place.
        if not each.affected and not each.withdrawn:
            continue
        number, modified = known.get(each.id, (len(known) + 1, ""))
        if each.modified < modified:
            continue
        known[each.id] = (number, each.modified)
        _put(connection, number, each)
    count, newest = connection.execute(
        "SELECT count(*), coalesce(max(modified), '') FROM record WHERE NOT withdrawn"
    ).fetchone()
    names = connection.execute("SELECT DISTINCT ecosystem FROM affects").fetchall()
    return {
        "records": str(count),
        "newest": newest,
        "ecosystems": json.dumps(sorted({name.partition(":")[0] for (name,) in names})),
        "unreadable": json.dumps(unreadable),
        "broken": str(broken),
    }


def _put(connection: sqlite3.Connection, number: int, record: Record) -> None:
    if connection.execute("SELECT 1 FROM record WHERE number = ?", (number,)).fetchone():
        connection.execute("DELETE FROM record WHERE number = ?", (number,))
        connection.execute("DELETE FROM affects WHERE record = ?", (number,))
    connection.execute(
        "INSERT INTO record VALUES (?,?,?,?,?,?,?,?,?)",
        (
            number,
            record.id,
            record.modified,
            record.withdrawn,
            json.dumps(record.aliases),
            json.dumps(record.upstream),
            record.summary,
            json.dumps(record.severity),
            record.word,
        ),
    )
    if not record.withdrawn:
        connection.executemany(
            "INSERT INTO affects VALUES (?,?,?,?)",
            [
                (number, ecosystem, normal(ecosystem, name), _body(said))
                for ecosystem, name, said in record.affected
            ],
        )


def _body(said: Affected) -> bytes:
    ranges = [(each.type, each.events) for each in said.ranges]
    return zlib.compress(json.dumps((said.versions, ranges, said.severity)).encode(), 1)


def affected(body: bytes) -> Affected:
    """What was kept of a package in a record."""
    listed, ranges, severity = json.loads(zlib.decompress(body))
    return Affected(
        versions=tuple(listed),
        ranges=tuple(
            Range(type=kind, events=tuple((name, bound) for name, bound in events))
            for kind, events in ranges
        ),
        severity=tuple((kind, score) for kind, score in severity),
    )


@contextlib.contextmanager
def writing(connection: sqlite3.Connection) -> Iterator[None]:
    """A transaction in which nobody else writes."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
