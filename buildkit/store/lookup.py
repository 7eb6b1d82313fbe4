"""From what a user types to one descriptor."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from buildkit import canonical, digests, media
from buildkit.errors import DigestError, StoreError
from buildkit.records import Descriptor
from buildkit.store import entries
from buildkit.store.blobs import DOCUMENT_LIMIT
from buildkit.store.documents import DOCUMENT_TYPES, descriptor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from buildkit.store.blobs import Blobs
    from buildkit.store.entries import Document

_PREFIX = re.compile(r"(?:sha256:)?([0-9a-f]{7,64})")
_SHOWN = 8


def resolve(document: Document, blobs: Blobs, ref: str) -> Descriptor:
    """The entry, or else the manifest below an entry, that `ref` means.

    Args:
        document: the index.
        blobs: of the same store.
        ref: a name (``digits:1.0.0``), a digest, or at least 7 of its first hex digits.

    Raises:
        StoreError: none, or more than one; the message lists what could be meant.
    """
    by_name = entries.named(document, ref)
    if len({entry["digest"] for entry in by_name}) > 1:
        raise _ambiguous(ref, (entry["digest"] for entry in by_name))
    if by_name:
        return descriptor(by_name[-1], "index.json")
    prefix = _PREFIX.fullmatch(ref)
    if prefix is None:
        raise _unknown(document, ref)
    start = "sha256:" + prefix[1]
    by_digest = {
        entry["digest"]: entry
        for entry in document["manifests"]
        if entry["digest"].startswith(start)
    }
    if len(by_digest) > 1:
        raise _ambiguous(ref, by_digest)
    if by_digest:
        return descriptor(next(iter(by_digest.values())), "index.json")
    # A whole digest can be one blob alone; the folder may hold thousands.
    named = (digest for _, digest in blobs.names() if digest is not None)
    inner = [
        found
        for digest in ([start] if digests.is_digest(start) else named)
        if digest.startswith(start)
        for found in [_manifest(blobs, digest)]
        if found is not None
    ]
    if len(inner) > 1:
        raise _ambiguous(ref, (each.digest for each in inner))
    if not inner:
        raise _unknown(document, ref)
    return inner[0]


def _manifest(blobs: Blobs, digest: str) -> Descriptor | None:
    """A blob as a manifest or an index, if it looks like one."""
    try:
        data = blobs.read(digest, DOCUMENT_LIMIT)
        document = canonical.load(data)
    except (ValueError, StoreError, DigestError):
        return None
    if not isinstance(document, dict) or document.get("schemaVersion") != 2:
        return None
    default = media.INDEX if "manifests" in document else media.MANIFEST
    media_type = document.get("mediaType", default)
    if media_type not in DOCUMENT_TYPES:
        return None
    return Descriptor(media_type=media_type, digest=digest, size=len(data))


def _ambiguous(ref: str, candidates: Iterable[str]) -> StoreError:
    found = sorted(set(candidates))
    msg = f"{ref!r} means more than one thing in the store: {', '.join(found[:_SHOWN])}"
    return StoreError(msg, "give more digits of the digest")


def _unknown(document: Document, ref: str) -> StoreError:
    known = entries.names(document)
    msg = f"{ref!r} is not in the store"
    if digests.is_digest(ref):
        return StoreError(msg, "`python -m buildkit show` lists what is")
    from difflib import get_close_matches  # noqa: PLC0415  (for this message only)

    near = get_close_matches(ref, known, n=_SHOWN, cutoff=0.4) or known[:_SHOWN]
    if near:
        msg += f"; there is {', '.join(near)}"
    return StoreError(msg, "`python -m buildkit show` lists what is there")
