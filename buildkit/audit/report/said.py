"""Reads from the index what was said of an artifact: tests, verdicts, promotions, signatures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sql

from buildkit.audit.queries import find
from buildkit.audit.queries.channels import astray
from buildkit.audit.report.types import Promotion, Refused, Run, Signed, Signer, Verdict
from buildkit.audit.schema import (
    ABOUT,
    JUDGED,
    PROMOTION,
    RUN,
    SIGNER,
    STATEMENT,
    VERDICT,
    chunks,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Connection, Row

_MOST_RUNS = 2000
_MOST_VERDICTS = 200
_MOST_REFUSED = 200
_MOST_EVIDENCE = 5


def runs(
    connection: Connection, labels: Mapping[int, str], role: str, roles: Mapping[int, str]
) -> tuple[tuple[Run, ...], int]:
    """Test results of an artifact's parts, newest first; and how many there are.

    Args:
        connection: to the index.
        labels: number of the artifact, or of a part → what people call it.
        role: of the artifact.
        roles: number → role, of all of them.
    """
    ours = find.about_parts(RUN, role, roles)
    query = (
        sql.select(RUN, STATEMENT.c.bundle, SIGNER.c.subject, SIGNER.c.label)
        .join(ours, ours.c.statement == RUN.c.statement)
        .join(STATEMENT, STATEMENT.c.id == RUN.c.statement)
        .join(SIGNER, SIGNER.c.id == RUN.c.device, isouter=True)
        .order_by(RUN.c.ended.desc(), RUN.c.statement)
        .limit(_MOST_RUNS)
    )
    found = tuple(
        Run(
            at=row.ended,
            target=row.target,
            device=row.label or "",
            key=row.subject or "",
            result=row.result,
            mark=row.mark,
            board=row.board,
            kernel=row.kernel,
            firmware=row.firmware,
            p50_ns=row.p50_ns,
            p95_ns=row.p95_ns,
            profile=row.profile,
            image=labels.get(row.image, ""),
            model=labels.get(row.model, ""),
            evidence=row.bundle,
        )
        for row in connection.execute(query)
    )
    if len(found) < _MOST_RUNS:
        return found, len(found)
    return found, connection.execute(sql.select(sql.func.count()).select_from(ours)).scalar_one()


def verdicts(
    connection: Connection, labels: Mapping[int, str], role: str, roles: Mapping[int, str]
) -> tuple[tuple[Verdict, ...], int]:
    """What gates decided, newest first, each once though several signed it; see `runs`."""
    ours = find.about_parts(VERDICT, role, roles)
    query = (
        sql.select(VERDICT, STATEMENT.c.bundle, STATEMENT.c.payload)
        .join(ours, ours.c.statement == VERDICT.c.statement)
        .join(STATEMENT, STATEMENT.c.id == VERDICT.c.statement)
        .order_by(VERDICT.c.at.desc(), STATEMENT.c.bundle)
        .limit(_MOST_VERDICTS)
    )
    rows = {row.payload: row for row in reversed(connection.execute(query).all())}
    chosen = sorted(rows.values(), key=lambda row: (-row.at, row.bundle))
    about: dict[int, set[tuple[str, str, str]]] = {}
    listed = sql.select(JUDGED).where(JUDGED.c.verdict.in_([row.statement for row in chosen]))
    for row in connection.execute(listed):
        about.setdefault(row.verdict, set()).add((row.target, row.device, row.key))
    found = tuple(
        Verdict(
            at=row.at,
            outcome=row.outcome,
            devices=tuple(sorted(about.get(row.statement, ()))),
            about=tuple(
                labels[each] for each in dict.fromkeys((row.image, row.model)) if each in labels
            ),
            evidence=row.bundle,
        )
        for row in chosen
    )
    count = sql.select(sql.func.count()).select_from(ours)
    return found, connection.execute(count).scalar_one() if len(rows) >= _MOST_VERDICTS else len(
        found
    )


def promotions(connection: Connection, top: int, role: str) -> tuple[Promotion, ...]:
    """Moves of channels to an image, or to an index of models, newest first."""
    marks = astray(connection)
    column = PROMOTION.c.models if role == "models" else PROMOTION.c.image
    query = (
        sql.select(PROMOTION, STATEMENT.c.bundle, *_SIGNER)
        .join(STATEMENT, STATEMENT.c.id == PROMOTION.c.statement)
        .join(SIGNER, SIGNER.c.id == STATEMENT.c.signer, isouter=True)
        .where(column == top)
        .order_by(PROMOTION.c.at.desc(), PROMOTION.c.number.desc(), STATEMENT.c.bundle)
    )
    return tuple(
        Promotion(
            channel=row.channel,
            place=row.place,
            number=row.number,
            at=row.at,
            restores=row.restores,
            until=_until(connection, row),
            mark=marks.get(row.statement, ""),
            signer=_signer(row).text,
            evidence=row.bundle,
        )
        for row in connection.execute(query)
    )


def _until(connection: Connection, row: Row[*tuple[Any, ...]]) -> int | None:
    """When the next move of that channel was."""
    query = (
        sql.select(PROMOTION.c.at)
        .where(
            PROMOTION.c.channel == row.channel,
            PROMOTION.c.place == row.place,
            PROMOTION.c.number > row.number,
        )
        .order_by(PROMOTION.c.number)
        .limit(1)
    )
    found: int | None = connection.execute(query).scalar()
    return found


def signed(connection: Connection, labels: Mapping[int, str]) -> tuple[Signed, ...]:
    """All that is believed, by kind and signer."""
    columns = [STATEMENT.c[name] for name in ("id", "kind", "signer", "time", "bundle", "reason")]
    query = (
        sql.select(*columns, ABOUT.c.artifact)
        .join(ABOUT, ABOUT.c.statement == STATEMENT.c.id)
        .where(ABOUT.c.artifact.in_([*labels]))
    )
    groups: dict[tuple[str, int], dict[int, tuple[int | None, str]]] = {}
    about: dict[tuple[str, int], set[str]] = {}
    for row in connection.execute(query):
        # As a condition it would lead a database through the index of all that is true.
        if row.reason:
            continue
        group = (row.kind, row.signer)
        groups.setdefault(group, {})[row.id] = (row.time, row.bundle)
        about.setdefault(group, set()).add(labels[row.artifact])
    signers = _signers(connection, {signer for _, signer in groups})
    found = []
    for (kind, signer), statements in groups.items():
        times = [time for time, _ in statements.values() if time is not None]
        newest = sorted(statements.values(), key=lambda each: (-(each[0] or 0), each[1]))
        found.append(
            Signed(
                kind=kind,
                signer=signers[signer],
                about=tuple(sorted(about[kind, signer])),
                count=len(statements),
                first=min(times, default=None),
                last=max(times, default=None),
                evidence=tuple(bundle for _, bundle in newest[:_MOST_EVIDENCE]),
            )
        )
    return tuple(sorted(found, key=lambda each: (each.kind, each.signer.text)))


def _signers(connection: Connection, ids: Iterable[int]) -> dict[int, Signer]:
    return {
        row.id: _signer(row)
        for some in chunks(ids)
        for row in connection.execute(
            sql.select(SIGNER.c.id, *_SIGNER).where(SIGNER.c.id.in_(some))
        )
    }


def refused(connection: Connection, labels: Mapping[int, str]) -> tuple[tuple[Refused, ...], int]:
    """Evidence that is not believed, and how much there is."""
    which = (
        sql.select(STATEMENT.c.id)
        .distinct()
        .join(ABOUT, ABOUT.c.statement == STATEMENT.c.id)
        .where(ABOUT.c.artifact.in_([*labels]), STATEMENT.c.reason != "")
    )
    query = (
        sql.select(STATEMENT, *_SIGNER)
        .join(SIGNER, SIGNER.c.id == STATEMENT.c.signer, isouter=True)
        .where(STATEMENT.c.id.in_(which))
        .order_by(STATEMENT.c.reason, STATEMENT.c.kind, STATEMENT.c.bundle)
        .limit(_MOST_REFUSED)
    )
    rows = connection.execute(query).all()
    about: dict[int, set[str]] = {}
    hung = sql.select(ABOUT).where(
        ABOUT.c.statement.in_([row.id for row in rows]), ABOUT.c.artifact.in_([*labels])
    )
    for each in connection.execute(hung):
        about.setdefault(each.statement, set()).add(labels[each.artifact])
    found = tuple(
        Refused(
            reason=row.reason,
            message=row.message,
            kind=row.kind,
            signer="" if row.signer is None else _signer(row).text,
            about=tuple(sorted(about.get(row.id, ()))),
            evidence=row.bundle,
        )
        for row in rows
    )
    if len(found) < _MOST_REFUSED:
        return found, len(found)
    count = sql.select(sql.func.count()).select_from(which.subquery())
    return found, connection.execute(count).scalar_one()


_SIGNER = tuple(
    SIGNER.c[name].label(f"signer_{name}")
    for name in ("kind", "subject", "issuer", "label", "state")
)


def _signer(row: Row[*tuple[Any, ...]]) -> Signer:
    return Signer(
        kind=row.signer_kind or "",
        subject=row.signer_subject or "",
        issuer=row.signer_issuer or "",
        label=row.signer_label or "",
        state=row.signer_state or "",
    )
