"""Who signed a bundle, and whether their word counts. Pure: keys and trust root are passed in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from buildkit.errors import EvidenceError
from buildkit.evidence import bundle as bundles
from buildkit.evidence import kinds, statement
from buildkit.evidence.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from buildkit.evidence.bundle import Bundle
    from buildkit.evidence.kinds import Kind
    from buildkit.evidence.policytypes import Identity, Policy
    from buildkit.evidence.statement import Statement


class Key(Protocol):
    """A public key, as `buildkit.evidence.keys` has them."""

    @property
    def id(self) -> str:
        """Some of the first digits of its hash."""

    @property
    def hint(self) -> str:
        """What bundles name it by."""

    @property
    def name(self) -> str:
        """For people."""

    @property
    def state(self) -> str:
        """``retired`` when its signatures no longer count."""

    def verify(self, signature: bytes, data: bytes) -> None:
        """Check a signature.

        Raises:
            EvidenceError: it does not fit.
        """


class Named(Protocol):
    """An identity that a trust root vouches for, as `buildkit.evidence.trust` has them."""

    @property
    def subject(self) -> str:
        """Mail address or workflow."""

    @property
    def issuer(self) -> str:
        """Who vouched for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Anchors:
    """What a verification believes without proof.

    Attributes:
        keys: hint → key whose signatures count.
        known: hint → further keys of the user's ring, so that they can be named: retired ones, and
            those that the policy does not count.
        rebuilders: hint → key of whoever may say that they built it again; those of `keys` count
            when this is empty and the policy names no identities.
        devices: hint → key of a device, whose word counts for test results and nothing else;
            no key is here and in `keys` or `rebuilders`.
        certificate: checks a bundle with a certificate against the trust root (bundle and what to
            call it); nothing when the policy names no root.
    """

    keys: Mapping[str, Key]
    known: Mapping[str, Key]
    rebuilders: Mapping[str, Key]
    devices: Mapping[str, Key] = field(default_factory=dict)
    certificate: Callable[[Bundle, str], Named] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """A statement whose signature holds.

    Attributes:
        statement: what is said.
        payload: its bytes.
        kind: which kind of evidence; nothing when nobody here knows it.
        signer: ``key 3f2a…``, or subject and issuer: the same for the same signer.
        trusted: whether the signer's word counts for evidence.
        rebuilds: whether it counts for rebuilds.
        retired: whether it was a key that was retired.
        device: id of the key of a device whose word counts for test results; else empty.
    """

    statement: Statement
    payload: bytes
    kind: Kind | None
    signer: str
    trusted: bool
    rebuilds: bool
    retired: bool = False
    device: str = ""

    @property
    def counts(self) -> bool:
        """Whether the signer may say this kind of thing."""
        return (
            self.trusted
            or (self.rebuilds and self.kind == kinds.REBUILD)
            or (bool(self.device) and self.kind == kinds.TEST_RESULT)
        )


def open_bundle(data: bytes, what: str, policy: Policy, anchors: Anchors) -> Said:
    """Parse a bundle, check its signature and read its statement.

    Args:
        data: bytes of the bundle.
        what: for the message: ``bundle sha256:…``.
        policy: which versions are accepted, who may sign.
        anchors: keys and trust root.

    Raises:
        EvidenceError: it does not hold together, the signature does not fit, or it cannot be
            checked because nobody knows the key.
    """
    found = bundles.parse(data, what)
    device = ""
    if found.key_hint:
        key = (
            anchors.keys.get(found.key_hint)
            or anchors.rebuilders.get(found.key_hint)
            or anchors.devices.get(found.key_hint)
            or anchors.known.get(found.key_hint)
        )
        if key is None:
            msg = f"{what}: signed with a key that neither policy nor key ring knows"
            raise EvidenceError(Reason.SIGNER_UNKNOWN, msg)
        key.verify(found.envelope.signature, found.envelope.signed())
        retired = key.state == "retired"
        if key.hint in anchors.devices:
            device, trusted, rebuilds = key.id, False, False
        else:
            trusted, rebuilds = _by_key(key, anchors, policy)
        is_device = device or key.state == "device"
        signer = f"device key {key.id}" if is_device else f"key {key.id}"
    else:
        if anchors.certificate is None:
            msg = f"{what}: signed with a certificate, and the policy names no identities"
            raise EvidenceError(Reason.SIGNER_UNKNOWN, msg)
        named = anchors.certificate(found, what)
        signer = f"{named.subject} ({named.issuer})"
        trusted = _among(named, policy.trust.identities)
        rebuilds = _among(named, policy.rebuilders.identities) or (
            trusted and not _names_rebuilders(policy)
        )
        retired = False
    said = statement.parse(found.envelope.payload, what, older="v0.1" in policy.accept.statements)
    if said.type == statement.TYPE and "v1" not in policy.accept.statements:
        msg = f"{what}: statement v1, which the policy does not accept"
        raise EvidenceError(Reason.STATEMENT, msg)
    kind = kinds.BY_TYPE.get(said.predicate_type)
    ours = kind is not None and kind.reproducible and said.type == statement.TYPE
    # Else one fact could be said in many bytes, of which every reader may see another.
    if ours and said.payload() != found.envelope.payload:
        raise EvidenceError(Reason.STATEMENT, f"{what}: its bytes are not canonical")
    return Said(
        statement=said,
        payload=found.envelope.payload,
        kind=kind,
        signer=signer,
        trusted=trusted,
        rebuilds=rebuilds,
        retired=retired,
        device=device,
    )


def _by_key(key: Key, anchors: Anchors, policy: Policy) -> tuple[bool, bool]:
    trusted = key.hint in anchors.keys
    return trusted, key.hint in anchors.rebuilders or (trusted and not _names_rebuilders(policy))


def _names_rebuilders(policy: Policy) -> bool:
    return bool(policy.rebuilders.keys or policy.rebuilders.identities)


def _among(named: Named, allowed: tuple[Identity, ...]) -> bool:
    return any(
        each.issuer == named.issuer and matches(each.subject, named.subject) for each in allowed
    )


def matches(pattern: str, text: str) -> bool:
    """Whether `text` is `pattern`, in which ``*`` stands for any characters.

    In time that grows with the lengths alone: both may be somebody else's.
    """
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == text
    last = rest.pop()
    if not text.startswith(first) or len(text) < len(first) + len(last):
        return False
    at, end = len(first), len(text) - len(last)
    for piece in rest:
        found = text.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return text.endswith(last)
