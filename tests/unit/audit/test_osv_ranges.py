from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit.audit import cvss
from buildkit.audit.osvpackages import Lookup, lookup
from buildkit.audit.osvranges import Affected, Event, Range, judge
from buildkit.audit.versions import parse_url

if TYPE_CHECKING:
    from collections.abc import Sequence

Events = tuple[tuple[Event, str], ...]


def affected(*events: tuple[Event, str], kind: str = "ECOSYSTEM") -> Affected:
    return Affected(versions=(), ranges=(Range(type=kind, events=events),))


@pytest.mark.parametrize(
    ("version", "hit"),
    [("1.0", True), ("1.5-1", True), ("1.5-2", False), ("2.0~rc1", False), ("2.0", True)],
)
def test_introduced_and_fixed_in_turn(version: str, hit: bool) -> None:  # noqa: FBT001 - a table
    said = affected(
        ("introduced", "0"), ("fixed", "1.5-2"), ("introduced", "2.0"), ("fixed", "2.1")
    )
    assert judge(version, said, "Debian:12").affected is hit


def test_events_may_stand_in_any_order() -> None:
    said = affected(("fixed", "2.0"), ("introduced", "1.0"))
    assert judge("1.5", said, "PyPI").affected is True
    assert judge("2.0", said, "PyPI").affected is False


def test_zero_is_before_every_version() -> None:
    assert judge("0~git1", affected(("introduced", "0")), "Debian:12").affected is True
    assert judge("0~git1", affected(("introduced", "0~")), "Debian:12").affected is True
    assert judge("0.dev1", affected(("introduced", "0")), "PyPI").affected is True


def test_the_last_that_is_affected_is_affected() -> None:
    said = affected(("introduced", "0"), ("last_affected", "2.1"))
    assert judge("2.1", said, "PyPI").affected is True
    assert judge("2.1.1", said, "PyPI").affected is False


def test_a_limit_bounds_a_range_and_several_bound_it_at_the_highest() -> None:
    said = affected(("introduced", "1"), ("limit", "2"))
    assert judge("1.9", said, "PyPI").affected is True
    assert judge("2", said, "PyPI").affected is False
    more = affected(("introduced", "1"), ("limit", "2"), ("limit", "3"))
    assert judge("2.5", more, "PyPI").affected is True
    assert judge("9", affected(("introduced", "1"), ("limit", "*")), "PyPI").affected is True


def test_one_range_of_several_is_enough() -> None:
    ranges = (
        Range(type="ECOSYSTEM", events=(("introduced", "1"), ("fixed", "2"))),
        Range(type="ECOSYSTEM", events=(("introduced", "3"), ("fixed", "4"))),
    )
    found = judge("3.1", Affected(versions=(), ranges=ranges), "PyPI")
    assert (found.affected, found.fixed) == (True, ("4",))


def test_the_repaired_version_is_the_next_one() -> None:
    said = affected(("introduced", "0"), ("fixed", "9"), ("introduced", "3"), ("fixed", "2"))
    assert judge("1", said, "PyPI").fixed == ("2",)
    assert judge("4", said, "PyPI").fixed == ("9",)


def test_a_listed_version_is_affected_however_it_is_spelt() -> None:
    said = Affected(versions=("1.0", "not a version", "2.0rc1"), ranges=())
    assert judge("1.0.0", said, "PyPI").affected is True
    assert judge("2.0-rc.1", said, "PyPI").affected is True
    assert judge("3", said, "PyPI").affected is False
    # Debian's versions are one spelling.
    assert judge("1.0-0", said, "Debian:12").affected is False


def test_ranges_of_commits_are_no_order_of_versions() -> None:
    said = Affected(
        versions=("1.1",), ranges=(Range(type="GIT", events=(("introduced", "a" * 40),)),)
    )
    assert judge("1.1", said, "PyPI").affected is True
    assert judge("1.2", said, "PyPI").affected is False


def test_what_cannot_be_ordered_is_not_decided() -> None:
    found = judge("1.0", affected(("introduced", "0"), ("fixed", "two")), "PyPI")
    assert found.affected is None
    assert "'two'" in found.why
    # Also when the version in the image is the one that makes no sense.
    assert judge("latest", affected(("introduced", "1")), "Debian:12").affected is None
    assert judge("1", affected(("introduced", "1")), "Maven").affected is None
    # A list can still be sure.
    said = Affected(
        versions=("1.0",), ranges=(Range(type="ECOSYSTEM", events=(("introduced", "x y"),)),)
    )
    assert judge("1.0", said, "PyPI").affected is True


@pytest.mark.parametrize(
    "ordered",
    [
        # Semantic Versioning 2.0.0, section 11.
        ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2"],
        ["1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.0.1", "1.1.0", "2.0.0"],
    ],
)
def test_semantic_versions_have_their_own_order(ordered: list[str]) -> None:
    for at, low in enumerate(ordered):
        for high in ordered[at + 1 :]:
            said = affected(("introduced", low), ("fixed", high), kind="SEMVER")
            assert judge(low, said, "npm").affected is True, (low, high)
            assert judge(high, said, "npm").affected is False, (low, high)


def test_build_metadata_does_not_count() -> None:
    said = affected(("introduced", "1.0.0+a"), ("fixed", "1.0.1"), kind="SEMVER")
    assert judge("1.0.0+b", said, "npm").affected is True


# Against a reference that is too simple to be wrong: versions are numbers, and each is asked -----

NUMBERS = st.integers(0, 12)


@st.composite
def timelines(draw: st.DrawFn) -> tuple[list[tuple[Event, int]], int]:
    count = draw(st.integers(1, 6))
    closing = draw(st.sampled_from(["fixed", "last_affected"]))
    kinds: list[Event] = draw(
        st.lists(st.sampled_from(["introduced", closing]), min_size=count, max_size=count)
    )
    places = draw(st.lists(NUMBERS, min_size=count, max_size=count, unique=True))
    limits = draw(st.lists(NUMBERS, max_size=2))
    events: list[tuple[Event, int]] = list(zip(kinds, places, strict=True))
    events += [("limit", each) for each in limits]
    return draw(st.permutations(events)), draw(NUMBERS)


def naive(events: Sequence[tuple[Event, int]], version: int) -> bool:
    """Walk along all versions, one by one, and note where it is switched on and off."""
    limits = [place for kind, place in events if kind == "limit"]
    if limits and version >= max(limits):
        return False
    inside = False
    for now in range(version + 1):
        here = {kind for kind, place in events if place == now}
        if "introduced" in here:
            inside = True
        if "fixed" in here:
            inside = False
        if any(kind == "last_affected" and place == now - 1 for kind, place in events):
            inside = "introduced" in here
    return inside


@pytest.mark.parametrize("form", ["{}", "1.{}-1", "2:1.{}~rc1"])
@given(timelines())
def test_as_a_naive_walk_says(form: str, drawn: tuple[list[tuple[Event, int]], int]) -> None:
    events, version = drawn
    said = affected(*((kind, form.format(place + 1)) for kind, place in events))
    found = judge(form.format(version + 1), said, "Debian:12")
    assert found.affected is naive(events, version)


@given(timelines())
def test_as_a_naive_walk_says_for_python(drawn: tuple[list[tuple[Event, int]], int]) -> None:
    events, version = drawn
    for form, ecosystem, kind in (
        ("1.{}.post1", "PyPI", "ECOSYSTEM"),
        ("0.{}.3-rc.1", "npm", "SEMVER"),
    ):
        said = affected(*((name, form.format(place)) for name, place in events), kind=kind)
        assert judge(form.format(version), said, ecosystem).affected is naive(events, version)


@given(
    st.text(max_size=12),
    st.lists(
        st.tuples(
            st.sampled_from(["introduced", "fixed", "last_affected", "limit"]), st.text(max_size=8)
        ),
        max_size=4,
    ),
    st.sampled_from(["Debian:12", "PyPI", "npm", "Go", "other"]),
    st.sampled_from(["ECOSYSTEM", "SEMVER", "GIT", "?"]),
)
def test_nothing_that_a_record_says_is_a_traceback(
    version: str, events: list[tuple[Event, str]], ecosystem: str, kind: str
) -> None:
    found = judge(version, affected(*events, kind=kind), ecosystem)
    assert (found.affected is None) == bool(found.why)


# Package URLs -----------------------------------------------------------------------------------


def asked(purl: str) -> Lookup | str:
    return lookup(parse_url(purl))


def test_a_debian_package_is_looked_up_by_its_source() -> None:
    assert asked(
        "pkg:deb/debian/libbz2-1.0@1.0.8-5%2Bb1?arch=arm64&distro=debian-12&upstream=bzip2%401.0.8-5"
    ) == Lookup(ecosystems=("Debian:12", "Debian"), name="bzip2", version="1.0.8-5")
    assert asked(
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u14?arch=arm64&distro=debian-12&upstream=glibc"
    ) == Lookup(ecosystems=("Debian:12", "Debian"), name="glibc", version="2.36-9+deb12u14")


def test_without_a_source_the_binary_name_is_assumed() -> None:
    found = asked("pkg:deb/debian/libbz2-1.0@1.0.8-5%2Bb1?arch=arm64&distro=debian-12")
    # A rebuild of the binary is of the same source.
    assert found == Lookup(
        ecosystems=("Debian:12", "Debian"), name="libbz2-1.0", version="1.0.8-5", assumed=True
    )


def test_languages() -> None:
    assert asked("pkg:pypi/Foo_Bar@1.0") == Lookup(
        ecosystems=("PyPI",), name="foo-bar", version="1.0"
    )
    assert asked("pkg:golang/example.org/a/b@v1.2.3") == Lookup(
        ecosystems=("Go",), name="example.org/a/b", version="1.2.3"
    )
    assert asked("pkg:npm/%40scope/name@1.0.0") == Lookup(
        ecosystems=("npm",), name="@scope/name", version="1.0.0"
    )


@pytest.mark.parametrize(
    "purl",
    [
        "",
        "pkg:pypi/numpy",
        "pkg:generic/tool@1",
        "pkg:deb/other/zlib1g@1?distro=other-1",
        "pkg:deb/debian/zlib1g@1?arch=arm64",
        "pkg:deb/debian/zlib1g@1?distro=ubuntu-22.04",
    ],
)
def test_what_nobody_can_look_up_is_said(purl: str) -> None:
    assert isinstance(asked(purl), str)


# CVSS -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vector", "score"),
    [
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", 10.0),
        ("CVSS:3.0/AV:N/AC:H/PR:N/UI:N/S:C/C:H/I:N/A:N", 6.8),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", 6.1),
        ("CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:H/I:H/A:H/E:P", 7.8),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", 0.0),
        ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", None),
        ("CVSS:3.1/AV:N/AC:L", None),
        ("CVSS:3.1/AV:X/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", None),
        ("high", None),
    ],
)
def test_scores(vector: str, score: float | None) -> None:
    assert cvss.score(vector) == score
