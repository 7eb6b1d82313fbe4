"""CycloneDX 1.6 as JSON-able dicts, the same for the same input.

Source: CycloneDX 1.6 JSON schema (ECMA-424); package URLs name the components.
"""

from __future__ import annotations

import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any

from buildkit import __version__, canonical, digests
from buildkit.evidence.sbom import component as components
from buildkit.evidence.sbom import licences
from buildkit.records import architecture

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from buildkit.evidence.sbom.component import Component, Described, Tool
    from buildkit.evidence.sbom.merge import Finding

SPEC_VERSION = "1.6"
_OURS = "io.edge-buildkit:"
_DEBIAN = {"name": "Debian"}


def image(
    described: Described,
    parts: Sequence[Component],
    findings: Sequence[Finding],
    *,
    epoch: int,
    tools: Sequence[Tool],
) -> dict[str, Any]:
    """The document of one platform's image."""
    tag = described.version
    reference = components.oci(
        described.name, described.digest, arch=architecture(described.platform), tag=tag
    )
    main: dict[str, Any] = {
        "type": "container",
        "bom-ref": reference,
        "name": described.name,
        "version": described.version,
        "purl": reference,
        "hashes": sha256(digests.hex_of(described.digest)),
        "components": [
            {
                "type": "file",
                "bom-ref": f"{reference}#layer-{at}",
                "name": f"layer {at}",
                "hashes": sha256(digests.hex_of(layer.digest)),
                "properties": properties({"diff-id": layer.diff_id}),
            }
            for at, layer in enumerate(described.layers)
        ],
        "properties": properties({"platform": described.platform}),
    }
    main |= optional(
        description=described.description, licenses=licences.cyclonedx([described.licence])
    )
    names = references(parts)
    layers = {layer.diff_id: layer.digest for layer in described.layers}
    listed = [library(each, names[each], layers) for each in parts]
    listed += _operating_system(parts)
    return document(
        described.digest,
        main,
        listed,
        epoch=epoch,
        tools=tools,
        compositions=[
            # What the app's Dockerfile copies in is in the layers, and in no list of packages.
            {
                "aggregate": "incomplete_third_party_only",
                "assemblies": [reference],
                "dependencies": [reference],
            },
            # Which package needs which is known to APT and pip, and not kept in the lock.
            {"aggregate": "unknown", "dependencies": sorted(each["bom-ref"] for each in listed)},
        ],
        findings=findings,
    )


def document(
    digest: str,
    main: Mapping[str, Any],
    listed: Sequence[Mapping[str, Any]],
    *,
    epoch: int,
    tools: Iterable[Tool],
    compositions: Sequence[Mapping[str, Any]],
    findings: Iterable[Finding] = (),
    depends: Sequence[Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """A whole document.

    Args:
        digest: of what it is about; its serial number follows from it.
        main: that thing, as a component.
        listed: its components.
        epoch: seconds since 1970 of its timestamp.
        tools: who had a part in it, besides us.
        compositions: what the lists leave out.
        findings: told as properties.
        depends: those of `listed` that `main` directly depends on; all of them when absent.
    """
    serial = uuid.uuid5(uuid.NAMESPACE_URL, f"urn:edge-buildkit:cyclonedx:{digest}")
    metadata: dict[str, Any] = {
        "timestamp": canonical.timestamp(epoch),
        "tools": {
            "components": [
                {"type": "application", "name": name, "version": version}
                for name, version in sorted(
                    {("edge-buildkit", __version__)}.union((t.name, t.version) for t in tools)
                )
            ]
        },
        "component": dict(main),
    }
    told = [
        {"name": f"{_OURS}finding:{each.kind}", "value": each.message} for each in sorted(findings)
    ]
    ordered = sorted(listed, key=lambda each: str(each["bom-ref"]))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": metadata | optional(properties=told),
        "components": [dict(each) for each in ordered],
        "dependencies": [
            {
                "ref": main["bom-ref"],
                "dependsOn": sorted(
                    each["bom-ref"] for each in (ordered if depends is None else depends)
                ),
            }
        ],
        "compositions": [dict(each) for each in compositions],
    }


def library(part: Component, reference: str, layers: Mapping[str, str]) -> dict[str, Any]:
    """One package as a component.

    Args:
        part: the package.
        reference: its ``bom-ref``.
        layers: ``diff_id`` of a layer → digest that the manifest names it by.
    """
    cpes = sorted(part.cpes, key=lambda cpe: (not _names_itself(cpe, part.name), cpe))
    found: dict[str, Any] = {
        "type": "application" if part.kind == "binary" else "library",
        "bom-ref": reference,
        "name": part.name,
        "version": part.version,
        "purl": part.purl,
        "properties": properties(
            {
                "architecture": part.architecture,
                "file": part.file,
                "kind": part.kind,
                "layer": layers.get(part.layer, part.layer),
                "origin": part.origin,
            }
        )
        + [{"name": f"{_OURS}cpe", "value": cpe} for cpe in cpes[1:]],
    }
    return found | optional(
        cpe=cpes[0] if cpes else "",
        hashes=sha256(part.sha256) if part.sha256 else [],
        licenses=licences.cyclonedx(part.licences),
        supplier=_DEBIAN if part.purl.startswith("pkg:deb/debian/") else {},
        evidence=(
            {"occurrences": [{"location": place} for place in part.locations]}
            if part.origin == "seen" and part.locations
            else {}
        ),
    )


def references(parts: Sequence[Component]) -> dict[Component, str]:
    """A name for each component that no other has: its package URL, where that is enough."""
    often = Counter(part.purl for part in parts)
    return {
        part: part.purl
        if often[part.purl] == 1
        else f"{part.purl}#{digests.hex_of(digests.of_bytes(repr(part).encode()))[:12]}"
        for part in parts
    }


def properties(values: Mapping[str, str]) -> list[dict[str, str]]:
    """Our own properties, sorted; those without a value are left out."""
    return [
        {"name": f"{_OURS}{name}", "value": value}
        for name, value in sorted(values.items())
        if value
    ]


def sha256(hexadecimal: str) -> list[dict[str, str]]:
    """The value of ``hashes``."""
    return [{"alg": "SHA-256", "content": hexadecimal}]


def optional(**values: Any) -> dict[str, Any]:
    """Those of `values` that say something: the schema has no place for empty ones."""
    return {name: value for name, value in values.items() if value}


def _operating_system(parts: Sequence[Component]) -> list[dict[str, Any]]:
    """The release, without which scanners do not look up Debian packages."""
    return [
        {"type": "operating-system", "bom-ref": f"os:{name}-{version}", "name": name}
        | {"version": version}
        for name, version in components.releases(parts)
    ]


def _names_itself(cpe: str, name: str) -> bool:
    """Whether a CPE's vendor and product are the package's name: the best guess of several."""
    words = cpe.split(":")
    return len(words) > 4 and words[3] == words[4] == name.lower()
