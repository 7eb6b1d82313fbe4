"""Public keys: who signed something.

Source: RFC 5280 (SubjectPublicKeyInfo), RFC 7468 (its PEM form), FIPS 186-5 (ECDSA with P-256 and
SHA-256), RFC 8032 (Ed25519, over the message itself).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from buildkit.errors import EvidenceError, InputError
from buildkit.evidence.reasons import Reason

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

State = Literal["active", "old", "retired", "imported", "device"]

ECDSA_P256 = "ecdsa-p256"
ED25519 = "ed25519"
ALGORITHMS = (ECDSA_P256, ED25519)
# What cosign makes, and what every key service can do.
DEFAULT_ALGORITHM = ECDSA_P256

_LARGEST = 16 * 1024
_BEGIN, _END = b"-----BEGIN PUBLIC KEY-----", b"-----END PUBLIC KEY-----"
_ID_LENGTH = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class PublicKey:
    """A public key with its place in a ring.

    Attributes:
        id: the first 16 hex digits of SHA-256 over the DER SubjectPublicKeyInfo.
        hint: base64 of that whole hash, as bundles carry it.
        algorithm: one of `ALGORITHMS`.
        name: for people.
        state: ``active`` signs; ``old`` has been replaced, and its signatures still count;
            ``retired``: they no longer do; ``imported`` is somebody else's; ``device`` is a
            board's, which vouches for test results and nothing else.
        pem: canonical PEM.
        created: when it was made or imported, seconds since 1970; 0 outside a ring.
        retired: when it was retired; 0 when it was not.
    """

    id: str
    hint: str
    algorithm: str
    name: str
    state: State
    pem: bytes
    created: int = 0
    retired: int = 0

    def verify(self, signature: bytes, data: bytes) -> None:
        """Check a signature; whether the key is one to trust is for the caller to say.

        Args:
            signature: DER (RFC 3279) with ECDSA, 64 bytes with Ed25519.
            data: what is said to be signed; for a DSSE envelope its `Envelope.signed`.

        Raises:
            EvidenceError: it does not fit.
        """
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - heavy
        from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - heavy
        from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - heavy

        key = _read(self.pem, f"key {self.id}")
        try:
            if isinstance(key, ec.EllipticCurvePublicKey):
                key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
            else:
                key.verify(signature, data)
        except InvalidSignature as error:
            msg = f"the signature is not one by key {self.id} over these bytes"
            raise EvidenceError(Reason.SIGNATURE, msg) from error


def public_key(
    pem: bytes,
    name: str,
    *,
    state: State = "imported",
    created: int = 0,
    retired: int = 0,
) -> PublicKey:
    """Read a public key, for instance one that a policy names.

    Args:
        pem: one ``PUBLIC KEY`` in PEM, and nothing else but white space.
        name: for people and for the message.
        state: its place in a ring, like the arguments after it.
        created: seconds since 1970.
        retired: seconds since 1970.

    Raises:
        InputError: it is no such key, or of an algorithm that is not in `ALGORITHMS`.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415 - heavy
        Ed25519PublicKey,
    )

    key = _read(pem, name)
    identity, hint = fingerprint(der_of(key))
    return PublicKey(
        id=identity,
        hint=hint,
        algorithm=ED25519 if isinstance(key, Ed25519PublicKey) else ECDSA_P256,
        name=name,
        state=state,
        pem=pem_of(key),
        created=created,
        retired=retired,
    )


def fingerprint(der: bytes) -> tuple[str, str]:
    """Id and hint of a key, from its SubjectPublicKeyInfo."""
    digest = hashlib.sha256(der).digest()
    return digest.hex()[:_ID_LENGTH], base64.b64encode(digest).decode()


def pem_body(pem: bytes) -> bytes:
    """What stands between the lines of a PEM; empty when that is not base64."""
    body = pem.strip().removeprefix(_BEGIN).removesuffix(_END)
    try:
        return base64.b64decode(b"".join(body.split()), validate=True)
    except binascii.Error:
        return b""


def der_of(key: EllipticCurvePublicKey | Ed25519PublicKey) -> bytes:
    """The SubjectPublicKeyInfo of a key, in DER."""
    from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415 - heavy

    return key.public_bytes(form.Encoding.DER, form.PublicFormat.SubjectPublicKeyInfo)


def pem_of(key: EllipticCurvePublicKey | Ed25519PublicKey) -> bytes:
    """The same in PEM."""
    from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415 - heavy

    return key.public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)


# Whoever checks thousands of signatures has them from few keys.
@lru_cache(maxsize=4096)
def _read(pem: bytes, name: str) -> EllipticCurvePublicKey | Ed25519PublicKey:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - heavy
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519  # noqa: PLC0415 - heavy
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 - heavy
        load_pem_public_key,
    )

    text = pem[: _LARGEST + 1].strip()
    if b"PRIVATE KEY-----" in text:
        msg = f"{name}: a private key, where only the public one belongs"
        raise InputError(msg, "`python -m buildkit keys export` prints the public one")
    whole = text.startswith(_BEGIN) and text.endswith(_END) and text.count(b"-----BEGIN") == 1
    if not whole or len(text) > _LARGEST:
        msg = f"{name}: not one public key in PEM (-----BEGIN PUBLIC KEY-----)"
        raise InputError(msg, "`python -m buildkit keys export` or `cosign public-key` writes one")
    try:
        key = load_pem_public_key(text)
    except (ValueError, UnsupportedAlgorithm) as error:
        msg = f"{name}: not a public key: {str(error).splitlines()[0][:120]}"
        raise InputError(msg, "ask its owner for the file again") from error
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    msg = f"{name}: neither ECDSA on P-256 nor Ed25519"
    raise InputError(msg, "use a key of one of these kinds")
