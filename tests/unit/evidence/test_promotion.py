"""The form of a promotion's record: what is not such a record is refused, field by field."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit.errors import EvidenceError, InputError
from buildkit.evidence import promotion, statement
from buildkit.evidence.promotion import Promotion, channel_name, read
from buildkit.evidence.reasons import Reason
from buildkit.evidence.statement import Subject

if TYPE_CHECKING:
    from collections.abc import Callable

IMAGE, MODELS, POLICY = (f"sha256:{each * 64}" for each in "abc")
FIRST = Promotion(
    channel="canary",
    place="registry.example/team/digits",
    number=1,
    name="digits:1.0.0",
    image=IMAGE,
    models=MODELS,
    at=datetime(2026, 11, 21, tzinfo=UTC),
    previous="",
    restores=0,
    policy=POLICY,
    devices={"pi5-cpu": ("0123456789abcdef", "fedcba9876543210")},
)
SECOND = replace(FIRST, number=2, previous="d" * 64)

_HEX = st.text("0123456789abcdef", min_size=64, max_size=64)
_DIGEST = _HEX.map(lambda text: f"sha256:{text}")
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
_KEYS = st.lists(st.text("0123456789abcdef", min_size=16, max_size=16), min_size=1, max_size=3).map(
    tuple
)


@st.composite
def promotions(draw: st.DrawFn) -> Promotion:
    number = draw(st.integers(1, 2**31 - 1))
    at = datetime.fromtimestamp(draw(st.integers(0, 4_000_000_000)), UTC)
    image, models = draw(st.lists(_DIGEST, min_size=2, max_size=2, unique=True))
    return Promotion(
        channel=draw(st.from_regex(r"[a-z][a-z0-9-]{0,31}", fullmatch=True)),
        place=draw(_TEXT),
        number=number,
        name=draw(_TEXT),
        image=image,
        models=models,
        at=at,
        previous="" if number == 1 else draw(_HEX),
        restores=draw(st.integers(0, number - 1)),
        policy=draw(_DIGEST),
        devices=draw(st.dictionaries(_TEXT, _KEYS, min_size=1, max_size=3)),
    )


@given(promotions())
def test_a_record_comes_back_as_it_was(said: Promotion) -> None:
    payload = said.statement().payload()
    assert read(statement.parse(payload, "it"), "it") == said


def test_the_state_of_a_roll_back_is_what_it_went_back_to() -> None:
    assert FIRST.state == 1
    assert replace(SECOND, number=5, restores=3).state == 3


def _set(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    *way, last = path.split(".")

    def change(body: dict[str, Any]) -> None:
        for key in way:
            body = body[key]
        if value is ...:
            del body[last]
        else:
            body[last] = value

    return change


WRONG: list[tuple[str, Any]] = [
    *[(key, ...) for key in sorted(promotion._KEYS)],
    *[("channel", each) for each in ("", None, 1, "Canary", "1.0.0", "a" * 33, "can.ary", "ä")],
    *[("place", each) for each in ("", None, 1, ["x"], "x" * 2001)],
    *[("number", each) for each in (0, -1, 1, 2.0, "2", True, None, 1 << 31)],
    *[("time", each) for each in ("", None, 0, "2026-11-21", "2026-13-21T00:00:00Z")],
    *[("previous", each) for each in (None, "", "d" * 64, {"sha256": "d" * 63})],
    *[("previous", {}), ("previous", [])],
    *[("previous", {"sha256": "D" * 64})],
    *[("restores", each) for each in (0, 2, 3, -1, True, "1", 1.0)],
    *[("policy", each) for each in (None, "", POLICY)],
    *[("policy", {}), ("policy", {"digest": "c" * 64})],
    *[("policy", {"digest": {"sha256": "c" * 64}, "name": "more"})],
    *[("policy.digest.sha256", each) for each in ("", None, "c" * 63, POLICY)],
    *[("devices", None), ("devices", {}), ("devices", [])],
    *[("devices", {"pi5": []}), ("devices", {"pi5": "0" * 16})],
    *[("devices", {"pi5": [each]}) for each in ("", None, 1, "0" * 15, "g" * 16)],
    ("more", 1),
]


@pytest.mark.parametrize(("path", "value"), WRONG, ids=str)
def test_a_field_that_is_wrong(path: str, value: Any) -> None:
    said = SECOND.statement()
    body = copy.deepcopy(dict(said.predicate))
    _set(path, value)(body)
    with pytest.raises(EvidenceError) as raised:
        read(replace(said, predicate=body), "record 1")
    assert raised.value.reason == Reason.PREDICATE
    assert raised.value.message.startswith("record 1")


def test_a_first_record_has_nothing_before_it() -> None:
    with pytest.raises(EvidenceError, match="record 1, and `previous` is d"):
        replace(FIRST, previous="d" * 64).statement()
    with pytest.raises(EvidenceError, match="goes back to record 1"):
        replace(FIRST, restores=1).statement()


def test_a_record_about_something_else() -> None:
    said = FIRST.statement()
    with pytest.raises(EvidenceError, match="and not a promotion") as raised:
        read(replace(said, predicate_type="https://slsa.dev/provenance/v1"), "it")
    assert raised.value.reason == Reason.PREDICATE_TYPE
    more = Subject(name="more", digest=POLICY)
    for subjects in (said.subjects[:1], (*said.subjects, more)):
        with pytest.raises(EvidenceError, match="not about one image and its models") as raised:
            read(replace(said, subjects=subjects), "it")
        assert raised.value.reason == Reason.SUBJECT
    nameless = Subject(name="", digest=IMAGE)
    with pytest.raises(EvidenceError, match="name"):
        read(replace(said, subjects=(nameless, said.subjects[1])), "it")
    odd: Any = []
    with pytest.raises(EvidenceError, match="not an object"):
        read(replace(said, predicate=odd), "it")


@pytest.mark.parametrize("name", ["canary", "stable", "a", "shop-7", "v1", "a" * 32])
def test_names_of_channels(name: str) -> None:
    assert channel_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "1.0.0", "7", "Canary", "canary.channel", "a b", "a_b", "-a", "ä", "a" * 33, "x-model"],
)
def test_what_names_no_channel(name: str) -> None:
    with pytest.raises(InputError, match="cannot name a channel"):
        channel_name(name)
