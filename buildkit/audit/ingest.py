"""Writes what is new, in one transaction of a writer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sql

from buildkit.audit import schema
from buildkit.audit.boms import keep
from buildkit.audit.rows import OfSource, collision
from buildkit.audit.runs import settle
from buildkit.audit.schema import chunks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Table

    from buildkit.audit.facts import Facts, Row
    from buildkit.audit.rows import Batch

# What is known of an artifact that is only named.
STUB = {"role": "", "name": "", "version": "", "variant": "", "lock": "", "size": 0}


class Writer(OfSource):
    """Adds rows of one source."""

    def add(self, batch: Batch) -> tuple[int, int]:
        """Write what is not there yet.

        Returns:
            How many statements are new, and how many of them are refused.

        Raises:
            EvidenceError: two texts share a number.
        """
        self._artifacts(batch)
        self._rows.named(schema.SIGNER, batch.signers)
        new = self._rows.named(schema.STATEMENT, batch.statements)
        self._rows.edges(
            schema.PART,
            [
                {"parent": parent, "child": child, "role": role}
                for (parent, child), role in batch.parts.items()
            ],
        )
        here = {"source": self._source}
        self._rows.edges(
            schema.PRESENCE,
            [{**here, "artifact": number, "name": name} for number, name in batch.presence],
        )
        self._rows.edges(
            schema.CARRIED,
            [
                {**here, "statement": statement, "manifest": manifest, "subject": subject}
                for statement, manifest, subject in batch.carried
            ],
        )
        self._rows.edges(
            schema.SOUGHT,
            [
                {**here, "manifest": manifest, "digest": digest, "kind": kind, "found": int(found)}
                for manifest, digest, kind, found in batch.sought
            ],
        )
        pairs = {(statement, subject) for statement, _, subject in batch.carried if subject}
        pairs |= {
            (statement, row[key])
            for statement, said in batch.said.items()
            for row in ([said.promotion] if said.promotion else [])
            for key in ("image", "models")
        }
        self._rows.edges(
            schema.ABOUT, [{"statement": one, "artifact": other} for one, other in pairs]
        )
        self._facts(
            {number: said for number, said in batch.said.items() if number in new},
            {number: batch.statements[number]["payload"] for number in new},
        )
        keep(self._rows, batch, pairs)
        refused = sum(1 for number in new if batch.statements[number]["reason"])
        return len(new), refused

    def _artifacts(self, batch: Batch) -> None:
        numbers = batch.artifacts.keys() | batch.stubs.keys()
        at = schema.ARTIFACT.c
        known = {
            row.id: row
            for chunk in chunks(numbers)
            for row in self._rows.connection.execute(
                sql.select(at.id, at.digest, at.role).where(at.id.in_(chunk))
            )
        }
        fresh, filled = [], []
        for number in numbers:
            row = batch.artifacts.get(number) or {
                "id": number,
                "digest": batch.stubs[number],
                **STUB,
            }
            there = known.get(number)
            if there is None:
                fresh.append(row)
            elif there.digest != row["digest"]:
                raise collision(number, there.digest, row["digest"])
            elif row["role"] and not there.role:
                filled.append({f"b_{key}": value for key, value in row.items()})
        self._rows.insert(schema.ARTIFACT, fresh)
        if filled:
            names = [column.name for column in at if column.name != "id"]
            self._rows.connection.execute(
                sql.update(schema.ARTIFACT)
                .where(at.id == sql.bindparam("b_id"))
                .values({name: sql.bindparam(f"b_{name}") for name in names}),
                filled,
            )

    def _facts(self, said: dict[int, Facts], payloads: dict[int, str]) -> None:
        """What new statements say; `payloads` has the digest of what was signed of each."""
        self._rows.named(
            schema.MATERIAL,
            {
                number: row
                for found in said.values()
                for number, (row, _) in found.materials.items()
            },
        )
        self._single(schema.BUILD, ((one, found.build) for one, found in said.items()))
        self._rows.edges(
            schema.MADE_FROM,
            [
                {"material": number, "build": one, "uses": uses}
                for one, found in said.items()
                for number, (_, uses) in found.materials.items()
            ],
        )
        self._single(schema.VERDICT, ((one, found.verdict) for one, found in said.items()))
        self._rows.edges(
            schema.JUDGED,
            [{"verdict": one, **row} for one, found in said.items() for row in found.judged],
        )
        self._rows.edges(
            schema.WEIGHED,
            [
                {"verdict": one, "payload": payload}
                for one, found in said.items()
                for payload in found.weighed
            ],
        )
        self._single(schema.PROMOTION, ((one, found.promotion) for one, found in said.items()))
        settle(
            self._rows,
            {payloads[one]: found.run for one, found in said.items() if found.run is not None},
        )

    def _single(self, table: Table, rows: Iterable[tuple[int, Row | None]]) -> None:
        self._rows.insert(
            table, [{"statement": one, **row} for one, row in rows if row is not None]
        )
