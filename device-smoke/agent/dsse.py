"""Sigstore bundles v0.3, DSSE envelopes and in-toto statements; pure.

Source: sigstore/protobuf-specs sigstore_bundle.proto in its JSON mapping; DSSE protocol.md v1.0.2;
in-toto Attestation Framework, spec/v1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agent import strict

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
PROVENANCE = "https://slsa.dev/provenance/v1"

_MATERIAL = {"publicKey", "certificate", "tlogEntries", "timestampVerificationData"}


@dataclass(frozen=True)
class Bundle:
    """A bundle and the statement in it; no signature has been checked yet.

    Attributes:
        hint: of the key that is said to have signed; empty when there is a certificate.
        signature: its bytes.
        signed: the bytes under the signature.
        predicate_type: what kind of thing is said.
        subjects: digests that it is said about.
    """

    hint: str
    signature: bytes
    signed: bytes
    predicate_type: str
    subjects: frozenset[str]


def pae(payload: bytes, kind: str = PAYLOAD) -> bytes:
    """Pre-authentication encoding: the bytes that are signed."""
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)


def parse(data: bytes) -> Bundle:
    """Read a bundle that nobody vouches for.

    Raises:
        ValueError: not a bundle v0.3 with one signature over one in-toto Statement v1.
    """
    document = strict.obj(
        strict.load(data), "bundle", {"mediaType", "verificationMaterial", "dsseEnvelope"}
    )
    if document.get("mediaType") != BUNDLE:
        message = f"bundle: not of type {BUNDLE}"
        raise ValueError(message)
    envelope = strict.obj(
        document.get("dsseEnvelope"), "dsseEnvelope", {"payload", "payloadType", "signatures"}
    )
    if envelope.get("payloadType") != PAYLOAD:
        message = f"payloadType: not {PAYLOAD}"
        raise ValueError(message)
    signatures = strict.array(envelope.get("signatures"), "signatures")
    if len(signatures) != 1:
        message = "signatures: a bundle holds exactly one"
        raise ValueError(message)
    signature = strict.obj(signatures[0], "signatures[0]", {"sig", "keyid"})
    payload = strict.decoded(envelope.get("payload"), "payload")
    predicate_type, subjects = _statement(payload)
    return Bundle(
        hint=_signer(document.get("verificationMaterial")),
        signature=strict.decoded(signature.get("sig"), "sig"),
        signed=pae(payload),
        predicate_type=predicate_type,
        subjects=subjects,
    )


def _signer(value: Any) -> str:
    material = strict.obj(value, "verificationMaterial", _MATERIAL)
    key, certificate = material.get("publicKey"), material.get("certificate")
    if (key is None) == (certificate is None):
        message = "verificationMaterial: names either a public key or a certificate"
        raise ValueError(message)
    if key is None:
        return ""
    hint = strict.text(strict.obj(key, "publicKey", {"hint"}).get("hint"), "hint", 256)
    if not hint:
        message = "hint: empty"
        raise ValueError(message)
    return hint


def _statement(payload: bytes) -> tuple[str, frozenset[str]]:
    known = {"_type", "subject", "predicateType", "predicate"}
    document = strict.obj(strict.load(payload), "statement", known)
    if document.get("_type") != STATEMENT:
        message = f"statement: not of type {STATEMENT}"
        raise ValueError(message)
    strict.obj(document.get("predicate"), "predicate")
    kind = strict.text(document.get("predicateType"), "predicateType")
    subjects = []
    for place, each in enumerate(strict.array(document.get("subject"), "subject")):
        where = f"subject[{place}]"
        digests = strict.obj(strict.obj(each, where).get("digest"), f"{where}.digest")
        subjects.append("sha256:" + strict.word(digests.get("sha256"), where, "[0-9a-f]{64}"))
    if not subjects or len(set(subjects)) != len(subjects):
        message = "subject: none, or one digest twice"
        raise ValueError(message)
    return kind, frozenset(subjects)
