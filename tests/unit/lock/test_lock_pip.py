from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lock_fakes import Wheel, World

from buildkit.errors import DigestError, FetchError, ResolveError, ToolError
from buildkit.lock.resolve import pip

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def some() -> World:
    return World(
        wheels=[
            Wheel(name="numpy", version="2.4.5", tag="cp311-cp311-manylinux_2_28_aarch64"),
            Wheel(name="numpy", version="2.4.6", tag="cp311-cp311-manylinux_2_28_aarch64"),
            Wheel(name="numpy", version="2.4.6", tag="cp311-cp311-manylinux_2_28_x86_64"),
            Wheel(name="onnx", requires=("numpy", "typing-extensions")),
            Wheel(name="typing-extensions", version="4.16.0"),
            Wheel(name="mkl", tag="py2.py3-none-manylinux1_x86_64"),
        ]
    )


def test_pins_are_of_the_platform_and_sorted(some: World) -> None:
    pins = pip.resolve(some, "3.11", "arm64", ["onnx"])
    assert [pin.name for pin in pins] == ["numpy", "onnx", "typing-extensions"]
    assert pins[0] == some.wheels[1].pin()


def test_pip_is_cut_off_from_the_machine(some: World) -> None:
    pip.resolve(some, "3.11.2", "arm64", ["numpy"])
    call = some.calls[-1]
    assert "--isolated" in call
    assert "--only-binary=:all:" in call
    assert "--python-version=3.11.2" in call
    assert "--abi=cp311" in call
    assert not [word for word in call if "x86_64" in word]


def test_markers_are_those_of_the_target(some: World) -> None:
    pip.resolve(some, "3.11.2", "arm64", ["numpy"])
    assert '"platform_machine": "aarch64"' in some.calls[-1][4]
    assert '"python_full_version": "3.11.2"' in some.calls[-1][4]


def test_a_pip_that_ignores_the_markers_is_refused(
    some: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pip, "marker_environment", lambda *_: {"platform_machine": "riscv64"})
    with pytest.raises(ToolError, match="environment markers"):
        pip.resolve(some, "3.11", "arm64", ["numpy"])


def test_tags_reach_from_the_c_library_down_to_the_oldest() -> None:
    options = pip.platform_options("3.11", "aarch64", 30)
    platforms = [word for word in options if word.startswith("--platform=")]
    assert platforms[0] == "--platform=manylinux_2_30_aarch64"
    assert platforms[-1] == "--platform=manylinux2014_aarch64"
    assert "--platform=manylinux1_x86_64" in pip.platform_options("3.11", "x86_64")


def test_held_versions_stay(some: World) -> None:
    pins = pip.resolve(some, "3.11", "arm64", ["onnx"], hold={"numpy": "2.4.5"})
    assert pins[0].version == "2.4.5"


def test_excluded_distributions_are_left_out(some: World) -> None:
    pins = pip.resolve(some, "3.11", "arm64", ["onnx"], ["Typing_Extensions"])
    assert [pin.name for pin in pins] == ["numpy", "onnx"]


def test_nothing_asked_is_nothing_done(some: World) -> None:
    assert pip.resolve(some, "3.11", "arm64", []) == ()
    assert some.calls == []


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ("nonesuch", "Python package nonesuch does not exist"),
        ("mkl", "Python package mkl has no wheel for aarch64"),
        ("numpy==9", "no version fits numpy==9 for aarch64; the index has ... 2.4.5, 2.4.6"),
    ],
)
def test_what_cannot_be_had_is_told_apart(some: World, wish: str, said: str) -> None:
    with pytest.raises(ResolveError) as caught:
        pip.resolve(some, "3.11", "arm64", [wish])
    assert said in caught.value.message
    assert caught.value.remedy


def test_contradictions_are_not_called_missing(some: World) -> None:
    with pytest.raises(ResolveError, match="no solution"):
        pip.resolve(some, "3.11", "arm64", ["numpy==2.4.6"], hold={"numpy": "2.4.5"})


def test_a_silent_index_is_not_called_a_missing_package(some: World) -> None:
    some.offline = True
    with pytest.raises(ResolveError, match="does not answer"):
        pip.resolve(some, "3.11", "arm64", ["numpy"])


CONFIG = """\
:env:.cert='/etc/ssl/ca.pem'
:env:.disable-pip-version-check='1'
global.default-timeout='60'
global.extra-index-url='file:///opt/simple https://more.test/simple'
global.find-links='/opt/wheels'
global.index-url='https://index.test/simple'
install.no-binary=':all:'
user.proxy='never'
broken line
"""


def test_the_way_to_the_index_is_handed_over_and_nothing_local() -> None:
    assert pip.machine_settings(World(config=CONFIG)) == (
        *("--cert", "/etc/ssl/ca.pem"),
        *("--extra-index-url", "https://more.test/simple"),
        *("--index-url", "https://index.test/simple"),
        *("--timeout", "60"),
    )


def test_where_hashes_are_checked_local_places_may_serve() -> None:
    settings = pip.machine_settings(World(config=CONFIG), local=True)
    assert "file:///opt/simple" in settings
    assert settings[6:8] == ("--find-links", "/opt/wheels")


@pytest.mark.parametrize(
    ("file", "place"),
    [
        ("numpy-2-cp311-cp311-manylinux_2_27_x86_64.whl", ("3.11", "x86_64")),
        ("numpy-2-cp313-cp313-manylinux_2_27_aarch64.whl", ("3.13", "aarch64")),
        ("protobuf-7-cp310-abi3-manylinux2014_aarch64.whl", ("3.11", "aarch64")),
        ("flatbuffers-25-py2.py3-none-any.whl", ("3.11", "x86_64")),
        ("a-1-1build-cp312-none-linux_x86_64.whl", ("3.12", "x86_64")),
    ],
)
def test_a_file_name_says_where_it_belongs(file: str, place: tuple[str, str]) -> None:
    assert pip.wanted_by(file) == place


@pytest.mark.parametrize(
    ("lower", "higher"), [("2.4.6", "2.4.10"), ("1.9", "1.9.1"), ("0.9rc1", "1.0"), ("9", "1!2")]
)
def test_versions_are_compared_by_their_numbers(lower: str, higher: str) -> None:
    assert pip.release(lower) < pip.release(higher)


def test_download_brings_what_the_hashes_say(some: World, tmp_path: Path) -> None:
    wheel = some.wheels[4]
    pip.download(some, ("3.11", "aarch64"), [wheel.pin()], tmp_path, settings=())
    assert (tmp_path / wheel.file).read_bytes() == wheel.content
    assert "--require-hashes" in some.calls[-1]


def test_download_tells_wrong_bytes_from_missing_ones(some: World, tmp_path: Path) -> None:
    place, wheel = ("3.11", "aarch64"), some.wheels[4]
    some.spoilt.add(wheel.name)
    with pytest.raises(DigestError, match="other bytes"):
        pip.download(some, place, [wheel.pin()], tmp_path, settings=())
    gone = Wheel(name="gone").pin()
    with pytest.raises(FetchError, match=r"gone==1\.0 any more") as caught:
        pip.download(some, place, [gone], tmp_path, settings=())
    assert "lock --update gone" in caught.value.remedy
    some.offline = True
    with pytest.raises(ToolError, match="connection broken"):
        pip.download(some, place, [gone], tmp_path, settings=())
