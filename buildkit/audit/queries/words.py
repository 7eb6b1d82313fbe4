"""``signed-by`` and ``who``: who says what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sql

from buildkit.audit.queries import find
from buildkit.audit.schema import ABOUT, SIGNER, STATEMENT
from buildkit.audit.types import LIMIT, Answer, Signed, Word

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Select

    from buildkit.audit.queries.find import Line, Number, Opened

_MOST_KINDS = 64
_EVER = -(1 << 62)


def signed_by(
    index: Opened, signer: str, *, kind: str = "", since: int | None = None, limit: int = LIMIT
) -> Answer[Signed]:
    """What somebody signed, the newest first; also what does not count, with the reason.

    Args:
        index: to ask.
        signer: name of a key, its id or 4 of its first digits, a device, or an identity.
        kind: of evidence; empty for all.
        since: seconds since 1970; leaves out what names no time.
        limit: of rows.

    Raises:
        InputError: `signer` can name nobody.
        StoreError: the index fails.
    """
    with index.connect() as connection:
        who = {row.id: row for row in find.signers(connection, signer)}
        parts = [
            part
            for each in who
            for word in ([kind] if kind else _kinds(connection, each))
            for part in _newest(each, word, since, limit + 1)
        ]
        if not parts:
            return Answer(rows=())
        found = sql.union_all(*(sql.select(part.subquery()) for part in parts)).subquery()
        query = (
            sql.select(found)
            .order_by(sql.func.coalesce(found.c.time, _EVER).desc(), found.c.id.desc())
            .limit(limit + 1)
        )
        rows = connection.execute(query).all()
        said = {row.id: row for row in _whole(connection, rows[:limit])}
        about = find.about(connection, said)
    return Answer(
        rows=tuple(
            Signed(
                time=said[row.id].time,
                kind=said[row.id].kind,
                about=tuple(each.digest for each in about.get(row.id, ())),
                names=tuple(find.called(each) for each in about.get(row.id, ())),
                signer=who[said[row.id].signer].name,
                state=who[said[row.id].signer].state,
                reason=said[row.id].reason,
                evidence=(said[row.id].bundle,),
            )
            for row in rows[:limit]
        ),
        more=len(rows) > limit,
    )


def who(index: Opened, ref: str, *, limit: int = LIMIT) -> Answer[Word]:
    """Who says what about an artifact and its parts; also what does not count, with the reason.

    Args:
        index: to ask.
        ref: name, digest, or at least 7 of its first hex digits.
        limit: of rows.

    Raises:
        InputError: there is no such artifact, or several.
        StoreError: the index fails.
    """
    with index.connect() as connection:
        top = find.artifact(connection, ref)
        parts = find.things(connection, find.below(connection, [top.id])[top.id])
        query = (
            sql.select(
                ABOUT.c.artifact,
                STATEMENT.c.kind,
                STATEMENT.c.reason,
                STATEMENT.c.time,
                STATEMENT.c.bundle,
                SIGNER.c.name,
                SIGNER.c.state,
            )
            .select_from(ABOUT)
            .join(STATEMENT, STATEMENT.c.id == ABOUT.c.statement)
            .outerjoin(SIGNER, SIGNER.c.id == STATEMENT.c.signer)
        )
        found: dict[tuple[str, ...], list[Line]] = {}
        for row in find.rows(connection, query, ABOUT.c.artifact, parts):
            part = parts[row.artifact]
            key = (part.role, part.variant, part.digest, row.kind, row.reason, row.name or "")
            found.setdefault(key, []).append(row)
    rows = [_word(key, said) for key, said in sorted(found.items())]
    return Answer(rows=tuple(rows[:limit]), more=len(rows) > limit)


def _word(key: tuple[str, ...], said: list[Line]) -> Word:
    role, variant, digest, kind, reason, name = key
    times = [row.time for row in said if row.time is not None]
    return Word(
        signer=name,
        state=said[0].state or "",
        kind=kind,
        reason=reason,
        role=role,
        variant=variant,
        about=digest,
        count=len(said),
        first=min(times, default=None),
        last=max(times, default=None),
        evidence=tuple(sorted({row.bundle for row in said})),
    )


def _newest(signer: Number, kind: str, since: int | None, limit: int) -> Iterator[Select[Any]]:
    """What names a time, and what names none: databases do not agree which of them is newer."""
    time = STATEMENT.c.time
    query = sql.select(STATEMENT.c.id, time).where(
        STATEMENT.c.signer == signer, STATEMENT.c.kind == kind
    )
    timed = query.where(time.is_not(None) if since is None else time >= since)
    # Without a time, ordered by it all the same: by the numbers alone, PostgreSQL goes through all.
    newest = (time.desc(), STATEMENT.c.id.desc())
    yield timed.order_by(*newest).limit(limit)
    if since is None:
        yield query.where(time.is_(None)).order_by(*newest).limit(limit)


def _kinds(connection: Connection, signer: Number) -> list[str]:
    """The kinds of what somebody signed: from one to the next in the index."""
    found: list[str] = []
    while len(found) < _MOST_KINDS:
        query = sql.select(sql.func.min(STATEMENT.c.kind)).where(STATEMENT.c.signer == signer)
        if found:
            query = query.where(STATEMENT.c.kind > found[-1])
        following = connection.execute(query).scalar()
        if following is None:
            break
        found.append(following)
    return found


def _whole(connection: Connection, rows: Any) -> list[Line]:
    query = sql.select(STATEMENT)
    return list(find.rows(connection, query, STATEMENT.c.id, (row.id for row in rows)))
