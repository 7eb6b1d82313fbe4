"""The lock of the stand-in: what it holds, and that nothing else passes for it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit import canonical
from buildkit.errors import LockError
from buildkit.pipeline.standins import lock_file
from buildkit.standin import pins, resolve
from buildkit.standin.types import PAGES, RUNTIMES

if TYPE_CHECKING:
    from pathlib import Path

    from buildkit.lock.types import DebianPin

SHIPPED = pins.load(lock_file())
SHIPPED_BYTES = lock_file().read_bytes()


def test_the_shipped_lock_answers_todays_question() -> None:
    assert SHIPPED.asked == resolve.question()
    assert sorted(SHIPPED.hosts) == ["amd64", "arm64"]
    assert set(SHIPPED.roots) == set(RUNTIMES) == set(resolve.RUNTIMES)
    assert set(SHIPPED.kernels) == set(PAGES) == set(resolve.KERNELS)


def test_the_shipped_lock_is_written_the_one_way() -> None:
    assert pins.dump(SHIPPED) == SHIPPED_BYTES


def test_the_board_is_arm64_and_the_emulator_is_the_hosts() -> None:
    board = (SHIPPED.busybox, *SHIPPED.kernels.values(), *SHIPPED.roots["crun"])
    assert {pin.architecture for pin in board} <= {"arm64", "all"}
    for architecture, host in SHIPPED.hosts.items():
        own = (host.seed, *host.emulator, *host.workshop)
        assert {pin.architecture for pin in own} <= {architecture, "all"}


def test_the_kernel_with_wide_pages_says_so() -> None:
    assert "16k" in SHIPPED.kernels[16384].name
    assert "16k" not in SHIPPED.kernels[4096].name


def test_only_what_a_board_needs_is_wanted() -> None:
    crun = SHIPPED.wanted("amd64", "crun", 16384)
    assert len({pin.sha256 for pin in crun}) == len(crun)
    names = {pin.name for pin in crun}
    assert {"crun", "umoci", "openssh-server", "qemu-system-arm"} <= names
    assert not {"podman", "docker.io", SHIPPED.kernels[4096].name} & names


@pytest.mark.parametrize(
    ("host", "runtime", "pages"),
    [("riscv64", "crun", 16384), ("amd64", "lxc", 16384), ("amd64", "crun", 65536)],
)
def test_what_it_does_not_hold_is_an_error(host: str, runtime: str, pages: int) -> None:
    with pytest.raises(LockError) as caught:
        SHIPPED.wanted(host, runtime, pages)
    assert "standin lock" in caught.value.remedy


def test_a_missing_lock_says_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(LockError) as caught:
        pins.load(tmp_path / "standin.lock")
    assert "standin lock" in caught.value.remedy


def small(pin: DebianPin = SHIPPED.busybox) -> pins.StandinLock:
    host = pins.HostPins(
        seed=pin, seed_nar_sha256="0" * 64, emulator=(pin,), workshop=(pin, SHIPPED.kernels[4096])
    )
    return pins.StandinLock(
        hosts={"amd64": host}, busybox=pin, kernels={16384: pin}, roots={"crun": (pin,)}, asked="x"
    )


def test_an_edit_by_hand_is_seen() -> None:
    data = pins.dump(small()).replace(b"busybox-static", b"busybox-stolen")
    with pytest.raises(LockError, match="edited by hand"):
        pins.parse(data, "standin.lock")


@pytest.mark.parametrize(
    "change",
    [
        {"name": "UPPER"},
        {"file": "../x"},
        {"sha256": "0"},
        {"size": 0},
        {"suite": "book worm"},
        {"architecture": "sparc"},
    ],
)
def test_rows_that_make_no_sense_are_refused(change: dict[str, object]) -> None:
    lock = small(replace(SHIPPED.busybox, **change))  # type: ignore[arg-type]
    with pytest.raises(LockError, match="not sound"):
        pins.parse(pins.dump(lock), "standin.lock")


@given(st.data())
def test_any_damage_is_one_kind_of_error(data: st.DataObject) -> None:
    whole = bytearray(pins.dump(small()))
    place = data.draw(st.integers(0, len(whole) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda byte: byte != whole[place]))
    whole[place] = value
    try:
        found = pins.parse(bytes(whole), "standin.lock")
    except LockError:
        return
    # White space may differ.
    assert found == small()


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_other_json_is_one_kind_of_error(value: object) -> None:
    with pytest.raises(LockError):
        pins.parse(canonical.dump(value), "standin.lock")
