"""Parts of the stand-in for Sigstore: an issuer of tokens, a log, an authority, and their DER.

Sources: Fulcio's `certificate-specification.md` and `oid-info.md`; RFC 6962 (tree, SCT); Rekor's
OpenAPI description; the signed note of `transparency-dev/formats`; RFC 7515 and RFC 7519 (tokens).
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Mapping

ISSUER = "https://issuer.example.test"
WORKFLOW = "https://github.example.test/shop/vision/.github/workflows/build.yml@refs/heads/main"
IN_TOTO = "application/vnd.in-toto+json"
CI_SECRET = "a-job-may-ask"  # noqa: S105 - of a stand-in

_FULCIO = "1.3.6.1.4.1.57264.1"
_SCT_LIST = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_LIFE = timedelta(minutes=10)

# Claims of a token that Fulcio copies into the certificate, by the last number of the extension.
_CLAIMS = {"job_workflow_ref": 9, "repository": 12, "sha": 13, "ref": 14, "event_name": 20}


class RefusedError(Exception):
    """What a client asked for cannot be had; the number is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def b64(data: bytes) -> str:
    """Base64, as JSON carries bytes."""
    return base64.b64encode(data).decode()


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and without spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def spki(key: Any) -> bytes:
    """A public key as DER."""
    return bytes(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def pem(certificate: x509.Certificate) -> bytes:
    """A certificate as PEM."""
    return certificate.public_bytes(Encoding.PEM)


def pae(payload: bytes, payload_type: str = IN_TOTO) -> bytes:
    """DSSE's pre-authentication encoding."""
    return b"DSSEv1 %d %s %d %s" % (len(payload_type), payload_type.encode(), len(payload), payload)


def der(tag: int, content: bytes) -> bytes:
    """One DER value of at most 64 KiB."""
    size = len(content)
    if size < 128:
        return bytes([tag, size]) + content
    length = size.to_bytes(1 if size < 256 else 2, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def signature_of(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    return key.sign(data, ec.ECDSA(SHA256()))


def _url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unurl64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass(kw_only=True)
class Issuer:
    """Who says who somebody is (an OpenID Connect provider)."""

    url: str = ISSUER
    key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)

    def token(
        self,
        subject: str = WORKFLOW,
        *,
        audience: str = "sigstore",
        lifetime: float = 600,
        claims: Mapping[str, str] | None = None,
    ) -> str:
        """A JWT, signed with ES256."""
        now = int(time.time())
        said = {
            "iss": self.url,
            "sub": subject,
            "aud": audience,
            "iat": now - max(0, -int(lifetime)) - 1,
            "exp": now + int(lifetime),
            **(claims or {}),
        }
        head = _url64(canonical({"alg": "ES256", "typ": "JWT"}))
        signed = f"{head}.{_url64(canonical(said))}"
        r, s = utils.decode_dss_signature(signature_of(self.key, signed.encode()))
        return f"{signed}.{_url64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def check(self, token: str) -> dict[str, str]:
        """The claims of a token of this issuer, meant for Sigstore and in its time."""
        try:
            signed, _, tail = token.rpartition(".")
            raw = _unurl64(tail)
            signature = utils.encode_dss_signature(
                int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
            )
            self.key.public_key().verify(signature, signed.encode(), ec.ECDSA(SHA256()))
            claims: dict[str, Any] = json.loads(_unurl64(signed.split(".")[1]))
        except (ValueError, IndexError, InvalidSignature) as error:
            raise RefusedError(401, "the identity token cannot be verified") from error
        if claims["aud"] != "sigstore" or claims["iss"] != self.url:
            raise RefusedError(401, "the identity token is for somebody else")
        if claims["exp"] < time.time():
            raise RefusedError(401, "the identity token has expired")
        return {name: str(value) for name, value in claims.items()}


@dataclass(kw_only=True)
class Log:
    """A log that only grows, as RFC 6962 has it, with Rekor's answers."""

    origin: str = "log.example.test"
    key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    leaves: list[bytes] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    @property
    def identity(self) -> bytes:
        """SHA-256 of the public key."""
        return hashlib.sha256(spki(self.key.public_key())).digest()

    def add(self, body: bytes, at: int | None = None) -> dict[str, Any]:
        """Append an entry; what Rekor answers, keyed by the entry's UUID."""
        with self.lock:
            self.leaves.append(hashlib.sha256(b"\0" + body).digest())
            size = len(self.leaves)
            root = _tree(self.leaves)
            path = _path(size - 1, self.leaves)
        entry: dict[str, Any] = {
            "body": b64(body),
            "integratedTime": int(time.time()) if at is None else at,
            "logID": self.identity.hex(),
            "logIndex": size - 1,
        }
        promise = signature_of(self.key, canonical(entry))
        entry["verification"] = {
            "signedEntryTimestamp": b64(promise),
            "inclusionProof": {
                "checkpoint": self.checkpoint(size, root),
                "hashes": [each.hex() for each in path],
                "logIndex": size - 1,
                "rootHash": root.hex(),
                "treeSize": size,
            },
        }
        return {self.leaves[size - 1].hex(): entry}

    def checkpoint(self, size: int, root: bytes) -> str:
        """A signed note that states the tree's size and root."""
        note = f"{self.origin} - 1\n{size}\n{b64(root)}\n"
        signature = b64(self.identity[:4] + signature_of(self.key, note.encode()))
        return f"{note}\n\N{EM DASH} {self.origin} {signature}\n"


def _tree(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    half = 1 << ((len(leaves) - 1).bit_length() - 1)
    return _node(_tree(leaves[:half]), _tree(leaves[half:]))


def _path(index: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    half = 1 << ((len(leaves) - 1).bit_length() - 1)
    if index < half:
        return [*_path(index, leaves[:half]), _tree(leaves[half:])]
    return [*_path(index - half, leaves[half:]), _tree(leaves[:half])]


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


class Authority:
    """A root, an intermediate that signs, and the key of the log of certificates."""

    def __init__(self, start: datetime) -> None:
        self.key, self.log_key = new_key(), new_key()
        root_key = new_key()
        self.root = self.issue("root", root_key, "root", root_key, start)
        self.intermediate = self.issue("intermediate", self.key, "root", root_key, start)

    @staticmethod
    def issue(
        name: str,
        key: ec.EllipticCurvePrivateKey,
        by: str,
        by_key: ec.EllipticCurvePrivateKey,
        start: datetime,
    ) -> x509.Certificate:
        """A certificate of an authority."""
        usage = key_usage(key_cert_sign=True, crl_sign=True)
        return (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(_name(by))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + timedelta(days=3650))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(by_key.public_key()),
                critical=False,
            )
            .sign(by_key, SHA256())
        )

    def certify(
        self,
        public_key: ec.EllipticCurvePublicKey,
        names: list[x509.GeneralName],
        extensions: Mapping[str, bytes],
        *,
        at: datetime,
        log_key: ec.EllipticCurvePrivateKey | None,
    ) -> x509.Certificate:
        """A signing certificate of ten minutes.

        Args:
            public_key: of whoever signs.
            names: the alternative names; Fulcio writes exactly one.
            extensions: raw values by OID.
            at: the start of its life.
            log_key: signs the timestamp that is embedded; none is when absent.
        """
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.intermediate.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(at)
            .not_valid_after(at + _LIFE)
            .add_extension(key_usage(digital_signature=True), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                critical=False,
            )
            .add_extension(x509.SubjectAlternativeName(names), critical=True)
        )
        for oid, value in extensions.items():
            known = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value)
            builder = builder.add_extension(known, critical=False)
        if log_key is not None:
            without = builder.sign(self.key, SHA256()).tbs_certificate_bytes
            stamp = der(0x04, self._timestamps(without, at, log_key))
            builder = builder.add_extension(
                x509.UnrecognizedExtension(_SCT_LIST, stamp), critical=False
            )
        return builder.sign(self.key, SHA256())

    def _timestamps(
        self, certificate: bytes, at: datetime, log_key: ec.EllipticCurvePrivateKey
    ) -> bytes:
        """A list of one signed certificate timestamp (RFC 6962, section 3.2 and 3.3)."""
        milliseconds = int(at.timestamp()) * 1000
        issuer = hashlib.sha256(spki(self.key.public_key())).digest()
        signed = struct.pack("!BBQH", 0, 0, milliseconds, 1) + issuer
        signed += len(certificate).to_bytes(3, "big") + certificate + b"\0\0"
        signature = signature_of(log_key, signed)
        log = hashlib.sha256(spki(log_key.public_key())).digest()
        # 4 and 3: SHA-256 with ECDSA, in the numbers of TLS 1.2.
        stamp = struct.pack("!B32sQHBBH", 0, log, milliseconds, 0, 4, 3, len(signature)) + signature
        return struct.pack("!HH", len(stamp) + 2, len(stamp)) + stamp


class Clock:
    """A timestamp authority (RFC 3161; its CMS, RFC 5652, is written by hand)."""

    def __init__(self, start: datetime) -> None:
        self.key, root_key = new_key(), new_key()
        self.root = Authority.issue("stamps root", root_key, "stamps root", root_key, start)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(_name("stamps"))
            .issuer_name(self.root.subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + timedelta(days=3650))
            .add_extension(key_usage(digital_signature=True), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True
            )
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()),
                critical=False,
            )
            .sign(root_key, SHA256())
        )

    def stamp(self, data: bytes, at: datetime) -> bytes:
        """A TimeStampResp that says that `data` was there at `at`."""
        sha256 = der(0x30, _oid("2.16.840.1.101.3.4.2.1"))
        content_type = _oid("1.2.840.113549.1.9.16.1.4")
        info = der(
            0x30,
            _integer(1)
            + _oid("1.3.6.1.4.1.57264.2")
            + der(0x30, sha256 + der(0x04, hashlib.sha256(data).digest()))
            + _integer(1)
            + der(0x18, at.strftime("%Y%m%d%H%M%SZ").encode()),
        )
        whole = self.certificate.public_bytes(Encoding.DER)
        named = der(0x30, der(0x30, der(0x30, der(0x04, hashlib.sha256(whole).digest()))))
        attributes = b"".join(
            sorted(
                der(0x30, _oid(kind) + der(0x31, value))
                for kind, value in (
                    ("1.2.840.113549.1.9.3", content_type),
                    ("1.2.840.113549.1.9.4", der(0x04, hashlib.sha256(info).digest())),
                    ("1.2.840.113549.1.9.16.2.47", named),
                )
            )
        )
        serial = _integer(self.certificate.serial_number)
        signer = der(
            0x30,
            _integer(1)
            + der(0x30, self.certificate.issuer.public_bytes() + serial)
            + sha256
            + der(0xA0, attributes)
            + der(0x30, _oid("1.2.840.10045.4.3.2"))
            + der(0x04, signature_of(self.key, der(0x31, attributes))),
        )
        signed = der(
            0x30,
            _integer(3)
            + der(0x31, sha256)
            + der(0x30, content_type + der(0xA0, der(0x04, info)))
            + der(0xA0, whole)
            + der(0x31, signer),
        )
        token = der(0x30, _oid("1.2.840.113549.1.7.2") + der(0xA0, signed))
        return der(0x30, der(0x30, _integer(0)) + token)


def _integer(number: int) -> bytes:
    return der(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def _oid(dotted: str) -> bytes:
    first, second, *others = map(int, dotted.split("."))
    encoded = bytes([40 * first + second])
    for number in others:
        groups = [number & 0x7F]
        while number := number >> 7:
            groups.append(number & 0x7F | 0x80)
        encoded += bytes(reversed(groups))
    return der(0x06, encoded)


def extensions(claims: Mapping[str, str]) -> dict[str, bytes]:
    """Fulcio's extensions: who issued the token, and what else it says."""
    found = {f"{_FULCIO}.1": claims["iss"].encode()}
    found[f"{_FULCIO}.8"] = der(0x0C, claims["iss"].encode())
    for name, number in _CLAIMS.items():
        if name in claims:
            found[f"{_FULCIO}.{number}"] = der(0x0C, claims[name].encode())
    return found


def _name(name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "example.test"),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )


def key_usage(**used: bool) -> x509.KeyUsage:
    """What a key may be used for, and nothing else."""
    every = dict.fromkeys(
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    return x509.KeyUsage(**{**every, **used})
