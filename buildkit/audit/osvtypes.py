"""What a look into an OSV database answers with: frozen records."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Match:
    """A package URL that an OSV record says is affected.

    Attributes:
        id: of the record: ``DEBIAN-CVE-2026-0001``.
        aliases: the same vulnerability in other databases, sorted.
        upstream: vulnerabilities that this one comes from, sorted.
        summary: one line; may be empty.
        severity: CVSS vector, or the word of the database; may be empty.
        score: CVSS 3 base score, 0 to 10; nothing where there is no such vector.
        package: package URL in the SBOM.
        ecosystem: in which it was looked up: ``Debian:12``.
        name: as which it was looked up: of a Debian package, its source package.
        version: likewise.
        fixed: the versions from which on it is repaired, as far as the record says.
        assumed: the SBOM does not name the source package, so that the binary package's name was
            looked up.
    """

    id: str
    aliases: tuple[str, ...]
    upstream: tuple[str, ...]
    summary: str
    severity: str
    score: float | None
    package: str
    ecosystem: str
    name: str
    version: str
    fixed: tuple[str, ...]
    assumed: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Vulnerable(Match):
    """A match with an artifact that holds the package.

    Attributes:
        role: of the artifact: ``platform`` or ``model``.
        artifact: name of the recipe that it was made from.
        release: version of that recipe.
        variant: platform or target.
        digest: of the artifact's manifest.
        evidence: SBOMs that name the package, sorted.
    """

    role: str
    artifact: str
    release: str
    variant: str
    digest: str
    evidence: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Undecided:
    """A package of which it cannot be known whether it is affected.

    Attributes:
        package: package URL in the SBOM.
        id: of the record that cannot be evaluated; empty when the package cannot be looked up.
        why: for people.
    """

    package: str
    id: str
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """What an OSV database on disk holds.

    Attributes:
        records: that name packages of ecosystems that are looked up; withdrawn ones not counted.
        ecosystems: without their releases, sorted.
        newest: when a record was last modified, as it stands there.
        unreadable: files that are no OSV records, at most 20; `broken` says how many.
        broken: number of such files.
    """

    records: int
    ecosystems: tuple[str, ...]
    newest: str
    unreadable: tuple[str, ...]
    broken: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Vulnerabilities:
    """The answer.

    Attributes:
        rows: the gravest first; at most as many as were asked for.
        more: whether there are more.
        packages: package URLs that were looked up.
        assumed: those among them whose source package no SBOM names, sorted.
        undecided: what could not be looked up, or not be evaluated; sorted.
        unknown: digests of platforms and models that no SBOM which counts is about, so that nobody
            knows what is inside; sorted.
        database: what it was held against.
    """

    rows: tuple[Vulnerable, ...]
    more: bool
    packages: int
    assumed: tuple[str, ...]
    undecided: tuple[Undecided, ...]
    unknown: tuple[str, ...]
    database: Contents
