"""Descriptors, manifests and indexes of the image specification, out of parsed JSON. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from buildkit import canonical, digests, media
from buildkit.errors import StoreError
from buildkit.records import Descriptor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

INDEX_TYPES = frozenset({media.INDEX, "application/vnd.docker.distribution.manifest.list.v2+json"})
IMAGE_TYPES = frozenset({media.MANIFEST, "application/vnd.docker.distribution.manifest.v2+json"})
# Withdrawn from the specification, still written by older tools; its blobs must be kept.
ARTIFACT_TYPE = "application/vnd.oci.artifact.manifest.v1+json"
DOCUMENT_TYPES = INDEX_TYPES | IMAGE_TYPES | {ARTIFACT_TYPE}

EMPTY_BLOB = b"{}"
EMPTY = Descriptor(media_type=media.EMPTY, digest=digests.of_bytes(EMPTY_BLOB), size=2)

Role = Literal["index", "manifest", "config", "layer", "blob"]

_DIGEST = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Links:
    """What one manifest or index points to.

    Attributes:
        children: what it consists of, in order, each with its role.
        subject: what it says something about.
        artifact_type: its own, or the media type of its configuration (distribution-spec).
        annotations: its own.
    """

    children: tuple[tuple[Role, Descriptor], ...]
    subject: Descriptor | None
    artifact_type: str | None
    annotations: Mapping[str, str]


def role_of(media_type: str) -> Role:
    """What an entry or a child of an index is, by its media type."""
    if media_type in INDEX_TYPES:
        return "index"
    return "manifest" if media_type in DOCUMENT_TYPES else "blob"


def descriptor(value: Any, where: str) -> Descriptor:
    """A descriptor out of parsed JSON; what we do not know in it is passed over.

    Raises:
        StoreError: a property is missing or of the wrong kind; the message begins with `where`.
    """
    if not isinstance(value, dict):
        _refuse(where, "not an object")
    media_type, digest, size = value.get("mediaType"), value.get("digest"), value.get("size")
    if not isinstance(media_type, str):
        _refuse(f"{where}.mediaType", "not a text")
    if not isinstance(digest, str) or _DIGEST.fullmatch(digest) is None:
        _refuse(f"{where}.digest", "not a digest")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        _refuse(f"{where}.size", "not a number of bytes")
    return Descriptor(
        media_type=media_type,
        digest=digest,
        size=size,
        annotations=annotations_of(value, where),
        artifact_type=_artifact_type(value, where),
        platform=_platform(value.get("platform")),
    )


def annotations_of(value: Mapping[str, Any], where: str) -> dict[str, str]:
    """The annotations of a descriptor, a manifest or an index.

    Raises:
        StoreError: they are not texts by name.
    """
    found = value.get("annotations")
    if found is None:  # absent, or Go's way to write an empty map
        return {}
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        _refuse(f"{where}.annotations", "not texts by name")
    return found


def links(data: bytes, media_type: str, digest: str) -> Links:
    """Read a manifest or an index, strictly enough that no other reader sees something else in it.

    Raises:
        StoreError: it is malformed, or claims to be of another kind (CVE-2021-41190).
    """
    try:
        document = canonical.load(data)
    except ValueError as error:
        _refuse(digest, f"not strict JSON: {error}", error)
    return links_of(document, media_type, digest)


def links_of(document: Any, media_type: str, digest: str) -> Links:
    """`links` of a document that was parsed strictly already.

    Raises:
        StoreError: it is malformed, or claims to be of another kind.
    """
    if not isinstance(document, dict):
        _refuse(digest, "not an object")
    claimed = document.get("mediaType", media_type)
    if claimed != media_type:
        _refuse(digest, f"it is named as {media_type} but calls itself {claimed}")
    is_index = media_type in INDEX_TYPES
    if any(key in document for key in (("config", "layers") if is_index else ("manifests",))):
        _refuse(digest, "manifest and index at once")
    children: list[tuple[Role, Descriptor]] = []
    if is_index:
        inner = _listed(document, "manifests", digest)
        children += [(role_of(each.media_type), each) for each in inner]
    else:
        if "config" in document:
            children.append(("config", descriptor(document["config"], f"{digest}: config")))
        for key in ("layers", "blobs"):
            children += [("layer", each) for each in _listed(document, key, digest)]
    subject = document.get("subject")
    artifact_type = _artifact_type(document, digest)
    if artifact_type is None and not is_index and children and children[0][0] == "config":
        artifact_type = children[0][1].media_type
    return Links(
        children=tuple(children),
        subject=None if subject is None else descriptor(subject, f"{digest}: subject"),
        artifact_type=artifact_type,
        annotations=annotations_of(document, digest),
    )


def artifact(
    *,
    artifact_type: str,
    layers: Sequence[Descriptor],
    subject: Descriptor,
    annotations: Mapping[str, str],
) -> bytes:
    """The manifest of an artifact without configuration (image-spec v1.1, manifest.md).

    Without layers it has the empty one, as the guidelines there ask for.
    """
    document = _artifact(artifact_type, layers, annotations)
    document["subject"] = {
        "mediaType": subject.media_type,
        "digest": subject.digest,
        "size": subject.size,
    }
    return canonical.dump(document)


def plain_artifact(
    *, artifact_type: str, layers: Sequence[Descriptor], annotations: Mapping[str, str]
) -> bytes:
    """The manifest of an artifact that hangs on nothing; else as `artifact`."""
    return canonical.dump(_artifact(artifact_type, layers, annotations))


def _artifact(
    artifact_type: str, layers: Sequence[Descriptor], annotations: Mapping[str, str]
) -> dict[str, Any]:
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": media.MANIFEST,
        "artifactType": artifact_type,
        "config": EMPTY.to_json(),
        "layers": [each.to_json() for each in layers or (EMPTY,)],
    }
    if annotations:
        document["annotations"] = dict(annotations)
    return document


def _listed(document: Mapping[str, Any], key: str, digest: str) -> list[Descriptor]:
    found = document.get(key)
    if found is None:
        return []
    if not isinstance(found, list):
        _refuse(f"{digest}: {key}", "not a list")
    return [descriptor(each, f"{digest}: {key}[{at}]") for at, each in enumerate(found)]


def _artifact_type(value: Mapping[str, Any], where: str) -> str | None:
    found = value.get("artifactType")
    if found is not None and not isinstance(found, str):
        _refuse(f"{where}.artifactType", "not a text")
    return found or None


def _platform(value: Any) -> str | None:
    """``os/architecture``; the variant is left out, as in `Descriptor`."""
    if not isinstance(value, dict):
        return None
    system, processor = value.get("os"), value.get("architecture")
    if not (isinstance(system, str) and isinstance(processor, str)):
        return None
    return f"{system}/{processor}" if "/" not in system + processor else None


def _refuse(where: str, what: str, cause: Exception | None = None) -> NoReturn:
    msg = f"{where}: {what}"
    raise StoreError(msg, "`python -m buildkit show --verify` checks the whole store") from cause
