"""Memory, CPU time and limits of a process."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from .unknown import Unknown

if TYPE_CHECKING:
    from .host import Host

CGROUP = "sys/fs/cgroup"


def memory(host: Host) -> dict[str, int | Unknown]:
    """Resident memory of this process, now and at its highest, bytes."""
    status = host.text("proc/self/status")
    return {
        "rss_bytes": _kilobytes(status, "VmRSS"),
        "peak_rss_bytes": _kilobytes(status, "VmHWM"),
        "swap_bytes": _kilobytes(status, "VmSwap"),
    }


def threads(host: Host) -> list[dict[str, Any]] | Unknown:
    """CPU time of each thread that lives, milliseconds; the kernel counts in ticks (10 ms)."""
    tick_ms = 1000 // os.sysconf("SC_CLK_TCK")
    found = []
    for name in host.names("proc/self/task/*/stat"):
        parsed = parse_stat(host.text(name))
        if parsed is not None:
            user, system = parsed
            found.append({"user_ms": user * tick_ms, "system_ms": system * tick_ms})
    return found or Unknown("/proc/self/task shows no thread")


def parse_stat(text: str | Unknown) -> tuple[int, int] | None:
    """User and system ticks of ``/proc/PID/stat``; a thread's name may hold anything."""
    if isinstance(text, Unknown):
        return None
    fields = text.rpartition(")")[2].split()
    try:
        return int(fields[11]), int(fields[12])
    except (IndexError, ValueError):
        return None


def limits(host: Host) -> dict[str, Any]:
    """What the control group allows and has used (version 2, or 1 for memory)."""
    v1 = f"{CGROUP}/memory"
    return {
        "memory_max_bytes": _limit(
            host.first(f"{CGROUP}/memory.max", f"{v1}/memory.limit_in_bytes")
        ),
        "memory_peak_bytes": _number(
            host.first(f"{CGROUP}/memory.peak", f"{v1}/memory.max_usage_in_bytes")
        ),
        "oom_kills": _event(host.text(f"{CGROUP}/memory.events"), "oom_kill"),
        "cpu_max": host.text(f"{CGROUP}/cpu.max"),
    }


def killed_for_memory(host: Host) -> bool | Unknown:
    """Whether the kernel killed a process of this control group (version 2) for the group's limit.

    False: somebody else did, or the kernel since the board itself had no memory left.
    """
    events = host.text(f"{CGROUP}/memory.events")
    kills, reached = _event(events, "oom_kill"), _event(events, "oom")
    if isinstance(kills, Unknown):
        return kills
    if isinstance(reached, Unknown):
        return reached
    return kills > 0 and reached > 0


def _kilobytes(status: str | Unknown, name: str) -> int | Unknown:
    if isinstance(status, Unknown):
        return status
    found = re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found.group(1)) * 1024 if found else Unknown(f"/proc/self/status has no {name}")


def _number(text: str | Unknown) -> int | Unknown:
    if isinstance(text, Unknown):
        return text
    return int(text) if text.isdecimal() else Unknown(f"not a number: {text[:80]!r}")


def _limit(text: str | Unknown) -> int | str | Unknown:
    found = _number(text)
    # Version 1 writes the largest number of pages for "no limit".
    no_limit = text == "max" or (isinstance(found, int) and found >= 1 << 62)
    return "none" if no_limit else found


def _event(text: str | Unknown, name: str) -> int | Unknown:
    if isinstance(text, Unknown):
        return text
    found = re.search(rf"^{name} (\d+)$", text, re.MULTILINE)
    return int(found.group(1)) if found else Unknown(f"memory.events has no {name}")
