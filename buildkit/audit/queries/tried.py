"""``devices`` and ``passed``: what ran where, and what gates made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sql

from buildkit.audit.queries import find
from buildkit.audit.schema import JUDGED, RUN, SIGNER, STATEMENT, VERDICT, WEIGHED, chunks
from buildkit.audit.types import LIMIT, Answer, Passed, Seen
from buildkit.audit.versions import checked

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection, Select

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
        parts = find.things(connection, find.below(connection, [top.id])[top.id])
        runs = find.about_parts(RUN, top.role, {each: parts[each].role for each in parts})
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
    listed = sql.select(JUDGED.c.verdict).where(JUDGED.c.verdict == VERDICT.c.statement)
    if target:
        listed = listed.where(JUDGED.c.target == checked(target))
    query = (
        sql.select(VERDICT.c.statement, VERDICT.c.at, VERDICT.c.image, VERDICT.c.model)
        .where(VERDICT.c.outcome == "PASS", VERDICT.c.at >= since, listed.exists())
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
    backed = {
        (row.verdict, row.target): row
        for some in chunks(bundles)
        for row in connection.execute(_backed(some)).all()
    }
    query = sql.select(WEIGHED.c.verdict, sql.func.count()).group_by(WEIGHED.c.verdict)
    runs = dict(tuple(row) for row in find.rows(connection, query, WEIGHED.c.verdict, bundles))
    for verdict in verdicts:
        image, model = known[verdict.image], known[verdict.model]
        for name, count in judged.get(verdict.statement, {}).items():
            behind = backed.get((verdict.statement, name))
            yield Passed(
                name=image.name or model.name,
                version=image.version or model.version,
                target=name,
                devices=behind.devices if behind is not None else 0,
                named=count,
                mark=_marks(behind),
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
    signed = find.signed_alike(connection, {row.payload for row in rows})
    verdicts = _verdicts(connection, rows)
    found = []
    for row in rows:
        verdict = verdicts.get(row.statement)
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


def _backed(verdicts: Sequence[Number]) -> Select[Any]:
    """What stands behind each verdict, by target.

    Test results that it names, about the same image and model, of devices that it names. Whoever
    failed, did not pass.
    """
    ran = (
        sql.select(
            WEIGHED.c.verdict,
            *(RUN.c[name] for name in _TESTED),
            sql.func.coalesce(SIGNER.c.subject, "").label("key"),
        )
        .select_from(WEIGHED)
        .join(STATEMENT, STATEMENT.c.payload == WEIGHED.c.payload)
        .join(RUN, RUN.c.statement == STATEMENT.c.id)
        .outerjoin(SIGNER, SIGNER.c.id == RUN.c.device)
        .where(WEIGHED.c.verdict.in_(verdicts))
        .cte("ran")
        # Else PostgreSQL begins with all that ever ran.
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    passed = sql.and_(ran.c.mark == "", ran.c.result != "FAILED")
    return (
        sql.select(
            ran.c.verdict,
            ran.c.target,
            sql.func.count(sql.case((passed, ran.c.device)).distinct()).label("devices"),
            sql.func.max(sql.case((ran.c.mark == "local", 1), else_=0)).label("local"),
            sql.func.max(sql.case((ran.c.mark == "stand-in", 1), else_=0)).label("standin"),
        )
        .join(
            VERDICT,
            sql.and_(
                VERDICT.c.statement == ran.c.verdict,
                # With something done to them, no index leads from here to all that ever ran.
                VERDICT.c.image == ran.c.image + 0,
                VERDICT.c.model == ran.c.model + 0,
            ),
        )
        .join(
            JUDGED,
            sql.and_(
                JUDGED.c.verdict == ran.c.verdict,
                JUDGED.c.target == ran.c.target,
                JUDGED.c.key == ran.c.key,
            ),
        )
        .group_by(ran.c.verdict, ran.c.target)
    )


_TESTED = ("image", "model", "target", "device", "mark", "result")


def _marks(behind: Line | None) -> str:
    if behind is None:
        return ""
    marks = (("local", behind.local), ("stand-in", behind.standin))
    return ", ".join(word for word, is_so in marks if is_so)


def _verdicts(connection: Connection, rows: Sequence[Line]) -> dict[Number, Line]:
    """Test result → the newest verdict about its image and model that was made from it.

    A PASS names the device that signed: who signs what another saw, did not pass with it.
    """
    said: dict[str, list[Line]] = {}
    payloads = sorted({row.payload for row in rows})
    for at in range(0, len(payloads), _AT_ONCE):
        query = (
            sql.select(
                WEIGHED.c.payload,
                VERDICT.c.statement,
                VERDICT.c.image,
                VERDICT.c.model,
                VERDICT.c.outcome,
                VERDICT.c.at,
                STATEMENT.c.bundle,
            )
            .join(VERDICT, VERDICT.c.statement == WEIGHED.c.verdict)
            .join(STATEMENT, STATEMENT.c.id == VERDICT.c.statement)
            .where(WEIGHED.c.payload.in_(payloads[at : at + _AT_ONCE]))
        )
        for each in connection.execute(query).all():
            said.setdefault(each.payload, []).append(each)
    judged: dict[Number, set[tuple[str, str]]] = {}
    listed = sql.select(JUDGED.c.verdict, JUDGED.c.target, JUDGED.c.key)
    verdicts = {each.statement for found in said.values() for each in found}
    for verdict, target, key in find.rows(connection, listed, JUDGED.c.verdict, verdicts):
        judged.setdefault(verdict, set()).add((target, key))
    found: dict[Number, Line] = {}
    for row in rows:
        fit = [
            each
            for each in said.get(row.payload, ())
            # Of the baseline that it was compared with, it decides nothing.
            if (each.image, each.model) == (row.image, row.model)
            and (each.outcome != "PASS" or _names(judged.get(each.statement, set()), row))
        ]
        if fit:
            found[row.statement] = max(fit, key=lambda each: (each.at, each.bundle))
    return found


def _names(judged: set[tuple[str, str]], row: Line) -> bool:
    if row.device is None:
        # Whoever signed it is no device, and can be mistaken for none.
        return any(target == row.target for target, _ in judged)
    return (row.target, row.subject) in judged
