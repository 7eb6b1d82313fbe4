"""The journal of a channel: its signed records in one OCI artifact, newest first. Pure.

The journal is what a channel is; its tag leads where the newest record says. While somebody moves
the channel, the journal carries their claim: a record that does not count before the tag has moved.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from buildkit import canonical, media
from buildkit.errors import EvidenceError
from buildkit.evidence import bundle as bundles
from buildkit.evidence import promotion, shapes
from buildkit.evidence.reasons import Reason
from buildkit.evidence.smoke import payload_digest
from buildkit.evidence.verify.signatures import open_bundle
from buildkit.store.documents import EMPTY, descriptor, plain_artifact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from buildkit.evidence.policytypes import Policy
    from buildkit.evidence.promotion import Promotion
    from buildkit.evidence.verify.signatures import Anchors
    from buildkit.records import Descriptor

SUFFIX = ".channel"
MOST = 100

_CLAIM = "io.edge-buildkit.channel.claim"
_IMAGE = "io.edge-buildkit.channel.image"
_NONCE = re.compile(r"[0-9a-f]{32}")
_LARGEST_RECORD = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A move that somebody is about to make.

    Attributes:
        record: says so; does not count yet.
        image: digest that the channel will lead to.
        nonce: 32 hex digits, never used twice.
    """

    record: Descriptor
    image: str
    nonce: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Journal:
    """A journal, by the descriptors of its records' bundles.

    Attributes:
        records: newest first; at most `MOST`.
        claim: of whoever moves the channel; nothing when nobody does.
    """

    records: tuple[Descriptor, ...] = ()
    claim: Claim | None = None

    def settled(self, pointed: str) -> Journal:
        """This journal without its claim, which has come true if the tag leads to its image.

        Args:
            pointed: digest that the channel's tag leads to.
        """
        if self.claim is None or self.claim.image != pointed:
            return Journal(records=self.records)
        return Journal(records=(self.claim.record, *self.records)[:MOST])

    def dump(self) -> bytes:
        """The artifact's manifest."""
        if self.claim is None:
            return plain_artifact(artifact_type=media.CHANNEL, layers=self.records, annotations={})
        return plain_artifact(
            artifact_type=media.CHANNEL,
            layers=(self.claim.record, *self.records),
            annotations={_CLAIM: self.claim.nonce, _IMAGE: self.claim.image},
        )


def parse(data: bytes, what: str) -> Journal:
    """Read the manifest of a journal.

    Args:
        data: its bytes.
        what: for the message.

    Raises:
        EvidenceError: it is no journal.
    """
    try:
        document: Any = canonical.load(data)
    except ValueError as error:
        raise EvidenceError(Reason.JSON, f"{what}: {error}") from error
    document = shapes.object(document, what, needed={"artifactType", "layers"})
    if document["artifactType"] != media.CHANNEL:
        msg = f"{what}: a {str(document['artifactType'])[:80]!r}, and no journal of a channel"
        raise EvidenceError(Reason.MANIFEST, msg, "choose another name for the channel")
    layers = [
        descriptor(each, f"{what}: layers") for each in shapes.array(document["layers"], what)
    ]
    found = tuple(each for each in layers if each.digest != EMPTY.digest)
    for each in found:
        if each.media_type != bundles.MEDIA_TYPE or not 0 < each.size <= _LARGEST_RECORD:
            raise EvidenceError(Reason.MANIFEST, f"{what}: {each.digest} is no record")
    notes = shapes.object(document.get("annotations", {}), f"{what}: annotations")
    claim = _claim(notes, found, what)
    records = found if claim is None else found[1:]
    if len(records) > MOST:
        raise EvidenceError(Reason.TOO_LARGE, f"{what}: more than {MOST} records")
    return Journal(records=records, claim=claim)


def _claim(notes: Mapping[str, Any], found: Sequence[Descriptor], what: str) -> Claim | None:
    nonce = notes.get(_CLAIM)
    if nonce is None:
        return None
    if not isinstance(nonce, str) or _NONCE.fullmatch(nonce) is None or not found:
        raise EvidenceError(Reason.MANIFEST, f"{what}: a claim that is none")
    image = shapes.digest(notes.get(_IMAGE), f"{what}: {_IMAGE}")
    return Claim(record=found[0], image=image, nonce=nonce)


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """A record whose signature holds.

    Attributes:
        said: what it says.
        payload: hex SHA-256 of the signed bytes, by which the next one names it.
        signer: who says so.
        bundle: its own digest.
    """

    said: Promotion
    payload: str
    signer: str
    bundle: str


def opened(
    records: Sequence[Descriptor],
    read: Callable[[Descriptor], bytes],
    *,
    channel: str,
    place: str,
    policy: Policy,
    anchors: Anchors,
) -> tuple[Record, ...]:
    """Open the records of a journal, each signed by somebody who counts, and each the next's heir.

    Args:
        records: newest first.
        read: gives the checked bytes of one.
        channel: whose journal it is said to be.
        place: and where that channel is.
        policy: whose word counts.
        anchors: the keys and the trust root that the policy means.

    Raises:
        EvidenceError: one is forged, of another channel, or the chain is broken.
    """
    found: list[Record] = []
    for each in records:
        what = f"record {each.digest} of {place}:{channel}"
        signed = open_bundle(read(each), what, policy, anchors)
        if signed.retired or not signed.trusted:
            why = "which was retired" if signed.retired else "whom the policy does not name"
            msg = f"{what}: signed by {signed.signer}, {why}"
            raise EvidenceError(Reason.SIGNER_UNKNOWN, msg)
        said = promotion.read(signed.statement, what)
        if (said.channel, said.place) != (channel, place):
            msg = f"{what}: it is about {said.place}:{said.channel}"
            raise EvidenceError(Reason.SUBJECT, msg)
        record = Record(
            said=said,
            payload=payload_digest(signed.payload),
            signer=signed.signer,
            bundle=each.digest,
        )
        if found:
            heir = found[-1].said
            if (heir.number, heir.previous) != (said.number + 1, record.payload):
                msg = f"{what}: record {heir.number} does not follow it"
                raise EvidenceError(Reason.PREDICATE, msg)
        found.append(record)
    if found and len(found) < MOST and found[-1].said.number != 1:
        msg = f"{place}:{channel}: the journal ends at record {found[-1].said.number}"
        raise EvidenceError(Reason.PREDICATE, msg)
    return tuple(found)


def before(records: Sequence[Record]) -> Record | None:
    """The record that a roll-back from the newest goes to; nothing when there is none before it.

    Going back twice goes back two steps, and does not return to where it came from.
    """
    by_number = {each.said.number: each for each in records}
    current = records[0].said.state if records else 0
    earlier = by_number.get(current - 1)
    # That one may have been a roll-back itself.
    return None if earlier is None else by_number.get(earlier.said.state)
