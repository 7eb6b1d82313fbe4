"""``devices`` and ``passed``: what ran where, and what gates made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sql

from buildkit.audit.queries import find
from buildkit.audit.schema import JUDGED, RUN, SIGNER, STATEMENT, VERDICT, WEIGHED
from buildkit.audit.types import LIMIT, Answer, Passed, Seen
from buildkit.audit.versions import checked

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Connection

    from buildkit.audit.queries.find import Line, Number, Opened

_AT_ONCE = 5000


def devices(index: Opened, ref: str, *, all_runs: bool = False, limit: int = LIMIT) -> Answer[Seen]:
    """Which devices ran an artifact, when, and with what verdict; the newest first.

    Args:
        index: to ask.
        ref: an image, a platform of it, its models or one of them.
        all_runs: every run; else the newest of each device, target, image and model.
        limit: of rows.

    Raises:
        InputError: there is no such artifact, or several.
        StoreError: the index fails.
    """
    with index.connect() as connection:
        top = find.artifact(connection, ref)
        parts = find.below(connection, [top.id])[top.id]
        runs = sql.union(
            sql.select(RUN.c.statement).where(RUN.c.image.in_(parts)),
            sql.select(RUN.c.statement).where(RUN.c.model.in_(parts)),
        ).subquery()
        same = (RUN.c.device, RUN.c.target, RUN.c.image, RUN.c.model)
        order = (RUN.c.ended.desc(), RUN.c.statement.desc())
        found = (
            sql.select(
                RUN.c.statement,
                RUN.c.ended,
                sql.func.row_number().over(partition_by=same, order_by=order).label("place"),
                sql.func.count().over(partition_by=same).label("runs"),
            )
            .join(runs, runs.c.statement == RUN.c.statement)
            .subquery()
        )
        chosen = sql.select(found).order_by(found.c.ended.desc(), found.c.statement)
        if not all_runs:
            chosen = chosen.where(found.c.place == 1)
        rows = connection.execute(chosen.limit(limit + 1)).all()
        counts = {row.statement: row.runs for row in rows[:limit]}
        seen = _seen(connection, counts)
    return Answer(rows=tuple(seen), more=len(rows) > limit)


def passed(
    index: Opened, *, target: str = "", since: int = 0, limit: int = LIMIT
) -> Answer[Passed]:
    """Which images and models gates let pass, the newest verdict first.

    Args:
        index: to ask.
        target: kind of device; empty for all.
        since: seconds since 1970.
        limit: of rows.

    Raises:
        InputError: `target` cannot be a name.
        StoreError: the index fails.
    """
    judged = sql.select(JUDGED.c.verdict).where(JUDGED.c.verdict == VERDICT.c.statement)
    if target:
        judged = judged.where(JUDGED.c.target == checked(target))
    query = (
        sql.select(VERDICT.c.statement, VERDICT.c.at, VERDICT.c.image, VERDICT.c.model)
        .where(VERDICT.c.outcome == "PASS", VERDICT.c.at >= since, judged.exists())
        .order_by(VERDICT.c.at.desc(), VERDICT.c.statement)
        .limit(limit + 1)
    )
    with index.connect() as connection:
        verdicts = connection.execute(query).all()
        more, verdicts = len(verdicts) > limit, verdicts[:limit]
        rows = list(_passed(connection, verdicts, target))
    return Answer(rows=tuple(rows), more=more)


def _passed(connection: Connection, verdicts: Iterable[Line], target: str) -> Iterable[Passed]:
    verdicts = list(verdicts)
    bundles = find.bundles(connection, (row.statement for row in verdicts))
    known = find.things(connection, {part for row in verdicts for part in (row.image, row.model)})
    judged: dict[Number, dict[str, int]] = {}
    query = (
        # Without a key it ran on no device.
        sql.select(
            JUDGED.c.verdict, JUDGED.c.target, sql.func.count(sql.func.nullif(JUDGED.c.key, ""))
        )
        .group_by(JUDGED.c.verdict, JUDGED.c.target)
        .order_by(JUDGED.c.verdict, JUDGED.c.target)
    )
    if target:
        query = query.where(JUDGED.c.target == target)
    for verdict, name, count in find.rows(connection, query, JUDGED.c.verdict, bundles):
        judged.setdefault(verdict, {})[name] = count
    query = sql.select(WEIGHED.c.verdict, sql.func.count()).group_by(WEIGHED.c.verdict)
    runs = dict(tuple(row) for row in find.rows(connection, query, WEIGHED.c.verdict, bundles))
    for verdict in verdicts:
        image, model = known[verdict.image], known[verdict.model]
        for name, count in judged.get(verdict.statement, {}).items():
            yield Passed(
                name=image.name or model.name,
                version=image.version or model.version,
                target=name,
                devices=count,
                at=verdict.at,
                runs=runs.get(verdict.statement, 0),
                image=image.digest,
                model=model.digest,
                evidence=(bundles[verdict.statement],),
            )


def _seen(connection: Connection, counts: dict[Number, int]) -> list[Seen]:
    query = (
        sql.select(
            RUN,
            STATEMENT.c.payload,
            *(SIGNER.c[name] for name in ("name", "label", "subject")),
        )
        .join(STATEMENT, STATEMENT.c.id == RUN.c.statement)
        .outerjoin(SIGNER, SIGNER.c.id == RUN.c.device)
    )
    rows = list(find.rows(connection, query, RUN.c.statement, counts))
    rows.sort(key=lambda row: (-row.ended, row.statement))
    known = find.things(connection, {part for row in rows for part in (row.image, row.model)})
    ran = {row.payload: (row.image, row.model) for row in rows}
    signed = find.signed_alike(connection, ran)
    verdicts = _verdicts(connection, ran)
    found = []
    for row in rows:
        verdict = verdicts.get(row.payload)
        evidence = {*signed.get(row.payload, ()), *([verdict.bundle] if verdict else [])}
        found.append(
            Seen(
                device=find.device_name(row) if row.device is not None else "",
                key=row.subject or "",
                verdict=verdict.outcome if verdict else "",
                image=known[row.image].digest,
                model=known[row.model].digest,
                runs=counts[row.statement],
                evidence=tuple(sorted(evidence)),
                **{name: getattr(row, name) for name in _AS_THEY_ARE},
            )
        )
    return found


_AS_THEY_ARE = (
    *("target", "result", "mark", "board", "kernel", "firmware", "began", "ended"),
    *("p50_ns", "p95_ns"),
)


def _verdicts(connection: Connection, ran: Mapping[str, tuple[Number, Number]]) -> dict[str, Line]:
    """Test result (with its image and model) → the newest verdict about these, made from it."""
    found: dict[str, Line] = {}
    rest = sorted(ran)
    for at in range(0, len(rest), _AT_ONCE):
        query = (
            sql.select(
                WEIGHED.c.payload,
                VERDICT.c.image,
                VERDICT.c.model,
                VERDICT.c.outcome,
                VERDICT.c.at,
                STATEMENT.c.bundle,
            )
            .join(VERDICT, VERDICT.c.statement == WEIGHED.c.verdict)
            .join(STATEMENT, STATEMENT.c.id == VERDICT.c.statement)
            .where(WEIGHED.c.payload.in_(rest[at : at + _AT_ONCE]))
        )
        for row in connection.execute(query).all():
            # Of the baseline that it was compared with, it decides nothing.
            if (row.image, row.model) != ran[row.payload]:
                continue
            before = found.get(row.payload)
            if before is None or (row.at, row.bundle) > (before.at, before.bundle):
                found[row.payload] = row
    return found
