"""SPDX 2.3 as JSON-able dicts, the same for the same input.

Source: SPDX specification 2.3 and its JSON schema.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from buildkit import __version__, canonical, digests
from buildkit.evidence.sbom import component as components
from buildkit.evidence.sbom import licences
from buildkit.evidence.sbom.cyclonedx import optional

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from buildkit.evidence.sbom.component import Component, Described, Tool
    from buildkit.evidence.sbom.merge import Finding

SPEC_VERSION = "SPDX-2.3"
DOCUMENT = "SPDXRef-DOCUMENT"
NOASSERTION = "NOASSERTION"
_US = f"Tool: edge-buildkit-{__version__}"
_DEBIAN = "Organization: Debian"
_CPE = re.compile(r"cpe:2\.3:[aho](?::\S+)+")


def image(
    described: Described,
    parts: Sequence[Component],
    findings: Sequence[Finding],
    *,
    epoch: int,
    tools: Sequence[Tool],
) -> dict[str, Any]:
    """The document of one platform's image."""
    told = Licences()
    main = package(
        "SPDXRef-Image",
        described.name,
        version=described.version,
        sha256=digests.hex_of(described.digest),
        purpose="CONTAINER",
        declared=told.add([described.licence]),
        comment=f"OCI image manifest of {described.platform}",
        summary=described.description,
    )
    layers = {
        layer.diff_id: package(
            f"SPDXRef-Layer-{at}",
            f"layer {at}",
            sha256=digests.hex_of(layer.digest),
            purpose="ARCHIVE",
            comment=f"unpacked: {layer.diff_id}",
        )
        for at, layer in enumerate(described.layers)
    }
    listed: list[dict[str, Any]] = []
    related = [contains(main, each) for each in layers.values()]
    for part in parts:
        found = library(part, told)
        listed.append(found)
        related.append(contains(main, found))
        if part.layer in layers:
            related.append(contains(layers[part.layer], found))
    for name, version in components.releases(parts):
        system = package(
            reference("os", f"{name}-{version}", ""),
            name,
            version=version,
            purpose="OPERATING-SYSTEM",
            supplier=_DEBIAN,
        )
        listed.append(system)
        related.append(contains(main, system))
    return document(
        f"{described.name} {described.version} {described.platform}",
        described.digest,
        main,
        [*layers.values(), *listed],
        related,
        told=told,
        epoch=epoch,
        tools=tools,
        findings=findings,
    )


class Licences:
    """Names of licences that stand outside the SPDX list, gathered over a document."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def add(self, words: Iterable[str]) -> str:
        """The expression for a package's ``licenseDeclared``."""
        expression, names = licences.spdx(words)
        self._names |= names
        return expression

    def to_json(self) -> list[dict[str, Any]]:
        """The value of ``hasExtractedLicensingInfos``."""
        return [
            {
                "licenseId": identifier,
                "name": name,
                "extractedText": f"The package names this licence {name!r}, without its text.",
            }
            for identifier, name in sorted(self._names.items())
        ]


def document(
    name: str,
    digest: str,
    main: Mapping[str, Any],
    packages: Sequence[Mapping[str, Any]],
    relationships: Sequence[Mapping[str, Any]],
    *,
    told: Licences,
    epoch: int,
    tools: Iterable[Tool],
    findings: Iterable[Finding] = (),
) -> dict[str, Any]:
    """A whole document.

    Args:
        name: of the document.
        digest: of what it is about; its namespace follows from it.
        main: that thing, as a package.
        packages: all others.
        relationships: between packages; that the document describes `main` is added.
        told: licences that the packages refer to.
        epoch: seconds since 1970 of its timestamp.
        tools: who had a part in it, besides us.
        findings: told as annotations of the document.
    """
    also = {f"Tool: {tool.name}-{tool.version}" for tool in tools}
    describes = relation(DOCUMENT, "DESCRIBES", main["SPDXID"])
    found: dict[str, Any] = {
        "spdxVersion": SPEC_VERSION,
        "dataLicense": "CC0-1.0",
        "SPDXID": DOCUMENT,
        "name": name,
        "documentNamespace": f"urn:edge-buildkit:spdx:{digest}",
        "creationInfo": {"created": canonical.timestamp(epoch), "creators": sorted({_US, *also})},
        "packages": sorted((dict(each) for each in (main, *packages)), key=_id),
        "relationships": sorted(
            (dict(each) for each in (describes, *relationships)),
            key=lambda each: tuple(sorted(each.items())),
        ),
    }
    annotations = [annotation(epoch, f"{each.kind}: {each.message}") for each in sorted(findings)]
    return found | optional(annotations=annotations, hasExtractedLicensingInfos=told.to_json())


def library(part: Component, told: Licences) -> dict[str, Any]:
    """One package of a distribution or an index."""
    references = [_external("PACKAGE-MANAGER", "purl", part.purl)]
    references += [
        _external("SECURITY", "cpe23Type", cpe) for cpe in part.cpes if _CPE.fullmatch(cpe)
    ]
    return package(
        reference(part.kind, part.name, repr(part)),
        part.name,
        version=part.version,
        sha256=part.sha256,
        file=part.file,
        purpose="APPLICATION" if part.kind == "binary" else "LIBRARY",
        declared=told.add(part.licences),
        supplier=_DEBIAN if part.purl.startswith("pkg:deb/debian/") else NOASSERTION,
        comment=f"origin: {part.origin}"
        + (f"; {', '.join(part.locations)}" if part.origin == "seen" and part.locations else ""),
        external=references,
    )


def package(
    identifier: str,
    name: str,
    *,
    purpose: str,
    version: str = "",
    sha256: str = "",
    file: str = "",
    declared: str = NOASSERTION,
    supplier: str = NOASSERTION,
    comment: str = "",
    summary: str = "",
    external: Sequence[Mapping[str, str]] = (),
) -> dict[str, Any]:
    """One package; where it is to be had is left open, since a lock names no host."""
    found: dict[str, Any] = {
        "SPDXID": identifier,
        "name": name,
        "downloadLocation": NOASSERTION,
        "filesAnalyzed": False,
        "licenseConcluded": NOASSERTION,
        "licenseDeclared": declared,
        "copyrightText": NOASSERTION,
        "supplier": supplier,
        "primaryPackagePurpose": purpose,
    }
    sums = [{"algorithm": "SHA256", "checksumValue": sha256}] if sha256 else []
    return found | optional(
        versionInfo=version,
        checksums=sums,
        packageFileName=file,
        comment=comment,
        summary=summary,
        externalRefs=[dict(each) for each in external],
    )


def reference(kind: str, name: str, whole: str) -> str:
    """An SPDX identifier: words for people, and enough of a hash of `whole` to stand alone."""
    words = re.sub(r"[^A-Za-z0-9.-]+", "-", f"{kind}-{name}")
    apart = digests.hex_of(digests.of_bytes(f"{kind}\n{name}\n{whole}".encode()))[:12]
    return f"SPDXRef-{words}-{apart}"


def annotation(epoch: int, comment: str) -> dict[str, str]:
    """A remark of ours."""
    return {
        "annotationDate": canonical.timestamp(epoch),
        "annotationType": "OTHER",
        "annotator": _US,
        "comment": comment,
    }


def contains(outer: Mapping[str, Any], inner: Mapping[str, Any]) -> dict[str, str]:
    """That one package contains another."""
    return relation(outer["SPDXID"], "CONTAINS", inner["SPDXID"])


def relation(one: str, kind: str, other: str) -> dict[str, str]:
    """A relationship, by identifiers."""
    return {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}


def _external(category: str, kind: str, locator: str) -> dict[str, str]:
    return {"referenceCategory": category, "referenceType": kind, "referenceLocator": locator}


def _id(each: Mapping[str, Any]) -> str:
    return str(each["SPDXID"])
