"""What a verifier asks of an SBOM that somebody signed. Pure.

Reads CycloneDX 1.6 and SPDX 2.3 JSON, whoever wrote it; what is not as the formats say is an
error, and never a traceback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from buildkit import digests
from buildkit.errors import EvidenceError
from buildkit.evidence import kinds
from buildkit.evidence.reasons import Reason
from buildkit.evidence.sbom.component import debian_purl, wheel_purl, without_source
from buildkit.lock.types import DebianPin, FilePin

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from buildkit.evidence.kinds import Kind
    from buildkit.lock.types import WheelPin

# name, version, package URL, SHA-256 in hex digits
_Entry = tuple[str, str, str, str]
_MAIN = "what it describes"
_ALSO = "documentDescribes"


def about(document: Mapping[str, Any], kind: Kind) -> str:
    """The digest (``sha256:<hex>``) of the one thing that a document describes.

    Args:
        document: the predicate.
        kind: `kinds.CYCLONEDX` or `kinds.SPDX`.

    Raises:
        EvidenceError: it describes nothing, or several things, or without a SHA-256.
    """
    document = _object(document, "predicate")
    if kind == kinds.CYCLONEDX:
        _be_version(document, "specVersion", "1.6")
        metadata = _object(document.get("metadata"), "metadata")
        sums = _sums(_object(metadata.get("component"), "metadata.component"), "hashes", "alg")
    else:
        _be_version(document, "spdxVersion", "SPDX-2.3")
        sums = _sums(_described(document), "checksums", "algorithm")
    found = f"sha256:{sums}"
    if not digests.is_digest(found):
        raise _refused(_MAIN, "has no SHA-256")
    return found


def missing(
    document: Mapping[str, Any], kind: Kind, pins: Iterable[DebianPin | WheelPin | FilePin]
) -> tuple[str, ...]:
    """The entries of a lock that a document does not name with the right version and hash.

    Args:
        document: the predicate.
        kind: `kinds.CYCLONEDX` or `kinds.SPDX`.
        pins: all that must be named.

    Returns:
        ``NAME VERSION``, or a file's path, of each that is not; sorted, empty when all are.

    Raises:
        EvidenceError: the document does not hold together.
    """
    document = _object(document, "predicate")
    named = frozenset(_cyclonedx(document) if kind == kinds.CYCLONEDX else _spdx(document))
    return tuple(sorted({_said(pin) for pin in pins if _wanted(pin) not in named}))


def _said(pin: DebianPin | WheelPin | FilePin) -> str:
    return pin.path if isinstance(pin, FilePin) else f"{pin.name} {pin.version}"


def _wanted(pin: DebianPin | WheelPin | FilePin) -> _Entry:
    if isinstance(pin, FilePin):
        return pin.path, "", "", pin.sha256
    purl = debian_purl(pin) if isinstance(pin, DebianPin) else wheel_purl(pin)
    return pin.name, pin.version, purl, pin.sha256


def _cyclonedx(document: Mapping[str, Any]) -> Iterator[_Entry]:
    for each in _objects(document, "components"):
        name, version, purl = (_text(each, key) for key in ("name", "version", "purl"))
        yield name, version, without_source(purl), _sums(each, "hashes", "alg")


def _spdx(document: Mapping[str, Any]) -> Iterator[_Entry]:
    for each in _objects(document, "packages"):
        purls = [
            _text(reference, "referenceLocator")
            for reference in _objects(each, "externalRefs")
            if reference.get("referenceType") == "purl"
        ]
        if len(purls) > 1:
            raise _refused(_named(each), f"has {len(purls)} package URLs")
        name, version = _text(each, "name"), _text(each, "versionInfo")
        yield name, version, without_source("".join(purls)), _sums(each, "checksums", "algorithm")


def _described(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The one package that an SPDX document describes.

    Its schema lets a document say so in two places, and two readers must not differ.
    """
    itself = _text(document, "SPDXID")
    names = {
        _text(each, "relatedSpdxElement")
        for each in _objects(document, "relationships")
        if each.get("relationshipType") == "DESCRIBES" and each.get("spdxElementId") == itself
    }
    also = document.get(_ALSO, [])
    if not isinstance(also, list) or not all(isinstance(name, str) for name in also):
        raise _not_a(_ALSO, "list of texts")
    found = [
        each
        for each in _objects(document, "packages")
        if _text(each, "SPDXID") in names.union(also)
    ]
    if len(found) != 1 or len(names.union(also)) != 1:
        raise _refused(_MAIN, f"is {len(names.union(also))} things, not one package")
    return found[0]


def _sums(value: Mapping[str, Any], key: str, algorithm: str) -> str:
    """The SHA-256 among hashes, in hex digits; empty when there is none."""
    names = ("SHA-256", "SHA256")
    content = "content" if key == "hashes" else "checksumValue"
    listed = list(_objects(value, key))
    found = [_text(each, content) for each in listed if _text(each, algorithm) in names]
    if len(found) > 1:
        raise _refused(_named(value), f"has {len(found)} SHA-256 hashes")
    return "".join(found)


def _be_version(document: Mapping[str, Any], key: str, wanted: str) -> None:
    if document.get(key) != wanted:
        raise _refused(key, f"is {document.get(key)!r:.80}, not {wanted}")


def _object(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _not_a(where, "object")
    return value


def _objects(value: Mapping[str, Any], key: str) -> Iterator[Mapping[str, Any]]:
    listed = value.get(key, [])
    if not isinstance(listed, list):
        raise _not_a(key, "list")
    for each in listed:
        yield _object(each, f"{key}[]")


def _text(value: Mapping[str, Any], key: str) -> str:
    found = value.get(key, "")
    if not isinstance(found, str):
        raise _not_a(key, "text")
    return found


def _named(value: Mapping[str, Any]) -> str:
    return f"{_text(value, 'name')!r:.80}"


def _not_a(key: str, kind: str) -> EvidenceError:
    return _refused(f"`{key}`", f"is not the {kind} that it must be")


def _refused(what: str, why: str) -> EvidenceError:
    return EvidenceError(Reason.PREDICATE, f"SBOM: {what} {why}")
