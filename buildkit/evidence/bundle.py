"""Sigstore bundles v0.3 that hold one DSSE envelope.

Source: sigstore/protobuf-specs, sigstore_bundle.proto, in its JSON mapping. What is signed with a
key of one's own carries a hint (base64 of the SHA-256 of the key's SubjectPublicKeyInfo, as cosign
writes it); what is signed without one carries a certificate, whose chain, timestamps and log entry
the library ``sigstore`` checks from `Bundle.raw`.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from buildkit import canonical
from buildkit.errors import EvidenceError
from buildkit.evidence import strict
from buildkit.evidence.dsse import Envelope
from buildkit.evidence.reasons import Reason
from buildkit.evidence.statement import PAYLOAD_TYPE

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"

# Those of the specification; which of them are there depends on who wrote the bundle.
_BUNDLE_KEYS = {"mediaType", "verificationMaterial", "dsseEnvelope"}
_MATERIAL_KEYS = {"publicKey", "certificate", "tlogEntries", "timestampVerificationData"}
_ENVELOPE_KEYS = {"payload", "payloadType", "signatures"}
_SIGNATURE_KEYS = {"sig", "keyid"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Bundle:
    """A bundle that holds together; nothing in it has been checked against a key yet.

    Attributes:
        envelope: what was signed, and the signature.
        key_hint: base64 of SHA-256 of the public key; empty when there is a certificate.
        certificate: DER of the signing certificate; empty when there is a hint.
        raw: the bundle's own bytes.
    """

    envelope: Envelope
    key_hint: str
    certificate: bytes
    raw: bytes


def with_key(envelope: Envelope, key_hint: str) -> bytes:
    """The canonical bytes of a bundle that a key of one's own signed."""
    return canonical.dump(
        {
            "mediaType": MEDIA_TYPE,
            "verificationMaterial": {"publicKey": {"hint": key_hint}},
            "dsseEnvelope": {
                "payload": base64.b64encode(envelope.payload).decode(),
                "payloadType": envelope.payload_type,
                "signatures": [{"sig": base64.b64encode(envelope.signature).decode()}],
            },
        }
    )


def parse(data: bytes, what: str) -> Bundle:
    """Read a bundle that nobody vouches for.

    Args:
        data: its bytes.
        what: for the message: ``bundle sha256:…``.

    Raises:
        EvidenceError: not a bundle v0.3, not one signature over one in-toto statement, both a key
            and a certificate, or neither.
    """
    document = _object(strict.load(data, what), what, _BUNDLE_KEYS)
    if document.get("mediaType") != MEDIA_TYPE:
        raise _refused(what, f"media type {document.get('mediaType')!r}, not {MEDIA_TYPE}")
    envelope = _object(document.get("dsseEnvelope"), f"{what}: dsseEnvelope", _ENVELOPE_KEYS)
    payload_type = envelope.get("payloadType")
    if payload_type != PAYLOAD_TYPE:
        msg = f"{what}: payload of type {payload_type!r}, not {PAYLOAD_TYPE}"
        raise EvidenceError(Reason.PAYLOAD_TYPE, msg)
    signatures = envelope.get("signatures")
    if not isinstance(signatures, list) or len(signatures) != 1:
        raise _refused(what, "a bundle holds exactly one signature")
    signature = _object(signatures[0], f"{what}: signatures[0]", _SIGNATURE_KEYS)
    material = _object(
        document.get("verificationMaterial"), f"{what}: verificationMaterial", _MATERIAL_KEYS
    )
    hint, certificate = _signer(material, what)
    return Bundle(
        envelope=Envelope(
            payload=_bytes(envelope.get("payload"), f"{what}: payload"),
            payload_type=PAYLOAD_TYPE,
            signature=_bytes(signature.get("sig"), f"{what}: sig"),
        ),
        key_hint=hint,
        certificate=certificate,
        raw=data,
    )


def _signer(material: dict[str, Any], what: str) -> tuple[str, bytes]:
    key, certificate = material.get("publicKey"), material.get("certificate")
    if (key is None) == (certificate is None):
        raise _refused(what, "a bundle names either a public key or a certificate")
    if key is not None:
        hint = _object(key, f"{what}: publicKey", {"hint"}).get("hint")
        if not isinstance(hint, str) or not hint:
            raise _refused(what, "the public key has no hint")
        return hint, b""
    found = _object(certificate, f"{what}: certificate", {"rawBytes"})
    return "", _bytes(found.get("rawBytes"), f"{what}: certificate")


def _object(value: Any, where: str, keys: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _refused(where, "not an object")
    if unknown := sorted(value.keys() - keys):
        raise _refused(where, f"unknown key {unknown[0]!r}")
    return value


def _bytes(value: Any, where: str) -> bytes:
    try:
        found = binascii.a2b_base64(value, strict_mode=True) if isinstance(value, str) else b""
    except (binascii.Error, ValueError):
        found = b""
    if not found:
        raise _refused(where, "not base64, or empty")
    return found


def _refused(where: str, why: str) -> EvidenceError:
    return EvidenceError(Reason.BUNDLE, f"{where}: {why}")
