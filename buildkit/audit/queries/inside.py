"""``contains``: which images, models, devices and channels hold a package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sql

from buildkit.audit import versions
from buildkit.audit.queries import find
from buildkit.audit.queries.channels import astray, leads
from buildkit.audit.schema import HOLDS, PACKAGE, RUN, SIGNER, STATEMENT
from buildkit.audit.types import LIMIT, Answer, Holder, Thing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection

    from buildkit.audit.queries.find import Line, Number, Opened
    from buildkit.audit.versions import Wanted

    # Artifact → package → bundles of the SBOMs that say so.
    Held = dict[Number, dict[Number, list[str]]]

_T = TypeVar("_T")

_MOST_PACKAGES = 10_000
# Up to so many, each is looked up with each artifact; else all that these hold is read.
_FEW = 64
_NONE = Thing(role="", name="", version="", variant="", digest="")


def contains(index: Opened, package: str, *, limit: int = LIMIT) -> Answer[Holder]:
    """What holds a package.

    Channels are listed by where they lead now, devices by the newest run that they signed.

    Args:
        index: to ask.
        package: name, with bounds on its version (``openssl<3.0.15``, ``numpy>=2,<2.1``), package
            URL, ``sha256:…`` of its file, or ``licence:…``.
        limit: of rows of channels, of devices, and of images and models together.

    Raises:
        InputError: `package` names no package.
        StoreError: the index fails.
    """
    wanted = versions.parse(package)
    with index.connect() as connection:
        packages, cut = _packages(connection, wanted)
        if not packages:
            return Answer(rows=())
        found = _Found(connection, packages, limit)
        answers = (found.channels(), found.devices(), found.artifacts())
    return Answer(
        rows=tuple(row for rows, _ in answers for row in rows),
        more=cut or any(more for _, more in answers),
    )


def _packages(connection: Connection, wanted: Wanted) -> tuple[dict[Number, Line], bool]:
    columns = (PACKAGE.c[name] for name in ("id", "purl", "version", "licence", "sha256"))
    query = sql.select(*columns).limit(_MOST_PACKAGES + 1)
    fits: ColumnElement[bool] | None
    if wanted.sha256:
        fits = find.by_digest(PACKAGE.c.sha256, wanted.sha256)
    elif wanted.licence:
        known = connection.execute(sql.select(PACKAGE.c.licence).distinct()).scalars()
        fits = PACKAGE.c.licence.in_(
            [each for each in known if versions.names_licence(each, wanted.licence)]
        )
    else:
        fits = PACKAGE.c.name.in_(wanted.names)
        if wanted.type:
            fits = sql.and_(fits, PACKAGE.c.type == wanted.type)
    rows = connection.execute(query.where(fits)).all() if fits is not None else []
    chosen = [row for row in rows if not wanted.name or wanted.fits(row.purl, row.version)]
    return {row.id: row for row in chosen[:_MOST_PACKAGES]}, len(rows) > _MOST_PACKAGES


class _Found:
    """One question's answers."""

    def __init__(self, connection: Connection, packages: dict[Number, Line], limit: int) -> None:
        self._connection = connection
        self._packages = packages
        self._limit = limit
        # Of one package each gives a row; of a licence, dozens.
        self._at_first = limit + 1 if len(packages) <= _FEW else 4

    def artifacts(self) -> tuple[list[Holder], bool]:
        """Platforms of images, and models."""
        held: Held = {}
        count = 0
        for some in _growing(sorted(self._packages), 4):
            pairs = self._pairs(some, self._limit + 1 - count)
            for artifact, inside in pairs.items():
                held.setdefault(artifact, {}).update(inside)
                count += len(inside)
            if count > self._limit:
                break
        known = find.things(self._connection, held)
        images = find.image_of(self._connection, held)
        rows = [
            self._holder(
                what="model" if known[part].role == "model" else "image",
                name=known[part].name or image.name,
                version=known[part].version or image.version,
                variant=known[part].variant,
                digest=known[part].digest,
                image=image.digest,
                package=package,
                evidence=evidence,
            )
            for part, inside in held.items()
            for image in images[part] or [_NONE]
            for package, evidence in inside.items()
        ]
        rows.sort(key=_order)
        return rows[: self._limit], len(rows) > self._limit

    def _pairs(self, packages: Sequence[Number], limit: int) -> Held:
        pairs = (
            sql.select(HOLDS.c.package, HOLDS.c.artifact)
            .where(HOLDS.c.package.in_(packages))
            .group_by(HOLDS.c.package, HOLDS.c.artifact)
            .order_by(HOLDS.c.package, HOLDS.c.artifact)
            .limit(limit)
            .subquery()
        )
        same = sql.and_(HOLDS.c.package == pairs.c.package, HOLDS.c.artifact == pairs.c.artifact)
        query = (
            sql.select(HOLDS.c.artifact, HOLDS.c.package, STATEMENT.c.bundle)
            .select_from(pairs.join(HOLDS, same))
            .join(STATEMENT, STATEMENT.c.id == HOLDS.c.statement)
        )
        return _held(self._connection.execute(query).all())

    def devices(self) -> tuple[list[Holder], bool]:
        """Devices whose newest run was with something that holds it."""
        rows: list[Holder] = []
        for some in _growing(newest_runs(self._connection), self._at_first):
            rows += self._on(some)
            if len(rows) > self._limit:
                break
        return rows[: self._limit], len(rows) > self._limit

    def _on(self, seen: Sequence[Line]) -> list[Holder]:
        held = self._inside({part for row in seen for part in (row.image, row.model)})
        seen = [row for row in seen if row.image in held or row.model in held]
        known = find.things(self._connection, held)
        images = find.image_of(self._connection, {row.image for row in seen})
        query = sql.select(STATEMENT.c.id, STATEMENT.c.payload)
        runs = {row.statement for row in seen}
        found = find.rows(self._connection, query, STATEMENT.c.id, runs)
        said = {row.id: row.payload for row in found}
        signed = find.signed_alike(self._connection, said.values())
        rows = [
            self._holder(
                what="device",
                name=find.device_name(row),
                version=known[part].version,
                variant=known[part].variant,
                digest=known[part].digest,
                image=next((image.digest for image in images[row.image]), ""),
                at=row.ended,
                package=package,
                evidence=[*evidence, *signed.get(said[row.statement], ())],
            )
            for row in seen
            for part in dict.fromkeys((row.image, row.model))
            for package, evidence in held.get(part, {}).items()
        ]
        return sorted(rows, key=_order)

    def channels(self) -> tuple[list[Holder], bool]:
        """Channels that lead to an image which holds it."""
        rows: list[Holder] = []
        marks = astray(self._connection)
        for some in _growing(leads(self._connection), self._at_first):
            rows += self._led_to(some, marks)
            if len(rows) > self._limit:
                break
        return rows[: self._limit], len(rows) > self._limit

    def _led_to(self, moves: Sequence[Line], marks: Mapping[Number, str]) -> list[Holder]:
        whole = {each for row in moves for each in (row.image, row.models)}
        parts = find.below(self._connection, whole)
        held = self._inside({part for found in parts.values() for part in found})
        known = find.things(self._connection, held)
        rows = [
            self._holder(
                what="channel",
                name=f"{row.place}:{row.channel}",
                version=known[part].version,
                variant=known[part].variant,
                digest=known[part].digest,
                image=row.image_digest,
                at=row.at,
                package=package,
                mark=marks.get(row.statement, ""),
                evidence=[*evidence, row.bundle],
            )
            for row in moves
            for part in parts[row.image] | parts[row.models]
            for package, evidence in held.get(part, {}).items()
        ]
        return sorted(rows, key=_order)

    def _inside(self, artifacts: set[Number]) -> Held:
        query = sql.select(HOLDS.c.artifact, HOLDS.c.package, STATEMENT.c.bundle).join(
            STATEMENT, STATEMENT.c.id == HOLDS.c.statement
        )
        if len(self._packages) <= _FEW:
            query = query.where(HOLDS.c.package.in_(self._packages))
        rows = find.rows(self._connection, query, HOLDS.c.artifact, artifacts)
        return _held(row for row in rows if row.package in self._packages)

    def _holder(self, *, package: Number, evidence: Sequence[str], **more: Any) -> Holder:
        row = self._packages[package]
        return Holder(
            package=row.purl,
            licence=row.licence,
            sha256=row.sha256,
            evidence=tuple(sorted(set(evidence))),
            **{"at": None, "mark": "", **more},
        )


def newest_runs(connection: Connection) -> list[Line]:
    """The newest run that each device signed: device, statement, image, model, ended."""
    other = RUN.alias("other")
    newest = (
        sql.select(other.c.statement)
        .where(other.c.device == SIGNER.c.id)
        .order_by(other.c.ended.desc(), other.c.statement.desc())
        .limit(1)
        .scalar_subquery()
    )
    query = (
        sql.select(
            *(SIGNER.c[name] for name in ("id", "name", "label", "subject")),
            *(RUN.c[name] for name in ("statement", "image", "model", "ended")),
        )
        .select_from(SIGNER)
        .join(RUN, RUN.c.statement == newest)
        .where(SIGNER.c.kind == "device")
        .order_by(SIGNER.c.name)
    )
    return list(connection.execute(query).all())


def _growing(every: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    """All of it in pieces, small ones first: the answer may be full before long."""
    at = 0
    while at < len(every):
        yield every[at : at + size]
        at, size = at + size, size * 4


def _held(rows: Iterable[Line]) -> Held:
    found: Held = {}
    for artifact, package, bundle in rows:
        found.setdefault(artifact, {}).setdefault(package, []).append(bundle)
    return found


def _order(row: Holder) -> tuple[str, ...]:
    return (row.what, row.name, row.version, row.variant, row.package, row.digest, row.image)
