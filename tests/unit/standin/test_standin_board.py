"""A board's life, with a program that plays the emulator."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from buildkit.errors import DeviceError, InputError, ToolError
from buildkit.run import run
from buildkit.standin import FAULTS, Machine, Options, Standin
from buildkit.standin.running import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FAKE = Path(__file__).with_name("fake_emulator.py")


class World:
    """Boards of one user, in folders of the test's own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home, self.cache = root / "state" / ("deep-" * 20), root / "cache"
        self.made: list[Options] = []
        self.notes: list[str] = []
        self.library = root / "library"
        self.library.mkdir()
        loader = root / "loader"
        loader.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE} "$@"\n')
        loader.chmod(0o755)

    def board(self, name: str = "one") -> Standin:
        return Standin(name, run, home=self.home, cache_home=self.cache)

    def make(self, options: Options, link: Path, /) -> Machine:
        assert link.parent.is_dir()
        self.made.append(options)
        names = ("emulator", "image_tool", "busybox", "kernel", "initrd", "devicetree", "disk")
        files = {name: self.root / name for name in names}
        files["image_tool"] = self.root / "qemu-img"
        files["disk"].write_bytes(b"base")
        return Machine(
            loader=self.root / "loader",
            library=self.library,
            mark="a fake",
            runtime=options.runtime,
            pages=options.pages,
            **files,
        )

    def start(self, name: str = "one", **how: Any) -> Any:
        return self.board(name).start(self.make, say=self.notes.append, **how)

    def said(self, name: str = "one") -> list[Any]:
        file = self.board(name).folder / "said.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()]

    def orders(self, name: str = "one") -> str:
        return "\n".join(what for kind, what in self.said(name) if kind == "order")

    def monitor(self, name: str = "one") -> list[Any]:
        return [what for kind, what in self.said(name) if kind == "monitor"]


def is_alive(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    for board in Standin.known(run, home=made.home):
        board.cut()


def test_a_new_board_is_restored_from_a_snapshot_that_is_made_once(world: World) -> None:
    first = world.start("one")
    second = world.start("two")
    assert first.running
    assert second.running
    assert first.pid != second.pid
    assert world.notes == ["starting the board for the first time, to keep its state"]
    assert [order["execute"] for order in world.monitor("two")][1::2] == [
        "migrate-incoming",
        "query-migrate",
        "cont",
    ]


def test_what_a_board_reaches_needs_no_snapshot_of_its_own(world: World) -> None:
    world.start("one")
    world.start("two", reach=5000)
    assert len(world.notes) == 1


def test_boards_have_keys_of_their_own_that_no_snapshot_has(world: World) -> None:
    keys = {world.start(name).connection.host_key for name in ("one", "two")}
    assert len(keys) == 2
    assert all(key.startswith("ssh-ed25519 AAAA") for key in keys)
    kept = next(path for path in (world.cache / "standin").iterdir() if path.is_dir())
    assert sorted(path.name for path in kept.iterdir()) == ["disk.qcow2", "memory"]
    assert kept.stat().st_mode & 0o077 == 0


def test_what_lets_in_is_for_this_user_alone(world: World) -> None:
    status = world.start()
    assert status.folder.stat().st_mode & 0o077 == 0
    assert status.connection.identity.stat().st_mode & 0o177 == 0
    assert "BEGIN OPENSSH PRIVATE KEY" in status.connection.identity.read_text()


def test_the_ssh_configuration_pins_the_host_key(world: World) -> None:
    status = world.start()
    config = (status.folder / "ssh_config").read_text()
    assert "StrictHostKeyChecking yes" in config
    assert f"Port {status.connection.port}" in config
    hosts = (status.folder / "known_hosts").read_text()
    assert hosts == f"[127.0.0.1]:{status.connection.port} {status.connection.host_key}\n"


def test_a_board_that_runs_is_not_started_again(world: World) -> None:
    first = world.start()
    assert world.start().pid == first.pid
    assert world.notes[-1] == "stand-in one runs already"


def test_a_running_board_is_not_another_kind_of_board(world: World) -> None:
    world.start()
    for other in ({"runtime": "podman"}, {"memory_mib": 512}, {"reach": 5000}):
        with pytest.raises(InputError):
            world.start(**other)


def test_after_a_cut_it_starts_from_its_disk_with_its_keys_and_port(world: World) -> None:
    before = world.start(memory_mib=700)
    (before.folder / "disk.qcow2").write_bytes(b"written")
    assert world.board().cut()
    assert not world.board().cut()
    assert not world.board().status().running
    made = len(world.made)
    after = world.start()
    assert len(world.made) == made
    assert after.options.memory_mib == 700
    assert (after.folder / "disk.qcow2").read_bytes() == b"written"
    assert after.connection == before.connection
    assert world.notes[-1] == "starting it from its disk"


def test_stop_lets_it_end_by_itself(world: World) -> None:
    world.start()
    assert world.board().stop()
    assert "sysrq" in world.orders()
    assert not world.board().status().running


def test_fresh_forgets_disk_and_keys(world: World) -> None:
    before = world.start(runtime="podman")
    (before.folder / "disk.qcow2").write_bytes(b"written")
    after = world.start(fresh=True)
    assert after.pid != before.pid
    assert after.options == Options()
    assert after.connection.host_key != before.connection.host_key
    assert (after.folder / "disk.qcow2").read_bytes() == b"disk"


def test_fresh_forgets_nothing_when_nothing_new_can_be_made(world: World) -> None:
    before = world.start()

    def fail(_options: Options, _link: Path, /) -> Machine:
        msg = "no network"
        raise ToolError(msg)

    with pytest.raises(ToolError):
        world.board().start(fail, fresh=True)
    assert world.board().status() == before


def test_another_runtime_needs_another_disk(world: World) -> None:
    world.start()
    world.board().cut()
    with pytest.raises(InputError, match="was made with runtime crun"):
        world.start(runtime="docker")


def test_a_disk_whose_system_is_gone_says_so(world: World) -> None:
    world.start()
    world.board().cut()
    (world.root / "disk").unlink()
    assert world.board().status().machine_gone
    with pytest.raises(InputError) as caught:
        world.start()
    assert "--fresh" in caught.value.remedy


def test_a_taken_port_is_not_waited_for(world: World) -> None:
    before = world.start()
    world.board().cut()
    with socket.create_server(("127.0.0.1", before.connection.port)):
        (world.library / "fail").write_text("Could not set up host forwarding rule")
        with pytest.raises(ToolError, match="no TCP port"):
            world.start()


def test_an_emulator_that_does_not_start_is_an_error(world: World) -> None:
    (world.library / "fail").write_text("qemu: no such machine")
    with pytest.raises(ToolError, match="no such machine"):
        world.start()
    with pytest.raises(DeviceError):
        world.board().status()


def test_a_snapshot_that_cannot_be_used_is_dropped(world: World) -> None:
    world.start("one")
    kept = next(path for path in (world.cache / "standin").iterdir() if path.is_dir())
    (kept / "disk.qcow2").unlink()
    assert world.start("two").running
    assert world.notes[-1].startswith("no snapshot can be used, starting the kernel")
    assert not kept.exists()
    assert {order["execute"] for order in world.monitor("two")} == set()


def test_only_the_latest_few_snapshots_are_kept(world: World) -> None:
    for number in range(8):
        world.start("one", fresh=True, memory_mib=400 + number)
    kept = {path for path in (world.cache / "standin").iterdir() if path.is_dir()}
    assert len(kept) == 6
    world.start("one", fresh=True, memory_mib=407)
    assert len(world.notes) == 8


def test_a_start_that_was_killed_half_way_leaves_nothing_in_the_way(world: World) -> None:
    first = world.start()
    (first.folder / "board.json").unlink()
    second = world.start()
    assert second.running
    assert second.pid != first.pid
    assert not is_alive(first.pid)


def test_a_board_that_died_is_seen_as_such(world: World) -> None:
    status = world.start()
    os.kill(status.pid, signal.SIGKILL)
    while world.board().status().running:
        pass
    with pytest.raises(DeviceError):
        world.board().fault("throttled", "1")


@pytest.mark.parametrize(
    ("name", "value", "order"),
    [
        ("throttled", "0x50005", "0x50005"),
        ("temperature", "85000", "85000"),
        ("disk-full", "", "fallocate"),
        ("clock", "-3600", "-3600"),
        ("runtime-missing", "", "mv $one $one.missing"),
        ("memory", "200", "nr_hugepages"),
    ],
)
def test_faults_reach_the_board_and_are_put_right(
    world: World, name: str, value: str, order: str
) -> None:
    world.start()
    assert list(world.board().fault(name, value)) == [name]
    assert order in world.orders()
    assert list(world.board().status().faults) == [name]
    count = len(world.said())
    assert world.board().heal(name) == {}
    assert len(world.said()) > count
    assert world.board().status().faults == {}


def test_the_line_is_cut_slowed_and_put_right_by_the_emulator(world: World) -> None:
    world.start()
    for value in ("cut", "slow"):
        world.board().fault("line", value)
    world.board().heal()
    said = [
        (order["execute"], order["arguments"].get("up", order["arguments"].get("interval")))
        for order in world.monitor()
        if order["execute"] in {"set_link", "object-add"}
    ]
    assert said == [
        ("set_link", True),
        ("set_link", False),
        ("set_link", True),
        ("object-add", 100_000),
        ("set_link", True),
    ]


def test_only_what_is_on_the_disk_outlives_a_cut(world: World) -> None:
    world.start()
    for name, value in (("throttled", "1"), ("disk-full", "5"), ("runtime-missing", "")):
        world.board().fault(name, value)
    world.board().cut()
    left = {"disk-full": "5", "runtime-missing": ""}
    assert world.board().status().faults == left
    assert world.start().faults == left
    assert {name for name, row in FAULTS.items() if row.lasts} == set(left)


def test_an_order_that_fails_says_why(world: World) -> None:
    world.start()
    with pytest.raises(ToolError, match="no such thing"):
        world.board().order("fail-please")
    assert world.board().order("true") == "said"


def test_forget_leaves_nothing(world: World) -> None:
    status = world.start()
    world.board().forget()
    assert not status.folder.exists()
    assert Standin.known(run, home=world.home) == ()


@pytest.mark.parametrize("name", ["", "UPPER", "../up", "a/b", "-x", "x" * 33, "a b"])
def test_odd_names_are_refused(world: World, name: str) -> None:
    with pytest.raises(InputError):
        world.board(name)


@pytest.mark.parametrize("act", [lambda board: board.status(), lambda board: board.connection()])
def test_a_board_that_was_never_started_is_an_error(
    world: World, act: Callable[[Standin], object]
) -> None:
    with pytest.raises(DeviceError, match="there is no stand-in"):
        act(world.board())


def test_ports_are_free() -> None:
    port = free_port()
    socket.create_server(("127.0.0.1", port)).close()
