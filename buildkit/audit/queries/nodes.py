"""What a chain of evidence goes over: things, and how one leads to others."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import sqlalchemy as sql
from sqlalchemy.dialects.postgresql import ARRAY

from buildkit.audit import versions
from buildkit.audit.queries import find
from buildkit.audit.schema import (
    ABOUT,
    ARTIFACT,
    BUILD,
    HOLDS,
    MADE_FROM,
    MATERIAL,
    PACKAGE,
    PART,
    PROMOTION,
    RUN,
    STATEMENT,
    WEIGHED,
    chunks,
)
from buildkit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sqlalchemy import ColumnElement, Connection, Select

    from buildkit.audit.queries.find import Number

    Found = tuple[int, Number, Number, Number | None]

_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_NUMBERS = ARRAY(sql.BigInteger)


class Node(NamedTuple):
    """A row of a table.

    Attributes:
        table: ``artifact``, ``statement``, ``material``, ``package`` or ``signer``.
        id: its number.
    """

    table: str
    id: Number


class Edge(NamedTuple):
    """One thing leads to another.

    Attributes:
        near: number of the row that was asked about.
        to: the other.
        word: how, seen from `near`.
        back: how, seen from the other.
        statement: that says so; nothing where the bytes themselves do.
    """

    near: Number
    to: Node
    word: str
    back: str
    statement: Number | None


def named(connection: Connection, text: str) -> list[Node]:
    """What a person means: an artifact, a bundle, an input, a package, a signer or a channel.

    Raises:
        InputError: nothing of that name is in the index, or the name is another's.
    """
    text = versions.checked(text)
    found: list[Node] = []

    def look(table: str, query: Select[Any]) -> None:
        found.extend(Node(table, each) for each in connection.execute(query).scalars())

    found += [Node("artifact", row.id) for row in find.called_by(connection, text)]
    place, colon, channel = text.rpartition(":")
    if colon and not found:
        of_channel = sql.select(PROMOTION.c.statement).where(
            PROMOTION.c.channel == channel, PROMOTION.c.place == place
        )
        look("statement", of_channel)
    for table, column in _DIGESTS:
        fits = find.by_digest(column, text)
        if fits is not None and not found:
            look(table, sql.select(column.table.c.id).where(fits))
    if not found and _COMMIT.fullmatch(text):
        look("material", sql.select(MATERIAL.c.id).where(find.starts(MATERIAL.c.commit, text)))
    if not found:
        found += [Node("signer", row.id) for row in find.signers(connection, text)]
    if not found:
        found += _packages(connection, text)
    if not found:
        msg = f"{text[:80]!r} is nothing in the index"
        raise InputError(msg, "name an artifact, a bundle, an input, a package, a key or a channel")
    return list(dict.fromkeys(found))


_DIGESTS: tuple[tuple[str, Any], ...] = (
    ("artifact", ARTIFACT.c.digest),
    ("statement", STATEMENT.c.bundle),
    ("statement", STATEMENT.c.payload),
    ("material", MATERIAL.c.digest),
    ("package", PACKAGE.c.sha256),
)


def _packages(connection: Connection, text: str) -> Iterator[Node]:
    named = sql.select(MATERIAL.c.id).where(
        sql.or_(MATERIAL.c.name == text, MATERIAL.c.uri == text)
    )
    yield from (Node("material", each) for each in connection.execute(named).scalars())
    try:
        wanted = versions.parse(text)
    except InputError:
        return
    inputs = sql.select(MATERIAL.c.id, MATERIAL.c.uri).where(MATERIAL.c.name.in_(wanted.names))
    yield from (
        Node("material", row.id) for row in connection.execute(inputs) if wanted.fits(row.uri)
    )
    inside = sql.select(PACKAGE.c.id, PACKAGE.c.purl, PACKAGE.c.version).where(
        PACKAGE.c.name.in_(wanted.names)
    )
    for row in connection.execute(inside):
        if wanted.fits(row.purl, row.version):
            yield Node("package", row.id)


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A way from the rows of one table to others.

    Attributes:
        query: near number, far number, and the statement that says so.
        to: table of the far rows.
        word: how one leads to the other, seen from the near row.
        back: likewise, seen from the far row.
    """

    query: Select[Any]
    to: str
    word: str
    back: str

    @property
    def near(self) -> ColumnElement[Any]:
        """The column that says where one comes from."""
        return next(iter(self.query.selected_columns))


def follow(
    connection: Connection, steps: tuple[Step, ...], ids: Iterable[Number], limit: int
) -> list[Found]:
    """Where steps lead from rows, in their order: one question.

    Args:
        connection: to the index.
        steps: from the table of these rows.
        ids: the rows.
        limit: of each step, and of so many rows as `schema.chunks` gives at once.

    Returns:
        Position of the step, near number, far number, and the statement that says so.
    """
    found: list[Found] = []
    for some in chunks(ids):
        postgresql = connection.dialect.name == "postgresql"
        given: Any = some if postgresql else json.dumps(some)
        query = _together(steps, postgresql=postgresql)
        found += map(tuple, connection.execute(query, {"ids": given, "most": limit}).all())
    return sorted(found)


@functools.cache
def _together(steps: tuple[Step, ...], *, postgresql: bool) -> Select[Any]:
    """All steps from one table, as one question of which the text is the same for any rows.

    Databases keep their plan for it, and the library what it took to write it.
    """
    bound: ColumnElement[Any]
    parts = []
    for at, step in enumerate(steps):
        if postgresql:
            bound = sql.any_(sql.bindparam("ids", type_=_NUMBERS))
            among = step.near == bound
        else:
            listed = sql.func.json_each(sql.bindparam("ids")).table_valued("value")
            among = step.near.in_(sql.select(listed.c.value))
        query = step.query.where(among).limit(sql.bindparam("most", type_=sql.Integer))
        rows = query.subquery()
        parts.append(sql.select(sql.literal_column(str(at)), *rows.c))
    return cast("Select[Any]", sql.union_all(*parts) if len(parts) > 1 else parts[0])


_NOTHING: Any = sql.cast(sql.null(), sql.BigInteger)
_RECORDED = sql.and_(STATEMENT.c.id == ABOUT.c.statement, find.counts(STATEMENT.c.reason))
_OTHER = STATEMENT.alias("other")

_ABOUT = Step(
    sql.select(ABOUT.c.statement, ABOUT.c.artifact, ABOUT.c.statement).join(STATEMENT, _RECORDED),
    "artifact",
    "is about",
    "is described by",
)
_PARTS = Step(sql.select(PART.c.parent, PART.c.child, _NOTHING), "artifact", "has", "part of")
_WHOLES = Step(sql.select(PART.c.child, PART.c.parent, _NOTHING), "artifact", "part of", "has")
_BUILDS = Step(
    sql.select(ABOUT.c.artifact, BUILD.c.statement, BUILD.c.statement).join(
        BUILD, BUILD.c.statement == ABOUT.c.statement
    ),
    "statement",
    "is described by",
    "is about",
)
_PROMOTED = Step(
    sql.select(PROMOTION.c.image, PROMOTION.c.statement, PROMOTION.c.statement),
    "statement",
    "was promoted by",
    "is about",
)
_JUDGED_BY = Step(
    sql.select(RUN.c.statement, WEIGHED.c.verdict, WEIGHED.c.verdict)
    .select_from(RUN)
    .join(STATEMENT, STATEMENT.c.id == RUN.c.statement)
    .join(WEIGHED, WEIGHED.c.payload == STATEMENT.c.payload),
    "statement",
    "was judged by",
    "judges",
)
_JUDGES = Step(
    sql.select(WEIGHED.c.verdict, RUN.c.statement, WEIGHED.c.verdict)
    .select_from(WEIGHED)
    .join(STATEMENT, STATEMENT.c.payload == WEIGHED.c.payload)
    .join(RUN, RUN.c.statement == STATEMENT.c.id),
    "statement",
    "judges",
    "was judged by",
)
_PREVIOUS = Step(
    sql.select(PROMOTION.c.statement, _OTHER.c.id, PROMOTION.c.statement)
    .select_from(PROMOTION)
    .join(_OTHER, _OTHER.c.payload == PROMOTION.c.previous)
    .where(PROMOTION.c.previous != "", find.counts(_OTHER.c.reason)),
    "statement",
    "follows",
    "is followed by",
)
_ALIKE = Step(
    sql.select(STATEMENT.c.id, _OTHER.c.id, _OTHER.c.id)
    .select_from(STATEMENT)
    .join(_OTHER, _OTHER.c.payload == STATEMENT.c.payload)
    .where(
        find.counts(STATEMENT.c.reason),
        find.counts(_OTHER.c.reason),
        STATEMENT.c.payload != "",
        _OTHER.c.id != STATEMENT.c.id,
    ),
    "statement",
    "is also signed as",
    "is also signed as",
)
_USED = Step(
    sql.select(MADE_FROM.c.material, MADE_FROM.c.build, MADE_FROM.c.build),
    "statement",
    "is an input of",
    "is made from",
)
_INPUTS = Step(
    # Few statements are builds: else PostgreSQL looks for them in all that builds are made from.
    sql.select(BUILD.c.statement, MADE_FROM.c.material, MADE_FROM.c.build).join(
        MADE_FROM, MADE_FROM.c.build == BUILD.c.statement
    ),
    "material",
    "is made from",
    "is an input of",
)
_HELD = Step(
    sql.select(HOLDS.c.package, HOLDS.c.artifact, HOLDS.c.statement),
    "artifact",
    "is inside",
    "holds",
)
_RAN = Step(
    sql.select(RUN.c.device, RUN.c.statement, RUN.c.statement),
    "statement",
    "signed",
    "was signed by",
)
_ON = Step(
    sql.select(RUN.c.statement, RUN.c.device, RUN.c.statement).where(RUN.c.device.is_not(None)),
    "signer",
    "was signed by",
    "signed",
)
_SIGNED = Step(
    sql.select(STATEMENT.c.signer, STATEMENT.c.id, STATEMENT.c.id).where(
        find.counts(STATEMENT.c.reason),
        # What everything has would lead from anything to anything.
        STATEMENT.c.kind.in_(("provenance", "verdict", "promotion", "run", "rebuild")),
    ),
    "statement",
    "signed",
    "was signed by",
)

# Only what is asked for leads on from here: two images that hold the same C library, or ran on the
# same board, say nothing about each other; and a verdict is about what its test results are about.
ENDS: Mapping[str, tuple[Step, ...]] = {
    "material": (_USED,),
    "package": (_HELD,),
    "signer": (_RAN, _SIGNED),
    "statement": (_JUDGED_BY, _JUDGES),
}
BETWEEN: Mapping[str, tuple[Step, ...]] = {
    "artifact": (_WHOLES, _PARTS, _BUILDS, _PROMOTED),
    "statement": (_ABOUT, _PREVIOUS, _ALIKE),
}
# When there is no such way: what both have in common.
SHARED: Mapping[str, tuple[Step, ...]] = {
    "artifact": BETWEEN["artifact"],
    "statement": (*BETWEEN["statement"], _INPUTS, _ON),
    "material": (_USED,),
    "signer": (_RAN,),
}
