from __future__ import annotations

import json
from pathlib import Path

import cyclonedx.schema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from license_expression import get_spdx_licensing  # type: ignore[import-untyped]
from packageurl import PackageURL

from buildkit import distributions
from buildkit.evidence.sbom import component as components
from buildkit.evidence.sbom import licences
from buildkit.evidence.sbom.licences import Licence
from buildkit.lock.types import DebianPin, WheelPin

# The library strips white space, slashes and dots at the ends.
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1).filter(
    lambda text: text.strip("/.") == text
)


def pin(name: str, version: str, suite: str = "bookworm") -> DebianPin:
    return DebianPin(
        name=name,
        version=version,
        architecture="arm64",
        suite=suite,
        file="x.deb",
        sha256="0" * 64,
        size=1,
    )


@pytest.mark.parametrize(
    ("suite", "distro"),
    [
        ("bookworm", "debian-12"),
        ("bookworm-security", "debian-12"),
        ("trixie", "debian-13"),
        ("forky", "forky"),
    ],
)
def test_debian(suite: str, distro: str) -> None:
    found = components.debian_purl(pin("libstdc++6", "1:12.2~rc+b1-14", suite))
    assert found == f"pkg:deb/debian/libstdc%2B%2B6@1:12.2~rc%2Bb1-14?arch=arm64&distro={distro}"


@given(
    st.from_regex(r"[a-z0-9][a-z0-9.+-]{1,20}", fullmatch=True),
    st.from_regex(r"([0-9]:)?[0-9][A-Za-z0-9.+~-]{0,20}", fullmatch=True),
)
def test_debian_as_the_library_writes_it(name: str, version: str) -> None:
    theirs = PackageURL(
        "deb", "debian", name, version, {"arch": "arm64", "distro": "debian-12"}
    ).to_string()
    assert components.debian_purl(pin(name, version)) == theirs


@given(
    st.from_regex(r"[a-z0-9][a-z0-9.+-]{1,20}", fullmatch=True),
    st.from_regex(r"[a-z0-9][a-z0-9.+-]{1,9}(@([0-9]:)?[0-9][A-Za-z.+~-]{0,9})?", fullmatch=True),
)
def test_a_debian_package_with_its_source(name: str, source: str) -> None:
    locked = components.debian_purl(pin(name, "1.0-1+b1"))
    whole = components.from_source(locked, source)
    theirs = {"arch": "arm64", "distro": "debian-12", "upstream": source}
    assert whole == PackageURL("deb", "debian", name, "1.0-1+b1", theirs).to_string()
    assert components.without_source(whole) == locked
    # Once is enough, and what is no Debian package has none.
    assert components.from_source(whole, "another") == whole
    assert components.from_source(locked, "") == locked
    assert components.from_source("pkg:pypi/numpy@1", source) == "pkg:pypi/numpy@1"
    bare = components.debian(name, "1", "", "")
    assert components.without_source(components.from_source(bare, source)) == bare


@given(
    st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,20}[A-Za-z0-9])?", fullmatch=True),
    st.from_regex(r"([0-9]!)?[0-9]+(\.[0-9a-z]+){0,3}(\+[a-z0-9.]{1,9})?", fullmatch=True),
)
def test_wheels_as_the_library_writes_them(name: str, version: str) -> None:
    wheel = WheelPin(name=name, version=version, file="x.whl", sha256="0" * 64)
    found = PackageURL.from_string(components.wheel_purl(wheel))
    assert (found.type, found.namespace, found.version) == ("pypi", None, version)
    assert found.name == distributions.normal(name)


@given(TEXT, TEXT, TEXT)
def test_the_library_reads_back_what_anything_is_called(
    name: str, version: str, value: str
) -> None:
    found = PackageURL.from_string(components.purl("generic", name, version, file=value))
    assert (found.name, found.version) == (name, version)
    assert found.qualifiers == {"file": value}


def test_oci() -> None:
    digest = "sha256:" + "a" * 64
    found = components.oci("digits", digest, arch="arm64", tag="1.0.0-rc.1")
    theirs = PackageURL("oci", None, "digits", digest, {"arch": "arm64", "tag": "1.0.0-rc.1"})
    assert found == theirs.to_string()
    assert components.oci("digits", digest) == f"pkg:oci/digits@{digest}"


def test_every_identifier_is_one() -> None:
    folder = Path(cyclonedx.schema.__file__).parent / "_res"
    listed = set(json.loads((folder / "spdx.SNAPSHOT.schema.json").read_bytes())["enum"])
    ours = {*licences._BY_WORD.values(), *licences._EXCEPTION_BY_WORD.values()}
    assert ours <= listed
    known = get_spdx_licensing()
    for word in sorted(ours):
        assert known.validate(word).errors == [] or word in licences._EXCEPTION_BY_WORD.values()


@pytest.mark.parametrize(
    ("words", "form", "text"),
    [
        ("MIT", "id", "MIT"),
        ("Expat", "id", "MIT"),
        ("bsd-3-CLAUSE", "id", "BSD-3-Clause"),
        ("MIT License", "id", "MIT"),
        ("BSD-3-Clause AND 0BSD AND mit", "expression", "BSD-3-Clause AND 0BSD AND MIT"),
        ("(MIT OR  Apache-2.0) AND Zlib", "expression", "(MIT OR Apache-2.0) AND Zlib"),
        (
            "GPL-3.0-or-later WITH GCC-exception-3.1",
            "expression",
            "GPL-3.0-or-later WITH GCC-exception-3.1",
        ),
        ("GPL", "name", "GPL"),
        ("GPL-2+", "name", "GPL-2+"),
        ("MIT AND", "name", "MIT AND"),
        ("AND MIT", "name", "AND MIT"),
        ("(MIT", "name", "(MIT"),
        ("MIT MIT", "name", "MIT MIT"),
        ("MIT WITH MIT", "name", "MIT WITH MIT"),
        ("MIT WITH (GCC-exception-3.1)", "name", "MIT WITH (GCC-exception-3.1)"),
        ("MIT OR Foo", "name", "MIT OR Foo"),
        ("see\n  the file", "name", "see the file"),
    ],
)
def test_the_form_of_a_licence(words: str, form: str, text: str) -> None:
    assert licences.of([words, words]) == (Licence(form=form, text=text),)  # type: ignore[arg-type]


@given(st.lists(st.sampled_from(["MIT", "Zlib", "AND", "OR", "WITH", "(", ")", "LLVM-exception"])))
def test_an_expression_is_one_for_the_library(words: list[str]) -> None:
    for found in licences.of([" ".join(words)]):
        if found.form == "expression":
            assert get_spdx_licensing().validate(found.text).errors == []


def test_one_licence_says_all_or_several_do() -> None:
    assert licences.cyclonedx(["MIT OR Zlib"]) == [
        {"expression": "MIT OR Zlib", "acknowledgement": "declared"}
    ]
    assert [each["license"] for each in licences.cyclonedx(["MIT OR Zlib", "GPL", "MIT", " "])] == [
        {"name": "MIT OR Zlib", "acknowledgement": "declared"},
        {"id": "MIT", "acknowledgement": "declared"},
        {"name": "GPL", "acknowledgement": "declared"},
    ]
    assert licences.cyclonedx([]) == []


def test_spdx_refers_to_names() -> None:
    assert licences.spdx([]) == ("NOASSERTION", {})
    assert licences.spdx(["MIT OR Zlib"]) == ("MIT OR Zlib", {})
    expression, names = licences.spdx(["MIT OR Zlib", "GPL", "GPL 2+", "GPL-2+", "€"])
    assert expression.startswith("(MIT OR Zlib) AND LicenseRef-GPL AND LicenseRef-GPL-2-")
    assert sorted(names.values()) == ["GPL", "GPL 2+", "GPL-2+", "€"]
    assert all(f"{name}" in expression for name in names)
