"""Which statements are true: signed rightly, by who counts, well-formed, about what they hang on.

In steps. What a bundle is by itself (`opened`) is the same wherever it is found; whether it is
about what it hangs on (`refuses`) is asked in each place; whether it agrees with it, `across` asks.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from buildkit import canonical
from buildkit.audit import facts, schema
from buildkit.errors import EvidenceError
from buildkit.evidence import bundle as bundles
from buildkit.evidence import kinds, promotion, referrers, statement
from buildkit.evidence.reasons import Reason
from buildkit.evidence.verify.signatures import open_bundle

if TYPE_CHECKING:
    from buildkit.audit.facts import Facts, Row
    from buildkit.audit.listing import Channel
    from buildkit.audit.read import Document
    from buildkit.evidence.kinds import Kind
    from buildkit.evidence.policytypes import Policy
    from buildkit.evidence.verify.signatures import Anchors, Key, Said

_MESSAGE = 600
_DEVICE = "device key "
_KEY = "key "


class Opener(Protocol):
    """Checks a bundle, as `buildkit.evidence.verify.signatures.open_bundle` does."""

    def __call__(self, data: bytes, what: str, policy: Policy, anchors: Anchors) -> Said:
        """The statement and who signed it.

        Raises:
            EvidenceError: it does not hold.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Trust:
    """Whose word counts.

    Attributes:
        policy: names them.
        anchors: their keys.
        opener: what checks a bundle; another one only where signatures are not the point.
    """

    policy: Policy
    anchors: Anchors
    opener: Opener = open_bundle
    _keys: dict[str, tuple[Key, bool]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        anchors = self.anchors
        object.__setattr__(
            self,
            "_keys",
            {
                key.id: (key, keys is anchors.known)
                for keys in (anchors.rebuilders, anchors.keys, anchors.devices, anchors.known)
                for key in keys.values()
            },
        )

    def key(self, identity: str) -> tuple[Key | None, bool]:
        """A key by its id, and whether it is of the user's own ring."""
        return self._keys.get(identity, (None, False))

    def digest(self) -> str:
        """Another text whenever other statements may be true."""
        anchors = self.anchors
        document = {
            "policy": repr(self.policy),
            "keys": _listed(anchors.keys),
            "known": _listed(anchors.known),
            "rebuilders": _listed(anchors.rebuilders),
            "devices": _listed(anchors.devices),
            "root": getattr(anchors.certificate, "digest", ""),
        }
        return "sha256:" + hashlib.sha256(canonical.dump(document)).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """A bundle by itself.

    Attributes:
        digest: its own.
        said: what it says, if its signature fits.
        signer: row of who signed, if it does.
        payload: digest of the signed bytes; empty when there are none.
        kind: word for it; empty when it cannot be read.
        facts: what it says, as rows; nothing when it is refused.
        error: why it is refused.
    """

    digest: str
    said: Said | None = None
    signer: Row | None = None
    payload: str = ""
    kind: str = ""
    facts: Facts | None = None
    error: EvidenceError | None = None


def opened(data: bytes, digest: str, trust: Trust) -> Opened:
    """Judge a bundle by itself.

    Args:
        data: its bytes.
        digest: of them.
        trust: whose word counts.
    """
    what = f"bundle {digest}"
    try:
        said = trust.opener(data, what, trust.policy, trust.anchors)
    except EvidenceError as error:
        payload, kind = _guess(data)
        return Opened(digest=digest, payload=payload, kind=kind, error=error)
    found = Opened(
        digest=digest,
        said=said,
        signer=_signer(said, trust),
        payload=facts.payload_digest(said.payload),
        kind=_word(said.kind, said.statement.predicate_type),
    )
    try:
        _count(said, what, trust.policy)
        rows = facts.of_statement(said.statement, said.kind, what)
    except EvidenceError as error:
        return dataclasses.replace(found, error=error)
    return dataclasses.replace(found, facts=rows)


def refuses(opened: Opened, carrier: Document, subject: Document) -> EvidenceError | None:
    """Why a statement that is good by itself is not one about what it hangs on.

    Args:
        opened: the bundle, not refused.
        carrier: the manifest that carries it.
        subject: what that hangs on.
    """
    try:
        _check_hanging(opened, carrier, subject)
    except EvidenceError as error:
        return error
    return None


def statement_row(name: str, opened: Opened | None, error: EvidenceError | None) -> Row:
    """The row of a statement, or of what should have been one.

    Args:
        name: digest of the bundle; see `refused_name` for what is refused where it is.
        opened: the bundle, when it could be read.
        error: why it is refused.
    """
    signed = opened is not None and opened.signer is not None
    return {
        "id": schema.number("statement", name),
        "bundle": name,
        "payload": opened.payload if opened is not None else "",
        "kind": facts.clip(opened.kind) if opened is not None else "",
        "signer": opened.signer["id"] if signed and opened and opened.signer else None,
        "time": opened.facts.time if opened is not None and opened.facts is not None else None,
        "reason": "" if error is None else str(error.reason),
        "message": "" if error is None else facts.clip(error.message, _MESSAGE),
    }


def refused_name(bundle: str, manifest: str) -> str:
    """What is refused for where it is: ``BUNDLE@MANIFEST``; the first is empty if unreadable."""
    return f"{bundle}@{manifest}"


def elsewhere_row(channel: Channel, newest: str) -> Row:
    """The row of a channel whose tag does not lead where its newest record says.

    Args:
        channel: with its journal.
        newest: digest of the image that the record names.
    """
    where = f"leads to {channel.pointed}" if channel.pointed else "is gone"
    msg = f"{channel.place}:{channel.name}: the tag {where}, its newest record says {newest}"
    # Its name says all that the row does: it is the same in whatever source it is found.
    name = refused_name(channel.pointed, channel.descriptor.digest)
    row = statement_row(name, None, EvidenceError(Reason.NAME, msg))
    return {**row, "kind": facts.PROMOTION}


def _count(said: Said, what: str, policy: Policy) -> None:
    """Whether a rightly signed statement is one that its signer may make.

    Raises:
        EvidenceError: it is not.
    """
    if said.retired:
        msg = f"{what}: signed with {said.signer}, which was retired"
        raise EvidenceError(Reason.SIGNER_RETIRED, msg)
    known = said.kind is not None or said.statement.predicate_type == promotion.PREDICATE_TYPE
    if said.kind == kinds.REBUILD and said.trusted and not said.rebuilds:
        msg = f"{what}: signed by {said.signer}, who is none of the policy's rebuilders"
        raise EvidenceError(Reason.SIGNER_UNKNOWN, msg)
    if not said.counts:
        why = "which counts for test results alone" if said.device else "whom nobody names"
        msg = f"{what}: signed by {said.signer}, {why}"
        raise EvidenceError(Reason.SIGNER_UNKNOWN, msg)
    if not known and said.statement.predicate_type not in policy.accept.predicate_types:
        msg = f"{what}: a statement of an unknown kind {said.statement.predicate_type!r}"
        raise EvidenceError(Reason.PREDICATE_TYPE, msg)


def _check_hanging(opened: Opened, carrier: Document, subject: Document) -> None:
    said = opened.said
    assert said is not None  # noqa: S101 - whoever calls has looked
    what = f"referrer {carrier.digest}"
    links = carrier.manifest.links
    top = subject.descriptor
    named = links.subject
    if named is None or (named.size, named.media_type) != (top.size, top.media_type):
        msg = f"{what}: its subject is described otherwise than it is"
        raise EvidenceError(Reason.MANIFEST, msg)
    content = links.annotations.get(referrers.CONTENT)
    if content not in (None, referrers.ENVELOPE):
        msg = f"{what}: announced as {content!r}, not as an envelope"
        raise EvidenceError(Reason.BUNDLE, msg)
    predicate_type = said.statement.predicate_type
    announced = links.annotations.get(referrers.PREDICATE_TYPE)
    if announced not in (None, predicate_type):
        msg = f"{what}: announced as {announced!r}, it is {predicate_type!r}"
        raise EvidenceError(Reason.PREDICATE_TYPE, msg)
    if not said.statement.is_about(subject.digest):
        msg = f"{what}: a statement about something else hangs on this"
        raise EvidenceError(Reason.SUBJECT, msg)
    kind = said.kind
    if kind is None:
        if predicate_type == promotion.PREDICATE_TYPE:
            msg = f"{what}: a record of a channel, and not in its journal"
            raise EvidenceError(Reason.PREDICATE_TYPE, msg)
        return
    if not ("build" in kind.about or subject.what in kind.about) or subject.what == "other":
        msg = f"{what}: a {kind.name} is not about this"
        raise EvidenceError(Reason.SUBJECT, msg)


def _word(kind: Kind | None, predicate_type: str) -> str:
    if kind is not None:
        return kind.name
    return facts.PROMOTION if predicate_type == promotion.PREDICATE_TYPE else predicate_type


def _guess(data: bytes) -> tuple[str, str]:
    """Digest and kind of what a bundle seems to say; nobody vouches for it."""
    try:
        payload = bundles.parse(data, "").envelope.payload
    except EvidenceError:
        return "", ""
    try:
        said = statement.parse(payload, "", older=True)
    except EvidenceError:
        return facts.payload_digest(payload), ""
    kind = kinds.BY_TYPE.get(said.predicate_type)
    return facts.payload_digest(payload), _word(kind, said.predicate_type)


def _signer(said: Said, trust: Trust) -> Row:
    """The row of a signer whose signature fits."""
    name = said.signer
    row = {"kind": "identity", "subject": "", "issuer": "", "label": "", "state": "unknown"}
    if name.startswith((_DEVICE, _KEY)):
        is_device = name.startswith(_DEVICE)
        identity = name.removeprefix(_DEVICE).removeprefix(_KEY)
        key, in_ring = trust.key(identity)
        state = key.state if key is not None else "unknown"
        if not (in_ring and state in ("active", "old", "retired", "device")):
            state = "named" if said.trusted or said.rebuilds or said.device else "unknown"
        row |= {
            "kind": "device" if is_device else "key",
            "subject": identity,
            "label": facts.clip(key.name) if key is not None else "",
            "state": state,
        }
    else:
        subject, _, issuer = name.rpartition(" (")
        row |= {
            "subject": facts.clip(subject),
            "issuer": facts.clip(issuer.removesuffix(")")),
            "state": "named" if said.trusted or said.rebuilds else "unknown",
        }
    name = facts.clip(name)
    return {"id": schema.number("signer", name), "name": name, **row}


def _listed(keys: Any) -> list[list[str]]:
    return sorted([hint, key.name, key.state] for hint, key in keys.items())


def is_record(opened: Opened) -> bool:
    """Whether a bundle is a record of a channel, signed by who may make one."""
    return (
        opened.error is None
        and opened.said is not None
        and opened.said.trusted
        and opened.facts is not None
        and opened.facts.promotion is not None
    )


__all__ = [
    "Opened",
    "Opener",
    "Trust",
    "is_record",
    "opened",
    "refused_name",
    "refuses",
    "statement_row",
]
