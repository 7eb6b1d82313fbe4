"""From a package URL to the name under which OSV knows the package. Pure.

Source: OSV schema 1.7, "Defined ecosystems". Debian's and Ubuntu's records name source packages;
an SBOM tells them in the qualifier ``upstream`` (``NAME`` or ``NAME@VERSION``), as syft does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from buildkit import distributions

if TYPE_CHECKING:
    from buildkit.audit.versions import Url

_DISTRIBUTIONS = {"debian": "Debian", "ubuntu": "Ubuntu"}
_LANGUAGES = {"pypi": "PyPI", "npm": "npm", "cargo": "crates.io", "golang": "Go"}
# A rebuild of one architecture, which the source package knows nothing of (Debian policy 5.6.12).
_REBUILT = re.compile(r"\+b[0-9]+$")


@dataclass(frozen=True, kw_only=True, slots=True)
class Lookup:
    """What to look up.

    Attributes:
        ecosystems: as records write it, the closest first.
        name: of the package there.
        version: as that ecosystem writes it.
        assumed: whether it is the binary package's name, for want of the source package's.
    """

    ecosystems: tuple[str, ...]
    name: str
    version: str
    assumed: bool = False


def lookup(url: Url) -> Lookup | str:
    """What to look up for a package URL, or why nobody can."""
    if not url.name or not url.version:
        return "no package URL with a version"
    if url.type == "deb":
        return _debian(url)
    family = _LANGUAGES.get(url.type)
    if family is None:
        return f"packages of type {url.type} are not looked up"
    name = f"{url.namespace}/{url.name}" if url.namespace else url.name
    version = url.version.removeprefix("v") if family == "Go" else url.version
    return Lookup(ecosystems=(family,), name=normal(family, name), version=version)


def normal(ecosystem: str, name: str) -> str:
    """A name as it is compared."""
    return distributions.normal(name) if ecosystem == "PyPI" else name


def _debian(url: Url) -> Lookup | str:
    family = _DISTRIBUTIONS.get(url.namespace.lower())
    if family is None:
        return f"no records of the distribution {url.namespace or 'of this package'}"
    name, _, release = url.qualifiers.get("distro", "").partition("-")
    if name != url.namespace.lower() or not release:
        return "its package URL does not say which release it is from"
    scoped = (f"{family}:{release}",)
    ecosystems = (*scoped, *((f"{family}:{release}:LTS",) if family == "Ubuntu" else (family,)))
    source, _, version = url.qualifiers.get("upstream", "").partition("@")
    if source:
        return Lookup(ecosystems=ecosystems, name=source, version=version or url.version)
    return Lookup(
        ecosystems=ecosystems,
        name=url.name,
        version=_REBUILT.sub("", url.version),
        assumed=True,
    )
