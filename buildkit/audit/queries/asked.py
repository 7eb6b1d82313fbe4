"""``sql``: one statement of a person's own, which cannot write, nor run for ever."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, Any

from buildkit.audit.types import LIMIT, Cells
from buildkit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from buildkit.audit.database import Index

SECONDS = 10.0

_LONGEST = 1 << 20
# Of one value, and of one row.
_LARGEST = 16 << 20
_STEPS = 10_000
_ALLOWED = (
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
)
_COLUMNS = "docs/audit-schema.md explains tables and columns"
_READS_ONLY = "an index is only read: one SELECT, or WITH … SELECT"


def sql(index: Index, statement: str, *, seconds: float = SECONDS, limit: int = LIMIT) -> Cells:
    """Ask the tables of the index (``docs/audit-schema.md``).

    The statement runs in a transaction that is rolled back and that the database keeps from
    writing; a SQLite index should be opened with ``readonly`` as well.

    Args:
        index: to ask.
        statement: one SELECT, in the words of its database.
        seconds: after which it is ended.
        limit: of rows.

    Raises:
        InputError: it is no such statement, or takes too long.
        StoreError: the index fails.
    """
    try:
        statement.encode()
        usable = 0 < len(statement.strip()) <= _LONGEST and "\0" not in statement
    except UnicodeEncodeError:
        usable = False
    if not usable:
        msg = "that is no statement of SQL"
        raise InputError(msg, _READS_ONLY)
    with index.connect() as connection:
        # A transaction is open from here on.
        connection.exec_driver_sql("SELECT 1")
        driver: Any = connection.connection.driver_connection
        ask = _postgresql if index.dialect == "postgresql" else _sqlite
        try:
            return ask(driver, statement, seconds, limit)
        finally:
            # Neither its transaction nor what it may and may not do is anybody else's.
            connection.invalidate()


def _sqlite(driver: sqlite3.Connection, statement: str, seconds: float, limit: int) -> Cells:
    deadline = time.monotonic() + seconds
    driver.execute("PRAGMA query_only=1")
    driver.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LARGEST)
    driver.set_authorizer(_authorized)
    driver.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
    try:
        cursor = driver.execute(statement)
        rows = cursor.fetchmany(limit + 1)
    except sqlite3.OperationalError as error:
        if "interrupted" in str(error):
            raise _late(seconds) from error
        msg = f"SQLite refuses it: {error}"
        raise InputError(msg, _COLUMNS) from error
    except (sqlite3.Error, sqlite3.Warning, OverflowError) as error:
        denied = "not authorized" in str(error) or "one statement" in str(error)
        msg = f"SQLite refuses it: {error}"
        raise InputError(msg, _READS_ONLY if denied else _COLUMNS) from error
    if cursor.description is None:
        msg = "it asks for nothing"
        raise InputError(msg, _READS_ONLY)
    columns = tuple(column[0] for column in cursor.description)
    return _cells(columns, rows, limit)


def _authorized(
    action: int, one: str | None, two: str | None, _database: str | None, _by: str | None
) -> int:
    if action in _ALLOWED and "load_extension" not in (one, two):
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


def _postgresql(driver: Any, statement: str, seconds: float, limit: int) -> Cells:
    import psycopg  # noqa: PLC0415 - whoever uses SQLite may have none

    with driver.cursor() as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [f"{seconds:.3f}s"])
        text = statement.strip().removesuffix(";")
        try:
            # A cursor is of a query and of nothing else; what is prepared is one statement.
            cursor.execute(f"DECLARE asked NO SCROLL CURSOR FOR {text}".encode(), prepare=True)
            cursor.execute(f"FETCH {limit + 1} FROM asked")
            rows = cursor.fetchall()
        except psycopg.errors.QueryCanceled as error:
            raise _late(seconds) from error
        except psycopg.Error as error:
            said = (str(error).splitlines() or ["it fails"])[0]
            msg = f"PostgreSQL refuses it: {said}"
            raise InputError(msg, f"{_READS_ONLY}; {_COLUMNS}") from error
        columns = tuple(column.name for column in cursor.description or ())
    return _cells(columns, rows, limit)


def _cells(columns: tuple[str, ...], rows: Iterable[Any], limit: int) -> Cells:
    found = tuple(tuple(map(_value, row)) for row in rows)
    return Cells(columns=columns, rows=found[:limit], more=len(found) > limit)


def _value(value: Any) -> int | float | str | bytes | None:
    if value is None or isinstance(value, (int, float, str, bytes)):
        return value
    return bytes(value) if isinstance(value, memoryview) else str(value)


def _late(seconds: float) -> InputError:
    msg = f"no answer within {seconds:g} s"
    return InputError(msg, "ask for less, by an index of docs/audit-schema.md; or --seconds")
