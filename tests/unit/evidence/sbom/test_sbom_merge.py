from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sbom_samples import ARM, BASE, base, lock, seen

from buildkit.errors import EvidenceError
from buildkit.evidence.reasons import Reason
from buildkit.evidence.sbom.merge import merge
from buildkit.evidence.sbom.seen import Seen
from buildkit.lock.types import PlatformPins, WheelPin

if TYPE_CHECKING:
    from random import Random

PINS = lock().platforms[ARM]
BELOW = base(PINS)


def wheel(version: str) -> PlatformPins:
    pin = WheelPin(name="a-b", version=version, file="x.whl", sha256="0" * 64)
    return PlatformPins(debian=(), wheels=(pin,))


def test_all_that_is_locked_was_seen() -> None:
    parts, findings = merge(PINS, BELOW, ())
    assert findings == ()
    assert len(parts) == len(PINS.debian) + len(PINS.wheels) > 10
    assert {part.origin for part in parts} == {"both"}
    libc = next(part for part in parts if part.name == "libc6")
    pin = next(pin for pin in PINS.debian if pin.name == "libc6")
    assert (libc.version, libc.sha256, libc.file) == (pin.version, pin.sha256, pin.file)
    assert libc.layer == BASE
    assert "GPL" in libc.licences
    assert libc.cpes


def test_the_source_package_is_told_where_syft_saw_it() -> None:
    told = [
        dataclasses.replace(each, source="glibc@2.36-9") if each.name == "libc6" else each
        for each in BELOW
    ]
    parts, _ = merge(PINS, told, ())
    purls = {part.name: part.purl for part in parts}
    assert purls["libc6"].endswith("?arch=arm64&distro=debian-12&upstream=glibc%402.36-9")
    assert "upstream" not in purls["zlib1g"]


def test_locked_and_not_seen() -> None:
    parts, findings = merge(PINS, [each for each in BELOW if each.name != "libc6"], ())
    [finding] = findings
    assert (finding.kind, finding.component.split()[0]) == ("unseen", "libc6")
    assert next(part for part in parts if part.name == "libc6").origin == "lock"


def test_seen_in_the_app_and_not_locked() -> None:
    extra = seen("left-pad", "1.0", "npm", purl="pkg:npm/left-pad@1.0", layer="sha256:app")
    parts, [finding] = merge(PINS, BELOW, [extra, dataclasses.replace(extra, locations=("/x",))])
    assert (finding.kind, finding.component) == ("unlocked", "left-pad 1.0")
    assert "/usr/left-pad" in finding.message
    [part] = [part for part in parts if part.origin == "seen"]
    assert part.locations == ("/usr/left-pad", "/x")
    assert (part.sha256, part.purl) == ("", "pkg:npm/left-pad@1.0")


def test_everything_has_a_package_url() -> None:
    more = (
        seen("x+y", "1:2", "deb", architecture="arm64"),
        seen("A_b", "1"),
        seen("tool", "", "binary"),
    )
    parts, _ = merge(PINS, BELOW, more)
    assert [part.purl for part in parts if part.origin == "seen"] == [
        "pkg:generic/tool",
        "pkg:deb/debian/x%2By@1:2?arch=arm64",
        "pkg:pypi/a-b@1",
    ]


def test_another_version_in_the_base_is_an_error() -> None:
    changed = [
        dataclasses.replace(each, version="0") if each.name == "libc6" else each for each in BELOW
    ]
    with pytest.raises(EvidenceError) as caught:
        merge(PINS, changed, ())
    assert caught.value.reason == Reason.SBOM
    assert "libc6" in caught.value.message
    assert caught.value.remedy


def test_a_copy_beside_the_right_one_is_a_finding() -> None:
    vendored = seen("A.B", "0.9", locations=("/usr/setuptools/_vendor/a_b",))
    for below, app in (((seen("a_b", "1"), vendored), ()), ((seen("a_b", "1"),), (vendored,))):
        parts, [finding] = merge(wheel("1"), below, app)
        assert (finding.kind, finding.component) == ("copy", "A.B 0.9")
        assert [(part.version, part.origin) for part in parts] == [("0.9", "seen"), ("1", "both")]


def test_the_app_may_show_the_base_again() -> None:
    parts, findings = merge(PINS, BELOW, BELOW)
    assert (parts, findings) == merge(PINS, BELOW, ())
    assert (parts, findings) == merge(PINS, BELOW, BELOW, whole=True)


def test_the_app_may_hide_what_the_base_has() -> None:
    rest = [each for each in BELOW if each.name != "libc6"]
    parts, [finding] = merge(PINS, BELOW, rest, whole=True)
    assert (finding.kind, finding.component.split()[0]) == ("removed", "libc6")
    assert parts == merge(PINS, BELOW, ())[0]


@pytest.mark.parametrize(
    ("pinned", "found"),
    [("1", "1.0"), ("1.0.0", "1"), ("1.0rc1", "1.0RC1"), ("1.0-1", "1.0.1"), ("1", "v1")],
)
def test_spellings_of_a_wheels_version(pinned: str, found: str) -> None:
    assert merge(wheel(pinned), [seen("a_b", found)], ())[1] == ()


@pytest.mark.parametrize(("pinned", "found"), [("1", "10"), ("1.1", "1"), ("1.0rc1", "1.0")])
def test_other_versions_of_a_wheel(pinned: str, found: str) -> None:
    with pytest.raises(EvidenceError):
        merge(wheel(pinned), [seen("a_b", found)], ())


ANY = st.builds(
    Seen,
    name=st.sampled_from(["numpy", "NumPy", "libc6", "x"]),
    version=st.sampled_from(["", "1", "2.4.6", PINS.debian[2].version]),
    kind=st.sampled_from(["deb", "python", "binary"]),
    architecture=st.sampled_from(["", "arm64"]),
    purl=st.sampled_from(["", "pkg:generic/x"]),
    licences=st.just(()),
    cpes=st.just(()),
    locations=st.sampled_from([(), ("/a",), ("/b",)]),
    layer=st.sampled_from(["", BASE]),
)


@given(
    below=st.lists(ANY),
    app=st.lists(ANY),
    whole=st.booleans(),
    random=st.randoms(use_true_random=False),
)
def test_nothing_is_lost_and_order_means_nothing(
    *, below: list[Seen], app: list[Seen], whole: bool, random: Random
) -> None:
    try:
        parts, findings = merge(PINS, below, app, whole=whole)
    except EvidenceError:
        return
    purls = {part.purl for part in parts}
    hashes = {part.sha256 for part in parts}
    assert {pin.sha256 for pin in PINS.debian} | {pin.sha256 for pin in PINS.wheels} <= hashes
    assert {each.purl for each in (*below, *app) if each.purl and each.kind == "binary"} <= purls
    assert all(part.purl.startswith("pkg:") for part in parts)
    random.shuffle(below)
    random.shuffle(app)
    assert merge(PINS, below, app, whole=whole) == (parts, findings)
