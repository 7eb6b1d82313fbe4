"""``vulnerabilities``: what an OSV database on disk says about the packages in artifacts.

Which versions are affected is the records' word (`osvranges`); nothing is guessed beside what the
answer marks as assumed, and what cannot be decided is told.
"""

from __future__ import annotations

import itertools
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import sqlalchemy as sql

from buildkit.audit.osvcache import Database, cache_file
from buildkit.audit.osvtypes import Contents, Match, Undecided, Vulnerabilities, Vulnerable
from buildkit.audit.queries import find
from buildkit.audit.schema import ARTIFACT, HOLDS, PACKAGE, STATEMENT
from buildkit.audit.types import LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Connection

    from buildkit.audit.queries.find import Number, Opened

__all__ = [
    "Contents",
    "Database",
    "Undecided",
    "Vulnerabilities",
    "Vulnerable",
    "cache_file",
    "vulnerabilities",
]

# Package URLs whose holders are looked up together: few to begin with, since one may have many.
_FIRST, _MORE = 16, 256


def vulnerabilities(
    index: Opened, database: Database, ref: str = "", *, limit: int = LIMIT
) -> Vulnerabilities:
    """What is affected, the gravest first.

    Args:
        index: to ask.
        database: that is believed.
        ref: an image, its platform, or a model, by name, digest, or first digits of one; with all
            that it consists of. Everything in the index when empty.
        limit: of rows.

    Raises:
        InputError: `ref` means nothing, or more than one thing.
        StoreError: the index or the table of records fails.
    """
    with index.connect() as connection:
        among = None
        if ref:
            top = find.artifact(connection, ref).id
            among = find.below(connection, [top])[top]
        held = _packages(connection, among)
        unknown = _unknown(connection, among)
        assumed, undecided = database.look(held.keys())
        rows = list(
            itertools.islice(_rows(connection, database.matches(held), held, among), limit + 1)
        )
    return Vulnerabilities(
        rows=tuple(rows[:limit]),
        more=len(rows) > limit,
        packages=len(held),
        assumed=assumed,
        undecided=undecided,
        unknown=unknown,
        database=database.contents(),
    )


def _packages(connection: Connection, among: set[Number] | None) -> dict[str, list[Number]]:
    """Package URLs that SBOMs name, each with the rows that have it."""
    query = sql.select(PACKAGE.c.purl, PACKAGE.c.id).where(PACKAGE.c.purl != "")
    if among is not None:
        held = sql.select(HOLDS.c.package).where(HOLDS.c.artifact.in_(among))
        query = query.where(PACKAGE.c.id.in_(held))
    found: dict[str, list[Number]] = {}
    for purl, number in connection.execute(query).all():
        found.setdefault(purl, []).append(number)
    return found


def _unknown(connection: Connection, among: set[Number] | None) -> tuple[str, ...]:
    """Artifacts that hold packages, and of which no SBOM names any."""
    held = sql.select(HOLDS.c.package).where(HOLDS.c.artifact == ARTIFACT.c.id)
    query = sql.select(ARTIFACT.c.digest).where(
        ARTIFACT.c.role.in_(("platform", "model")), ~held.exists()
    )
    if among is not None:
        query = query.where(ARTIFACT.c.id.in_(among))
    return tuple(sorted(connection.execute(query).scalars()))


def _rows(
    connection: Connection,
    matches: Iterator[Match],
    held: dict[str, list[Number]],
    among: set[Number] | None,
) -> Iterator[Vulnerable]:
    known: dict[str, list[_Holder]] = {}
    size = _FIRST
    while some := list(itertools.islice(matches, size)):
        new = {match.package for match in some} - known.keys()
        known |= _holders(connection, {purl: held[purl] for purl in new}, among)
        for match in some:
            said = {name: getattr(match, name) for name in _SAID}
            for holder in known[match.package]:
                yield Vulnerable(**said, **holder)
        size = min(2 * size, _MORE)


_SAID = tuple(field.name for field in fields(Match))
_Holder = dict[str, Any]


def _holders(
    connection: Connection, packages: dict[str, list[Number]], among: set[Number] | None
) -> dict[str, list[_Holder]]:
    """Package URL → the artifacts that hold it, with the SBOMs that say so."""
    purls = {number: purl for purl, numbers in packages.items() for number in numbers}
    query = (
        sql.select(
            HOLDS.c.package,
            *(ARTIFACT.c[name] for name in ("role", "name", "version", "variant", "digest")),
            STATEMENT.c.bundle,
        )
        .join(ARTIFACT, ARTIFACT.c.id == HOLDS.c.artifact)
        .join(STATEMENT, STATEMENT.c.id == HOLDS.c.statement)
    )
    if among is not None:
        query = query.where(HOLDS.c.artifact.in_(among))
    found: dict[str, dict[tuple[str, ...], set[str]]] = {purl: {} for purl in packages}
    for row in find.rows(connection, query, HOLDS.c.package, purls):
        what = (row.role, row.name, row.version, row.variant, row.digest)
        found[purls[row.package]].setdefault(what, set()).add(row.bundle)
    return {purl: list(_sorted(rows)) for purl, rows in found.items()}


def _sorted(rows: dict[tuple[str, ...], set[str]]) -> Iterable[_Holder]:
    names = ("role", "artifact", "release", "variant", "digest")
    for what in sorted(rows, key=lambda each: (each[1:4], each[0], each[4])):
        yield {**dict(zip(names, what, strict=True)), "evidence": tuple(sorted(rows[what]))}
