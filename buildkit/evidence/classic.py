"""Attestations in the form that cosign had before bundles, beside the referrers.

``cosign tree``, and ``cosign verify-attestation`` without ``--new-bundle-format``, look for a tag
``sha256-<hex>.att`` whose layers are DSSE envelopes. It is derived from the bundles: the same
payloads and signatures, nothing is signed again.

Source: sigstore/cosign, specs/SIGNATURE_SPEC.md (tag-based discovery) and what cosign 2.5 writes.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from buildkit import canonical, digests, media
from buildkit.errors import EvidenceError, InputError
from buildkit.evidence import bundle, referrers, statement
from buildkit.evidence.reasons import Reason

if TYPE_CHECKING:
    from buildkit.records import Descriptor
    from buildkit.store import Store

ENVELOPE = "application/vnd.dsse.envelope.v1+json"
_SIGNATURE = "dev.cosignproject.cosign/signature"
_PREDICATE_TYPE = "predicateType"


def tag(digest: str) -> str:
    """The tag that cosign asks a registry for: ``sha256-<hex>.att``."""
    return f"sha256-{digests.hex_of(digest)}.att"


def classic(store: Store, subject: Descriptor) -> Descriptor:
    """Write the older form of all that hangs on `subject`, and name it by its `tag`.

    It has no ``subject`` of its own, so a push must copy it by that name.

    Args:
        store: that has `subject` and its referrers.
        subject: manifest or index.

    Returns:
        The manifest, an entry of the store now.

    Raises:
        EvidenceError: there are no bundles, or one cannot be read.
        InputError: a bundle was signed without a key; its older form would need the log's answer.
        StoreError: the store cannot be read or written.
    """
    found = [_readable(each) for each in referrers.find(store, subject.digest)]
    if not found:
        msg = f"nothing that is signed hangs on {subject.digest}"
        raise EvidenceError(Reason.EVIDENCE_MISSING, msg, "python -m buildkit sign")
    with store.lease():
        # In the order of kind and digest, so that the same evidence gives the same manifest.
        layers = [
            store.put_bytes(
                canonical.dump(envelope),
                ENVELOPE,
                annotations={_SIGNATURE: "", _PREDICATE_TYPE: kind},
            )
            for kind, envelope in sorted(map(_envelope, found), key=repr)
        ]
        config = store.put_json(
            {
                "architecture": "",
                "os": "",
                "config": {},
                "rootfs": {"type": "layers", "diff_ids": [each.digest for each in layers]},
            },
            media.CONFIG,
        )
        manifest = store.put_json(
            {
                "schemaVersion": 2,
                "mediaType": media.MANIFEST,
                "config": config.to_json(),
                "layers": [each.to_json() for each in layers],
            },
            media.MANIFEST,
        )
        return store.tag(manifest, tag(subject.digest))


def _readable(found: referrers.Found | EvidenceError) -> referrers.Found:
    if isinstance(found, EvidenceError):
        raise found
    return found


def _envelope(found: referrers.Found) -> tuple[str, dict[str, Any]]:
    """Predicate type and envelope of a bundle."""
    what = f"bundle {found.digest}"
    read = bundle.parse(found.bundle, what)
    if read.certificate:
        msg = f"{what} was signed without a key: it has no older form"
        raise InputError(msg, "check it with `cosign verify-attestation --new-bundle-format`")
    said = statement.parse(read.envelope.payload, what, older=True)
    return said.predicate_type, {
        "payloadType": read.envelope.payload_type,
        "payload": base64.b64encode(read.envelope.payload).decode(),
        "signatures": [{"keyid": "", "sig": base64.b64encode(read.envelope.signature).decode()}],
    }
