"""``history`` and ``at``: where channels lead, and led."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sql

from buildkit.audit.queries import find
from buildkit.audit.schema import ARTIFACT, CARRIED, PROMOTION, SIGNER, STATEMENT
from buildkit.audit.types import LIMIT, Answer, Move
from buildkit.audit.versions import checked
from buildkit.evidence.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection, Select

    from buildkit.audit.queries.find import Line, Number, Opened

_RECORD = "promotion"


def history(index: Opened, channel: str, *, limit: int = LIMIT) -> Answer[Move]:
    """Every record of a channel, the newest first.

    Args:
        index: to ask.
        channel: ``digits:canary``, ``HOST/repository:canary``, or ``canary`` wherever it is.
        limit: of rows.

    Raises:
        InputError: `channel` cannot be a name.
        StoreError: the index fails.
    """
    place, _, name = checked(channel).rpartition(":")
    query = _moves().where(PROMOTION.c.channel == name)
    if place:
        query = query.where(PROMOTION.c.place == place)
    query = query.order_by(
        PROMOTION.c.place, PROMOTION.c.number.desc(), PROMOTION.c.at.desc(), STATEMENT.c.bundle
    )
    with index.connect() as connection:
        rows = connection.execute(query.limit(limit + 1)).all()
        marks = astray(connection)
    return Answer(rows=tuple(_move(row, marks) for row in rows[:limit]), more=len(rows) > limit)


def at(index: Opened, time: int, *, limit: int = LIMIT) -> Answer[Move]:
    """Where each channel led at a time, as its records say.

    Args:
        index: to ask.
        time: seconds since 1970.
        limit: of rows.

    Raises:
        StoreError: the index fails.
    """
    with index.connect() as connection:
        rows = leads(connection, time, limit + 1)
        marks = astray(connection)
    return Answer(rows=tuple(_move(row, marks) for row in rows[:limit]), more=len(rows) > limit)


def leads(connection: Connection, time: int | None = None, limit: int | None = None) -> list[Line]:
    """The newest record of each channel, at a time or now; several where records disagree."""
    newest = sql.select(
        PROMOTION.c.channel, PROMOTION.c.place, sql.func.max(PROMOTION.c.number).label("number")
    ).group_by(PROMOTION.c.channel, PROMOTION.c.place)
    if time is not None:
        newest = newest.where(PROMOTION.c.at <= time)
    found = newest.subquery()
    query = _moves().join(
        found,
        sql.and_(
            PROMOTION.c.channel == found.c.channel,
            PROMOTION.c.place == found.c.place,
            PROMOTION.c.number == found.c.number,
        ),
    )
    if time is not None:
        query = query.where(PROMOTION.c.at <= time)
    query = query.order_by(PROMOTION.c.place, PROMOTION.c.channel, STATEMENT.c.bundle)
    return list(connection.execute(query.limit(limit)).all())


def astray(connection: Connection) -> dict[Number, str]:
    """Newest records of channels whose tag leads elsewhere: statement → where it does.

    A tag is nobody's signed word, and whoever owns a store can move it.
    """
    query = (
        sql.select(STATEMENT.c.bundle, CARRIED.c.source, CARRIED.c.manifest)
        .join(CARRIED, CARRIED.c.statement == STATEMENT.c.id)
        .where(
            STATEMENT.c.kind == _RECORD,
            STATEMENT.c.reason == str(Reason.NAME),
            STATEMENT.c.payload == "",
        )
        .order_by(STATEMENT.c.bundle)
    )
    wrong = {
        (row.source, row.manifest): row.bundle.partition("@")[0]
        for row in connection.execute(query)
    }
    if not wrong:
        return {}
    newest = [row.statement for row in leads(connection)]
    query = sql.select(CARRIED.c.statement, CARRIED.c.source, CARRIED.c.manifest)
    found: dict[Number, str] = {}
    for row in find.rows(connection, query, CARRIED.c.statement, newest):
        if (pointed := wrong.get((row.source, row.manifest))) is not None:
            found[row.statement] = f"its tag leads to {pointed}" if pointed else "it has no tag"
    return found


def _moves() -> Select[Any]:
    models = ARTIFACT.alias("of_models")
    return (
        sql.select(
            PROMOTION,
            ARTIFACT.c.digest.label("image_digest"),
            ARTIFACT.c.name,
            ARTIFACT.c.version,
            models.c.digest.label("models_digest"),
            STATEMENT.c.bundle,
            SIGNER.c.name.label("signer"),
        )
        .join(ARTIFACT, ARTIFACT.c.id == PROMOTION.c.image)
        .join(models, models.c.id == PROMOTION.c.models)
        .join(STATEMENT, STATEMENT.c.id == PROMOTION.c.statement)
        .outerjoin(SIGNER, SIGNER.c.id == STATEMENT.c.signer)
    )


def _move(row: Line, marks: Mapping[Number, str]) -> Move:
    return Move(
        channel=f"{row.place}:{row.channel}",
        number=row.number,
        at=row.at,
        name=row.name,
        version=row.version,
        image=row.image_digest,
        models=row.models_digest,
        restores=row.restores,
        policy=row.policy,
        signer=row.signer or "",
        mark=marks.get(row.statement, ""),
        evidence=(row.bundle,),
    )
