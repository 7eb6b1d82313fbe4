"""Reads from the index all that a report says of one artifact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sql

from buildkit.audit.queries import find
from buildkit.audit.report import gaps, said
from buildkit.audit.report.types import Artifact, Build, Cut, Material, Package, Report
from buildkit.audit.schema import (
    ABOUT,
    ARTIFACT,
    BUILD,
    HOLDS,
    MADE_FROM,
    MATERIAL,
    META,
    PACKAGE,
    PART,
    PRESENCE,
    SOURCE,
    STATEMENT,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, Row

_MOST_PACKAGES = 5000
_MOST_MATERIALS = 2000
_MOST_USED_BY = 20
# A platform is shown with its image, a variant with the others.
_WHOLE = {"platform": "image", "model": "models"}
_ORDER = {"image": 0, "platform": 1, "models": 2, "model": 3}


def facts(connection: Connection, ref: str) -> Report:
    """All that the index knows of an artifact; of a part that only one thing has, of that thing.

    Args:
        connection: to the index.
        ref: name, digest, or at least 7 of its first hex digits.

    Raises:
        InputError: the index knows none, or more than one.
    """
    top = _top(connection, ref)
    family = {top.id: top} | _below(connection, top.id)
    artifacts = _artifacts(connection, family)
    parts = tuple(each for key, each in artifacts.items() if key != top.id)
    labels = {key: each.label for key, each in artifacts.items()}
    builds, sums = _builds(connection, labels)
    materials, all_materials = _materials(connection, sums)
    packages, all_packages = _packages(connection, labels)
    role, roles = artifacts[top.id].role, {key: each.role for key, each in artifacts.items()}
    runs, all_runs = said.runs(connection, labels, role, roles)
    verdicts, all_verdicts = said.verdicts(connection, labels, role, roles)
    signed = said.signed(connection, labels)
    refused, all_refused = said.refused(connection, labels)
    return Report(
        top=artifacts[top.id],
        policy=_policy(connection),
        parts=parts,
        used_by=_used_by(connection, top.id),
        builds=builds,
        materials=materials,
        packages=packages,
        runs=runs,
        verdicts=verdicts,
        promotions=said.promotions(connection, top.id, artifacts[top.id].role),
        signed=signed,
        refused=refused,
        gaps=gaps.find((artifacts[top.id], *parts), signed=signed, verdicts=verdicts, runs=runs),
        total=Cut(
            runs=all_runs,
            verdicts=all_verdicts,
            packages=all_packages,
            materials=all_materials,
            refused=all_refused,
        ),
    )


def _top(connection: Connection, ref: str) -> Row[*tuple[Any, ...]]:
    found = find.artifact(connection, ref)
    whole = _WHOLE.get(found.role)
    part = ARTIFACT.alias("of_it")
    above = (
        sql.select(ARTIFACT.c.id, ARTIFACT.c.role)
        .join(PART, PART.c.parent == ARTIFACT.c.id)
        .join(part, part.c.id == PART.c.child)
        .where(
            PART.c.child == found.id, ARTIFACT.c.role == whole, find.of_one_build(ARTIFACT, part)
        )
        .limit(2)
    )
    parents = connection.execute(above).all() if whole else []
    # A part of several things is shown alone: what is said of one of them is not said of it.
    return parents[0] if len(parents) == 1 else found


def _policy(connection: Connection) -> str:
    query = sql.select(META.c.value).where(META.c.key == "policy")
    return str(connection.execute(query).scalar() or "")


def _below(connection: Connection, top: int) -> dict[int, Row[*tuple[Any, ...]]]:
    """Parts, and parts of parts."""
    parts = find.below(connection, [top])[top] - {top}
    query = sql.select(ARTIFACT.c.id, ARTIFACT.c.role)
    return {row.id: row for row in find.rows(connection, query, ARTIFACT.c.id, parts)}


def _artifacts(
    connection: Connection, family: Mapping[int, Row[*tuple[Any, ...]]]
) -> dict[int, Artifact]:
    rows = connection.execute(sql.select(ARTIFACT).where(ARTIFACT.c.id.in_([*family]))).all()
    by_id = {row.id: row for row in rows}
    names: dict[int, list[str]] = {}
    query = (
        sql.select(PRESENCE.c.artifact, PRESENCE.c.name, SOURCE.c.name.label("source"))
        .join(SOURCE, SOURCE.c.id == PRESENCE.c.source)
        .where(PRESENCE.c.artifact.in_([*family]), PRESENCE.c.name != "")
        .order_by(PRESENCE.c.name, SOURCE.c.name)
    )
    for row in connection.execute(query):
        wrong = " (it is not that)" if find.misleads(row.name, by_id[row.artifact]) else ""
        names.setdefault(row.artifact, []).append(f"{row.name} in {row.source}{wrong}")
    return {
        row.id: Artifact(
            digest=row.digest,
            role=row.role,
            name=row.name,
            version=row.version,
            variant=row.variant,
            size=row.size,
            lock=row.lock,
            names=tuple(names.get(row.id, ())),
        )
        for row in sorted(rows, key=lambda row: (_ORDER.get(row.role, 9), row.variant, row.digest))
    }


def _used_by(connection: Connection, top: int) -> tuple[Artifact, ...]:
    part = ARTIFACT.alias("of_it")
    query = (
        sql.select(*ARTIFACT.c["digest", "role", "name", "version", "variant"])
        .join(PART, PART.c.parent == ARTIFACT.c.id)
        .join(part, part.c.id == PART.c.child)
        .where(PART.c.child == top, find.of_one_build(ARTIFACT, part))
        .order_by(ARTIFACT.c.name, ARTIFACT.c.version, ARTIFACT.c.digest)
        .limit(_MOST_USED_BY)
    )
    return tuple(Artifact(**row._mapping) for row in connection.execute(query))  # noqa: SLF001 - SQLAlchemy's public way to a row's names


def _builds(
    connection: Connection, labels: Mapping[int, str]
) -> tuple[tuple[Build, ...], list[int]]:
    """Builds, each once though several signed it, and the numbers of their statements."""
    query = (
        sql.select(BUILD, STATEMENT.c.bundle, STATEMENT.c.payload)
        .distinct()
        .join(STATEMENT, STATEMENT.c.id == BUILD.c.statement)
        .join(ABOUT, ABOUT.c.statement == STATEMENT.c.id)
        .where(ABOUT.c.artifact.in_([*labels]))
        .order_by(STATEMENT.c.bundle)
    )
    same: dict[str, list[Row[*tuple[Any, ...]]]] = {}
    for row in connection.execute(query):
        same.setdefault(row.payload, []).append(row)
    builds = tuple(
        Build(
            recipe=rows[0].recipe,
            version=rows[0].version,
            recipe_digest=rows[0].recipe_digest,
            lock=rows[0].lock,
            builder=rows[0].builder,
            revision=rows[0].revision,
            evidence=tuple(row.bundle for row in rows),
        )
        for rows in same.values()
    )
    return builds, [rows[0].statement for rows in same.values()]


def _materials(connection: Connection, builds: Sequence[int]) -> tuple[tuple[Material, ...], int]:
    if not builds:
        return (), 0
    chosen = MADE_FROM.c.build.in_(builds)
    query = (
        sql.select(*MATERIAL.c["id", "name", "uri", "digest", "commit"], MADE_FROM.c.uses)
        .join(MADE_FROM, MADE_FROM.c.material == MATERIAL.c.id)
        .where(chosen)
        .order_by(MATERIAL.c.name, MATERIAL.c.uri, MATERIAL.c.digest, MADE_FROM.c.build)
        .limit(_MOST_MATERIALS)
    )
    found = {
        row.id: Material(
            name=row.name,
            uri=row.uri,
            digest=row.digest,
            commit=row.commit,
            uses=tuple(filter(None, row.uses.split(", "))),
        )
        for row in connection.execute(query)
    }
    if len(found) < _MOST_MATERIALS:
        return tuple(found.values()), len(found)
    count = sql.select(sql.func.count(MADE_FROM.c.material.distinct())).where(chosen)
    return tuple(found.values()), connection.execute(count).scalar_one()


def _packages(connection: Connection, labels: Mapping[int, str]) -> tuple[tuple[Package, ...], int]:
    query = (
        sql.select(
            *PACKAGE.c["id", "type", "name", "version", "licence", "purl", "sha256"],
            HOLDS.c.artifact,
        )
        .distinct()
        .join(HOLDS, HOLDS.c.package == PACKAGE.c.id)
        .where(HOLDS.c.artifact.in_([*labels]))
        .order_by(PACKAGE.c.type, PACKAGE.c.name, PACKAGE.c.version, PACKAGE.c.id)
    )
    inside: dict[int, set[str]] = {}
    rows: dict[int, Row[*tuple[Any, ...]]] = {}
    for row in connection.execute(query):
        rows[row.id] = row
        inside.setdefault(row.id, set()).add(labels[row.artifact])
    found = tuple(
        Package(
            type=row.type,
            name=row.name,
            version=row.version,
            licence=row.licence,
            purl=row.purl,
            sha256=row.sha256,
            inside=tuple(sorted(inside[row.id])),
        )
        for row in list(rows.values())[:_MOST_PACKAGES]
    )
    return found, len(rows)
