"""Rows of the index to be written together, and how they are written and deleted.

Numbers of rows follow from what they name (`schema.number`), so that a row that is there already
must be the same: where it is not, two texts share a number, and whoever made them is found out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import sqlalchemy as sql
from sqlalchemy.dialects import postgresql, sqlite

from buildkit.audit import facts
from buildkit.audit.schema import chunks
from buildkit.errors import EvidenceError
from buildkit.evidence.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Column, Connection, Table

    from buildkit.audit.facts import Facts, Row


@dataclass(kw_only=True, slots=True)
class Batch:
    """Rows to be written together, each once.

    Attributes:
        artifacts: those that are there, by number; whole rows.
        stubs: digests of those that are only named.
        parts: of them.
        presence: (artifact, name).
        signers: by number.
        statements: by number; `said` has the facts of those that are true.
        said: by number of the statement.
        carried: (statement, manifest, subject).
        sought: (manifest, digest, kind, found); see `schema.SOUGHT`.
    """

    artifacts: dict[int, Row] = field(default_factory=dict)
    stubs: dict[int, str] = field(default_factory=dict)
    parts: dict[tuple[int, int], str] = field(default_factory=dict)
    presence: set[tuple[int, str]] = field(default_factory=set)
    signers: dict[int, Row] = field(default_factory=dict)
    statements: dict[int, Row] = field(default_factory=dict)
    said: dict[int, Facts] = field(default_factory=dict)
    carried: set[tuple[int, str, int | None]] = field(default_factory=set)
    sought: set[tuple[str, str, str, bool]] = field(default_factory=set)

    def name(self, digest: str) -> int:
        """The number of an artifact that something names."""
        number = facts.artifact(digest)
        put(self.stubs, number, digest)
        return number

    def state(self, row: Row, signer: Row | None, said: Facts | None) -> int:
        """Take a statement, who signed it, and what it says if that is true."""
        number: int = row["id"]
        put(self.statements, number, row)
        if signer is not None:
            put(self.signers, signer["id"], signer)
        if said is not None and not row["reason"]:
            self.said[number] = said
            for digest in said.artifacts:
                self.name(digest)
        return number

    def take(self, other: Batch) -> None:
        """Add what another batch has.

        Raises:
            EvidenceError: two texts share a number.
        """
        for mine, theirs in (
            (self.artifacts, other.artifacts),
            (self.stubs, other.stubs),
            (self.signers, other.signers),
            (self.statements, other.statements),
        ):
            rows: dict[int, Any] = mine
            for number in theirs.keys() & rows.keys():
                put(rows, number, theirs[number])
            rows |= theirs
        self.parts |= other.parts
        self.presence |= other.presence
        self.said |= other.said
        self.carried |= other.carried
        self.sought |= other.sought


@dataclass(kw_only=True, slots=True)
class Gone:
    """What a source no longer has.

    Attributes:
        presence: (artifact, name).
        carried: (statement, manifest).
        sought: (manifest, digest, kind, found).
    """

    presence: set[tuple[int, str]] = field(default_factory=set)
    carried: set[tuple[int, str]] = field(default_factory=set)
    sought: set[tuple[str, str, str, bool]] = field(default_factory=set)


def put(rows: dict[int, Any], number: int, row: Any) -> None:
    """Keep a row under its number.

    Raises:
        EvidenceError: another has it.
    """
    known = rows.setdefault(number, row)
    if known is not row and known != row:
        raise collision(number, known, row)


def collision(number: int, one: object, other: object) -> EvidenceError:
    """The error of two texts that share a number."""
    msg = f"two texts were made to share the number {number}: {one!r:.200} and {other!r:.200}"
    remedy = "look at who wrote them: this does not happen by chance"
    return EvidenceError(Reason.NAME, msg, remedy)


def _is_fault(row: Row) -> bool:
    """Whether a row says that bytes could not be read where they should be."""
    return "@" in row.get("bundle", "")


class OfSource:
    """Rows of one source, in one transaction of a writer.

    Args:
        connection: of `database.Index.write`.
        source: number of the source.
    """

    def __init__(self, connection: Connection, source: int) -> None:
        self._rows = Rows(connection)
        self._source = source


class Rows:
    """The rows of an index, in one transaction of a writer.

    Args:
        connection: of `database.Index.write`.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._postgresql = connection.dialect.name == "postgresql"

    def named(self, table: Table, rows: dict[int, Row]) -> set[int]:
        """Insert rows that have a number of their own; the numbers of those that are new."""
        there: dict[int, Row] = {}
        for chunk in chunks(rows):
            query = sql.select(table).where(table.c.id.in_(chunk))
            there |= {row["id"]: dict(row) for row in self.connection.execute(query).mappings()}
        for number, row in there.items():
            if row == rows[number]:
                continue
            if not _is_fault(row):
                raise collision(number, row, rows[number])
            # What is wrong with its bytes may be something else by now.
            self.connection.execute(
                sql.update(table).where(table.c.id == number).values(rows[number])
            )
        new = rows.keys() - there.keys()
        if new:
            self.insert(table, [rows[number] for number in new])
        return set(new)

    def edges(self, table: Table, rows: Sequence[Row]) -> None:
        """Insert rows that are nothing but their key; those that are there stay."""
        self.insert(table, rows, ignore=True)

    def insert(self, table: Table, rows: Sequence[Row], *, ignore: bool = False) -> None:
        """Insert rows, all with the same keys, past what the library does for each of them."""
        if not rows:
            return
        insert = postgresql.insert(table) if self._postgresql else sqlite.insert(table)
        compiled = (insert.on_conflict_do_nothing() if ignore else insert).compile(
            dialect=self.connection.dialect, column_keys=list(rows[0])
        )
        names = compiled.positiontup
        if names is None:
            self.connection.exec_driver_sql(str(compiled), list(rows))
        else:
            picked = itemgetter(*names)
            self.connection.exec_driver_sql(str(compiled), [picked(row) for row in rows])

    def orphans(self, table: Table, numbers: set[int], user: Column[Any]) -> None:
        """Delete rows with a number that no other table uses."""
        for chunk in chunks(numbers):
            self.connection.execute(
                sql.delete(table).where(
                    table.c.id.in_(chunk), ~sql.exists().where(user == table.c.id)
                )
            )

    def column(self, wanted: Any, key: Any, numbers: Iterable[int]) -> set[int]:
        """The distinct values of a column in the rows with one of these keys."""
        return {
            value
            for chunk in chunks(numbers)
            for (value,) in self.connection.execute(
                sql.select(wanted).distinct().where(key.in_(chunk))
            )
            if value is not None
        }

    def delete(self, table: Table, key: Any, numbers: Iterable[int]) -> None:
        """Delete the rows with one of these keys."""
        for chunk in chunks(numbers):
            self.connection.execute(sql.delete(table).where(key.in_(chunk)))
