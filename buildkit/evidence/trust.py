"""Trust roots of Sigstore, and who signed a bundle that carries a certificate; without a network.

A trust root (``trusted_root.json``, sigstore/protobuf-specs, sigstore_trustroot.proto) lists the
authorities that issue certificates and the logs that record them, each with the time in which it
was in use. Chain, signed certificate timestamp, inclusion and timestamps are checked by the
library ``sigstore``; it takes an authority or a log for good whenever it was in use, so it is
given those alone that were in use when the log says that the bundle was signed.

A trust root does not say how old it is. `TrustRoot.refuse_stale` goes by the day that a policy
names: see ``docs/keyless.md``.
"""
# ruff: noqa: PLC0415 - sigstore and cryptography cost 0.3 s: they load when a certificate comes up

from __future__ import annotations

import base64
import functools
import logging
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from buildkit import canonical, digests
from buildkit.errors import EvidenceError, InputError
from buildkit.evidence import strict
from buildkit.evidence.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import date
    from pathlib import Path

    from cryptography.x509 import Certificate
    from sigstore.verify import Verifier

    from buildkit.evidence.bundle import Bundle

MEDIA_TYPE = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
_LARGEST = 4 * 1024 * 1024
_NEEDED = {
    "certificateAuthorities": "certificate authority",
    "ctlogs": "log of certificates",
    "tlogs": "transparency log",
}
_KINDS = (*_NEEDED, "timestampAuthorities")
_REMEDY = "get the trust root again (docs/keyless.md), and compare its digest with its owner's"

# Fulcio's extensions (oid-info.md). Numbers 1 to 6 hold bare text, the others a DER UTF8String.
_ARC = "1.3.6.1.4.1.57264.1."
_CLAIMS = {
    2: "github_workflow_trigger",
    3: "github_workflow_sha",
    4: "github_workflow_name",
    5: "github_workflow_repository",
    6: "github_workflow_ref",
    9: "build_signer_uri",
    10: "build_signer_digest",
    11: "runner_environment",
    12: "source_repository_uri",
    13: "source_repository_digest",
    14: "source_repository_ref",
    15: "source_repository_identifier",
    16: "source_repository_owner_uri",
    17: "source_repository_owner_identifier",
    18: "build_config_uri",
    19: "build_config_digest",
    20: "build_trigger",
    21: "run_invocation_uri",
    22: "source_repository_visibility",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """Who signed, as a certificate says whose authority is trusted.

    Attributes:
        subject: the certificate's one alternative name: a URI, a mail address, or Fulcio's own.
        issuer: URL of whoever vouched for the subject.
        signed_at: when the log took the entry, or the timestamp was made.
        claims: what else was vouched for, by the names of Fulcio's extensions
            (``source_repository_uri``, ``build_signer_uri``, ``build_trigger``, …).
    """

    subject: str
    issuer: str
    signed_at: datetime
    claims: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Service:
    """An authority or a log: its entry in the document, and the time in which it was in use."""

    kind: str
    entry: Mapping[str, Any]
    start: datetime
    end: datetime | None

    def was_in_use(self, at: datetime) -> bool:
        return self.start <= at and (self.end is None or at <= self.end)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrustRoot:
    """A trust root that holds together.

    Attributes:
        digest: of the file, for a policy to name.
        services: its authorities and logs.
    """

    digest: str
    services: tuple[_Service, ...] = field(repr=False)

    def refuse_stale(self, *, obtained: date, limit: timedelta, now: datetime) -> None:
        """Refuse a trust root that somebody obtained too long ago.

        Args:
            obtained: the day on which it was got from its owner, as the policy says.
            limit: the age that the policy allows.
            now: with a time zone.

        Raises:
            EvidenceError: it is older, or `obtained` lies in the future (a day is left for time
                zones).
        """
        age = now.astimezone(UTC).date() - obtained
        if age > limit:
            msg = f"trust root {self.digest} is {age.days} days old; {limit.days} are allowed"
            raise EvidenceError(Reason.TRUST_EXPIRED, msg, _REMEDY)
        if age < timedelta(days=-1):
            msg = f"trust root {self.digest}: obtained on {obtained}, which lies in the future"
            raise EvidenceError(Reason.TRUST_EXPIRED, msg, "correct the date, or this clock")

    def at(self, time: datetime) -> bytes:
        """The trust root with what was in use at `time`, and nothing else.

        Raises:
            EvidenceError: there was no authority, or no log.
        """
        used = [each for each in self.services if each.was_in_use(time)]
        for kind, name in _NEEDED.items():
            if not any(each.kind == kind for each in used):
                msg = f"trust root {self.digest} has no {name} that was in use on {time:%Y-%m-%d}"
                raise EvidenceError(Reason.TRUST_LOG, msg, _REMEDY)
        lists = {kind: [each.entry for each in used if each.kind == kind] for kind in _KINDS}
        return canonical.dump({"mediaType": MEDIA_TYPE, **lists})


def load(path: Path, *, digest: str | None = None) -> TrustRoot:
    """Read a trust root from a file.

    Args:
        path: a ``trusted_root.json``.
        digest: refuse any other file.

    Raises:
        InputError: it cannot be read, or is not a trust root.
        EvidenceError: its digest is another.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        msg = f"trust root {path}: {error.strerror}"
        raise InputError(msg, "docs/keyless.md says how to get one") from error
    if digest is not None and digests.of_bytes(data) != digest:
        msg = f"trust root {path} has digest {digests.of_bytes(data)}, not {digest}"
        raise EvidenceError(Reason.BLOB_DIGEST, msg, _REMEDY)
    return parse(data, f"trust root {path}")


def parse(data: bytes, what: str) -> TrustRoot:
    """Read a trust root.

    Args:
        data: its bytes.
        what: for the message.

    Raises:
        InputError: it is not one. A trust root is the verifier's own, not evidence.
    """
    try:
        document = strict.load(data, what, largest=_LARGEST)
        if document["mediaType"] != MEDIA_TYPE:
            msg = f"media type {document['mediaType']!r}, not {MEDIA_TYPE}"
            raise ValueError(msg)  # noqa: TRY301 - one translation for all that can be wrong
        found = TrustRoot(
            digest=digests.of_bytes(data),
            services=tuple(
                _service(kind, each) for kind in _KINDS for each in document.get(kind) or ()
            ),
        )
    except EvidenceError as error:
        raise InputError(error.message, _REMEDY) from error
    except KeyError as error:
        msg = f"{what}: {error} is missing"
        raise InputError(msg, _REMEDY) from error
    except (ValueError, TypeError, AttributeError) as error:
        msg = f"{what}: not a trust root: {error}"
        raise InputError(msg, _REMEDY) from error
    if missing := sorted(_NEEDED.keys() - {each.kind for each in found.services}):
        msg = f"{what}: `{missing[0]}` is missing or empty"
        raise InputError(msg, _REMEDY)
    return found


def _service(kind: str, entry: Any) -> _Service:
    # protojson leaves out what is empty, and the library wants it.
    if kind.endswith("logs"):
        span = entry["publicKey"].get("validFor", {})
        entry = {"baseUrl": "", **entry}
    else:
        span = entry.get("validFor", {})
        subject = {"organization": "", "commonName": "", **entry.get("subject", {})}
        entry = {**entry, "subject": subject, "validFor": {**span}}
    start, end = span.get("start"), span.get("end")
    if kind not in {"tlogs", "ctlogs"} and start is None:
        entry["validFor"]["start"] = "1970-01-01T00:00:00Z"
    return _Service(
        kind=kind,
        entry=entry,
        start=datetime.fromtimestamp(0, UTC) if start is None else _time(start),
        end=None if end is None else _time(end),
    )


def _time(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        msg = f"{text} has no time zone"
        raise ValueError(msg)
    return found


def verify(bundle: Bundle, root: TrustRoot, what: str) -> Identity:
    """Check a bundle that carries a certificate, without a network.

    Args:
        bundle: whose `raw` bytes are checked.
        root: the authorities and logs that are believed.
        what: for the message: ``bundle sha256:…``.

    Returns:
        Who signed; whether they may is for a policy to say.

    Raises:
        EvidenceError: with `Reason.BUNDLE` what does not hold together, with `Reason.SIGNATURE` a
            signature that is not by the certificate's key, with `Reason.TRUST_LOG` a certificate,
            timestamp or log entry that does not fit the trust root.
        InputError: a key or a certificate in the trust root cannot be read.
    """
    if not bundle.certificate:
        raise EvidenceError(Reason.BUNDLE, f"{what}: there is no certificate")
    certificate = _check_signature(bundle, what)
    document = _filled(strict.load(bundle.raw, what), what)
    with _refusing(Reason.BUNDLE, what):
        signed_at = _signed_at(document["verificationMaterial"])
    verifier = _verifier(root.at(signed_at))
    with _refusing(Reason.BUNDLE, what):
        parsed = _library_bundle(document)
    with _refusing(Reason.TRUST_LOG, what):
        kind, payload = verifier.verify_dsse(parsed, Anyone())
    if (kind, payload) != (bundle.envelope.payload_type, bundle.envelope.payload):
        raise EvidenceError(Reason.SIGNATURE, f"{what}: another payload was signed")
    with _refusing(Reason.TRUST_LOG, what):
        return _identity(certificate, signed_at)


class Anyone:
    """A policy for the library that lets everybody in: ours comes after, and knows more."""

    def verify(self, cert: Certificate) -> None:
        """Accept `cert`."""


@functools.cache
def quiet() -> None:
    """Keep the library's log lines from standard error, where nobody asked for them."""
    logging.getLogger("sigstore").addHandler(logging.NullHandler())


def _check_signature(bundle: Bundle, what: str) -> Certificate:
    """Apart from the library, so that a wrong signature is not taken for a wrong log."""
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256

    with _refusing(Reason.BUNDLE, what):
        certificate = x509.load_der_x509_certificate(bundle.certificate)
        key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise EvidenceError(Reason.BUNDLE, f"{what}: the certificate's key is not an ECDSA key")
    try:
        key.verify(bundle.envelope.signature, bundle.envelope.signed(), ec.ECDSA(SHA256()))
    except InvalidSignature as error:
        msg = f"{what}: the signature is not by the certificate's key"
        raise EvidenceError(Reason.SIGNATURE, msg) from error
    return certificate


def _filled(document: Any, what: str) -> dict[str, Any]:
    """The bundle with what protojson leaves out (zeros, empty lists) and the library wants."""
    with _refusing(Reason.BUNDLE, what):
        material = {"tlogEntries": [], **document["verificationMaterial"]}
        entries = []
        for each in material["tlogEntries"]:
            entry = {"logIndex": "0", **each}
            entry["inclusionProof"] = {"logIndex": "0", "hashes": [], **each["inclusionProof"]}
            entries.append(entry)
        return {**document, "verificationMaterial": {**material, "tlogEntries": entries}}


def _signed_at(material: Mapping[str, Any]) -> datetime:
    """When a bundle says that it was signed; whether that is true is for the library to say.

    The one log entry's time counts where the log promises it (Rekor v1), else the one timestamp's:
    of several, the library would keep any that can be verified, so nobody could say which it was.
    """
    (entry,) = material["tlogEntries"]
    proof = entry["inclusionProof"]
    # The library compares the root hashes and not the sizes, which are signed as well.
    if proof["checkpoint"]["envelope"].split("\n")[1] != proof["treeSize"]:
        msg = "inclusion proof and checkpoint are about trees of different sizes"
        raise ValueError(msg)
    if "inclusionPromise" in entry:
        return datetime.fromtimestamp(int(entry["integratedTime"]), UTC)
    from rfc3161_client import decode_timestamp_response

    (stamp,) = material["timestampVerificationData"]["rfc3161Timestamps"]
    decoded = decode_timestamp_response(base64.b64decode(stamp["signedTimestamp"]))
    return decoded.tst_info.gen_time.astimezone(UTC)


def _library_bundle(document: dict[str, Any]) -> Any:
    from sigstore.models import Bundle
    from sigstore_models.bundle.v1 import Bundle as Model

    text = canonical.dump(document)
    # The library reads base64 and numbers generously. What it read must be what stands there, or
    # two readers could see two bundles.
    if canonical.dump(Model.from_json(text).to_dict()) != text:
        msg = "not written as the JSON mapping of protobuf asks"
        raise ValueError(msg)
    return Bundle.from_json(text)


@functools.lru_cache(maxsize=8)
def _verifier(root: bytes) -> Verifier:
    from sigstore.errors import Error
    from sigstore.models import TrustedRoot
    from sigstore.verify import Verifier
    from sigstore_models.trustroot.v1 import TrustedRoot as Model

    quiet()
    try:
        return Verifier(trusted_root=TrustedRoot(Model.from_json(root)))
    except (Error, ValueError, TypeError) as error:
        msg = f"the trust root has an entry that cannot be read: {_line(error)}"
        raise InputError(msg, _REMEDY) from error


def _identity(certificate: Certificate, signed_at: datetime) -> Identity:
    from cryptography import x509

    extensions = certificate.extensions
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    (name,) = names
    subject = _text(name.value) if isinstance(name, x509.OtherName) else str(name.value)
    found: dict[int, bytes] = {}
    for each in extensions:
        oid = each.oid.dotted_string
        if oid.startswith(_ARC) and isinstance(each.value, x509.UnrecognizedExtension):
            found[int(oid.removeprefix(_ARC))] = each.value.value
    issuers = {found[1].decode()} if 1 in found else set()
    issuers |= {_text(found[8])} if 8 in found else set()
    (issuer,) = issuers
    return Identity(
        subject=subject,
        issuer=issuer,
        signed_at=signed_at,
        claims={
            name: found[number].decode() if number < 8 else _text(found[number])
            for number, name in _CLAIMS.items()
            if number in found
        },
    )


def _text(encoded: bytes) -> str:
    """A DER UTF8String."""
    from cryptography.hazmat import asn1

    return asn1.decode_der(str, encoded)


@contextmanager
def _refusing(reason: Reason, what: str) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            # Oddities that will be errors one day; nobody can do anything about them here.
            warnings.simplefilter("ignore")
            yield
    except (EvidenceError, MemoryError):
        raise
    # Somebody else's bytes, in libraries that promise no one type of error.
    except Exception as error:
        raise EvidenceError(reason, f"{what}: {_line(error)}") from error


def _line(error: Exception) -> str:
    """An error of a library as one line."""
    words = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, KeyError):
        words = f"{words} is missing"
    return words if len(words) <= 240 else words[:239] + "…"
