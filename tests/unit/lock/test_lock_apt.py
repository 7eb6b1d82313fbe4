from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lock_fakes import Deb, World

from buildkit.errors import ResolveError, ToolError
from buildkit.lock.resolve import apt

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def some() -> World:
    return World(
        debs=[
            Deb(name="libc6", version="2.36-9", arch="arm64"),
            Deb(name="python3", version="1:3.11~2-1", arch="arm64", depends=("libc6", "tzdata")),
            Deb(name="tzdata", arch="all"),
            Deb(name="openssl", version="3.0-1", arch="arm64"),
            Deb(name="openssl", version="3.0-2", arch="arm64", suite="bookworm-security"),
            Deb(name="msr-tools", arch="amd64"),
        ]
    )


@pytest.fixture
def root(tmp_path: Path, environ: dict[str, str]) -> apt.AptRoot:
    return apt.open_root("bookworm", "arm64", tmp_path / "home", environ=environ)


def test_pins_carry_everything_and_are_sorted(some: World, root: apt.AptRoot) -> None:
    pins = apt.solve(some, root, ["python3"])
    assert [pin.name for pin in pins] == ["libc6", "python3", "tzdata"]
    assert pins == tuple(sorted(pins))
    python = pins[1]
    assert python == some.debs[1].pin()
    assert python.version == "1:3.11~2-1"
    assert python.file == "python3_1_3.11_2-1_arm64.deb"
    assert pins[2].architecture == "all"


def test_the_newest_comes_from_the_security_suite(some: World, root: apt.AptRoot) -> None:
    (pin,) = apt.solve(some, root, ["openssl"])
    assert (pin.version, pin.suite) == ("3.0-2", "bookworm-security")


def test_a_version_in_both_suites_belongs_to_the_release(some: World, root: apt.AptRoot) -> None:
    some.debs.append(Deb(name="openssl", version="3.0-2", arch="arm64"))
    have = apt.known(some, root, ["openssl"])
    assert have == {"openssl": {"3.0-1": "bookworm", "3.0-2": "bookworm"}}


def test_held_versions_stay(some: World, root: apt.AptRoot) -> None:
    (pin,) = apt.solve(some, root, ["openssl"], hold={"openssl": "3.0-1"})
    assert (pin.version, pin.suite) == ("3.0-1", "bookworm")
    (pin,) = apt.solve(some, root, ["openssl"])
    assert pin.version == "3.0-2"


def test_excluded_packages_are_left_out(some: World, root: apt.AptRoot) -> None:
    pins = apt.solve(some, root, ["python3"], exclude=["tzdata"])
    assert [pin.name for pin in pins] == ["libc6", "python3"]


def test_nothing_asked_is_nothing_done(some: World, root: apt.AptRoot) -> None:
    assert apt.solve(some, root, []) == ()
    assert some.calls == []


def test_an_unknown_package_is_named_with_one_like_it(some: World, root: apt.AptRoot) -> None:
    with pytest.raises(ResolveError, match="pythn3 does not exist in bookworm") as caught:
        apt.solve(some, root, ["pythn3"])
    assert "did you mean python3?" in caught.value.message
    assert caught.value.remedy


def test_a_package_of_another_processor_is_told_apart(some: World, root: apt.AptRoot) -> None:
    with pytest.raises(ResolveError) as caught:
        apt.solve(some, root, ["msr-tools", "nonesuch"])
    assert "msr-tools of bookworm is not built for arm64, only for amd64" in caught.value.message
    assert "nonesuch does not exist in bookworm" in caught.value.message


def test_a_virtual_package_says_who_provides_it(some: World, root: apt.AptRoot) -> None:
    some.debs.append(Deb(name="exim4", arch="arm64", provides=("mail-transport-agent",)))
    with pytest.raises(ResolveError, match=r"virtual: name one that provides it \(exim4\)"):
        apt.solve(some, root, ["mail-transport-agent"])


@pytest.mark.parametrize("name", ["-y", "--allow-unauthenticated", "lib*", "a=1", "A", "x/sid", ""])
def test_words_that_apt_reads_otherwise_are_refused(
    some: World, root: apt.AptRoot, name: str
) -> None:
    with pytest.raises(ResolveError, match="not the name"):
        apt.solve(some, root, [name])
    assert some.calls == []


def test_what_apt_says_reaches_the_user(some: World, root: apt.AptRoot) -> None:
    some.debs.append(Deb(name="broken", arch="arm64", depends=("nowhere",)))
    with pytest.raises(ResolveError, match="nowhere is missing"):
        apt.solve(some, root, ["broken"])


def test_an_unsigned_index_is_never_used(some: World, root: apt.AptRoot) -> None:
    some.unsigned = True
    with pytest.raises(ResolveError, match="not signed") as caught:
        apt.update(some, root)
    assert "debian-archive-keyring" in caught.value.remedy


def test_a_silent_mirror_is_an_error(some: World, root: apt.AptRoot) -> None:
    some.offline = True
    with pytest.raises(ResolveError, match="cannot be brought here"):
        apt.update(some, root)


def test_an_answer_in_another_form_is_an_error(some: World, root: apt.AptRoot) -> None:
    some.debs[0].name = "lib_c6"
    some.debs[1].depends = ("lib_c6",)
    with pytest.raises(ToolError, match="cannot be read"):
        apt.solve(some, root, ["python3"])


def test_the_root_keeps_apts_checks_on_and_the_machines_hooks_off(root: apt.AptRoot) -> None:
    last = (root.folder / "last.conf").read_text()
    assert 'Acquire::AllowInsecureRepositories "false";' in last
    assert 'APT::Get::AllowUnauthenticated "false";' in last
    assert 'APT::Update::Error-Mode "any";' in last
    assert "#clear APT::Update::Post-Invoke-Success;" in last
    first = (root.folder / "first.conf").read_text()
    assert 'Dir::Etc::parts "/etc/apt/apt.conf.d";' in first
    assert (root.folder / "status").read_bytes() == b""


def test_opening_a_root_again_writes_nothing(
    root: apt.AptRoot, tmp_path: Path, environ: dict[str, str]
) -> None:
    files = [path for path in root.folder.rglob("*") if path.is_file()]
    before = {path: path.stat().st_ino for path in files}
    apt.open_root("bookworm", "arm64", tmp_path / "home", environ=environ)
    assert {path: path.stat().st_ino for path in files} == before


def test_a_home_that_apt_cannot_read_is_refused(tmp_path: Path, environ: dict[str, str]) -> None:
    with pytest.raises(ResolveError, match="cannot stand in APT's configuration"):
        apt.open_root("bookworm", "arm64", tmp_path / 'a"b', environ=environ)


@given(st.text(max_size=40))
def test_file_names_can_name_store_paths(name: str) -> None:
    assert all(
        sign.isascii() and (sign.isalnum() or sign in "+._-") for sign in apt.file_name(name)
    )


def test_file_names_lose_what_apt_escapes() -> None:
    assert apt.file_name("a_1%3a2~b+c_all.deb") == "a_1_2_b+c_all.deb"
