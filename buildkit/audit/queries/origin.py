"""``from`` and ``materials``: what was made from something, and what something was made from."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import sqlalchemy as sql

from buildkit.audit import versions
from buildkit.audit.queries import find
from buildkit.audit.schema import ABOUT, ARTIFACT, BUILD, MADE_FROM, MATERIAL, STATEMENT
from buildkit.audit.types import LIMIT, Answer, Made, Source
from buildkit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import ColumnElement, Connection

    from buildkit.audit.queries.find import Line, Number, Opened

_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_NIX = re.compile(r"(?:nix:)?(/[^\s]*/store/[^\s/]+)|nix:([0-9a-z]{7,64})")
_BUILDER = "builder:"
_BUILDERS = "urn:edge-buildkit:builder:"
_VERSION = ":v1"
_SHOWN = ("image", "model")
_DEPTH = 8
_MOST = 100_000


def made_from(index: Opened, input_: str, *, limit: int = LIMIT) -> Answer[Made]:
    """All images and models that were made from something.

    Args:
        index: to ask.
        input_: a wheel or a Debian package (name, with bounds on its version, or package URL), a
            file (data set, script) by its name, a digest or a commit (or 7 of its first digits), a
            part of the builder (``engine amd64``, a Nix store path), or ``builder:pinned``.
        limit: of rows.

    Raises:
        InputError: `input_` can name nothing.
        StoreError: the index fails.
    """
    text = versions.checked(input_)
    with index.connect() as connection:
        if text.startswith((_BUILDER, _BUILDERS)):
            return _by_builder(connection, text, limit)
        materials = _materials(connection, text)
        pairs = (
            sql.select(MADE_FROM.c.material, ABOUT.c.artifact)
            .join(ABOUT, ABOUT.c.statement == MADE_FROM.c.build)
            .join(ARTIFACT, ARTIFACT.c.id == ABOUT.c.artifact)
            .where(MADE_FROM.c.material.in_(materials), ARTIFACT.c.role.in_(_SHOWN))
            .group_by(MADE_FROM.c.material, ABOUT.c.artifact)
            .order_by(MADE_FROM.c.material, ABOUT.c.artifact)
            .limit(limit + 1)
            .subquery()
        )
        query = (
            sql.select(pairs.c.material, pairs.c.artifact, MADE_FROM.c.uses, STATEMENT.c.bundle)
            .select_from(pairs)
            .join(ABOUT, ABOUT.c.artifact == pairs.c.artifact)
            .join(
                MADE_FROM,
                sql.and_(
                    MADE_FROM.c.material == pairs.c.material,
                    MADE_FROM.c.build == ABOUT.c.statement,
                ),
            )
            .join(STATEMENT, STATEMENT.c.id == ABOUT.c.statement)
            # As the pairs say already, but PostgreSQL does not see it, and would read all uses.
            .where(MADE_FROM.c.material.in_(materials))
        )
        found: dict[tuple[Number, Number], tuple[set[str], set[str]]] = {}
        for material, artifact, uses, bundle in connection.execute(query).all():
            all_uses, evidence = found.setdefault((material, artifact), (set(), set()))
            all_uses.add(uses)
            evidence.add(bundle)
        known = find.things(connection, {artifact for _, artifact in found})
    rows = [
        Made(
            role=known[artifact].role,
            name=known[artifact].name,
            version=known[artifact].version,
            variant=known[artifact].variant,
            digest=known[artifact].digest,
            input=materials[material].name,
            uri=materials[material].uri,
            input_digest=materials[material].digest,
            commit=materials[material].commit,
            uses=", ".join(sorted(uses)),
            evidence=tuple(sorted(evidence)),
        )
        for (material, artifact), (uses, evidence) in found.items()
    ]
    rows.sort(
        key=lambda row: (
            *(row.name, row.version, row.role, row.variant, row.uri, row.digest),
            *(row.input, row.input_digest, row.commit),
        )
    )
    return Answer(rows=tuple(rows[:limit]), more=len(rows) > limit)


def materials(index: Opened, ref: str, *, limit: int = LIMIT) -> Answer[Source]:
    """What an artifact was made from, down to the seed.

    Where a material is an artifact of the index itself (a model that another build made), what
    that was made from follows, one deeper.

    Args:
        index: to ask.
        ref: name, digest, or at least 7 of its first hex digits.
        limit: of rows.

    Raises:
        InputError: there is no such artifact, or several.
        StoreError: the index fails.
    """
    found: list[Source] = []
    with index.connect() as connection:
        top = find.artifact(connection, ref)
        left, seen = {top.id: str(top.digest)}, {top.id}
        for depth in range(1, _DEPTH + 1):
            if not left or len(found) > limit:
                break
            rows = _sources(connection, left, depth)
            found += rows
            inner = sql.select(ARTIFACT.c.id, ARTIFACT.c.digest).where(
                ARTIFACT.c.digest.in_({row.digest for row in rows if row.digest})
            )
            left = {row.id: row.digest for row in connection.execute(inner) if row.id not in seen}
            seen |= left.keys()
    return Answer(rows=tuple(found[:limit]), more=len(found) > limit)


def _sources(connection: Connection, artifacts: dict[Number, str], depth: int) -> list[Source]:
    builds: dict[Number, dict[Number, str]] = {}
    # Provenance is about every part; what was built elsewhere may have it on the whole alone.
    for part, whole in find.above(connection, artifacts).items():
        query = sql.select(BUILD.c.statement, STATEMENT.c.bundle, ABOUT.c.artifact).select_from(
            ABOUT.join(BUILD, BUILD.c.statement == ABOUT.c.statement).join(
                STATEMENT, STATEMENT.c.id == BUILD.c.statement
            )
        )
        rows = list(find.rows(connection, query, ABOUT.c.artifact, whole))
        own = [row for row in rows if row.artifact == part] or rows
        builds[part] = {row.statement: row.bundle for row in own}
    bundles = {build: bundle for found in builds.values() for build, bundle in found.items()}
    query = (
        sql.select(MATERIAL, MADE_FROM.c.build, MADE_FROM.c.uses)
        .select_from(MADE_FROM.join(MATERIAL, MATERIAL.c.id == MADE_FROM.c.material))
        .limit(_MOST)
    )
    found: dict[tuple[str, str, str, str, str, str], set[str]] = {}
    for row in find.rows(connection, query, MADE_FROM.c.build, bundles):
        for part, of in artifacts.items():
            if row.build in builds[part]:
                key = (of, row.name, row.uri, row.digest, row.commit, row.uses)
                found.setdefault(key, set()).add(bundles[row.build])
    return [
        Source(
            name=name,
            uri=uri,
            digest=digest,
            commit=commit,
            uses=uses,
            depth=depth,
            of=of,
            evidence=tuple(sorted(evidence)),
        )
        for (of, name, uri, digest, commit, uses), evidence in sorted(
            found.items(), key=lambda each: (each[0][0], each[0][5], *each[0][1:5])
        )
    ]


def _materials(connection: Connection, text: str) -> dict[Number, Line]:
    """Rows of materials that a person means."""
    found: list[Line] = []

    def look(*fits: Any) -> Sequence[Line]:
        rows = connection.execute(sql.select(MATERIAL).where(*fits)).all()
        found.extend(rows)
        return rows

    fits = _nix(text)
    if fits is None:
        fits = find.by_digest(MATERIAL.c.digest, text)
    if fits is not None:
        look(fits)
    if _COMMIT.fullmatch(text):
        look(find.starts(MATERIAL.c.commit, text))
    if not found:
        # As it stands there: a file's name may look like anything.
        look(MATERIAL.c.name == text)
    if not found and not text.startswith("pkg:"):
        look(MATERIAL.c.uri == text)
    if found:
        return _by_id(found)
    try:
        wanted = versions.parse(text)
    except InputError:
        return {}
    if wanted.name:
        look(MATERIAL.c.name.in_(wanted.names))
    return _by_id(row for row in found if wanted.fits(row.uri))


def _nix(text: str) -> ColumnElement[bool] | None:
    """A path of a Nix store, or the beginning of its hash; nothing when it is neither."""
    found = _NIX.fullmatch(text)
    if found is None:
        return None
    if found[1]:
        return MATERIAL.c.uri == f"nix:{found[1]}"
    start = f"nix:{found[2]}"
    return sql.and_(MATERIAL.c.digest >= start, MATERIAL.c.digest < start + "~")


def _by_id(rows: Iterable[Line]) -> dict[Number, Line]:
    return {row.id: row for row in rows}


def _by_builder(connection: Connection, text: str, limit: int) -> Answer[Made]:
    name = text.removeprefix(_BUILDER).removeprefix(_BUILDERS)
    name = name.removesuffix(_VERSION).removeprefix("named:")
    named = (text, f"{_BUILDERS}{name}{_VERSION}", f"{_BUILDERS}named:{name}")
    builds = (
        sql.select(BUILD.c.statement, BUILD.c.builder)
        .where(BUILD.c.builder.in_(named))
        .order_by(BUILD.c.statement)
        .limit(limit + 1)
    )
    builders = {row.statement: row.builder for row in connection.execute(builds)}
    query = (
        sql.select(ARTIFACT, ABOUT.c.statement, STATEMENT.c.bundle)
        .select_from(ABOUT)
        .join(ARTIFACT, ARTIFACT.c.id == ABOUT.c.artifact)
        .join(STATEMENT, STATEMENT.c.id == ABOUT.c.statement)
        .where(ABOUT.c.statement.in_(builders), ARTIFACT.c.role.in_(_SHOWN))
        .order_by(ABOUT.c.statement, ABOUT.c.artifact)
        .limit(limit + 1)
    )
    rows = connection.execute(query).all()
    made = [
        Made(
            role=row.role,
            name=row.name,
            version=row.version,
            variant=row.variant,
            digest=row.digest,
            input="",
            uri=builders[row.statement],
            input_digest="",
            commit="",
            uses="builder",
            evidence=(row.bundle,),
        )
        for row in rows[:limit]
    ]
    made.sort(key=lambda row: (row.name, row.version, row.role, row.variant, row.digest))
    return Answer(rows=tuple(made), more=len(rows) > limit)
