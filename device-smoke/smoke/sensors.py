"""Temperature, clock and throttle bits.

They are read between timed stretches, by the same thread: a thread of their own would take the
interpreter's lock and a core from the inference that is timed. Heat changes slowly, and the sticky
bits of the firmware remember what happened between two readings.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .unknown import Unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .host import Host

BITS = ("under_voltage", "frequency_capped", "throttled", "soft_temperature_limit")
SINCE_BOOT = 16

THROTTLED = "sys/bus/platform/drivers/raspberrypi-firmware/*/get_throttled"
THROTTLED_OLD = "sys/devices/platform/soc/soc:firmware/get_throttled"


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """The sensors at one moment.

    Attributes:
        at_ns: since the start of the run, monotonic.
        temperature_mc: of the CPU, thousandths of a degree Celsius.
        clock_khz: of the fastest core.
        throttled: the firmware's bits, as one number.
    """

    at_ns: int
    temperature_mc: int | Unknown
    clock_khz: int | Unknown
    throttled: int | Unknown


class Sensors:
    """Finds out once where to read, then reads."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._zone = _zone(host)
        self._clocks = host.names("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq")
        files = host.names(THROTTLED) or host.names(THROTTLED_OLD)
        self._throttled = files[0] if files else None

    def read(self, at_ns: int) -> Reading:
        """Read all; costs microseconds where sysfs has them, else one `vcgencmd` for each."""
        return Reading(
            at_ns=at_ns,
            temperature_mc=self._temperature(),
            clock_khz=self._clock(),
            throttled=self._bits(),
        )

    def _temperature(self) -> int | Unknown:
        if self._zone is not None:
            return self._host.number(f"{self._zone}/temp")
        return parse_temperature(self._host.tool("vcgencmd", "measure_temp"))

    def _clock(self) -> int | Unknown:
        if self._clocks:
            speeds = [self._host.number(name) for name in self._clocks]
            known = [speed for speed in speeds if isinstance(speed, int)]
            return max(known) if known else speeds[0]
        return parse_clock(self._host.tool("vcgencmd", "measure_clock", "arm"))

    def _bits(self) -> int | Unknown:
        if self._throttled is not None:
            text = self._host.text(self._throttled)
            # The kernel prints bare hexadecimal digits.
            return parse_throttled(text if isinstance(text, Unknown) else f"throttled=0x{text}")
        return parse_throttled(self._host.tool("vcgencmd", "get_throttled"))


def parse_throttled(text: str | Unknown) -> int | Unknown:
    """``throttled=0x50005`` as a number."""
    if isinstance(text, Unknown):
        return text
    found = re.fullmatch(r"throttled=0x(?:0x)?([0-9a-fA-F]{1,8})", text)
    return int(found.group(1), 16) if found else Unknown(f"get_throttled: {text[:80]!r}")


def parse_temperature(text: str | Unknown) -> int | Unknown:
    """``temp=48.3'C`` in thousandths of a degree."""
    if isinstance(text, Unknown):
        return text
    found = re.fullmatch(r"temp=(-?\d+)\.(\d)'C", text)
    if not found:
        return Unknown(f"measure_temp: {text[:80]!r}")
    return int(found.group(1) + found.group(2)) * 100


def parse_clock(text: str | Unknown) -> int | Unknown:
    """``frequency(0)=2400000000``, in Hz, as kHz."""
    if isinstance(text, Unknown):
        return text
    found = re.fullmatch(r"frequency\(\d+\)=(\d+)", text)
    if not found or int(found.group(1)) == 0:
        return Unknown(f"measure_clock: {text[:80]!r}")
    return int(found.group(1)) // 1000


def names_of(bits: int) -> dict[str, Any]:
    """Throttle bits by name: set now, and set at some time since boot."""
    return {
        "raw": bits,
        "now": [name for place, name in enumerate(BITS) if bits >> place & 1],
        "since_boot": [name for place, name in enumerate(BITS) if bits >> place + SINCE_BOOT & 1],
    }


def columns(readings: Sequence[Reading]) -> dict[str, Any]:
    """Readings as one list for each sensor; one that never answered is unknown as a whole."""
    return {
        "at_ns": [reading.at_ns for reading in readings],
        **{
            name: _column([getattr(reading, name) for reading in readings])
            for name in ("temperature_mc", "clock_khz", "throttled")
        },
    }


def one(reading: Reading) -> dict[str, Any]:
    """One reading, its bits by name."""
    bits = reading.throttled
    return {
        "at_ns": reading.at_ns,
        "temperature_mc": reading.temperature_mc,
        "clock_khz": reading.clock_khz,
        "throttled": bits if isinstance(bits, Unknown) else names_of(bits),
    }


def throttling(bits: Sequence[int | Unknown]) -> dict[str, Any]:
    """Whether the board was throttled while it was watched: from before the first run to the end.

    ``live``: names of bits that were set at any reading; ``new``: names of sticky bits that were
    not set at the first. Unknown if any reading is, because it may have been the one.
    """
    missing = next((one for one in bits if isinstance(one, Unknown)), None)
    known = [one for one in bits if isinstance(one, int)]
    if missing is not None or not known:
        reason = missing or Unknown("never read")
        return {"live": reason, "new": reason}
    seen = 0
    for one_reading in known:
        seen |= one_reading
    return {
        "live": names_of(seen)["now"],
        "new": names_of(seen & ~known[0])["since_boot"],
    }


def _column(values: list[Any]) -> Any:
    if values and all(isinstance(value, Unknown) for value in values):
        return values[0]
    return values


def _zone(host: Host) -> str | None:
    """The thermal zone of the CPU."""
    kinds = {
        zone: str(host.text(f"{zone}/type"))
        for zone in host.names("sys/class/thermal/thermal_zone*")
    }
    for wanted in ("cpu", "x86_pkg", "soc"):
        for zone, kind in kinds.items():
            if wanted in kind:
                return zone
    return None
