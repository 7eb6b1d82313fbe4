"""Opens an index: a file of SQLite's, or a PostgreSQL database by URL."""

from __future__ import annotations

import re
import sqlite3
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import sqlalchemy as sql
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, NoSuchModuleError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from buildkit.audit import schema
from buildkit.errors import InputError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

FILE = "audit.sqlite"
VARIABLE = "EDGE_BUILDKIT_AUDIT"

_URL = re.compile(r"[a-z][a-z0-9+]*://")
_WAIT_S = 120
# Whoever writes to an index in PostgreSQL holds this lock, as in SQLite there is one for the file.
_LOCK = schema.number("edge-buildkit", "audit")
_WRITES = "buildkit_writes"
_AGAIN = "remove the index, it can be made again from the stores"


def beside(store: Path) -> Path:
    """Where the index of a store is, unless the user says otherwise."""
    return store.parent / FILE


class Index:
    """An index that is there and of our version.

    Several processes may read and write it at once. Writers take turns, so that whoever writes can
    look first; readers see what was finished when they began.

    Args:
        engine: to reach it.
        name: for messages; without a password.
    """

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self.name = name

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._engine.dialect.name

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A connection to read: everything that is read sees the index at one moment.

        Raises:
            StoreError: the database cannot be reached, or fails.
        """
        with _translated(self.name), self._engine.connect() as connection:
            if self.dialect == "postgresql":
                connection.execute(_SNAPSHOT)
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction in which nobody else writes; it counts when the block ends without error.

        Raises:
            StoreError: the database cannot be reached, or fails, or others write for too long.
        """
        with (
            _translated(self.name),
            self._engine.connect().execution_options(**{_WRITES: True}) as connection,
            connection.begin(),
        ):
            if self.dialect == "postgresql":
                connection.execute(_TAKE)
            yield connection

    def analyze(self) -> None:
        """Let PostgreSQL tidy up the tables and count what is in them; SQLite need not.

        It would do so by itself, a minute later, and until then plan for empty tables and ask each
        row whether it counts.

        Raises:
            StoreError: the database cannot be reached, or fails.
        """
        if self.dialect != "postgresql":
            return
        names = ", ".join(table.name for table in schema.METADATA.sorted_tables)
        with _translated(self.name), self._engine.connect() as connection:
            # Not in a transaction. Nobody waits for it but who asked.
            connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.exec_driver_sql(f"VACUUM (ANALYZE) {names}")

    def close(self) -> None:
        """Let go of all connections."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


_SNAPSHOT = sql.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
_TAKE = sql.text(f"SELECT pg_advisory_xact_lock({_LOCK})")


def open(where: Path | str, *, readonly: bool = False) -> Index:  # noqa: A001 - as files are
    """Open an index, made first if there is none; one of an older version is made empty.

    Args:
        where: file, or ``postgresql+psycopg://…``.
        readonly: nothing can be written through it, whatever is asked for, and none is made.

    Raises:
        InputError: the URL is none, or the file is something else.
        StoreError: it is of a newer version, or the database cannot be reached.
    """
    text = str(where)
    if _URL.match(text):
        engine, name = _remote(text, readonly=readonly)
    else:
        engine, name = _file(Path(where), readonly=readonly), text
    index = Index(engine, name)
    try:
        with _translated(name):
            _prepare(index, readonly=readonly)
    except BaseException:
        index.close()
        raise
    return index


def _remote(text: str, *, readonly: bool) -> tuple[Engine, str]:
    try:
        url = sql.make_url(text)
        if url.drivername == "postgresql":
            url = url.set(drivername="postgresql+psycopg")
        name = url.render_as_string(hide_password=True)
        if url.drivername != "postgresql+psycopg":
            msg = f"{name}: an index is a file, or in PostgreSQL"
            raise InputError(msg, "write postgresql+psycopg://USER@HOST/DATABASE")
        options = "-c default_transaction_read_only=on" if readonly else ""
        arguments = {"options": options} if options else {}
        return sql.create_engine(url, pool_pre_ping=True, connect_args=arguments), name
    except ModuleNotFoundError as error:
        msg = "an index in PostgreSQL needs the package psycopg"
        raise InputError(msg, "pip install 'edge-buildkit[postgresql]'") from error
    except (NoSuchModuleError, SQLAlchemyError, ValueError) as error:
        msg = f"the URL of the index cannot be used: {_line(error)}"
        raise InputError(msg, "write postgresql+psycopg://USER@HOST/DATABASE") from error


def _file(path: Path, *, readonly: bool) -> Engine:
    if readonly and not path.is_file():
        msg = f"{path}: there is no index here"
        raise StoreError(msg, "`python -m buildkit audit index` makes one")
    if not readonly:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = f"{path.parent}: cannot be made: {error.strerror}"
            raise StoreError(msg, "name another file with --index") from error
    # A question mark or a hash in a file's name is one, and asks for nothing.
    name = f"file:{quote(str(path.absolute()))}?mode={'ro' if readonly else 'rwc'}"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(name, uri=True, timeout=_WAIT_S, check_same_thread=False)

    # Connections are kept: whoever closes the last one waits until the log is in the file.
    engine = sql.create_engine("sqlite://", creator=connect, poolclass=QueuePool)

    # A `BEGIN` of our own: that of Python comes late, and takes the lock of a writer later still.
    @event.listens_for(engine, "connect")
    def connected(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute("PRAGMA cache_size=-262144")
        cursor.execute("PRAGMA mmap_size=1073741824")
        cursor.execute("PRAGMA temp_store=MEMORY")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _prepare(index: Index, *, readonly: bool) -> None:
    """See to it that the tables are there, and are ours."""
    found = _version(index)
    if found == str(schema.VERSION):
        return
    if found.isdecimal() and int(found) > schema.VERSION:
        msg = f"{index.name}: written by a newer version of this tool"
        raise StoreError(msg, "install a newer edge-buildkit, or name another index")
    if readonly:
        msg = f"{index.name}: no index, or one of an older version"
        raise StoreError(msg, "`python -m buildkit audit index` makes one")
    if index.dialect == "sqlite":
        _use_log(index)
    with index.write() as connection:
        _make(connection, index.name)


def _version(index: Index) -> str:
    """The version of the tables; empty when there are none."""
    with index.connect() as connection:
        try:
            found = connection.execute(
                sql.select(schema.META.c.value).where(schema.META.c.key == "schema")
            ).scalar()
        except DBAPIError:
            # There is no such table; every other error comes again.
            return ""
    return str(found or "")


def _use_log(index: Index) -> None:
    """Write-ahead logging: readers need not wait for a writer. It stays with the file."""
    deadline = time.monotonic() + _WAIT_S
    while True:
        try:
            # Not in a transaction; and SQLite does not wait for others here.
            with index._engine.connect() as connection:  # noqa: SLF001 - of this module
                driver = connection.connection.driver_connection
                if driver is not None:
                    driver.execute("PRAGMA journal_mode=WAL")
        except (DBAPIError, sqlite3.OperationalError) as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _make(connection: Connection, name: str) -> None:
    """The tables, where nobody made them meanwhile."""
    there = set(sql.inspect(connection).get_table_names())
    ours = {table.name for table in schema.METADATA.sorted_tables}
    if foreign := there - ours - {"sqlite_stat1", "sqlite_stat4"}:
        msg = f"{name}: it holds other tables ({min(foreign)})"
        raise InputError(msg, "give the index a database of its own")
    if "meta" in there:
        query = sql.select(schema.META.c.value).where(schema.META.c.key == "schema")
        if connection.execute(query).scalar() == str(schema.VERSION):
            return
    schema.METADATA.drop_all(connection)
    schema.METADATA.create_all(connection)
    connection.execute(sql.insert(schema.META), [{"key": "schema", "value": str(schema.VERSION)}])


@contextmanager
def _translated(name: str) -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        msg = f"{name}: the index cannot be used: {_line(error.orig or error)}"
        raise StoreError(msg, "check the path or the URL, and who may write there") from error
    except SQLAlchemyError as error:
        if "file is not a database" in str(error):
            msg = f"{name}: a file, and no index"
            raise InputError(msg, "name another file with --index") from error
        msg = f"{name}: the index fails: {_line(getattr(error, 'orig', None) or error)}"
        raise StoreError(msg, _AGAIN) from error


def _line(error: object) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
