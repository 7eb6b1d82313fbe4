"""What kind of board this is, and in which state."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from .unknown import Unknown

if TYPE_CHECKING:
    from .host import Host

# Container engines hide /sys/firmware, which /proc/device-tree points into: whoever starts the
# container may mount the device tree here instead.
DEVICE_TREES = ("run/edge-smoke/device-tree", "proc/device-tree", "sys/firmware/devicetree/base")
STANDIN_FILE = "etc/edge-standin"
STANDIN_PROPERTY = "edge-standin"
CPUS = "sys/devices/system/cpu"


def fingerprint(host: Host) -> dict[str, Any]:
    """The board as the report says it."""
    cpuinfo = host.text("proc/cpuinfo")
    processor = _Fields(cpuinfo)
    return {
        "model": _first(device_tree(host, "model"), processor.get("Model")),
        "revision": _revision(host, processor),
        "machine": os.uname().machine,
        "kernel": {
            "release": host.text("proc/sys/kernel/osrelease"),
            "version": host.text("proc/sys/kernel/version"),
        },
        "os": _os(host),
        "page_bytes": os.sysconf("SC_PAGE_SIZE"),
        "cpu": _cpu(host, processor),
        "memory": _memory(host),
        "firmware": _firmware(host),
        "cooling": _cooling(host),
        "uptime_ms": _uptime(host),
        "standin": standin(host),
    }


def standin(host: Host) -> str | bool:
    """What a stand-in says of itself; ``False`` for a board without such a mark.

    The mark is the file ``/etc/edge-standin`` or the device-tree property ``edge-standin`` of the
    root node, with one line of text.
    """
    for name in (STANDIN_FILE, *(f"{folder}/{STANDIN_PROPERTY}" for folder in DEVICE_TREES)):
        mark = host.text(name)
        if isinstance(mark, str):
            return mark.splitlines()[0]
        if mark.reason.endswith(" is empty"):
            return "a stand-in that does not say more"
    return False


def device_tree(host: Host, name: str) -> str | Unknown:
    """A text property of the device tree, from where it is visible."""
    return host.first(*(f"{folder}/{name}" for folder in DEVICE_TREES))


class _Fields:
    """``key : value`` lines of /proc/cpuinfo; the first of a name counts."""

    def __init__(self, text: str | Unknown) -> None:
        self._missing = text if isinstance(text, Unknown) else None
        self._found: dict[str, str] = {}
        for line in (text if isinstance(text, str) else "").splitlines():
            key, colon, value = line.partition(":")
            if colon and value.strip():
                self._found.setdefault(key.strip(), value.strip())

    def get(self, *names: str) -> str | Unknown:
        if self._missing is not None:
            return self._missing
        known = (self._found[name] for name in names if name in self._found)
        return next(known, Unknown(f"/proc/cpuinfo has no {names[0]!r}"))


def _first(*values: Any) -> Any:
    known = (value for value in values if not isinstance(value, Unknown))
    return next(known, values[0])


def _revision(host: Host, processor: _Fields) -> str | Unknown:
    """The board's revision code, as hexadecimal digits (``c04170``)."""
    for folder in DEVICE_TREES:
        try:
            cell = (host.root / folder / "system" / "linux,revision").read_bytes()
        except OSError:
            continue
        if len(cell) == 4:
            return f"{int.from_bytes(cell, 'big'):x}"
    return processor.get("Revision")


def _os(host: Host) -> str | Unknown:
    """Of the image that runs this, not of the board under it."""
    text = host.first("etc/os-release", "usr/lib/os-release")
    if isinstance(text, Unknown):
        return text
    named = re.search(r'^PRETTY_NAME="?([^"\n]+)"?$', text, re.MULTILINE)
    return named.group(1) if named else Unknown("os-release has no PRETTY_NAME")


def _cpu(host: Host, processor: _Fields) -> dict[str, Any]:
    features = processor.get("Features", "flags")
    governors = {
        found
        for name in host.names(f"{CPUS}/cpu[0-9]*/cpufreq/scaling_governor")
        if isinstance(found := host.text(name), str)
    }
    no_cpufreq = Unknown(f"/{CPUS} shows no frequency scaling")
    limit = host.number(f"{CPUS}/cpu0/cpufreq/cpuinfo_max_freq")
    return {
        "name": processor.get("model name"),
        "implementer": processor.get("CPU implementer", "vendor_id"),
        "part": processor.get("CPU part", "model"),
        "variant": processor.get("CPU variant", "cpu family"),
        "revision": processor.get("CPU revision", "stepping"),
        "features": features if isinstance(features, Unknown) else sorted(set(features.split())),
        "cores": os.cpu_count() or Unknown("the system does not say"),
        "usable_cores": len(os.sched_getaffinity(0)),
        "governors": sorted(governors) or no_cpufreq,
        "max_khz": no_cpufreq if isinstance(limit, Unknown) else limit,
    }


def _memory(host: Host) -> dict[str, Any]:
    text = host.text("proc/meminfo")

    def field(name: str) -> int | Unknown:
        if isinstance(text, Unknown):
            return text
        found = re.search(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)
        return int(found.group(1)) * 1024 if found else Unknown(f"/proc/meminfo has no {name}")

    return {
        "total_bytes": field("MemTotal"),
        "available_bytes": field("MemAvailable"),
        "swap_total_bytes": field("SwapTotal"),
        "swap_free_bytes": field("SwapFree"),
    }


def _firmware(host: Host) -> dict[str, Any]:
    version = host.tool("vcgencmd", "version")
    bootloader = host.tool("vcgencmd", "bootloader_version")
    if isinstance(bootloader, Unknown):
        built = device_tree(host, "chosen/bootloader/version")
        bootloader = built if isinstance(built, str) else bootloader
    return {"version": _one_line(version), "bootloader": _one_line(bootloader)}


def _one_line(text: str | Unknown) -> str | Unknown:
    return text if isinstance(text, Unknown) else "; ".join(text.splitlines())


def _cooling(host: Host) -> dict[str, Any]:
    fans = []
    for name in host.names("sys/class/hwmon/hwmon*/fan[0-9]*_input"):
        folder, _, file = name.rpartition("/")
        number = file.removeprefix("fan").removesuffix("_input")
        fans.append(
            {
                "name": host.text(f"{folder}/name"),
                "rpm": host.number(name),
                "pwm": host.number(f"{folder}/pwm{number}"),
            }
        )
    devices = [
        {
            "type": host.text(f"{folder}/type"),
            "state": host.number(f"{folder}/cur_state"),
            "max_state": host.number(f"{folder}/max_state"),
        }
        for folder in host.names("sys/class/thermal/cooling_device*")
    ]
    return {
        # A heat sink, or a fan without a wire for its speed, cannot be seen: so this is not "none".
        "fans": fans or Unknown("no fan reports its speed"),
        "devices": devices or Unknown("/sys/class/thermal has no cooling device"),
    }


def _uptime(host: Host) -> int | Unknown:
    text = host.text("proc/uptime")
    if isinstance(text, Unknown):
        return text
    try:
        return round(float(text.split()[0]) * 1000)
    except ValueError:
        return Unknown("/proc/uptime holds no number")
