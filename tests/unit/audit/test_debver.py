"""Debian's order of versions, held against that of dpkg itself."""

from __future__ import annotations

import itertools
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkit.audit.debver import key


def dpkg(one: str, other: str) -> int:
    """-1, 0 or 1, as ``dpkg --compare-versions`` orders two versions."""
    for operator, answer in (("lt", -1), ("eq", 0)):
        done = subprocess.run(
            ["dpkg", "--compare-versions", one, operator, other], check=False, capture_output=True
        )
        assert done.stderr == b""
        if done.returncode == 0:
            return answer
    return 1


def ours(one: str, other: str) -> int:
    first, second = key(one), key(other)
    return (first > second) - (first < second)


# Ours is one order of all of them, so neighbours are enough to hold against dpkg.
ORDERED = [
    "0~~",
    "0~~a",
    "0~",
    "0",
    "0a",
    "0+b1",
    "0.0",
    "1.0~rc1",
    "1.0~rc1-1",
    "1.0-~",
    "1.0",
    "1.0-0.1",
    "1.0-1~deb12u1",
    "1.0-1",
    "1.0-1+b1",
    "1.0-1+deb12u1",
    "1.0-1+deb12u9",
    "1.0-1+deb12u14",
    "1.0-a",
    "1.0a",
    "1.0a-1",
    "1.0+dfsg-1",
    "1.0-1-1",
    "1.0.0",
    "1.2",
    "1.10",
    "1.010.1",
    "2024a-0",
    "1:0",
    "1:1.2.13.dfsg-1",
    "2:0~",
]


def test_neighbours_are_in_the_order_of_dpkg() -> None:
    for one, other in itertools.pairwise(ORDERED):
        assert dpkg(one, other) == ours(one, other) == -1, (one, other)
    shuffled = sorted(ORDERED)
    assert sorted(shuffled, key=key) == ORDERED


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1.0", "1.0-0"),
        ("1.0", "0:1.0"),
        ("1.", "1.0"),
        ("1.0a", "1.0a0"),
        ("1.007", "1.7"),
        ("1.0-00", "1.0"),
    ],
)
def test_spellings_of_one_version(one: str, other: str) -> None:
    assert dpkg(one, other) == ours(one, other) == 0


@st.composite
def versions(draw: st.DrawFn) -> str:
    piece = st.text(alphabet="0019azAZ.+~", max_size=4)
    epoch = draw(st.sampled_from(["", "", "0:", "1:"]))
    revision = draw(st.sampled_from(["", "-0", "-1", "-~", "-1+b1"]))
    return f"{epoch}{draw(st.sampled_from('012'))}{draw(piece)}{revision}"


@settings(max_examples=60, deadline=None)
@given(versions(), versions())
def test_as_dpkg_says(one: str, other: str) -> None:
    assert ours(one, other) == dpkg(one, other)


@given(versions(), versions(), versions())
def test_it_is_an_order(one: str, other: str, third: str) -> None:
    assert ours(one, other) == -ours(other, one)
    low, middle, high = sorted((one, other, third), key=key)
    assert ours(low, middle) <= 0
    assert ours(middle, high) <= 0
    assert ours(low, high) <= 0


@given(st.text(max_size=20))
def test_what_is_no_version_is_an_error(text: str) -> None:
    try:
        key(text)
    except ValueError:
        return
    assert text.isascii()
    assert any(character.isdigit() for character in text)


@pytest.mark.parametrize(
    "text",
    ["", "a1", "1_0", "1.0-", "1.0 ", ":1", "x:1", "-1", "1.0-1_1", "٣.0", "1:", "1é", "1a:2"],
)
def test_these_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="not a version"):
        key(text)


def test_a_hostile_version_costs_no_time() -> None:
    for text in ("1" + "-" * 50_000, "1" + "-a" * 25_000, "1" + "a1" * 25_000, "1:" * 20_000):
        try:
            key(text)
        except ValueError:
            continue
