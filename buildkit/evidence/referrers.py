"""Bundles as OCI referrers: how they are attached to what they are about, and found again.

Source: OCI image-spec 1.1 (``subject``, ``artifactType``) and cosign's bundle specification, whose
annotations are used so that its and other tools find what we attach.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from buildkit.errors import DigestError, EvidenceError, StoreError
from buildkit.evidence import bundle
from buildkit.evidence.reasons import Reason
from buildkit.store import Attachment

if TYPE_CHECKING:
    from collections.abc import Iterable

    from buildkit.records import Descriptor
    from buildkit.store import Store

CONTENT = "dev.sigstore.bundle.content"
PREDICATE_TYPE = "dev.sigstore.bundle.predicateType"
ENVELOPE = "dsse-envelope"
_LARGEST = 32 * 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Signed:
    """A bundle about to be attached.

    Attributes:
        subject: manifest or index that is in the store.
        predicate_type: of the statement inside.
        bundle: the bundle's bytes.
    """

    subject: Descriptor
    predicate_type: str
    bundle: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A bundle that hangs on something; nothing about it has been checked.

    Attributes:
        manifest: the referrer's own manifest.
        digest: of the bundle.
        announced: the predicate type that the annotation promises; empty when there is none.
        bundle: the bundle's bytes.
    """

    manifest: Descriptor
    digest: str
    announced: str
    bundle: bytes


def attach(store: Store, signed: Iterable[Signed]) -> tuple[Descriptor, ...]:
    """Keep bundles in the store, each on what it is about; a bundle that is there stays.

    Raises:
        StoreError: a subject is not in the store, or it cannot be written.
    """
    return store.attach_all(
        [
            Attachment(
                subject=each.subject,
                artifact_type=bundle.MEDIA_TYPE,
                layers=((each.bundle, bundle.MEDIA_TYPE),),
                annotations={CONTENT: ENVELOPE, PREDICATE_TYPE: each.predicate_type},
            )
            for each in signed
        ]
    )


def find(store: Store, digest: str) -> tuple[Found | EvidenceError, ...]:
    """Every bundle that hangs on `digest`, and an error in the place of each that cannot be read.

    Raises:
        DigestError, StoreError: the store's index, or a manifest in it, cannot be read.
    """
    return tuple(
        _read(store, each) for each in store.referrers(digest, artifact_type=bundle.MEDIA_TYPE)
    )


def _read(store: Store, manifest: Descriptor) -> Found | EvidenceError:
    what = f"referrer {manifest.digest}"
    try:
        children = [each for role, each in store.links(manifest).children if role == "layer"]
        if len(children) != 1:
            return EvidenceError(Reason.MANIFEST, f"{what}: {len(children)} layers, not one bundle")
        (layer,) = children
        if layer.size > _LARGEST:
            return EvidenceError(Reason.TOO_LARGE, f"{what}: a bundle of {layer.size} bytes")
        data = store.read(layer.digest)
    except DigestError as error:
        return EvidenceError(Reason.BLOB_DIGEST, f"{what}: {error.message}")
    except StoreError as error:
        return EvidenceError(Reason.BLOB_MISSING, f"{what}: {error.message}")
    return Found(
        manifest=manifest,
        digest=layer.digest,
        announced=manifest.annotations.get(PREDICATE_TYPE, ""),
        bundle=data,
    )
