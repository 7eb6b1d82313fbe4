"""What an SBOM names: components, and the package URLs that others know them by.

Package URLs follow the purl specification (``PURL-SPECIFICATION.rst``, ``PURL-TYPES.rst``: deb,
oci, pypi); 20 lines of it, since the library for it would be a dependency of every build.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from buildkit import distributions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from buildkit.lock.types import DebianPin, WheelPin

Origin = Literal["lock", "seen", "both"]

DEB, PYTHON = "deb", "python"
# Debian's code names → the release that scanners know.
RELEASES = {"bookworm": "12", "trixie": "13"}
_SECURITY = "-security"
_UPSTREAM = "upstream="


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Component:
    """One package of an image.

    Attributes:
        kind: ``deb``, ``python``, or another of syft's types of package.
        name: as the lock writes it; as the package does where the lock does not know it.
        version: likewise; may be empty for what only syft saw.
        architecture: Debian's name of the processor; empty where it does not matter.
        purl: package URL.
        origin: who knows of it: the lock, syft (``seen``), or both.
        sha256: hex digits of the package's file; empty for what the lock does not know.
        file: name of that file, likewise.
        licences: in the words of `Seen`, each once, sorted.
        cpes: CPE 2.3 names, likewise.
        locations: files of the image that syft found it by, likewise.
        layer: ``sha256:<hex>`` of the unpacked layer (OCI ``diff_id``); may be empty.
    """

    kind: str
    name: str
    version: str
    architecture: str
    purl: str
    origin: Origin
    sha256: str = ""
    file: str = ""
    licences: tuple[str, ...] = ()
    cpes: tuple[str, ...] = ()
    locations: tuple[str, ...] = ()
    layer: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """One layer of an image, as its manifest and its configuration name it."""

    digest: str
    diff_id: str


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Tool:
    """A program that had a part in the document."""

    name: str
    version: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Described:
    """The image of one platform.

    Attributes:
        name: of the recipe.
        version: of the recipe.
        platform: ``linux/arm64``.
        digest: ``sha256:<hex>`` of the platform's manifest.
        layers: lowest first.
        description: one line; may be empty.
        licence: SPDX expression of the app; may be empty.
    """

    name: str
    version: str
    platform: str
    digest: str
    layers: tuple[Layer, ...]
    description: str = ""
    licence: str = ""


def debian_purl(pin: DebianPin) -> str:
    """The package URL of a Debian package: ``pkg:deb/debian/NAME@VERSION?arch=…&distro=…``."""
    suite = pin.suite.removesuffix(_SECURITY)
    release = RELEASES.get(suite)
    distro = f"debian-{release}" if release else suite
    return debian(pin.name, pin.version, pin.architecture, distro)


def wheel_purl(pin: WheelPin) -> str:
    """The package URL of a wheel: ``pkg:pypi/NAME@VERSION``."""
    return purl("pypi", pin.name, pin.version)


def of_debian(pin: DebianPin) -> Component:
    """The component that a lock pins as a Debian package."""
    return Component(
        kind=DEB,
        name=pin.name,
        version=pin.version,
        architecture=pin.architecture,
        purl=debian_purl(pin),
        origin="lock",
        sha256=pin.sha256,
        file=pin.file,
    )


def of_wheel(pin: WheelPin) -> Component:
    """The component that a lock pins as a wheel."""
    return Component(
        kind=PYTHON,
        name=pin.name,
        version=pin.version,
        architecture="",
        purl=wheel_purl(pin),
        origin="lock",
        sha256=pin.sha256,
        file=pin.file,
    )


def debian(name: str, version: str, architecture: str, distro: str) -> str:
    """The package URL of a Debian package whose pin is not known; empty parts are left out."""
    return purl("deb/debian", name, version, arch=architecture, distro=distro)


def from_source(package_url: str, source: str) -> str:
    """The package URL of a Debian package with its source package, by which advisories name it.

    Args:
        package_url: of the binary package.
        source: ``NAME`` or ``NAME@VERSION``, as syft's qualifier ``upstream`` has it; may be empty.
    """
    if not source or not package_url.startswith("pkg:deb/") or _UPSTREAM in package_url:
        return package_url
    # The last of our qualifiers by name: they stand in order.
    return f"{package_url}{'&' if '?' in package_url else '?'}{_UPSTREAM}{_quoted(source)}"


def without_source(package_url: str) -> str:
    """The package URL as a lock has it, which knows no source packages."""
    return re.sub(rf"[?&]{_UPSTREAM}[^&#]*$", "", package_url)


def oci(name: str, digest: str, *, arch: str = "", tag: str = "") -> str:
    """The package URL of an OCI artifact, without a repository: it may live in many."""
    return purl("oci", name, digest, arch=arch, tag=tag)


def purl(namespace: str, name: str, version: str, **qualifiers: str) -> str:
    """A package URL.

    Args:
        namespace: type, and namespace where the type has one: ``deb/debian``.
        name: of the package; for ``pypi`` it is normalised.
        version: may be empty.
        qualifiers: in the order of their names; empty ones are left out.
    """
    if namespace == "pypi":
        name = distributions.normal(name)
    text = f"pkg:{namespace}/{_quoted(name)}"
    if version:
        text += f"@{_quoted(version)}"
    told = [f"{key}={_quoted(value)}" for key, value in sorted(qualifiers.items()) if value]
    return f"{text}?{'&'.join(told)}" if told else text


def releases(parts: Iterable[Component]) -> list[tuple[str, str]]:
    """(name, version) of the distributions that the Debian packages are from: one, as a rule."""
    found = re.findall(
        r"[?&]distro=(debian)-([0-9]+)(?:&|$)", "\n".join(part.purl for part in parts), re.MULTILINE
    )
    return sorted(set(found))


def _quoted(text: str) -> str:
    return quote(text, safe=":")
