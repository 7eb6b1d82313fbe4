"""Which packages an SBOM names, by package URL. Pure.

Source: CycloneDX 1.6 (``components[].purl``), SPDX 2.3 (``packages[].externalRefs[]`` of type
``purl``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from buildkit.errors import EvidenceError
from buildkit.evidence import kinds
from buildkit.evidence.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from buildkit.evidence.kinds import Kind


def packages(document: Mapping[str, Any], kind: Kind) -> frozenset[str]:
    """The package URLs of a document.

    Raises:
        EvidenceError: it does not hold together.
    """
    found = _cyclonedx(document) if kind == kinds.CYCLONEDX else _spdx(document)
    # What the whole is called is no package in it, and only one of the formats has room for it.
    return frozenset(each for each in found if each and not each.startswith("pkg:oci/"))


def _cyclonedx(document: Mapping[str, Any]) -> Iterator[str]:
    for each in _objects(document.get("components", []), "components"):
        if "purl" in each:
            yield _text(each["purl"])


def _spdx(document: Mapping[str, Any]) -> Iterator[str]:
    for each in _objects(document.get("packages", []), "packages"):
        for reference in _objects(each.get("externalRefs", []), "externalRefs"):
            if reference.get("referenceType") == "purl":
                yield _text(reference.get("referenceLocator"))


def _objects(value: Any, where: str) -> Iterator[Mapping[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise EvidenceError(Reason.SBOM, f"`{where}` of an SBOM is not a list of objects")
    yield from value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise EvidenceError(Reason.SBOM, "a package URL of an SBOM is not a text")
    return value
