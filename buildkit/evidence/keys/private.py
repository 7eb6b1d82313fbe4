"""Private keys: made, kept in PKCS#8, unlocked, and used to sign.

Source: RFC 5208 (PKCS#8), RFC 8018 (PBES2), RFC 6979 (ECDSA that signs the same bytes alike).
"""

from __future__ import annotations

import base64
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from buildkit.errors import SignerError
from buildkit.evidence.keys.public import ED25519, PublicKey, pem_of, public_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PASSPHRASE_VARIABLE = "EDGE_BUILDKIT_KEY_PASSPHRASE"  # noqa: S105 - the name of a variable

_MODE = 0o600
# What OWASP asks for with PBKDF2-HMAC-SHA256; the library's own PKCS#8 encryption takes 2048.
_ROUNDS = 600_000
_ENCRYPTED = b"-----BEGIN ENCRYPTED PRIVATE KEY-----"
# AlgorithmIdentifiers in DER, without the values that differ.
_PBES2 = bytes.fromhex("06092a864886f70d01050d")
_PBKDF2 = bytes.fromhex("06092a864886f70d01050c")
_HMAC_SHA256 = bytes.fromhex("300c06082a864886f70d02090500")
_AES_256_CBC = bytes.fromhex("060960864801650304012a")


@dataclass(frozen=True, kw_only=True, slots=True)
class PrivateKey:
    """A key that can sign; it never shows itself.

    Attributes:
        public: its other half.
        secret: the key.
    """

    public: PublicKey
    secret: EllipticCurvePrivateKey | Ed25519PrivateKey

    def __repr__(self) -> str:
        return f"PrivateKey({self.public.id})"

    def sign(self, data: bytes) -> bytes:
        """The signature, the same each time: DER with ECDSA, 64 bytes with Ed25519.

        Raises:
            SignerError: the cryptography on this machine is too old for it.
        """
        from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - heavy
        from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - heavy
        from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - heavy

        if not isinstance(self.secret, ec.EllipticCurvePrivateKey):
            return self.secret.sign(data)
        try:
            how = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
            return self.secret.sign(data, how)
        except UnsupportedAlgorithm as error:
            msg = "this `cryptography` cannot sign the same bytes alike: its OpenSSL is too old"
            raise SignerError(msg, "install its wheel, or use an Ed25519 key") from error


def generate(algorithm: str, name: str, *, created: int) -> PrivateKey:
    """A new key from the system's random numbers."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519  # noqa: PLC0415 - heavy

    secret: EllipticCurvePrivateKey | Ed25519PrivateKey = (
        ed25519.Ed25519PrivateKey.generate()
        if algorithm == ED25519
        else ec.generate_private_key(ec.SECP256R1())
    )
    pem = pem_of(secret.public_key())
    public = public_key(pem, name, state="active", created=created)
    return PrivateKey(public=public, secret=secret)


def dump(key: PrivateKey, passphrase: bytes | None) -> bytes:
    """PKCS#8 in PEM, encrypted (PBES2: PBKDF2 with HMAC-SHA-256, AES-256-CBC) with a passphrase."""
    from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415 - heavy

    encoding = form.Encoding.PEM if passphrase is None else form.Encoding.DER
    plain = key.secret.private_bytes(encoding, form.PrivateFormat.PKCS8, form.NoEncryption())
    return plain if passphrase is None else _pem(_encrypted(plain, passphrase))


def is_encrypted(file: Path) -> bool:
    """Whether a private key asks for a passphrase; not when it cannot be read."""
    try:
        return file.read_bytes().startswith(_ENCRYPTED)
    except OSError:
        return False


def load(file: Path, public: PublicKey, passphrase: Callable[[], bytes | None]) -> PrivateKey:
    """Read a private key.

    Args:
        file: PKCS#8 in PEM, for its owner alone (0600 or less).
        public: which key it must be.
        passphrase: asked only when the file is encrypted; nothing when there is none to be had.

    Raises:
        SignerError: it is not there, others may read it, the passphrase is missing or wrong, or it
            is another key.
    """
    data = _private_bytes(file, public)
    word = passphrase() if data.startswith(_ENCRYPTED) else None
    if data.startswith(_ENCRYPTED) and not word:
        msg = f"key {public.id} is encrypted, and there is no passphrase"
        raise SignerError(msg, f"set {PASSPHRASE_VARIABLE}, or run it in a terminal, which asks")
    secret = _decoded(data, word, file, public)
    if pem_of(secret.public_key()) != public.pem:
        msg = f"{file}: not the private half of key {public.id}"
        raise SignerError(
            msg, "restore the file, or make a new key: python -m buildkit keys rotate"
        )
    return PrivateKey(public=public, secret=secret)


def _decoded(
    data: bytes, word: bytes | None, file: Path, public: PublicKey
) -> EllipticCurvePrivateKey | Ed25519PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - heavy
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519  # noqa: PLC0415 - heavy
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 - heavy
        load_pem_private_key,
    )

    try:
        secret = load_pem_private_key(data, word)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if word:
            msg = f"key {public.id}: the passphrase is wrong, or the file is damaged"
            raise SignerError(msg, f"set {PASSPHRASE_VARIABLE} to the right one") from error
        msg = f"{file}: not a private key in PKCS#8"
        raise SignerError(msg, "restore the file from a backup") from error
    if isinstance(secret, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
        return secret
    msg = f"{file}: a key of another kind"
    raise SignerError(msg, "restore the file from a backup")


def _private_bytes(file: Path, public: PublicKey) -> bytes:
    try:
        with file.open("rb") as stream:
            mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
            data = stream.read()
    except FileNotFoundError as error:
        msg = f"key {public.id} cannot sign: {file} is not there"
        remedy = "restore the file from a backup, or go on with a new key: "
        raise SignerError(msg, f"{remedy}python -m buildkit keys rotate {public.name}") from error
    except OSError as error:
        msg = f"{file}: cannot be read: {error.strerror}"
        raise SignerError(msg, "check who may read it") from error
    if mode & ~_MODE & 0o777:
        msg = f"{file}: others may use this private key (mode {mode:04o})"
        raise SignerError(msg, f"chmod 600 {file}; rotate the key if others had access")
    return data


def _encrypted(plain: bytes, passphrase: bytes) -> bytes:
    """EncryptedPrivateKeyInfo."""
    from cryptography.hazmat.primitives import hashes, padding  # noqa: PLC0415 - heavy
    from cryptography.hazmat.primitives.ciphers import (  # noqa: PLC0415 - heavy
        Cipher,
        algorithms,
        modes,
    )
    from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC  # noqa: PLC0415 - heavy

    salt, start = os.urandom(16), os.urandom(16)
    key = PBKDF2HMAC(hashes.SHA256(), length=32, salt=salt, iterations=_ROUNDS).derive(passphrase)
    padder = padding.PKCS7(128).padder()
    cipher = Cipher(algorithms.AES(key), modes.CBC(start)).encryptor()
    hidden = cipher.update(padder.update(plain) + padder.finalize()) + cipher.finalize()
    rounds = _der(0x02, _ROUNDS.to_bytes(3, "big"))
    derivation = _der(0x30, _PBKDF2 + _der(0x30, _der(0x04, salt) + rounds + _HMAC_SHA256))
    scheme = _der(0x30, _AES_256_CBC + _der(0x04, start))
    how = _der(0x30, _PBES2 + _der(0x30, derivation + scheme))
    return _der(0x30, how + _der(0x04, hidden))


def _der(tag: int, content: bytes) -> bytes:
    """A DER value of up to 65535 bytes."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes(1 if size < 0x100 else 2, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def _pem(der: bytes) -> bytes:
    text = base64.b64encode(der)
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return b"\n".join([_ENCRYPTED, *lines, b"-----END ENCRYPTED PRIVATE KEY-----", b""])
