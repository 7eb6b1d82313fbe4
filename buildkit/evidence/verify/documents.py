"""Manifests, indexes and their configurations, out of bytes that nobody vouches for. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from buildkit import digests, media
from buildkit.errors import EvidenceError, StoreError
from buildkit.evidence import strict
from buildkit.evidence.reasons import Reason
from buildkit.store import documents

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from buildkit.evidence.verify.source import Source
    from buildkit.records import Descriptor
    from buildkit.store.documents import Links

# The distribution specification asks registries for manifests of 4 MiB at least.
LARGEST = 4 << 20
_DESCRIPTOR = {"mediaType", "digest", "size", "annotations", "artifactType", "platform"}
_MANIFEST = {"schemaVersion", "mediaType", "artifactType", "config", "layers", "subject"}
_INDEX = {"schemaVersion", "mediaType", "artifactType", "manifests", "subject"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """A manifest or an index that holds together.

    Attributes:
        descriptor: as it was named.
        document: as parsed.
        links: what it names.
    """

    descriptor: Descriptor
    document: Mapping[str, Any]
    links: Links

    @property
    def digest(self) -> str:
        """Its digest."""
        return self.descriptor.digest

    @property
    def is_index(self) -> bool:
        """Whether it lists manifests."""
        return self.descriptor.media_type == media.INDEX

    def layers(self) -> tuple[Descriptor, ...]:
        """Its layers, lowest first."""
        return tuple(each for role, each in self.links.children if role == "layer")

    def config(self) -> Descriptor:
        """Its configuration.

        Raises:
            EvidenceError: it has none.
        """
        for role, each in self.links.children:
            if role == "config":
                return each
        raise refused(self.digest, "no configuration")


def read(source: Source, descriptor: Descriptor) -> Manifest:
    """Read a manifest or an index of the media types that a build writes.

    Raises:
        EvidenceError: a blob that is missing or not what its digest and size say, not strict JSON,
            or a document that two readers may read differently.
        StoreError: it cannot be decided.
    """
    data = sized(source, descriptor, LARGEST)
    what = f"manifest {descriptor.digest}"
    document = strict.load(data, what)
    if descriptor.media_type not in (media.INDEX, media.MANIFEST):
        raise refused(descriptor.digest, f"media type {descriptor.media_type!r}")
    if not isinstance(document, dict):
        raise refused(descriptor.digest, "not an object")
    if document.get("schemaVersion") != 2 or document.get("mediaType") != descriptor.media_type:
        raise refused(descriptor.digest, "schema version or media type are not its own")
    known = _INDEX if descriptor.media_type == media.INDEX else _MANIFEST
    if unknown := sorted(document.keys() - known - {"annotations"}):
        raise refused(descriptor.digest, f"unknown key {unknown[0]!r}")
    for where, each in _descriptors(document):
        _check_descriptor(each, f"manifest {descriptor.digest}: {where}")
    try:
        links = documents.links_of(document, descriptor.media_type, descriptor.digest)
    except StoreError as error:
        raise EvidenceError(Reason.MANIFEST, error.message) from error
    return Manifest(descriptor=descriptor, document=document, links=links)


def sized(source: Source, descriptor: Descriptor, limit: int) -> bytes:
    """The bytes of a small blob, which must have the length that its descriptor says.

    Raises:
        EvidenceError, StoreError: as `read`.
    """
    data = source.read(descriptor.digest, limit)
    if len(data) != descriptor.size:
        msg = f"blob {descriptor.digest}: {len(data)} bytes, but named with {descriptor.size}"
        raise EvidenceError(Reason.BLOB_DIGEST, msg)
    return data


def read_json(source: Source, descriptor: Descriptor, what: str) -> dict[str, Any]:
    """A small blob that is a JSON object.

    Raises:
        EvidenceError, StoreError: as `read`.
    """
    document = strict.load(sized(source, descriptor, LARGEST), what)
    if not isinstance(document, dict):
        raise refused(descriptor.digest, "not an object")
    return document


def _descriptors(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key in ("config", "subject"):
        if document.get(key) is not None:
            yield key, document[key]
    for key in ("layers", "manifests"):
        listed = document.get(key)
        if isinstance(listed, list):
            yield from ((f"{key}[{at}]", each) for at, each in enumerate(listed))


def _check_descriptor(value: Any, where: str) -> None:
    """Refuse what leads elsewhere: other hash functions, URLs, content that is carried along."""
    if not isinstance(value, dict):
        raise EvidenceError(Reason.MANIFEST, f"{where}: not an object")
    digest = value.get("digest")
    if not digests.is_digest(digest):
        is_path = isinstance(digest, str) and ("/" in digest or "\\" in digest)
        reason = Reason.NAME if is_path else Reason.MANIFEST
        raise EvidenceError(reason, f"{where}: {digest!r} is not a SHA-256 digest")
    if "urls" in value:
        raise EvidenceError(Reason.NAME, f"{where}: its bytes are to be had from a URL")
    if unknown := sorted(value.keys() - _DESCRIPTOR):
        raise EvidenceError(Reason.MANIFEST, f"{where}: unknown key {unknown[0]!r}")
    notes = value.get("annotations")
    for name in (media.TITLE, media.FILE_PATH):
        said = notes.get(name) if isinstance(notes, dict) else None
        if _leads_elsewhere(said):
            raise EvidenceError(Reason.NAME, f"{where}: file name {said!r}")


def _leads_elsewhere(name: object) -> bool:
    if not isinstance(name, str):
        return False
    parts = name.replace("\\", "/").split("/")
    return ".." in parts or parts[0] == "" or not name.isprintable()


def refused(digest: str, why: str) -> EvidenceError:
    """An error about a manifest."""
    return EvidenceError(Reason.MANIFEST, f"manifest {digest}: {why}")
