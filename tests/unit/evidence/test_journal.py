"""Journals of channels: a chain of signed records, which nobody can forge, cut or reorder."""

from __future__ import annotations

import base64
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit import canonical, digests, media
from buildkit.errors import DigestError, EvidenceError
from buildkit.evidence import bundle as bundles
from buildkit.evidence import journal as journals
from buildkit.evidence.journal import MOST, Coming, Journal, Record, before, opened, parse
from buildkit.evidence.keys import KeyRing
from buildkit.evidence.policy import parse as policy
from buildkit.evidence.promotion import Promotion
from buildkit.evidence.reasons import Reason
from buildkit.evidence.smoke import payload_digest
from buildkit.evidence.verify import anchors
from buildkit.records import Descriptor

sys.path.append(str(Path(__file__).parent / "verify"))

from signed_world import ring, signed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit.evidence.verify.signatures import Anchors

BUILT_IN = policy(b"schema = 1", "policy.toml")
NOW = datetime(2026, 11, 21, tzinfo=UTC)
PLACE = "registry.example/team/digits"
IMAGE, OTHER = "sha256:" + "a" * 64, "sha256:" + "e" * 64


class Shelf:
    """Records that were signed, one after the other."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.newest_first: list[Descriptor] = []
        self.last = ""

    def add(self, key: str = "good", **how: Any) -> Descriptor:
        number = len(self.newest_first) + 1
        said = Promotion(
            **{
                "channel": "canary",
                "place": PLACE,
                "number": number,
                "name": f"digits:{number}",
                "image": IMAGE,
                "models": "sha256:" + "b" * 64,
                "at": NOW,
                "previous": self.last,
                "restores": 0,
                "policy": "sha256:" + "c" * 64,
                "devices": {"pi5": ("0" * 16,)},
                **how,
            }
        )
        return self.keep(said.statement().payload(), key)

    def keep(self, payload: bytes, key: str = "good") -> Descriptor:
        self.last = payload_digest(payload)
        found = self.put(signed(payload, key))
        self.newest_first.insert(0, found)
        return found

    def put(self, data: bytes) -> Descriptor:
        digest = digests.of_bytes(data)
        self.blobs[digest] = data
        return Descriptor(media_type=bundles.MEDIA_TYPE, digest=digest, size=len(data))


def several(count: int = 3, **how: Any) -> Shelf:
    shelf = Shelf()
    for _ in range(count):
        shelf.add(**how)
    return shelf


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Anchors:
    folder = ring(tmp_path_factory.mktemp("journal") / "keys")
    return anchors.load(BUILT_IN, folder, KeyRing.load(folder), NOW)


def read(
    shelf: Shelf,
    trust: Anchors,
    records: Sequence[Descriptor] | None = None,
    **how: Any,
) -> tuple[Record, ...]:
    about = {"channel": "canary", "place": PLACE, "policy": BUILT_IN, "anchors": trust, **how}
    found = shelf.newest_first if records is None else records
    return opened(found, lambda each: shelf.blobs[each.digest], **about)


# The chain ---------------------------------------------------------------------------------------


def test_a_chain_is_opened(trust: Anchors) -> None:
    shelf = several(3)
    found = read(shelf, trust)
    assert [each.said.number for each in found] == [3, 2, 1]
    assert [each.bundle for each in found] == [each.digest for each in shelf.newest_first]
    assert found[0].said.previous == found[1].payload
    assert read(shelf, trust, ()) == ()


@pytest.mark.parametrize(
    ("order", "said"),
    [
        ((0, 1), "the journal ends at record 2"),
        ((0, 2), "record 3 does not follow it"),
        ((1, 0, 2), "record 2 does not follow it"),
        ((0, 0, 1, 2), "record 3 does not follow it"),
        ((0, 1, 2, 2), "record 1 does not follow it"),
    ],
)
def test_a_chain_that_is_broken(order: tuple[int, ...], said: str, trust: Anchors) -> None:
    shelf = several(3)
    with pytest.raises(EvidenceError, match=said) as raised:
        read(shelf, trust, [shelf.newest_first[at] for at in order])
    assert raised.value.reason == Reason.PREDICATE


def test_another_record_in_the_place_of_one(trust: Anchors) -> None:
    shelf = several(3)
    other = several(2, image=OTHER)
    shelf.blobs |= other.blobs
    first, _, third = shelf.newest_first
    with pytest.raises(EvidenceError, match="does not follow"):
        read(shelf, trust, [first, other.newest_first[0], third])


@pytest.mark.parametrize("how", [{"channel": "stable"}, {"place": "registry.example/other"}])
def test_records_of_another_channel(how: dict[str, str], trust: Anchors) -> None:
    with pytest.raises(EvidenceError, match="it is about") as raised:
        read(several(2, **how), trust)
    assert raised.value.reason == Reason.SUBJECT


def test_a_long_journal_has_no_beginning(trust: Anchors) -> None:
    shelf = several(MOST + 2)
    found = read(shelf, trust, shelf.newest_first[:MOST])
    assert [found[0].said.number, found[-1].said.number] == [MOST + 2, 3]


# Who signs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["good", "older", "friend", "ed25519"])
def test_who_counts(key: str, trust: Anchors) -> None:
    assert len(read(several(2, key=key), trust)) == 2


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("retired", "which was retired"),
        ("board", "signed by device key .* whom the policy does not name"),
        ("stranger", "neither policy nor key ring knows"),
    ],
)
def test_who_does_not(key: str, said: str, trust: Anchors) -> None:
    shelf = several(2)
    shelf.add(key=key)
    with pytest.raises(EvidenceError, match=said) as raised:
        read(shelf, trust)
    wanted = Reason.SIGNER_RETIRED if key == "retired" else Reason.SIGNER_UNKNOWN
    assert raised.value.reason == wanted


def test_who_signs_the_newest_speaks_for_the_others(trust: Anchors) -> None:
    shelf = several(1)
    shelf.add(key="retired")
    with pytest.raises(EvidenceError) as raised:
        read(shelf, trust)
    assert "--expect" in raised.value.remedy
    assert [each.said.number for each in read(shelf, trust, vouched=True)] == [2, 1]
    shelf.add()
    assert [each.said.number for each in read(shelf, trust)] == [3, 2, 1]


@pytest.mark.parametrize("key", ["stranger", "board"])
def test_but_never_for_a_stranger_or_a_device(key: str, trust: Anchors) -> None:
    shelf = several(1)
    shelf.add(key=key)
    for _ in range(2):
        with pytest.raises(EvidenceError):
            read(shelf, trust, vouched=True)
        shelf.add()


def test_a_signature_that_does_not_fit(trust: Anchors) -> None:
    shelf = several(2)
    honest = json.loads(shelf.blobs[shelf.newest_first[1].digest])
    other = json.loads(signed(b"other", "good"))
    honest["dsseEnvelope"]["signatures"] = other["dsseEnvelope"]["signatures"]
    forged = shelf.put(canonical.dump(honest))
    for vouched in (False, True):
        with pytest.raises(EvidenceError) as raised:
            read(shelf, trust, [shelf.newest_first[0], forged], vouched=vouched)
        assert raised.value.reason == Reason.SIGNATURE


def test_something_else_that_was_rightly_signed(trust: Anchors) -> None:
    shelf = several(1)
    document = json.loads(shelf.blobs[shelf.newest_first.pop().digest])
    payload = base64.b64decode(document["dsseEnvelope"]["payload"])
    shelf.keep(payload.replace(b"predicate:promotion:v1", b"predicate:run:v1"))
    with pytest.raises(EvidenceError, match="not a promotion"):
        read(shelf, trust)


def test_corrupt_bytes_are_the_readers_to_find(trust: Anchors) -> None:
    shelf = several(1)

    def corrupt(each: Descriptor) -> bytes:
        raise DigestError(each.digest)

    with pytest.raises(DigestError):
        opened(
            shelf.newest_first,
            corrupt,
            channel="canary",
            place=PLACE,
            policy=BUILT_IN,
            anchors=trust,
        )


# Roll-backs --------------------------------------------------------------------------------------


def chain(*restores: int) -> list[Record]:
    """Records 1, 2, …, newest first; a number other than 0 goes back to that one."""
    shelf = Shelf()
    made = []
    for number, restored in enumerate(restores, 1):
        said = Promotion(
            channel="canary",
            place=PLACE,
            number=number,
            name=str(number),
            image=IMAGE,
            models=OTHER,
            at=NOW,
            previous="" if number == 1 else "d" * 64,
            restores=restored,
            policy="",
            devices={},
        )
        made.append(Record(said=said, payload="", signer="", bundle=shelf.last))
    return made[::-1]


@pytest.mark.parametrize(
    ("restores", "goes_to"),
    [
        ((), None),
        ((0,), None),
        ((0, 0), 1),
        ((0, 0, 1), None),  # twice back, of two: nothing is left
        ((0, 0, 0, 2), 1),
        ((0, 0, 0, 2, 1), None),
        ((0, 0, 1, 0), 1),  # what the roll-back led to, and not what it left
        ((0, 0, 0, 2, 0, 2), 1),
        ((0, 0, 0, 2, 0, 0), 5),
        ((0, 0, 0, 2, 1, 0, 1, 0), 1),
    ],
)
def test_where_a_roll_back_goes(restores: tuple[int, ...], goes_to: int | None) -> None:
    found = before(chain(*restores))
    assert (found and found.said.number) == goes_to


def test_a_roll_back_to_what_the_journal_has_forgotten() -> None:
    assert before(chain(0, 0, 0)[:1]) is None
    assert before(chain(0, 0, 1, 0)[:2]) is None


# The artifact ------------------------------------------------------------------------------------

_RECORDS = st.integers(0, 5).map(lambda count: tuple(several(count).newest_first))


@given(_RECORDS, st.booleans())
def test_a_journal_comes_back_as_it_was(records: tuple[Descriptor, ...], moving: bool) -> None:  # noqa: FBT001
    coming = Coming(record=records[0], image=IMAGE) if moving and records else None
    made = Journal(records=records, coming=coming)
    assert parse(made.dump(), "it") == made


def test_what_is_to_come_counts_when_the_tag_leads_to_it() -> None:
    shelf = several(3)
    newest, *rest = shelf.newest_first
    made = Journal(records=tuple(rest), coming=Coming(record=newest, image=IMAGE))
    assert made.settled(OTHER).records == made.settled("").records == tuple(rest)
    assert made.settled(IMAGE).records == (newest, *rest)
    assert made.settled(IMAGE).coming is None
    assert Journal(records=tuple(rest)).settled(IMAGE).records == tuple(rest)


def test_a_journal_keeps_a_hundred() -> None:
    records = tuple(several(1).newest_first * (MOST + 1))
    made = Journal(records=records[:MOST], coming=Coming(record=records[0], image=IMAGE))
    assert len(parse(made.dump(), "it").records) == MOST
    assert len(made.settled(IMAGE).records) == MOST
    with pytest.raises(EvidenceError) as raised:
        parse(Journal(records=records).dump(), "it")
    assert raised.value.reason == Reason.TOO_LARGE


def changed(**how: Any) -> bytes:
    document = json.loads(Journal(records=tuple(several(2).newest_first)).dump())
    return canonical.dump({**document, **how})


GOOD = several(1).newest_first[0].to_json()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"{",
        b'{"artifactType":1,"artifactType":2}',
        changed(artifactType=media.CLAIM),
        changed(artifactType=7),
        changed(layers=None),
        changed(layers={}),
        changed(layers=[7]),
        changed(layers=[{**GOOD, "mediaType": "text/plain"}]),
        changed(layers=[{**GOOD, "size": 0}]),
        changed(layers=[{**GOOD, "size": -1}]),
        changed(layers=[{**GOOD, "size": 2 << 20}]),
        changed(layers=[{**GOOD, "digest": "md5"}]),
        changed(annotations=None),
        changed(annotations=[]),
        changed(annotations={journals._COMING: "canary"}),
        changed(annotations={journals._COMING: IMAGE}, layers=[]),
    ],
)
def test_what_is_no_journal(data: bytes) -> None:
    with pytest.raises(EvidenceError, match=r"^it: ?"):
        parse(data, "it")


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    with pytest.raises(EvidenceError):
        parse(data, "it")
