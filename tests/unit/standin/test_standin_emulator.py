"""The emulator's command line, and the table of faults."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit.errors import DeadlineError, DeviceError, InputError
from buildkit.standin import FAULTS, Machine, Options, emulator, faults

MACHINE = Machine(
    loader=Path("/s/ld.so"),
    library=Path("/s/lib"),
    emulator=Path("/s/qemu"),
    image_tool=Path("/s/qemu-img"),
    busybox=Path("/s/busybox"),
    kernel=Path("/s/Image"),
    initrd=Path("/s/initrd"),
    devicetree=Path("/s/dtb"),
    disk=Path("/s/disk"),
    mark="a mark",
    runtime="crun",
    pages=16384,
)


def words(**how: Any) -> list[str]:
    options = {name: how.pop(name) for name in list(how) if name in Options.__slots__}
    disk = how.pop("disk", Path("/d/disk.qcow2"))
    how.setdefault("port", 2222)
    return list(emulator.command(MACHINE, Options(**options), disk, **how))


def network(**how: Any) -> str:
    return next(word for word in words(**how) if word.startswith("user,"))


def test_a_board_has_no_network_but_ssh_from_the_loopback() -> None:
    assert network() == "user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:2222-:22"


def test_it_reaches_one_port_where_that_was_asked_for() -> None:
    assert network(reach=5000).endswith(
        ",guestfwd=tcp:10.0.2.100:5000-cmd:/s/busybox nc 127.0.0.1 5000"
    )


def test_only_a_restored_board_waits_for_a_state() -> None:
    assert "-incoming" not in words()
    assert words(restore=True) == [*words(), "-incoming", "defer"]


def test_a_folder_may_have_any_name() -> None:
    drive = next(word for word in words(disk=Path('/a,b "c"/disk')) if word.startswith('{"'))
    assert '"/a,b \\"c\\"/disk"' in drive


def test_the_programs_of_the_machine_run_with_their_own_libraries() -> None:
    assert words()[:4] == ["/s/ld.so", "--library-path", "/s/lib", "/s/qemu"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"runtime": "lxc"},
        {"pages": 8192},
        {"memory_mib": 64},
        {"memory_mib": 1 << 20},
        {"reach": -1},
        {"reach": 65536},
    ],
)
def test_boards_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Options(**wrong)


def test_a_machine_is_read_as_it_was_written() -> None:
    assert Machine.from_json(MACHINE.to_json(), Path) == MACHINE


def test_the_physical_place_counts() -> None:
    document = MACHINE.to_json()
    elsewhere = Machine.from_json(document, lambda path: Path(f"/elsewhere{path}"))
    assert elsewhere.kernel == Path("/elsewhere/s/Image")
    assert elsewhere.mark == "a mark"


def test_nobody_there_is_an_error(tmp_path: Path) -> None:
    assert emulator.process(tmp_path) == 0
    with pytest.raises(DeviceError, match="does not run"):
        emulator.Monitor(tmp_path)("query-status")
    with pytest.raises(DeviceError, match="does not run"):
        emulator.order(tmp_path, "true")


def test_noise_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A board that comes up echoes what it is sent; whoever waits for it must go on waiting."""
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("orders")
        server.listen()

        def speak() -> None:
            link, _ = server.accept()
            with link, suppress(OSError):
                for _ in range(500):
                    link.sendall(b"noise\n")
                    time.sleep(0.02)

        speaking = threading.Thread(target=speak)
        speaking.start()
        with pytest.raises(DeadlineError, match="no answer of use"):
            emulator.order(tmp_path, "true", deadline=0.2)
        speaking.join()


def test_a_pid_file_that_nobody_holds_is_debris(tmp_path: Path) -> None:
    (tmp_path / "pid").write_text("1\n")
    assert emulator.process(tmp_path) == 0


class Seen:
    """Hands that only remember."""

    def __init__(self) -> None:
        self.scripts: list[str] = []
        self.orders: list[str] = []

    def order(self, script: str) -> str:
        self.scripts.append(script)
        return ""

    def monitor(self, order: str, **_arguments: object) -> object:
        self.orders.append(order)
        return {}


VALUES = {"throttled": "7", "temperature": "1", "clock": "5", "line": "cut", "memory": "100"}


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_has_a_way_there_and_back(name: str) -> None:
    row = faults.named(name)
    for act in (lambda hands: row.strike(hands, row.read(VALUES.get(name, ""))), row.heal):
        seen = Seen()
        act(seen)
        assert seen.scripts or seen.orders
    assert row.about
    assert (row.value == "") == (name == "runtime-missing")


@pytest.mark.parametrize(
    ("name", "text", "read"),
    [
        ("throttled", "0x50005", "0x50005"),
        ("throttled", "327685", "0x50005"),
        ("temperature", "-5000", "-5000"),
        ("disk-full", "", "0"),
        ("clock", "-3600", "-3600"),
        ("line", "slow", "slow"),
        ("runtime-missing", "", ""),
    ],
)
def test_values_are_read(name: str, text: str, read: str) -> None:
    assert faults.named(name).read(text) == read


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("throttled", ""),
        ("throttled", "-1"),
        ("throttled", "0x100000000"),
        ("temperature", "hot"),
        ("disk-full", "-1"),
        ("clock", "1.5"),
        ("line", ""),
        ("line", "bent"),
        ("runtime-missing", "crun"),
        ("memory", "0"),
    ],
)
def test_values_that_make_no_sense_are_refused(name: str, text: str) -> None:
    with pytest.raises(InputError):
        faults.named(name).read(text)


def test_an_unknown_fault_names_those_there_are() -> None:
    with pytest.raises(InputError, match="throttled, temperature"):
        faults.named("meteor")


@given(st.sampled_from(sorted(FAULTS)), st.text())
def test_a_value_never_becomes_part_of_a_script_unread(name: str, text: str) -> None:
    row, seen = FAULTS[name], Seen()
    try:
        value = row.read(text)
    except InputError:
        return
    row.strike(seen, value)
    assert value == "" or value.lstrip("-").isalnum()
    assert not any(mark in value for mark in itertools.chain(";&|$`'\"\n "))
