"""``gaps``: artifacts about which something is not said, not by who counts, or differently."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sql

from buildkit.audit.queries import find
from buildkit.audit.schema import ABOUT, ARTIFACT, RUN, SIGNER, STATEMENT, VERDICT
from buildkit.audit.types import LIMIT, Answer, Gap
from buildkit.errors import InputError
from buildkit.evidence import kinds as kinds_

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import ColumnElement, Connection

    from buildkit.audit.queries.find import Line, Number, Opened

# Kind of evidence → what needs it. An index of models needs none of its own: its models do.
NEEDED = {
    "provenance": ("image", "platform", "model"),
    "run": ("image", "platform", "model"),
    "cyclonedx": ("platform", "model"),
    "spdx": ("platform", "model"),
    "test-result": ("platform", "model"),
    "verdict": ("platform", "model"),
    "rebuild": ("image", "model"),
}
# The same build gives the same bytes of these: two that differ cannot both be true.
_ONCE = tuple(kind.name for kind in kinds_.KINDS if kind.reproducible)
_RETIRED = "signer-retired"
_MOST_REFUSED = 5000


def gaps(
    index: Opened, *, kinds: Sequence[str] = (), retired: bool = False, limit: int = LIMIT
) -> Answer[Gap]:
    """Artifacts of a store or a registry that lack evidence.

    What is there but signed by a retired key, or refused for another reason, is no evidence: the
    gap then names it, and the reason. Where those who count contradict each other, that is named
    too.

    Args:
        index: to ask.
        kinds: that are looked for; all of `NEEDED` when empty.
        retired: only where somebody whose key was retired has said it.
        limit: of rows.

    Raises:
        InputError: there is no such kind.
        StoreError: the index fails.
    """
    if unknown := sorted(set(kinds) - NEEDED.keys()):
        msg = f"{unknown[0]!r} is no kind of evidence that can be missing"
        raise InputError(msg, f"one of: {', '.join(NEEDED)}")
    found: list[Gap] = []
    more = False
    with index.connect() as connection:
        for kind in kinds or NEEDED:
            rows = _without(connection, kind, limit + 1)
            more = more or len(rows) > limit
            refused = _refused(connection, kind, {row.id for row in rows})
            found += [
                gap
                for row in rows
                for gap in [_gap(kind, row, refused.get(row.id, ()))]
                if not retired or gap.gap == "retired"
            ]
        once = () if retired else tuple(kind for kind in kinds or NEEDED if kind in _ONCE)
        for kind, artifacts in _several(connection, once).items():
            found += _differing(connection, kind, artifacts, limit + 1)
    found.sort(key=lambda row: (row.name, row.version, row.role, row.variant, row.digest, row.gap))
    return Answer(rows=tuple(found[:limit]), more=more or len(found) > limit)


def _without(connection: Connection, kind: str, limit: int) -> list[Line]:
    """Artifacts that need a kind of evidence, and have none that counts."""
    query = (
        sql.select(ARTIFACT)
        .where(ARTIFACT.c.role.in_(NEEDED[kind]), ~_there(kind))
        .order_by(ARTIFACT.c.id)
        .limit(limit)
    )
    return list(connection.execute(query).all())


def _there(kind: str) -> ColumnElement[bool]:
    # An artifact has thousands of test results: these are found from it, all others from the kind.
    table = {"test-result": RUN, "verdict": VERDICT}.get(kind)
    if table is not None:
        as_image = sql.select(table.c.image).where(table.c.image == ARTIFACT.c.id)
        as_model = sql.select(table.c.model).where(table.c.model == ARTIFACT.c.id)
        is_model = ARTIFACT.c.role == "model"
        return sql.or_(
            sql.and_(~is_model, as_image.exists()), sql.and_(is_model, as_model.exists())
        )
    said = (
        sql.select(ABOUT.c.artifact)
        .join(STATEMENT, STATEMENT.c.id == ABOUT.c.statement)
        .where(STATEMENT.c.kind == kind, STATEMENT.c.reason == "")
    )
    return ARTIFACT.c.id.in_(said)


def _refused(connection: Connection, kind: str, artifacts: set[Number]) -> dict[Number, list[Line]]:
    """What hangs on artifacts and does not count."""
    query = (
        sql.select(
            ABOUT.c.artifact,
            STATEMENT.c.bundle,
            STATEMENT.c.reason,
            STATEMENT.c.message,
            SIGNER.c.name,
        )
        .select_from(STATEMENT)
        .join(ABOUT, ABOUT.c.statement == STATEMENT.c.id)
        .outerjoin(SIGNER, SIGNER.c.id == STATEMENT.c.signer)
        .where(STATEMENT.c.kind == kind, STATEMENT.c.reason > "")
        .order_by(STATEMENT.c.reason, STATEMENT.c.id)
        .limit(_MOST_REFUSED)
    )
    found: dict[Number, list[Line]] = {}
    for row in connection.execute(query) if artifacts else ():
        if row.artifact in artifacts:
            found.setdefault(row.artifact, []).append(row)
    return found


def _several(connection: Connection, kinds: Sequence[str]) -> dict[str, list[Number]]:
    """By kind, artifacts about which those who count have signed more than one statement."""
    if not kinds:
        return {}
    least, most = sql.func.min(ABOUT.c.statement), sql.func.max(ABOUT.c.statement)
    query = (
        sql.select(STATEMENT.c.kind, ABOUT.c.artifact)
        .join(STATEMENT, STATEMENT.c.id == ABOUT.c.statement)
        .where(STATEMENT.c.kind.in_(kinds), STATEMENT.c.reason == "")
        .group_by(STATEMENT.c.kind, ABOUT.c.artifact)
        .having(least < most)
    )
    found: dict[str, list[Number]] = {}
    for kind, artifact in connection.execute(query).all():
        found.setdefault(kind, []).append(artifact)
    return found


def _differing(
    connection: Connection, kind: str, artifacts: Sequence[Number], limit: int
) -> Iterator[Gap]:
    """Those of `artifacts` about which two things of a kind are said."""
    said: dict[Number, dict[str, str]] = {}
    query = (
        sql.select(ABOUT.c.artifact, STATEMENT.c.bundle, STATEMENT.c.payload)
        .select_from(ABOUT)
        .join(STATEMENT, STATEMENT.c.id == ABOUT.c.statement)
        .where(STATEMENT.c.kind == kind, find.counts(STATEMENT.c.reason))
    )
    for artifact, bundle, payload in find.rows(connection, query, ABOUT.c.artifact, artifacts):
        said.setdefault(artifact, {})[bundle] = payload
    unlike = sorted(artifact for artifact, of in said.items() if len(set(of.values())) > 1)
    for row in find.rows(connection, sql.select(ARTIFACT), ARTIFACT.c.id, unlike[:limit]):
        yield Gap(
            gap="differ",
            role=row.role,
            name=row.name,
            version=row.version,
            variant=row.variant,
            digest=row.digest,
            detail=f"those who count have signed {kind} statements that differ",
            evidence=tuple(sorted(said[row.id])),
        )


def _gap(kind: str, row: Line, refused: Iterable[Any]) -> Gap:
    refused = list(refused)
    retired = sorted({each.name or "" for each in refused if each.reason == _RETIRED} - {""})
    gap, detail = f"no-{kind}", "nothing is said"
    if retired:
        gap, detail = "retired", f"{kind} only by a key that was retired: {', '.join(retired)}"
    elif refused:
        gap, detail = "refused", f"{kind} does not count: {refused[0].reason}: {refused[0].message}"
    elif kind == "rebuild":
        detail = "nobody says that they built it again"
    return Gap(
        gap=gap,
        role=row.role,
        name=row.name,
        version=row.version,
        variant=row.variant,
        digest=row.digest,
        detail=detail,
        evidence=tuple(sorted({each.bundle for each in refused})),
    )
