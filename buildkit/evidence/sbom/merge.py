"""What the lock asked for and what syft saw, as one list of components. Pure.

Nothing that the lock knows may be missing, and nothing that syft saw; where the two differ,
somebody is told.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from buildkit import distributions
from buildkit.errors import EvidenceError
from buildkit.evidence.reasons import Reason
from buildkit.evidence.sbom import component as components
from buildkit.evidence.sbom.component import DEB, PYTHON, Component

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from buildkit.evidence.sbom.seen import Seen
    from buildkit.lock.types import PlatformPins

Difference = Literal["unseen", "unlocked", "copy", "removed"]


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Finding:
    """A difference between the lock and what syft saw.

    Attributes:
        kind: ``unseen`` (the lock names it, syft did not see it), ``unlocked`` (syft saw it, the
            lock does not name it), ``copy`` (beside the lock's version syft saw another one) or
            ``removed`` (the base has it, the app's layers hide it).
        component: ``NAME VERSION``.
        message: one sentence for people.
    """

    kind: Difference
    component: str
    message: str


def merge(
    pins: PlatformPins, base: Iterable[Seen], app: Iterable[Seen], *, whole: bool = False
) -> tuple[tuple[Component, ...], tuple[Finding, ...]]:
    """All components of one platform's image, and where lock and syft differ.

    Args:
        pins: what the lock names.
        base: what syft saw in the Debian and Python layers.
        app: what syft saw in the app's layers.
        whole: `app` is about all layers together, since those of the app change the base.

    Returns:
        Components and findings, both sorted.

    Raises:
        EvidenceError: the base has a package in another version than the lock's, and not in it.
    """
    base, app = tuple(base), tuple(app)
    # A set: an app's layer may show a package of the base once more, in the same words.
    rest = {*base, *app}
    found: list[Component] = []
    findings: list[Finding] = []
    locked = {(pin.kind, _normal(pin.kind, pin.name)): pin for pin in _locked(pins)}
    for identity, pin in locked.items():
        here = [each for each in rest if _identity(each) == identity]
        same = [each for each in here if _same_version(pin, each)]
        others = [each for each in base if _identity(each) == identity]
        if others and not same:
            raise _differs(pin, others)
        if not same:
            message = f"the lock names {pin.name} {pin.version}, and syft did not see it"
            findings.append(_finding("unseen", pin, message))
        elif whole and not any(each in app for each in same):
            message = f"the app's layers hide {pin.name} {pin.version}, which the base has"
            findings.append(_finding("removed", pin, message))
        found.append(_with(replace(pin, origin="both"), same) if same else pin)
        rest.difference_update(same)
    for group in _groups(rest):
        one = _unlocked(group)
        found.append(one)
        findings.append(_surplus(one, locked.get(_identity(group[0]))))
    return tuple(sorted(found)), tuple(sorted(findings))


def _locked(pins: PlatformPins) -> list[Component]:
    return [*map(components.of_debian, pins.debian), *map(components.of_wheel, pins.wheels)]


def _identity(seen: Seen) -> tuple[str, str]:
    return seen.kind, _normal(seen.kind, seen.name)


def _normal(kind: str, name: str) -> str:
    return distributions.normal(name) if kind == PYTHON else name


def _same_version(pin: Component, seen: Seen) -> bool:
    """Debian's versions are one spelling; wheels may write theirs in several (PEP 440)."""
    if pin.kind == PYTHON:
        return _plain(pin.version) == _plain(seen.version)
    return pin.version == seen.version


def _plain(version: str) -> str:
    text = re.sub(r"[-_]", ".", version.strip().lower().removeprefix("v"))
    release = re.match(r"[0-9.]*[0-9]", text)
    if release is None:
        return text
    return re.sub(r"(\.0+)+$", "", release[0]) + text[release.end() :]


def _unlocked(seen: Sequence[Seen]) -> Component:
    first = seen[0]
    one = Component(
        kind=first.kind,
        name=first.name,
        version=first.version,
        architecture=first.architecture,
        purl=first.purl or _made_up(first),
        origin="seen",
    )
    return _with(one, seen)


def _made_up(seen: Seen) -> str:
    """A package URL for what syft gave none, so that everything has one."""
    if seen.kind == DEB:
        return components.debian(seen.name, seen.version, seen.architecture, "")
    if seen.kind == PYTHON:
        return components.purl("pypi", seen.name, seen.version)
    return components.purl("generic", seen.name, seen.version)


def _with(component: Component, seen: Sequence[Seen]) -> Component:
    """A component with what syft knows of it besides."""
    layers = sorted({each.layer for each in seen} - {""})
    sources = sorted({each.source for each in seen} - {""})
    return replace(
        component,
        purl=components.from_source(component.purl, sources[0] if sources else ""),
        licences=_all(each.licences for each in seen),
        cpes=_all(each.cpes for each in seen),
        locations=_all(each.locations for each in seen),
        layer=layers[0] if layers else "",
    )


def _all(texts: Iterable[Iterable[str]]) -> tuple[str, ...]:
    return tuple(sorted({text for several in texts for text in several}))


def _groups(seen: Iterable[Seen]) -> list[list[Seen]]:
    """Those that are the same package, found in several places; sorted."""
    groups: dict[tuple[str, ...], list[Seen]] = {}
    for each in sorted(seen):
        key = (*_identity(each), each.version, each.architecture, each.purl)
        groups.setdefault(key, []).append(each)
    return [group for _, group in sorted(groups.items())]


def _surplus(one: Component, pin: Component | None) -> Finding:
    where = f" in {one.locations[0]}" if one.locations else ""
    if pin is None:
        message = f"syft saw {_said(one)}{where}, and the lock does not name it"
        return _finding("unlocked", one, message)
    message = f"syft saw {_said(one)}{where}, beside the lock's {pin.version}"
    return _finding("copy", one, message)


def _finding(kind: Difference, component: Component, message: str) -> Finding:
    return Finding(kind=kind, component=_said(component), message=message)


def _said(component: Component) -> str:
    return f"{component.name} {component.version}".rstrip()


def _differs(pin: Component, seen: Iterable[Seen]) -> EvidenceError:
    versions = ", ".join(sorted({each.version or "no version" for each in seen}))
    return EvidenceError(
        Reason.SBOM,
        f"the lock has {pin.name} {pin.version}, the image's base has {versions}",
        "build again; if it stays so, `python -m buildkit lock --update`",
    )
