"""``history`` and ``at``: where channels lead, and led."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sql

from buildkit.audit.schema import ARTIFACT, PROMOTION, SIGNER, STATEMENT
from buildkit.audit.types import LIMIT, Answer, Move
from buildkit.audit.versions import checked

if TYPE_CHECKING:
    from sqlalchemy import Connection, Select

    from buildkit.audit.queries.find import Line, Opened


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
    return Answer(rows=tuple(map(_move, rows[:limit])), more=len(rows) > limit)


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
    return Answer(rows=tuple(map(_move, rows[:limit])), more=len(rows) > limit)


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


def _move(row: Line) -> Move:
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
        evidence=(row.bundle,),
    )
