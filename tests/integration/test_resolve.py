"""The real APT and the real pip, for both processors, with a small set of packages."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from buildkit.errors import DigestError, FetchError, ResolveError
from buildkit.lock import cache, fetch
from buildkit.lock.resolve import apt, hosts, pip
from buildkit.nix import nar, seed
from buildkit.run import run

if TYPE_CHECKING:
    from buildkit.lock.types import DebianPin, WheelPin

pytestmark = pytest.mark.network


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that nobody else has."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def python(home: Path) -> dict[str, tuple[DebianPin, ...]]:
    """Debian's Python for both processors."""
    return {
        arch: apt.resolve(
            run, hosts.BUILDER_SUITE, arch, hosts.BUILDER_DEBIAN, ["dpkg", "tar"], home=home
        )
        for arch in hosts.ARCHITECTURES
    }


def test_debian_packages_are_chosen_for_each_processor(
    python: dict[str, tuple[DebianPin, ...]],
) -> None:
    for arch, pins in python.items():
        names = [pin.name for pin in pins]
        assert set(hosts.BUILDER_DEBIAN) | {"libc6"} <= set(names)
        assert not {"dpkg", "tar"} & set(names)
        assert names == sorted(names)
        assert {pin.architecture for pin in pins} == {arch, "all"}
        assert {pin.suite for pin in pins} <= {"bookworm", "bookworm-security"}
        assert all(pin.size > 0 and len(pin.sha256) == 64 for pin in pins)
        assert all(apt.file_name(pin.file) == pin.file for pin in pins)
    versions = [{pin.name: pin.version.split("+b")[0] for pin in pins} for pins in python.values()]
    assert versions[0] == versions[1]


def test_another_release_than_the_machines_can_be_asked(home: Path) -> None:
    pins = apt.resolve(run, hosts.ENGINE_SUITE, "arm64", hosts.TOOLS_DEBIAN, home=home)
    assert {"cosign", "oras", "libc6"} <= {pin.name for pin in pins}
    assert {pin.suite.removesuffix("-security") for pin in pins} == {"trixie"}


def test_debian_packages_that_cannot_be_had_are_told_apart(home: Path) -> None:
    with pytest.raises(ResolveError) as caught:
        apt.resolve(run, "bookworm", "arm64", ["libgomp9", "msr-tools", "editor"], home=home)
    message = caught.value.message
    assert "libgomp9 does not exist in bookworm; did you mean libgomp1" in message
    assert "msr-tools of bookworm is not built for arm64, only for amd64" in message
    assert "editor of bookworm is virtual" in message


def test_a_release_that_does_not_exist_is_an_error(home: Path) -> None:
    with pytest.raises(ResolveError, match=r"cannot be brought here|not signed"):
        apt.resolve(run, "nonesuch", "arm64", ["bash"], home=home)


def test_a_mirror_signed_by_somebody_else_is_refused(home: Path, tmp_path: Path) -> None:
    keyring = tmp_path / "other.gpg"
    keyring.write_bytes(b"")
    root = apt.open_root("bookworm", "arm64", home)
    real = (root.folder / "etc/sources.list.d/debian.sources").read_text()
    lines = [
        f"Signed-By: {keyring}" if line.startswith("Signed-By") else line
        for line in real.splitlines()
    ]
    file = tmp_path / "mirrors.sources"
    file.write_text("\n".join(lines) + "\n")
    environ = {"EDGE_BUILDKIT_APT_SOURCES": str(file)}
    other = apt.open_root("bookworm", "arm64", tmp_path, environ=environ)
    with pytest.raises(ResolveError):
        apt.update(run, other)
    assert apt.known(run, other, ["bash"]) == {}


def test_wheels_are_chosen_for_each_processor_with_its_own_markers() -> None:
    wishes = [
        "numpy",
        'protobuf; platform_machine == "aarch64"',
        'flatbuffers; platform_machine == "x86_64"',
        'packaging; python_full_version == "3.11.2"',
    ]
    arm = pip.resolve(run, "3.11.2", "arm64", wishes)
    intel = pip.resolve(run, "3.11.2", "amd64", wishes)
    assert [pin.name for pin in arm] == ["numpy", "packaging", "protobuf"]
    assert [pin.name for pin in intel] == ["flatbuffers", "numpy", "packaging"]
    assert all("x86_64" not in pin.file for pin in arm)
    assert all("/" not in pin.file and "%" not in pin.file for pin in (*arm, *intel))


def test_wheels_of_a_local_index_do_not_leak_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "packaging-9999-py3-none-any.whl").write_bytes(b"")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", tmp_path.as_uri())
    (pin,) = pip.resolve(run, "3.11", "arm64", ["packaging"])
    assert pin.version != "9999"


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ("edge-buildkit-no-such-distribution", "does not exist in the index"),
        ("mkl", "mkl has no wheel for aarch64"),
        ("packaging==0.0.1", "no version fits packaging==0.0.1"),
    ],
)
def test_wheels_that_cannot_be_had_are_told_apart(wish: str, said: str) -> None:
    with pytest.raises(ResolveError) as caught:
        pip.resolve(run, "3.11", "arm64", [wish])
    assert said in caught.value.message


def test_inputs_come_by_hash_and_make_a_seed(
    python: dict[str, tuple[DebianPin, ...]], home: Path, tmp_path: Path
) -> None:
    (busybox,) = apt.resolve(run, hosts.BUILDER_SUITE, "arm64", [hosts.SEED], home=home)
    (wheel,) = pip.resolve(run, "3.11", "arm64", ["packaging"])
    small = [pin for pin in python["amd64"] if pin.size < 100_000]
    pins: list[DebianPin | WheelPin] = [busybox, wheel, *small]
    done = fetch.bring(pins, run, home)
    assert done.fetched == len(pins)
    again = fetch.bring(pins, run, home)
    assert (again.fetched, again.cached) == (0, len(pins))
    folder = tmp_path / "seed"
    seed.unpack(done.files[busybox.sha256], folder)
    assert nar.nar_sha256(folder) == seed.seed_hash(done.files[busybox.sha256])


def test_pins_that_no_mirror_has_any_more_are_named(
    python: dict[str, tuple[DebianPin, ...]], home: Path
) -> None:
    import dataclasses

    gone = dataclasses.replace(python["arm64"][0], version="0.0.1", sha256="0" * 64)
    with pytest.raises(FetchError, match="no mirror has these Debian packages") as caught:
        fetch.bring([gone], run, home)
    assert f"lock --update {gone.name}" in caught.value.remedy


def test_bytes_that_differ_from_the_lock_do_not_enter(
    python: dict[str, tuple[DebianPin, ...]], home: Path
) -> None:
    import dataclasses

    small = min(python["arm64"], key=lambda pin: pin.size)
    spoilt = dataclasses.replace(small, sha256="0" * 64)
    with pytest.raises(DigestError, match="expected sha256:0000"):
        fetch.bring([spoilt], run, home)
    (wheel,) = pip.resolve(run, "3.11", "arm64", ["packaging"])
    with pytest.raises(DigestError, match="other bytes"):
        fetch.bring([dataclasses.replace(wheel, sha256="0" * 64)], run, home)
    assert not (home / "inputs/sha256" / ("0" * 64)).exists()


def test_an_interrupt_leaves_nothing_half_there(home: Path, tmp_path: Path) -> None:
    program = (
        "import os, signal, sys, threading, time\n"
        "from pathlib import Path\n"
        "from buildkit.lock import fetch\n"
        "from buildkit.lock.resolve import apt\n"
        "from buildkit.run import run\n"
        "home, other = Path(sys.argv[1]), Path(sys.argv[2])\n"
        "pins = apt.resolve(run, 'trixie', 'arm64', ['qemu-user'], home=home)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def stop():\n"
        # The first piece of a file that comes.
        "    while not any(each.stat().st_size for each in other.glob('partial/*/*')):\n"
        "        time.sleep(0.001)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "threading.Thread(target=stop, daemon=True).start()\n"
        "try:\n"
        "    fetch.bring(pins, run, other)\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
    )
    ended = run([sys.executable, "-c", program, home, tmp_path], cwd=Path(__file__).parents[2])
    assert ended.text == "interrupted\n"
    assert list((tmp_path / "partial").glob("*")) == []
    for path in (tmp_path / "inputs/sha256").glob("*"):
        assert cache.verify(tmp_path, path.name)
