"""Whether a version is affected, by the evaluation algorithm of the OSV schema. Pure.

Source: OSV schema 1.7, sections ``affected[].versions``, ``affected[].ranges[]`` and "Evaluation".
The order of versions is that of each ecosystem: Debian's by `debver`, PyPI's by ``packaging``,
semantic versions by their own section 11.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from buildkit.audit import debver

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Event = Literal["introduced", "fixed", "last_affected", "limit"]
EVENTS: tuple[Event, ...] = ("introduced", "fixed", "last_affected", "limit")

_SEMVER = re.compile(r"v?(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?")
# Sorts before any other version: written so in `introduced` alone.
_START = "0"
_NEVER = "*"


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """One range.

    Attributes:
        type: ``SEMVER``, ``ECOSYSTEM`` or ``GIT``.
        events: kind and version, in the order of the record.
    """

    type: str
    events: tuple[tuple[Event, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Affected:
    """What a record says of one package.

    Attributes:
        versions: that are affected, one by one.
        ranges: of versions that are affected.
        severity: type and score, as they stand there.
    """

    versions: tuple[str, ...]
    ranges: tuple[Range, ...]
    severity: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """What follows for one version.

    Attributes:
        affected: nothing when it cannot be known, and `why` says why not.
        fixed: the first repaired version of each range that it lies in.
        why: for people; empty when it is known.
    """

    affected: bool | None
    fixed: tuple[str, ...] = ()
    why: str = ""


def judge(version: str, said: Affected, ecosystem: str) -> Judgement:
    """Whether a version is affected.

    Args:
        version: as the ecosystem writes it.
        said: of that package.
        ecosystem: with or without its release: ``Debian:12``.
    """
    family = ecosystem.partition(":")[0]
    inside = False
    fixed: list[str] = []
    doubts: list[str] = []
    for each in said.ranges:
        # A graph of commits is no order of versions: such records list versions too.
        if each.type == "GIT":
            continue
        order = _semver if each.type == "SEMVER" else _ORDERS.get(family)
        if order is None:
            doubts.append(f"nobody here knows the order of versions of {family}")
            continue
        try:
            if _within(version, each.events, order):
                inside = True
                fixed += _repairs(version, each.events, order)
        except ValueError as error:
            doubts.append(f"{error} cannot be ordered as {each.type} of {family}")
    if inside or _is_listed(version, said.versions, family):
        return Judgement(affected=True, fixed=tuple(dict.fromkeys(fixed)))
    if doubts:
        return Judgement(affected=None, why=doubts[0])
    return Judgement(affected=False)


def _within(version: str, events: Sequence[tuple[Event, str]], order: Callable[[str], Any]) -> bool:
    own = order(version)
    limits = [bound for kind, bound in events if kind == "limit"]
    if limits and not any(_NEVER in bound or own < order(bound) for bound in limits):
        return False
    inside = False
    # Stable: of events at one version, the record's own order decides.
    for kind, bound in sorted(
        (each for each in events if each[0] != "limit"), key=lambda each: _place(each, order)
    ):
        if kind == "introduced":
            inside = inside or bound == _START or own >= order(bound)
        elif (kind == "fixed" and own >= order(bound)) or (
            kind == "last_affected" and own > order(bound)
        ):
            inside = False
    return inside


def _place(event: tuple[Event, str], order: Callable[[str], Any]) -> tuple[int, Any]:
    kind, bound = event
    # Versions of two kinds are never compared with each other.
    return (0, 0) if kind == "introduced" and bound == _START else (1, order(bound))


def _repairs(
    version: str, events: Sequence[tuple[Event, str]], order: Callable[[str], Any]
) -> list[str]:
    own = order(version)
    found = [bound for kind, bound in events if kind == "fixed" and order(bound) > own]
    return sorted(found, key=order)[:1]


def _is_listed(version: str, versions: Sequence[str], family: str) -> bool:
    if version in versions:
        return True
    if family != "PyPI":
        return False
    # PyPA's versions have several spellings.
    try:
        own = _pypi(version)
    except ValueError:
        return False
    return any(own == each for each in map(_maybe_pypi, versions))


def _maybe_pypi(version: str) -> Any:
    try:
        return _pypi(version)
    except ValueError:
        return None


@lru_cache(maxsize=1 << 17)
def _debian(version: str) -> Any:
    return debver.key(version)


@lru_cache(maxsize=1 << 17)
def _pypi(version: str) -> Any:
    from packaging.version import InvalidVersion, Version  # noqa: PLC0415 - as above

    try:
        return Version(version)
    except InvalidVersion as error:
        msg = f"version {version[:80]!r}"
        raise ValueError(msg) from error


@lru_cache(maxsize=1 << 17)
def _semver(version: str) -> Any:
    """A key that sorts as section 11 of SemVer 2.0.0 says; build metadata does not count."""
    found = _SEMVER.fullmatch(_filled(version))
    if found is None:
        msg = f"version {version[:80]!r}"
        raise ValueError(msg)
    numbers = tuple(map(int, found.group(1, 2, 3)))
    if found[4] is None:
        return (*numbers, (1,))
    # Numbers before words, and a longer list after its own beginning.
    parts = tuple(
        (0, int(part), "") if part.isdigit() else (1, 0, part) for part in found[4].split(".")
    )
    return (*numbers, (0, parts))


def _filled(version: str) -> str:
    """Records write ``1`` and ``1.2`` as well."""
    found = re.match(r"v?\d+(\.\d+)?(?=$|[-+])", version)
    if found is None:
        return version
    return found[0] + (".0" if found[1] else ".0.0") + version[found.end() :]


_ORDERS: Mapping[str, Callable[[str], Any]] = {
    "Debian": _debian,
    "Ubuntu": _debian,
    "PyPI": _pypi,
    "npm": _semver,
    "crates.io": _semver,
    "Go": _semver,
}
FAMILIES = tuple(_ORDERS)
