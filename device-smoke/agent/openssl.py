"""The one adapter for the program ``openssl``: keys and signatures.

Public keys are read here, since their SubjectPublicKeyInfo is the body of their PEM; only ECDSA
P-256 and Ed25519 count. Files are handed over in memory: nothing of it touches the disk.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.errors import AgentError, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agent.programs import Ended, Programs

_LARGEST = 16 * 1024
_PEM = re.compile(
    rb"\s*-----BEGIN PUBLIC KEY-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END PUBLIC KEY-----\s*"
)
_P256 = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")
_ED25519 = bytes.fromhex("302a300506032b6570032100")
_REMEDY = "install OpenSSL's program on the device: apt install openssl"


@dataclass(frozen=True)
class PublicKey:
    """A public key.

    Attributes:
        der: SubjectPublicKeyInfo.
        ed25519: else it is ECDSA P-256.
    """

    der: bytes
    ed25519: bool

    @classmethod
    def parse(cls, pem: bytes) -> PublicKey:
        """Read PEM.

        Raises:
            ValueError: it is none, or of another algorithm.
        """
        found = _PEM.fullmatch(pem) if len(pem) <= _LARGEST else None
        try:
            der = (
                base64.b64decode(b"".join(found.group(1).split()), validate=True) if found else b""
            )
        except binascii.Error:
            der = b""
        if der.startswith(_P256) and len(der) == len(_P256) + 64:
            return cls(der=der, ed25519=False)
        if der.startswith(_ED25519) and len(der) == len(_ED25519) + 32:
            return cls(der=der, ed25519=True)
        message = "not the PEM of an ECDSA P-256 or Ed25519 public key"
        raise ValueError(message)

    @property
    def pem(self) -> str:
        """The one PEM of this key."""
        body = base64.encodebytes(self.der).decode().replace("\n", "")
        lines = "\n".join(body[at : at + 64] for at in range(0, len(body), 64))
        return f"-----BEGIN PUBLIC KEY-----\n{lines}\n-----END PUBLIC KEY-----\n"

    @property
    def id(self) -> str:
        """First 16 hex digits of SHA-256 over the DER."""
        return hashlib.sha256(self.der).hexdigest()[:16]

    @property
    def hint(self) -> str:
        """As bundles name a key: base64 of SHA-256 over the DER."""
        return base64.b64encode(hashlib.sha256(self.der).digest()).decode()


class OpenSsl:
    """Calls the program."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs

    def verify(self, key: PublicKey, signature: bytes, signed: bytes) -> bool:
        """Whether `signature` over `signed` is of `key`.

        Raises:
            AgentError: there is no ``openssl``, or it is too old for Ed25519.
        """
        with _Memory(key.pem.encode(), signature, signed) as (pem, given, message):
            if key.ed25519:
                how = ("pkeyutl", "-verify", "-pubin", "-inkey", pem, "-rawin", "-in", message)
                ended = self._run([*how, "-sigfile", given])
                if re.search(r"[Uu]nknown option|Use -help", ended.err):
                    text = "this device's openssl cannot check Ed25519 signatures"
                    raise AgentError(Kind.DEVICE, text, "OpenSSL 3 can; or sign with ECDSA P-256")
            else:
                ended = self._run(["dgst", "-sha256", "-verify", pem, "-signature", given, message])
        return ended.code == 0

    def valid(self, key: PublicKey) -> bool:
        """Whether it is a point of its curve."""
        with _Memory(key.pem.encode()) as (pem,):
            return self._run(["pkey", "-pubin", "-in", pem, "-noout"]).code == 0

    def generate(self) -> bytes:
        """A new ECDSA P-256 private key, PKCS #8 PEM."""
        curve = ("-pkeyopt", "ec_paramgen_curve:P-256", "-pkeyopt", "ec_param_enc:named_curve")
        return self._must(["genpkey", "-algorithm", "EC", *curve])

    def public(self, private: Path) -> PublicKey:
        """The public half of a private key."""
        try:
            return PublicKey.parse(self._must(["pkey", "-in", str(private), "-pubout"]))
        except ValueError as error:
            raise AgentError(Kind.DEVICE, f"{private}: {error}") from error

    def sign(self, private: Path, data: bytes) -> bytes:
        """DER of an ECDSA signature over SHA-256 of `data`."""
        with _Memory(data) as (message,):
            return self._must(["dgst", "-sha256", "-sign", str(private), message])

    def _run(self, arguments: Sequence[str]) -> Ended:
        files = [int(one.rpartition("/")[2]) for one in arguments if one.startswith("/dev/fd/")]
        try:
            return self._programs.run(["openssl", *arguments], files=files)
        except AgentError as error:
            raise AgentError(Kind.DEVICE, error.message, _REMEDY) from error

    def _must(self, arguments: Sequence[str]) -> bytes:
        ended = self._run(arguments)
        if ended.code or not ended.out:
            raise AgentError(Kind.DEVICE, f"openssl {arguments[0]}: {ended.said}")
        return ended.out


class _Memory:
    """Files that are nowhere but in memory, by names that a child can open."""

    def __init__(self, *contents: bytes) -> None:
        self._contents = contents
        self._open: list[int] = []

    def __enter__(self) -> list[str]:
        for content in self._contents:
            descriptor = os.memfd_create("agent")
            self._open.append(descriptor)
            view = memoryview(content)
            while view:
                view = view[os.write(descriptor, view) :]
            os.lseek(descriptor, 0, os.SEEK_SET)
        return [f"/dev/fd/{descriptor}" for descriptor in self._open]

    def __exit__(self, *_: object) -> None:
        for descriptor in self._open:
            os.close(descriptor)
