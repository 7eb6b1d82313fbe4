"""The journal of a channel: its signed records in one OCI artifact, newest first. Pure.

The journal is what a channel is; its tag leads where the newest record says. While somebody moves
the channel, the first record is one to come: it counts from when the tag leads to its image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from buildkit import canonical, media
from buildkit.errors import EvidenceError, StoreError
from buildkit.evidence import bundle as bundles
from buildkit.evidence import promotion, shapes
from buildkit.evidence.reasons import Reason
from buildkit.evidence.smoke import payload_digest
from buildkit.evidence.verify.signatures import open_bundle
from buildkit.store.documents import EMPTY, descriptor, plain_artifact

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from buildkit.evidence.policytypes import Policy
    from buildkit.evidence.promotion import Promotion
    from buildkit.evidence.verify.signatures import Anchors
    from buildkit.records import Descriptor

SUFFIX = ".channel"
MOST = 100

_COMING = "io.edge-buildkit.channel.coming"
_LARGEST_RECORD = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Coming:
    """A move that somebody is about to make.

    Attributes:
        record: says so.
        image: digest that the channel will lead to; when it does, the record counts.
    """

    record: Descriptor
    image: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Journal:
    """A journal, by the descriptors of its records' bundles.

    Attributes:
        records: newest first; at most `MOST`.
        coming: of whoever moves the channel, or did not come to the end of it.
    """

    records: tuple[Descriptor, ...] = ()
    coming: Coming | None = None

    def settled(self, pointed: str) -> Journal:
        """This journal without what is to come, unless that has come true.

        Args:
            pointed: digest that the channel's tag leads to.
        """
        if self.coming is None or self.coming.image != pointed:
            return Journal(records=self.records)
        return Journal(records=(self.coming.record, *self.records)[:MOST])

    def dump(self) -> bytes:
        """The artifact's manifest."""
        if self.coming is None:
            return plain_artifact(artifact_type=media.CHANNEL, layers=self.records, annotations={})
        return plain_artifact(
            artifact_type=media.CHANNEL,
            layers=(self.coming.record, *self.records),
            annotations={_COMING: self.coming.image},
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
    try:
        layers = [descriptor(each, what) for each in shapes.array(document["layers"], what)]
    except StoreError as error:
        raise EvidenceError(Reason.MANIFEST, f"{what}: layers: {error.message}") from error
    found = tuple(each for each in layers if each.digest != EMPTY.digest)
    for each in found:
        if each.media_type != bundles.MEDIA_TYPE or not 0 < each.size <= _LARGEST_RECORD:
            raise EvidenceError(Reason.MANIFEST, f"{what}: {each.digest} is no record")
    notes = shapes.object(document.get("annotations", {}), f"{what}: annotations")
    if _COMING not in notes:
        records, coming = found, None
    elif found:
        image = shapes.digest(notes[_COMING], f"{what}: {_COMING}")
        records, coming = found[1:], Coming(record=found[0], image=image)
    else:
        raise EvidenceError(Reason.MANIFEST, f"{what}: no record of what is to come")
    if len(records) > MOST:
        raise EvidenceError(Reason.TOO_LARGE, f"{what}: more than {MOST} records")
    return Journal(records=records, coming=coming)


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
    vouched: bool = False,
) -> tuple[Record, ...]:
    """Open the records of a journal, of which each names the one before by its hash.

    So who signs the newest speaks for all; keys are retired, and policies change, but history does
    not. Each signature must fit nevertheless.

    Args:
        records: newest first.
        read: gives the checked bytes of one.
        channel: whose journal it is said to be.
        place: and where that channel is.
        policy: whose word counts.
        anchors: the keys and the trust root that the policy means.
        vouched: somebody speaks for the newest, even if its signer does not count any more.

    Raises:
        EvidenceError: one is forged, of another channel, or the chain is broken.
    """
    found: list[Record] = []
    for each in records:
        what = f"record {each.digest} of {place}:{channel}"
        signed = open_bundle(read(each), what, policy, anchors)
        counts = signed.trusted and not signed.retired
        if not counts and (signed.device or not (vouched or found)):
            why = "which was retired" if signed.retired else "whom the policy does not name"
            msg = f"{what}: signed by {signed.signer}, {why}"
            remedy = "if the channel leads where it should nevertheless: --expect DIGEST"
            reason = Reason.SIGNER_RETIRED if signed.retired else Reason.SIGNER_UNKNOWN
            raise EvidenceError(reason, msg, "" if signed.device else remedy)
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
