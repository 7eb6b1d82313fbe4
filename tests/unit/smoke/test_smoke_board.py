from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smoke import accelerator, board, process, sensors
from smoke.clock import Moment, Watch
from smoke.host import Host
from smoke.sensors import Reading, Sensors, columns, parse_throttled, throttling
from smoke.unknown import Unknown, settle
from smoke_parts import VCGENCMD, pi, put, put_tool

if TYPE_CHECKING:
    from pathlib import Path


def test_a_pi_as_its_files_say_it(tmp_path: Path) -> None:
    found, unknown = settle(board.fingerprint(Host(root=pi(tmp_path))))
    assert found["model"] == "Raspberry Pi 5 Model B Rev 1.0"
    assert found["revision"] == "c04170"
    assert found["kernel"]["release"] == "6.12.25+rpt-rpi-2712"
    assert found["os"] == "Debian GNU/Linux 12 (bookworm)"
    cpu = found["cpu"]
    assert (cpu["implementer"], cpu["part"], cpu["variant"]) == ("0x41", "0xd0b", "0x4")
    assert cpu["features"] == ["aes", "asimd", "asimddp", "evtstrm", "fp"]
    assert cpu["governors"] == ["performance"]
    assert cpu["max_khz"] == 2_400_000
    assert found["memory"]["total_bytes"] == 8256000 * 1024
    assert found["memory"]["swap_total_bytes"] == 0
    assert found["firmware"]["bootloader"] == "2025/05/08 15:13:17"
    assert found["firmware"]["version"].endswith("; version 69471177 (release)")
    assert found["cooling"]["fans"] == [{"name": "pwmfan", "rpm": 0, "pwm": 75}]
    assert found["cooling"]["devices"] == [{"type": "pwm-fan", "state": 1, "max_state": 4}]
    assert found["uptime_ms"] == 123450
    assert found["standin"] is False
    assert sorted(unknown) == ["/cpu/name", "/kernel/version", "/memory/swap_free_bytes"]
    assert "0123456789abcdef" not in str(found)


def test_an_empty_board_is_unknown_and_not_zero(tmp_path: Path) -> None:
    host = Host(root=tmp_path)
    found, unknown = settle({"b": board.fingerprint(host), "a": accelerator.fingerprint(host)})
    for name in ("model", "revision", "uptime_ms", "os"):
        assert found["b"][name] is None
    assert set(found["b"]["memory"].values()) == {None}
    assert set(found["b"]["firmware"].values()) == {None}
    assert set(found["b"]["cooling"].values()) == {None}
    assert unknown["/b/firmware/version"] == "vcgencmd is not there"
    assert found["a"]["pci"] is None
    assert found["a"]["hailo"]["devices"] == []
    assert found["a"]["hailo"]["firmware"] is None
    reading, _ = settle(sensors.one(Sensors(host).read(5)))
    assert reading == {
        "at_ns": 5,
        "temperature_mc": None,
        "clock_khz": None,
        "throttled": None,
    }


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("etc/edge-standin", "qemu virt\nmore\n", "qemu virt"),
        ("proc/device-tree/edge-standin", "qemu\0", "qemu"),
        ("run/edge-smoke/device-tree/edge-standin", "qemu\0", "qemu"),
        ("sys/firmware/devicetree/base/edge-standin", "\0", "a stand-in that does not say more"),
        ("etc/edge-standin", "", "a stand-in that does not say more"),
    ],
)
def test_a_stand_in_says_so(tmp_path: Path, name: str, content: str, expected: str) -> None:
    put(pi(tmp_path), name, content)
    assert board.standin(Host(root=tmp_path)) == expected


def test_the_accelerator_with_its_three_versions(tmp_path: Path) -> None:
    found, unknown = settle(accelerator.fingerprint(Host(root=pi(tmp_path))))
    assert found["pci"] == [
        {
            "address": "0001:01:00.0",
            "vendor": "0x1e60",
            "device": "0x45c4",
            "class": "0x120000",
            "driver": "hailo1x_pci",
            "link_speed": "8.0 GT/s PCIe",
            "link_width": 1,
        }
    ]
    hailo = found["hailo"]
    assert hailo["devices"] == ["/dev/hailo0"]
    assert (hailo["driver"], hailo["library"]) == ("5.1.1", "5.1.1")
    assert hailo["firmware"] == "5.1.1 (release,app)"
    assert (hailo["architecture"], hailo["board"]) == ("HAILO10H", "Hailo-10H")
    assert "HLDDLBB0000000000" not in str(found)
    assert unknown == {}


def test_sensors_of_sysfs_and_of_vcgencmd(tmp_path: Path) -> None:
    full, bare = pi(tmp_path / "full"), tmp_path / "bare"
    put_tool(bare, "vcgencmd", VCGENCMD)
    put(full, "sys/bus/platform/drivers/raspberrypi-firmware/soc:firmware/get_throttled", "e0008\n")
    one, other = (Sensors(Host(root=root)).read(0) for root in (full, bare))
    assert one.temperature_mc == other.temperature_mc == 48300
    assert one.clock_khz == other.clock_khz == 2_400_000
    assert one.throttled == 0xE0008
    assert other.throttled == 0x50000


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 255", "vcgencmd get_throttled failed with 255"),
        ("exit 0", "vcgencmd get_throttled said nothing"),
        ("echo throttled=", "get_throttled: 'throttled='"),
        ("echo 'VCHI initialization failed'", "get_throttled: 'VCHI initialization failed'"),
    ],
)
def test_a_vcgencmd_that_fails_is_no_zero(tmp_path: Path, script: str, reason: str) -> None:
    put_tool(tmp_path, "vcgencmd", script)
    assert Sensors(Host(root=tmp_path)).read(0).throttled == Unknown(reason)


def test_a_tool_that_hangs_is_ended(tmp_path: Path) -> None:
    put_tool(tmp_path, "vcgencmd", "sleep 60")
    found = Host(root=tmp_path).tool("vcgencmd", "version", seconds=0.1)
    assert found == Unknown("vcgencmd version gave no answer in 0.1 s")


@given(st.integers(0, (1 << 32) - 1))
def test_throttle_bits(bits: int) -> None:
    assert parse_throttled(f"throttled=0x{bits:x}") == bits
    named = sensors.names_of(bits)
    for place, name in enumerate(sensors.BITS):
        assert (name in named["now"]) == bool(bits & 1 << place)
        assert (name in named["since_boot"]) == bool(bits & 1 << place + 16)


@given(st.text())
def test_whatever_tools_say_is_a_value_or_unknown(text: str) -> None:
    for parse in (sensors.parse_throttled, sensors.parse_temperature, sensors.parse_clock):
        assert isinstance(parse(text), (int, Unknown))
    accelerator.parse_identity(text)
    process.parse_stat(text)


@pytest.mark.parametrize(
    ("bits", "live", "new"),
    [
        ([0, 0], [], []),
        ([0x50000, 0x50000], [], []),
        ([0, 0x4, 0x40000], ["throttled"], ["throttled"]),
        ([0x10000, 0x30000], [], ["frequency_capped"]),
        ([0x1, 0x0], ["under_voltage"], []),
    ],
)
def test_throttling_of_a_run(bits: list[int], live: list[str], new: list[str]) -> None:
    assert throttling(bits) == {"live": live, "new": new}


@pytest.mark.parametrize("bits", [[], [0, Unknown("gone"), 0]])
def test_throttling_is_unknown_if_one_reading_is(bits: list[Any]) -> None:
    assert {type(value) for value in throttling(bits).values()} == {Unknown}


def test_one_failed_reading_does_not_hide_the_others() -> None:
    gone = Unknown("gone")
    readings = [
        Reading(at_ns=at, temperature_mc=heat, clock_khz=gone, throttled=0)
        for at, heat in ((1, 50000), (2, gone))
    ]
    found, unknown = settle(columns(readings))
    assert found["temperature_mc"] == [50000, None]
    assert found["clock_khz"] is None
    assert unknown == {"/clock_khz": "gone", "/temperature_mc/1": "gone"}


def test_limits_of_both_kinds_of_control_groups(tmp_path: Path) -> None:
    host = Host(root=tmp_path)
    assert set(settle(process.limits(host))[0].values()) == {None}
    put(tmp_path, "sys/fs/cgroup/memory/memory.limit_in_bytes", f"{0x7FFFFFFFFFFFF000}\n")
    assert process.limits(host)["memory_max_bytes"] == "none"
    put(tmp_path, "sys/fs/cgroup/memory.max", "1073741824\n")
    put(tmp_path, "sys/fs/cgroup/memory.peak", "9000\n")
    put(tmp_path, "sys/fs/cgroup/memory.events", "low 0\noom_kill 2\noom_group_kill 0\n")
    put(tmp_path, "sys/fs/cgroup/cpu.max", "max 100000\n")
    assert process.limits(host) == {
        "memory_max_bytes": 1 << 30,
        "memory_peak_bytes": 9000,
        "oom_kills": 2,
        "cpu_max": "max 100000",
    }


def test_times_of_a_thread_with_a_strange_name() -> None:
    rest = " ".join(["S", *(str(n) for n in range(4, 53))])
    assert process.parse_stat(f"17 (a ) b (c) {rest}") == (14, 15)


SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("moved", "jumps"),
    [
        ((0, 0), []),
        ((500_000, 0), []),
        ((3600 * SECOND, 0), [("wall", 3600 * SECOND)]),
        ((-SECOND, 0), [("wall", -SECOND)]),
        ((2 * SECOND, 2 * SECOND), [("wall", 2 * SECOND), ("suspend", 2 * SECOND)]),
    ],
)
def test_jumps_of_the_clock(moved: tuple[int, int], jumps: list[tuple[str, int]]) -> None:
    wall, boot = moved
    moments = iter(
        [
            Moment(monotonic=100, wall=5000, boot=200),
            Moment(monotonic=100 + SECOND, wall=5000 + SECOND, boot=200 + SECOND),
            Moment(
                monotonic=100 + 2 * SECOND,
                wall=5000 + 2 * SECOND + wall,
                boot=200 + 2 * SECOND + boot,
            ),
        ]
    )
    watch = Watch(100, lambda: next(moments))
    assert (watch.look(), watch.look()) == (SECOND, 2 * SECOND)
    assert [(jump["kind"], jump["by_ns"]) for jump in watch.jumps] == jumps
    assert watch.drift_ns() == wall
