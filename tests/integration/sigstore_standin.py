"""A stand-in for Sigstore: Fulcio, Rekor v1 and an issuer of identities, on the loopback.

It issues real certificates with a real signed certificate timestamp, and keeps a real Merkle tree,
so that any client can check what it says with the trust root that it hands out. Nothing survives
the process, and it believes whoever asks it for a token: it is good for tests alone.
"""

from __future__ import annotations

import base64
import hashlib
import json
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_public_key
from sigstore_parts import (
    CI_SECRET,
    IN_TOTO,
    ISSUER,
    WORKFLOW,
    Authority,
    Clock,
    Issuer,
    Log,
    RefusedError,
    b64,
    canonical,
    extensions,
    new_key,
    pae,
    pem,
    signature_of,
    spki,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["ISSUER", "WORKFLOW", "Issuer", "RefusedError", "Standin"]

_BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_TRUST_ROOT = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
_TRUST_CONFIG = "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json"
_SIGNING_CONFIG = "application/vnd.dev.sigstore.signingconfig.v0.2+json"


class Standin:
    """All of it. `serve` puts it on a port; `bundle` signs without one."""

    def __init__(self) -> None:
        self.start = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
        self.issuer = Issuer()
        self.authority = Authority(self.start)
        self.log = Log()
        self.clock = Clock(self.start)
        self.certificates = 0

    def certify(self, public_key: Any, claims: Mapping[str, str]) -> x509.Certificate:
        """What Fulcio does: a certificate for whom a token names."""
        if not isinstance(public_key, ec.EllipticCurvePublicKey):
            raise RefusedError(400, "the key is not one of an elliptic curve")
        self.certificates += 1
        subject = claims["sub"]
        mail = "@" in subject and ":" not in subject
        return self.authority.certify(
            public_key,
            [x509.RFC822Name(subject) if mail else x509.UniformResourceIdentifier(subject)],
            extensions(claims),
            at=datetime.now(UTC).replace(microsecond=0),
            log_key=self.authority.log_key,
        )

    def record(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """What Rekor does: check a proposed entry, and append it."""
        spec = entry["spec"]
        if entry["kind"] == "hashedrekord":
            return self.log.add(canonical(entry))
        if entry["kind"] != "dsse":
            raise RefusedError(400, f"an entry of kind {entry['kind']}")
        text = spec["proposedContent"]["envelope"]
        envelope = json.loads(text)
        (verifier,) = spec["proposedContent"]["verifiers"]
        (signature,) = envelope["signatures"]
        payload = base64.b64decode(envelope["payload"])
        _check(
            _public_key(base64.b64decode(verifier)),
            base64.b64decode(signature["sig"]),
            pae(payload, envelope["payloadType"]),
            "the signature does not fit",
        )
        return self.log.add(dsse_body(payload, signature["sig"], verifier, text.encode()))

    def bundle(
        self,
        payload: bytes,
        *,
        certificate: x509.Certificate | None = None,
        key: ec.EllipticCurvePrivateKey | None = None,
        at: int | None = None,
    ) -> dict[str, Any]:
        """A bundle over `payload`, made without a server, of parts that need not fit.

        Args:
            payload: an in-toto statement.
            certificate: a fresh one for `WORKFLOW` when absent.
            key: signs.
            at: when the log says that it took the entry.
        """
        key = key or new_key()
        if certificate is None:
            certificate = self.certify(key.public_key(), {"sub": WORKFLOW, "iss": self.issuer.url})
        signature = b64(signature_of(key, pae(payload)))
        body = dsse_body(payload, signature, b64(pem(certificate)), payload)
        ((_, entry),) = self.log.add(body, at).items()
        return {
            "mediaType": _BUNDLE,
            "dsseEnvelope": {
                "payload": b64(payload),
                "payloadType": IN_TOTO,
                "signatures": [{"sig": signature}],
            },
            "verificationMaterial": {
                "certificate": {"rawBytes": b64(certificate.public_bytes(Encoding.DER))},
                "tlogEntries": [
                    {
                        "canonicalizedBody": entry["body"],
                        "integratedTime": str(entry["integratedTime"]),
                        "kindVersion": {"kind": "dsse", "version": "0.0.1"},
                        "logId": {"keyId": b64(self.log.identity)},
                        "logIndex": str(entry["logIndex"]),
                        "inclusionPromise": {
                            "signedEntryTimestamp": entry["verification"]["signedEntryTimestamp"]
                        },
                        "inclusionProof": _proof(entry),
                    }
                ],
            },
        }

    def stamped(
        self, payload: bytes, *, at: datetime | None = None, times: int = 1
    ) -> dict[str, Any]:
        """A bundle as Rekor v2 has it: no promise of a time; `times` timestamps in its place."""
        key = new_key()
        claims = {"sub": WORKFLOW, "iss": self.issuer.url}
        certificate = self.certify(key.public_key(), claims)
        made = self.bundle(payload, certificate=certificate, key=key)
        material = made["verificationMaterial"]
        signature = made["dsseEnvelope"]["signatures"][0]["sig"]
        verifier = {
            "keyDetails": "PKIX_ECDSA_P256_SHA_256",
            "x509Certificate": material["certificate"],
        }
        said = {
            "data": {
                "algorithm": "SHA2_256",
                "digest": b64(hashlib.sha256(pae(payload)).digest()),
            },
            "signature": {"content": signature, "verifier": verifier},
        }
        body = {"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": {"hashedRekordV002": said}}
        (answer,) = self.log.add(canonical(body)).values()
        (entry,) = material["tlogEntries"]
        entry |= {
            "canonicalizedBody": answer["body"],
            "kindVersion": {"kind": "hashedrekord", "version": "0.0.2"},
            "logIndex": str(answer["logIndex"]),
            "inclusionProof": _proof(answer),
        }
        del entry["inclusionPromise"], entry["integratedTime"]
        stamps = [
            self.clock.stamp(base64.b64decode(signature), at or datetime.now(UTC))
            for _ in range(times)
        ]
        material["timestampVerificationData"] = {
            "rfc3161Timestamps": [{"signedTimestamp": b64(each)} for each in stamps]
        }
        return made

    def trusted_root(self) -> dict[str, Any]:
        """A Sigstore ``trusted_root.json``."""
        valid = {"start": self.start.strftime("%Y-%m-%dT%H:%M:%SZ")}

        def log(key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
            public = spki(key.public_key())
            return {
                "baseUrl": "https://log.example.test",
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": b64(public),
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "validFor": valid,
                },
                "logId": {"keyId": b64(hashlib.sha256(public).digest())},
            }

        def authority(*chain: x509.Certificate) -> dict[str, Any]:
            return {
                "subject": {"organization": "example.test", "commonName": "root"},
                "uri": "https://ca.example.test",
                "certChain": {
                    "certificates": [
                        {"rawBytes": b64(each.public_bytes(Encoding.DER))} for each in chain
                    ]
                },
                "validFor": valid,
            }

        return {
            "mediaType": _TRUST_ROOT,
            "tlogs": [log(self.log.key)],
            "ctlogs": [log(self.authority.log_key)],
            "certificateAuthorities": [authority(self.authority.intermediate, self.authority.root)],
            "timestampAuthorities": [authority(self.clock.certificate, self.clock.root)],
        }

    def trust_config(self, url: str) -> dict[str, Any]:
        """A Sigstore ``ClientTrustConfig`` for the stand-in on `url`."""
        service = {
            "url": url,
            "majorApiVersion": 1,
            "validFor": {"start": self.start.strftime("%Y-%m-%dT%H:%M:%SZ")},
            "operator": "example.test",
        }
        # A second log, newer and not there: who takes it cannot sign.
        newer = {**service, "url": "http://127.0.0.1:1", "majorApiVersion": 2}
        return {
            "mediaType": _TRUST_CONFIG,
            "trustedRoot": self.trusted_root(),
            "signingConfig": {
                "mediaType": _SIGNING_CONFIG,
                "caUrls": [service],
                "oidcUrls": [service],
                "rekorTlogUrls": [newer, service],
                "rekorTlogConfig": {"selector": "ANY"},
                "tsaUrls": [],
            },
        }

    def answer(self, target: str, bearer: str, body: bytes) -> tuple[int, bytes]:
        """Status and content for a request.

        Raises:
            RefusedError: what is asked for cannot be had.
        """
        url = urlsplit(target)
        match url.path:
            case "/identity":
                if bearer != CI_SECRET:
                    raise RefusedError(403, "this job may not ask for tokens")
                (audience,) = parse_qs(url.query)["audience"]
                return 200, canonical({"value": self.issuer.token(audience=audience)})
            case "/api/v2/signingCert":
                asked = json.loads(body)["certificateSigningRequest"]
                request = x509.load_pem_x509_csr(base64.b64decode(asked))
                if not request.is_signature_valid:
                    raise RefusedError(400, "the request is not signed with its key")
                chain = self._chain(request.public_key(), self.issuer.check(bearer))
                found = {"signedCertificateEmbeddedSct": {"chain": {"certificates": chain}}}
                return 200, canonical(found)
            case "/api/v1/signingCert":  # cosign 2 asks here
                claims, asked = self.issuer.check(bearer), json.loads(body)
                key = _public_key(base64.b64decode(asked["publicKey"]["content"]))
                proof = base64.b64decode(asked["signedEmailAddress"])
                _check(key, proof, claims["sub"].encode(), "the subject is not signed with the key")
                return 201, "".join(self._chain(key, claims)).encode()
            case "/api/v1/log/entries":
                return 201, canonical(self.record(json.loads(body)))
        raise RefusedError(404, f"{url.path}: nothing is here")

    def _chain(self, key: Any, claims: Mapping[str, str]) -> list[str]:
        above = (self.authority.intermediate, self.authority.root)
        return [pem(each).decode() for each in (self.certify(key, claims), *above)]

    @contextmanager
    def serve(self) -> Iterator[str]:
        """Answer on a port of the loopback until the end; its URL."""
        handler = partial(_Handler, self)
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_port}"
            finally:
                server.shutdown()
                thread.join()


def _proof(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Rekor's inclusion proof as a bundle has it."""
    proof = answer["verification"]["inclusionProof"]
    return {
        "checkpoint": {"envelope": proof["checkpoint"]},
        "hashes": [b64(bytes.fromhex(each)) for each in proof["hashes"]],
        "logIndex": str(proof["logIndex"]),
        "rootHash": b64(bytes.fromhex(proof["rootHash"])),
        "treeSize": str(proof["treeSize"]),
    }


def dsse_body(payload: bytes, signature: str, verifier: str, envelope: bytes) -> bytes:
    """The canonical body of an entry of kind ``dsse``, version 0.0.1."""
    return canonical(
        {
            "apiVersion": "0.0.1",
            "kind": "dsse",
            "spec": {
                "envelopeHash": {
                    "algorithm": "sha256",
                    "value": hashlib.sha256(envelope).hexdigest(),
                },
                "payloadHash": {
                    "algorithm": "sha256",
                    "value": hashlib.sha256(payload).hexdigest(),
                },
                "signatures": [{"signature": signature, "verifier": verifier}],
            },
        }
    )


def _public_key(data: bytes) -> ec.EllipticCurvePublicKey:
    if b"BEGIN CERTIFICATE" in data:
        key: Any = x509.load_pem_x509_certificate(data).public_key()
    else:
        key = load_pem_public_key(data)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key


def _check(key: ec.EllipticCurvePublicKey, signature: bytes, data: bytes, what: str) -> None:
    try:
        key.verify(signature, data, ec.ECDSA(SHA256()))
    except InvalidSignature as error:
        raise RefusedError(400, what) from error


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, standin: Standin, *args: Any) -> None:
        self._standin = standin
        super().__init__(*args)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        bearer = self.headers.get("Authorization", "").partition(" ")[2]
        try:
            status, found = self._standin.answer(self.path, bearer, body)
        except RefusedError as error:
            status, found = error.status, canonical({"code": error.status, "message": str(error)})
        except (KeyError, ValueError, TypeError) as error:
            status, found = 400, canonical({"code": 400, "message": repr(error)})
        kind = "json" if found.startswith(b"{") else "pem-certificate-chain"
        self.send_response(status)
        self.send_header("Content-Type", f"application/{kind}")
        self.send_header("Content-Length", str(len(found)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(found)

    do_GET = do_POST  # noqa: N815 - http.server looks for this name

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Stay quiet."""
