"""Takes away what a source no longer has, and all that nothing needs any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sql

from buildkit.audit import boms, runs, schema
from buildkit.audit.ingest import STUB
from buildkit.audit.rows import OfSource
from buildkit.audit.schema import chunks

if TYPE_CHECKING:
    from buildkit.audit.facts import Row
    from buildkit.audit.rows import Gone

# Rows of a statement that are what it says, and go when it does.
_SAID = (
    *(schema.ABOUT, schema.HOLDS, schema.JUDGED, schema.WEIGHED, schema.VERDICT, schema.PROMOTION),
)

_NAMES_ARTIFACT = (
    schema.ABOUT.c.artifact,
    schema.PART.c.child,
    schema.CARRIED.c.subject,
    schema.HOLDS.c.artifact,
    schema.RUN.c.image,
    schema.RUN.c.model,
    schema.VERDICT.c.image,
    schema.VERDICT.c.model,
    schema.PROMOTION.c.image,
    schema.PROMOTION.c.models,
)


class Remover(OfSource):
    """Deletes rows of one source."""

    def remove(self, gone: Gone) -> tuple[int, bool]:
        """Take away what the source no longer has, and what no other source has either.

        Returns:
            How many statements went, and whether something must be read again for it.
        """
        connection, source = self._rows.connection, self._source
        for number, name in gone.presence:
            at = schema.PRESENCE.c
            connection.execute(
                sql.delete(schema.PRESENCE).where(
                    at.source == source, at.artifact == number, at.name == name
                )
            )
        statements = {statement for statement, _ in gone.carried}
        subjects = self._rows.column(
            schema.CARRIED.c.subject, schema.CARRIED.c.statement, statements
        )
        for chunk in chunks(gone.carried):
            at = schema.CARRIED.c
            connection.execute(
                sql.delete(schema.CARRIED).where(
                    at.source == source,
                    at.statement == sql.bindparam("one"),
                    at.manifest == sql.bindparam("other"),
                ),
                [{"one": one, "other": other} for one, other in chunk],
            )
        self._settle(gone.sought)
        left = self._rows.column(schema.CARRIED.c.statement, schema.CARRIED.c.statement, statements)
        touched = {number for number, _ in gone.presence} | subjects
        touched |= self._forget(statements - left)
        self._narrow(statements & left)
        self._demote({number for number, _ in gone.presence})
        again = self._hear(boms.silent(self._rows, touched))
        self._sweep(touched)
        return len(statements - left), again

    def _settle(self, sought: set[tuple[str, str, str, bool]]) -> None:
        """What bundles are no longer held against."""
        table = schema.SOUGHT
        keys = ("manifest", "digest", "kind", "found")
        query = sql.delete(table).where(
            table.c.source == self._source,
            *(table.c[key] == sql.bindparam(f"its_{key}") for key in keys),
        )
        for chunk in chunks(sought):
            self._rows.connection.execute(
                query,
                [dict(zip((f"its_{key}" for key in keys), row, strict=True)) for row in chunk],
            )

    def _hear(self, silent: set[int]) -> bool:
        """Forget statements so that they are read again; whether there are any."""
        if not silent:
            return False
        carried = schema.CARRIED.c
        sources = self._rows.column(carried.source, carried.statement, silent)
        self._rows.delete(schema.CARRIED, carried.statement, silent)
        self._forget(silent)
        self._rows.connection.execute(
            sql.update(schema.SOURCE)
            .where(schema.SOURCE.c.id.in_(sources - {self._source}))
            .values(state="")
        )
        return True

    def _forget(self, statements: set[int]) -> set[int]:
        """Remove statements that no source carries; the artifacts that they named."""
        if not statements:
            return set()
        at = schema.STATEMENT.c
        touched: set[int] = set()
        for column in _NAMES_ARTIFACT:
            table = column.table
            if "statement" in table.c:
                touched |= self._rows.column(column, table.c.statement, statements)
        packages = self._rows.column(schema.HOLDS.c.package, schema.HOLDS.c.statement, statements)
        materials = self._rows.column(
            schema.MADE_FROM.c.material, schema.MADE_FROM.c.build, statements
        )
        signers = self._rows.column(at.signer, at.id, statements)
        lost: dict[str, Row] = {}
        for chunk in chunks(statements):
            query = (
                sql.select(at.payload, schema.RUN)
                .join(schema.STATEMENT, at.id == schema.RUN.c.statement)
                .where(schema.RUN.c.statement.in_(chunk))
            )
            for found in self._rows.connection.execute(query).mappings():
                row = dict(found)
                lost[row.pop("payload")] = row
        self._rows.delete(schema.RUN, schema.RUN.c.statement, statements)
        self._rows.delete(schema.MADE_FROM, schema.MADE_FROM.c.build, statements)
        self._rows.delete(schema.BUILD, schema.BUILD.c.statement, statements)
        for table in _SAID:
            key = table.c.verdict if "verdict" in table.c else table.c.statement
            self._rows.delete(table, key, statements)
        self._rows.delete(schema.STATEMENT, at.id, statements)
        runs.settle(self._rows, lost)
        self._rows.orphans(schema.PACKAGE, packages, schema.HOLDS.c.package)
        self._rows.orphans(schema.MATERIAL, materials, schema.MADE_FROM.c.material)
        self._rows.orphans(schema.SIGNER, signers, at.signer)
        return touched

    def _narrow(self, statements: set[int]) -> None:
        """Statements that are carried elsewhere still are about what they hang on there."""
        about, carried = schema.ABOUT.c, schema.CARRIED.c
        hangs = sql.exists().where(
            carried.statement == about.statement, carried.subject == about.artifact
        )
        records = sql.exists().where(schema.PROMOTION.c.statement == about.statement)
        for chunk in chunks(statements):
            self._rows.connection.execute(
                sql.delete(schema.ABOUT).where(about.statement.in_(chunk), ~hangs, ~records)
            )
            held = schema.HOLDS.c
            self._rows.connection.execute(
                sql.delete(schema.HOLDS).where(
                    held.statement.in_(chunk),
                    ~sql.exists().where(
                        carried.statement == held.statement, carried.subject == held.artifact
                    ),
                )
            )

    def _demote(self, artifacts: set[int]) -> None:
        """Of what no source has any more, nothing is known but its digest."""
        at = schema.ARTIFACT.c
        left = self._rows.column(schema.PRESENCE.c.artifact, schema.PRESENCE.c.artifact, artifacts)
        gone = artifacts - left
        children = self._rows.column(schema.PART.c.child, schema.PART.c.parent, gone)
        self._rows.delete(schema.PART, schema.PART.c.parent, gone)
        for chunk in chunks(gone):
            self._rows.connection.execute(
                sql.update(schema.ARTIFACT).where(at.id.in_(chunk)).values(**STUB)
            )
        self._sweep(children)

    def _sweep(self, artifacts: set[int]) -> None:
        """Remove artifacts that are in no source, and that nothing names."""
        at = schema.ARTIFACT.c
        needed = (schema.PRESENCE.c.artifact, *_NAMES_ARTIFACT)
        for chunk in chunks(artifacts):
            self._rows.connection.execute(
                sql.delete(schema.ARTIFACT).where(
                    at.id.in_(chunk),
                    *(~sql.exists().where(column == at.id) for column in needed),
                )
            )
