"""What queries share: from what a person types to rows, and from rows to their evidence."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import sqlalchemy as sql

from buildkit.audit.schema import (
    ABOUT,
    ARTIFACT,
    PART,
    PRESENCE,
    SIGNER,
    STATEMENT,
    chunks,
)
from buildkit.audit.types import Thing
from buildkit.audit.versions import checked
from buildkit.errors import InputError
from buildkit.evidence import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from sqlalchemy import ColumnElement, Connection, FromClause, Row, Select, Subquery, Table

    Number = int
    # A row of which the columns are known where it is asked for.
    Line: TypeAlias = Row[*tuple[Any, ...]]

_PREFIX = re.compile(r"(?:sha256:)?([0-9a-f]{7,64})")
_DIGEST = len("sha256:") + 64
_SHOWN = 8
_LEVELS = 4


class Opened(Protocol):
    """An index, as queries need it (`buildkit.audit.database.Index`)."""

    def connect(self) -> AbstractContextManager[Connection]:
        """A connection to read."""


def starts(column: ColumnElement[str], start: str) -> ColumnElement[bool]:
    """Whether a column of hex digits, or of digests, begins with `start`: a range of its index."""
    # Behind `f`, and behind nothing else that a digest can go on with.
    return sql.and_(column >= start, column < start + "g")


def counts(reason: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether a statement counts. Nearly all do, so this must never be what leads to it."""
    # With something done to it, a column finds no index.
    return (reason + "") == ""


def digest_start(text: str) -> str:
    """``sha256:…`` when `text` is a digest or at least 7 of its first digits; else empty."""
    found = _PREFIX.fullmatch(text)
    return f"sha256:{found[1]}" if found else ""


def by_digest(column: ColumnElement[str], text: str) -> ColumnElement[bool] | None:
    """Whether a column of digests is `text` or begins with it; nothing when it is no digest."""
    start = digest_start(text)
    if not start:
        return None
    return column == start if len(start) == _DIGEST else starts(column, start)


def artifact(connection: Connection, ref: str) -> Line:
    """The row of the artifact that a person means.

    Args:
        connection: to the index.
        ref: name (``digits:1.0.0``), digest, or at least 7 of its first hex digits.

    Raises:
        InputError: none, or more than one; or a name that is another's.
    """
    ref = checked(ref)
    found = called_by(connection, ref)
    fits = by_digest(ARTIFACT.c.digest, ref)
    if not found and fits is not None:
        query = sql.select(ARTIFACT).where(fits).order_by(ARTIFACT.c.digest).limit(_SHOWN)
        found = connection.execute(query).all()
    if len(found) == 1:
        return found[0]
    if found:
        msg = f"{ref!r} means more than one thing: {', '.join(row.digest for row in found)}"
        raise InputError(msg, "give the digest")
    near = connection.execute(
        sql.select(PRESENCE.c.name)
        .where(PRESENCE.c.name >= ref.partition(":")[0], PRESENCE.c.name != "")
        .distinct()
        .order_by(PRESENCE.c.name)
        .limit(_SHOWN)
    ).scalars()
    known = [name for name in near if name.startswith(ref.partition(":")[0])]
    msg = f"{ref!r} is not in the index"
    if known:
        msg += f"; there is {', '.join(known)}"
    raise InputError(msg, "`python -m buildkit show` lists a store; `audit index` reads it")


def called_by(connection: Connection, name: str) -> Sequence[Line]:
    """The rows of the artifacts that have a name in a store or a registry; some of them.

    Raises:
        InputError: one of them is called what it is not. Who owns a store may give any name.
    """
    query = (
        sql.select(ARTIFACT)
        .join(PRESENCE, PRESENCE.c.artifact == ARTIFACT.c.id)
        .where(PRESENCE.c.name == name)
        .distinct()
        .order_by(ARTIFACT.c.digest)
        .limit(_SHOWN)
    )
    found: Sequence[Line] = connection.execute(query).all()
    for row in found:
        if own := misleads(name, row):
            msg = f"{name!r} leads to {row.digest}, which calls itself {own[:120]!r}"
            raise InputError(msg, "give the digest; and ask who gave it that name")
    return found


def misleads(name: str, row: Line) -> str:
    """What an artifact's row should be called, where a name says that it is another; else empty."""
    is_model = row.role in ("model", "models")
    return names.misleads(name, title=row.name, version=row.version, is_model=is_model)


def rows(
    connection: Connection, query: Select[Any], column: ColumnElement[Number], ids: Iterable[Number]
) -> Iterator[Line]:
    """The rows of a query whose column is one of `ids`."""
    for some in chunks(ids):
        # At once: one by one takes twice as long.
        yield from connection.execute(query.where(column.in_(some))).all()


def things(connection: Connection, ids: Iterable[Number]) -> dict[Number, Thing]:
    """Artifacts by their row numbers."""
    return {
        row.id: thing(row) for row in rows(connection, sql.select(ARTIFACT), ARTIFACT.c.id, ids)
    }


def thing(row: Line) -> Thing:
    """An artifact's row as a record."""
    return Thing(
        role=row.role, name=row.name, version=row.version, variant=row.variant, digest=row.digest
    )


def below(connection: Connection, ids: Iterable[Number]) -> dict[Number, set[Number]]:
    """What artifacts consist of, at any depth, each with itself."""
    return _closed(connection, ids, _parts(PART.c.parent, PART.c.child), PART.c.parent)


def above(connection: Connection, ids: Iterable[Number]) -> dict[Number, set[Number]]:
    """What artifacts are a part of, at any height, each with itself."""
    return _closed(connection, ids, _parts(PART.c.child, PART.c.parent), PART.c.child)


def _parts(near: ColumnElement[Any], far: ColumnElement[Any]) -> Select[Any]:
    """Which whole has which part, as far as both are of one build.

    Anybody can write an index that lists parts of others, under a name and a version of its own.
    """
    whole, part = ARTIFACT.alias("whole"), ARTIFACT.alias("of_it")
    return (
        sql.select(near, far)
        .join(whole, whole.c.id == PART.c.parent)
        .join(part, part.c.id == PART.c.child)
        .where(of_one_build(whole, part))
    )


def of_one_build(whole: FromClause, part: FromClause) -> ColumnElement[bool]:
    """Whether a whole and its part, rows of artifacts, say nothing different of their build."""
    return sql.and_(
        *(
            sql.or_(whole.c[key] == part.c[key], whole.c[key] == "", part.c[key] == "")
            for key in ("name", "version", "lock")
        )
    )


def _closed(
    connection: Connection, ids: Iterable[Number], query: Select[Any], column: ColumnElement[Number]
) -> dict[Number, set[Number]]:
    found = {each: {each} for each in ids}
    came_from = {each: {each} for each in found}
    for _ in range(_LEVELS):
        following: dict[Number, set[Number]] = {}
        for near, far in rows(connection, query, column, came_from):
            following.setdefault(far, set()).update(came_from[near])
        came_from = {}
        for far, starts_ in following.items():
            fresh = {each for each in starts_ if far not in found[each]}
            for each in fresh:
                found[each].add(far)
            if fresh:
                came_from[far] = fresh
        if not came_from:
            break
    return found


def image_of(connection: Connection, ids: Iterable[Number]) -> dict[Number, list[Thing]]:
    """Part → the images that it belongs to, in the order of their digests."""
    up = above(connection, ids)
    known = things(connection, {each for found in up.values() for each in found})
    return {
        part: sorted(
            (known[each] for each in found if each in known and known[each].role == "image"),
            key=lambda image: image.digest,
        )
        for part, found in up.items()
    }


def about_parts(table: Table, role: str, parts: Mapping[Number, str]) -> Subquery:
    """Test results or verdicts about an artifact: ``statement``.

    Args:
        table: with columns ``image`` and ``model``.
        role: of the artifact. An image is no more than its platforms: what ran with its model, but
            in another image, says nothing of it.
        parts: number → role, of the artifact itself and of what it consists of.
    """
    of_models = {each for each, found in parts.items() if found in ("models", "model")}
    as_image = sql.select(table.c.statement).where(table.c.image.in_(parts.keys() - of_models))
    as_model = sql.select(table.c.statement).where(table.c.model.in_(of_models or parts))
    if role in ("image", "platform"):
        return as_image.subquery()
    if role in ("models", "model"):
        return as_model.subquery()
    return sql.union(as_image, as_model).subquery()


def bundles(connection: Connection, ids: Iterable[Number]) -> dict[Number, str]:
    """Statements' row numbers → digests of their bundles."""
    query = sql.select(STATEMENT.c.id, STATEMENT.c.bundle)
    return {row.id: row.bundle for row in rows(connection, query, STATEMENT.c.id, ids)}


def signed_alike(connection: Connection, payloads: Iterable[str]) -> dict[str, list[str]]:
    """Digests of signed bytes → bundles of all who signed them, and whose word counts."""
    found: dict[str, list[str]] = {}
    for some in chunks(each for each in payloads if each):
        query = sql.select(STATEMENT.c.payload, STATEMENT.c.bundle).where(
            STATEMENT.c.payload.in_(some), counts(STATEMENT.c.reason)
        )
        for payload, bundle in connection.execute(query).all():
            found.setdefault(payload, []).append(bundle)
    return found


def about(connection: Connection, ids: Iterable[Number]) -> dict[Number, list[Thing]]:
    """Statements' row numbers → what they are about."""
    query = sql.select(
        ABOUT.c.statement,
        *(ARTIFACT.c[name] for name in ("role", "name", "version", "variant", "digest")),
    ).join(ARTIFACT, ARTIFACT.c.id == ABOUT.c.artifact)
    found: dict[Number, list[Thing]] = {}
    for row in rows(connection, query, ABOUT.c.statement, ids):
        found.setdefault(row.statement, []).append(thing(row))
    for each in found.values():
        each.sort(key=lambda found: (_ROLES.get(found.role, 9), found.variant, found.digest))
    return found


_ROLES: Mapping[str, int] = {"image": 0, "platform": 1, "models": 2, "model": 3}


def called(found: Thing) -> str:
    """What people call an artifact."""
    name = f"{found.name}:{found.version}" if found.version else found.name
    return f"{name} {found.variant}".strip()


def signers(connection: Connection, who: str) -> list[Line]:
    """Rows of the signers that a person means: name, label, id of a key (or 4 digits), subject."""
    who = checked(who)
    fits = [SIGNER.c.name == who, SIGNER.c.subject == who, SIGNER.c.label == who]
    bare = who.removeprefix("device ").removeprefix("key ").strip()
    if re.fullmatch(r"[0-9a-f]{4,64}", bare):
        fits.append(starts(SIGNER.c.subject, bare))
    return list(
        connection.execute(sql.select(SIGNER).where(sql.or_(*fits)).order_by(SIGNER.c.name))
    )


def device_name(row: Line) -> str:
    """What people call a signer's row."""
    return str(row.label or row.subject or row.name)
