"""SBOMs of the made-up store, with no more in them than a verifier asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from buildkit import digests
from buildkit.evidence.sbom.component import debian_purl, wheel_purl
from buildkit.lock.types import DebianPin, FilePin, WheelPin

if TYPE_CHECKING:
    from collections.abc import Sequence

Pin = DebianPin | WheelPin | FilePin


def _package(pin: Pin) -> tuple[str, str, str]:
    """Name, version, package URL."""
    if isinstance(pin, FilePin):
        return pin.path, "", ""
    purl = debian_purl(pin) if isinstance(pin, DebianPin) else wheel_purl(pin)
    return pin.name, pin.version, purl


def cyclonedx(name: str, digest: str, pins: Sequence[Pin]) -> dict[str, Any]:
    components: list[dict[str, Any]] = []
    for pin in pins:
        package, version, purl = _package(pin)
        found = {"name": package, "version": version, "purl": purl}
        components.append(
            {
                "type": "library",
                **{key: value for key, value in found.items() if value},
                "hashes": [{"alg": "SHA-256", "content": pin.sha256}],
            }
        )
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "metadata": {
            "component": {
                "type": "container",
                "name": name,
                "hashes": [{"alg": "SHA-256", "content": digests.hex_of(digest)}],
            }
        },
        "components": components,
    }


def spdx(name: str, digest: str, pins: Sequence[Pin]) -> dict[str, Any]:
    packages: list[dict[str, Any]] = [
        {"name": name, "SPDXID": "SPDXRef-top", "checksums": _sums(digests.hex_of(digest))}
    ]
    for at, pin in enumerate(pins):
        package, version, purl = _package(pin)
        found: dict[str, Any] = {
            "name": package,
            "SPDXID": f"SPDXRef-{at}",
            "checksums": _sums(pin.sha256),
        }
        if purl:
            found["versionInfo"] = version
            found["externalRefs"] = [
                {
                    "referenceCategory": "PACKAGE-MANAGER",
                    "referenceType": "purl",
                    "referenceLocator": purl,
                }
            ]
        packages.append(found)
    return {
        "spdxVersion": "SPDX-2.3",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentDescribes": ["SPDXRef-top"],
        "packages": packages,
    }


def _sums(sha256: str) -> list[dict[str, str]]:
    return [{"algorithm": "SHA256", "checksumValue": sha256}]
