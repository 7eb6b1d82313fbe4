"""What is inside: CycloneDX's word, or SPDX's where there is no CycloneDX."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sql

from buildkit.audit import schema
from buildkit.audit.schema import chunks
from buildkit.evidence import kinds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit.audit.rows import Batch, Rows


def keep(rows: Rows, batch: Batch, pairs: set[tuple[int, int]]) -> None:
    """Write what true SBOMs among the statements say is inside.

    Args:
        rows: of the index.
        batch: the statements; they are written.
        pairs: (statement, artifact that it is about).
    """
    by_kind: dict[str, list[tuple[int, int]]] = {}
    for one, other in pairs:
        if one in batch.said and batch.said[one].packages:
            by_kind.setdefault(batch.statements[one]["kind"], []).append((one, other))
    for kind in (kinds.CYCLONEDX.name, kinds.SPDX.name):
        wanted = by_kind.get(kind, [])
        if kind == kinds.SPDX.name:
            better = _described(rows, kinds.CYCLONEDX.name, {other for _, other in wanted})
            wanted = [(one, other) for one, other in wanted if other not in better]
        _hold(rows, batch, wanted)
    _drop_spdx(
        rows,
        {
            other
            for one, other in pairs
            if batch.statements[one]["kind"] == kinds.CYCLONEDX.name
            and not batch.statements[one]["reason"]
        },
    )


def _hold(rows: Rows, batch: Batch, pairs: Sequence[tuple[int, int]]) -> None:
    packages = {row["id"]: row for one, _ in pairs for row in batch.said[one].packages}
    rows.named(schema.PACKAGE, packages)
    rows.edges(
        schema.HOLDS,
        [
            {"package": row["id"], "artifact": other, "statement": one}
            for one, other in pairs
            for row in batch.said[one].packages
        ],
    )


def _described(rows: Rows, kind: str, artifacts: set[int]) -> set[int]:
    """Those artifacts that a true statement of a kind is about."""
    at = schema.STATEMENT.c
    return {
        number
        for chunk in chunks(artifacts)
        for (number,) in rows.connection.execute(
            sql.select(schema.ABOUT.c.artifact)
            .join(schema.STATEMENT, at.id == schema.ABOUT.c.statement)
            .where(schema.ABOUT.c.artifact.in_(chunk), at.kind == kind, at.reason == "")
        )
    }


def _drop_spdx(rows: Rows, artifacts: set[int]) -> None:
    """SPDX's word on artifacts that CycloneDX describes now."""
    at = schema.STATEMENT.c
    spdx = sql.select(at.id).where(at.kind == kinds.SPDX.name, at.reason == "")
    packages: set[int] = set()
    for chunk in chunks(artifacts):
        which = (
            schema.HOLDS.c.artifact.in_(chunk),
            schema.HOLDS.c.statement.in_(spdx),
        )
        query = sql.select(schema.HOLDS.c.package).where(*which)
        packages |= {number for (number,) in rows.connection.execute(query)}
        rows.connection.execute(sql.delete(schema.HOLDS).where(*which))
    rows.orphans(schema.PACKAGE, packages, schema.HOLDS.c.package)


def silent(rows: Rows, artifacts: set[int]) -> set[int]:
    """SPDX documents that must be read again, since CycloneDX no longer speaks."""
    bare = artifacts - _described(rows, kinds.CYCLONEDX.name, artifacts)
    at = schema.STATEMENT.c
    found: set[int] = set()
    for chunk in chunks(bare):
        holds = sql.select(schema.HOLDS.c.statement).where(
            schema.HOLDS.c.statement == at.id,
            schema.HOLDS.c.artifact == schema.ABOUT.c.artifact,
        )
        query = (
            sql.select(at.id)
            .join(schema.ABOUT, schema.ABOUT.c.statement == at.id)
            .where(
                schema.ABOUT.c.artifact.in_(chunk),
                at.kind == kinds.SPDX.name,
                at.reason == "",
                ~sql.exists(holds),
            )
        )
        found |= {number for (number,) in rows.connection.execute(query)}
    return found
