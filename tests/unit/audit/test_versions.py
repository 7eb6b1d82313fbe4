"""Which packages a person means, and which version is newer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit.audit import versions
from buildkit.errors import InputError

ASCENDING = {
    "deb": ("0~rc1", "0", "1.0~rc1", "1.0", "1.0-1", "1.0-1+deb12u1", "1.0-2", "1.10", "1:0.1"),
    "pypi": ("1.0.dev1", "1.0a1", "1.0rc1", "1.0", "1.0.post1", "1.9", "1.10", "1!0.1"),
    "generic": ("1.0~rc1", "1.0", "1.0a", "1.0.1", "1.9", "1.10", "2"),
    "": ("a", "b", "1", "2", "10"),
}


@pytest.mark.parametrize("kind", ASCENDING)
def test_order(kind: str) -> None:
    rising = ASCENDING[kind]
    for at, one in enumerate(rising):
        for other_at, other in enumerate(rising):
            assert versions.compare(kind, one, other) == (at > other_at) - (at < other_at)


def test_equal_in_other_words() -> None:
    assert versions.compare("pypi", "1.0", "1.0.0") == 0
    assert versions.compare("deb", "0:1.0", "1.0") == 0
    assert versions.compare("generic", "01.0", "1.0") == 0


@given(
    kind=st.sampled_from(["deb", "pypi", "generic", ""]),
    one=st.text(max_size=30),
    other=st.text(max_size=30),
)
def test_anything_can_be_compared(kind: str, one: str, other: str) -> None:
    found = versions.compare(kind, one, other)
    assert found in (-1, 0, 1)
    assert versions.compare(kind, other, one) == -found
    assert versions.compare(kind, one, one) == 0


def test_very_long_numbers() -> None:
    long = "9" * 10_000
    for kind in ("deb", "pypi", "generic"):
        assert versions.compare(kind, long, "1") == 1


def test_parse() -> None:
    assert versions.parse("numpy >=2, <2.1").bounds == ((">=", "2"), ("<", "2.1"))
    assert versions.parse("libstdc++6").name == "libstdc++6"
    found = versions.parse("pkg:deb/debian/libc6@2.36-9%2Bdeb12u1?arch=arm64&distro=debian-12")
    assert (found.type, found.namespace, found.name) == ("deb", "debian", "libc6")
    assert found.bounds == (("==", "2.36-9+deb12u1"),)
    assert found.qualifiers == (("arch", "arm64"), ("distro", "debian-12"))
    assert versions.parse("pkg:pypi/numpy<2").bounds == (("<", "2"),)
    assert versions.parse("pkg:npm/%40scope/name@1.0").name == "name"
    assert "@scope/name" in versions.parse("pkg:npm/%40scope/name@1.0").names
    assert versions.parse("Scikit_Learn").names == ("Scikit_Learn", "scikit_learn", "scikit-learn")
    assert versions.parse("licence:MIT").licence == "MIT"
    assert versions.parse("a" * 64).sha256 == "a" * 64
    assert versions.parse("abcdef0").name == "abcdef0"


@pytest.mark.parametrize(
    "text", ["", "<2", "numpy<", "numpy<2,", "a b", "numpy<<2", "pkg:", "pkg:pypi", "\0"]
)
def test_what_names_nothing(text: str) -> None:
    if text == "numpy<2,":
        assert versions.parse(text).bounds == (("<", "2"),)
        return
    with pytest.raises(InputError):
        versions.parse(text)


@given(st.text(max_size=60))
def test_parsing_never_fails_otherwise(text: str) -> None:
    try:
        found = versions.parse(text)
    except InputError:
        return
    assert found.name or found.sha256 or found.licence
    found.fits("pkg:pypi/numpy@1.0", "1.0")


@given(st.text(max_size=80))
def test_any_text_has_parts(text: str) -> None:
    found = versions.parse_url(f"pkg:{text}")
    assert isinstance(found.version, str)


@pytest.mark.parametrize(
    ("expression", "licence", "names"),
    [
        ("GPL-2.0-only AND MIT", "MIT", True),
        ("GPL-2.0-only AND MIT", "mit", True),
        ("GPL-2.0-only", "GPL", False),
        ("GPL-2.0-only OR (MIT AND Zlib)", "GPL-*", True),
        ("LGPL-2.1-only", "GPL-*", False),
        ("GPL-3.0-only WITH GCC-exception-3.1", "GCC-exception-3.1", True),
        ("", "MIT", False),
    ],
)
def test_licences(expression: str, licence: str, *, names: bool) -> None:
    assert versions.names_licence(expression, licence) == names
