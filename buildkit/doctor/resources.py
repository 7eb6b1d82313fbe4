"""Disk, memory, and the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildkit.doctor.registry import check
from buildkit.doctor.types import Check, Status

if TYPE_CHECKING:
    from pathlib import Path

    from buildkit.doctor.types import Machine

_GIB = 1 << 30
# A first build of a small recipe takes about 3 GiB: packages, Nix store, the engine's cache.
_DISK_WARN, _DISK_FAIL = 5 * _GIB, _GIB
_MEMORY_WARN = 2 * _GIB


@check("disk")
def disk(machine: Machine) -> Check | None:
    """Every folder that grows has room."""
    free = {what: machine.free(_existing(folder)) for what, folder in machine.folders.items()}
    if not free:
        return None
    least = min(free, key=lambda what: free[what])
    status: Status = "ok"
    if free[least] < _DISK_WARN:
        status = "fail" if free[least] < _DISK_FAIL else "warn"
    if status == "ok":
        return Check(name="disk", status="ok", found=f"at least {_gib(free[least])} free")
    short = [f"{what} {_gib(size)}" for what, size in free.items() if size < _DISK_WARN]
    remedy = (
        f"make room at {machine.folders[least]}: nix-collect-garbage, "
        "python -m buildkit gc, or another disk"
    )
    return Check(name="disk", status=status, found=f"free: {', '.join(short)}", remedy=remedy)


@check("memory")
def memory(machine: Machine) -> Check:
    """Training, quantising and emulation have room."""
    sizes = dict(line.split(":", 1) for line in machine.text("proc/meminfo").splitlines())
    words = sizes.get("MemAvailable", "").split()
    if not words:
        return Check(name="memory", status="ok", found="not told by this kernel")
    available = int(words[0]) * 1024
    if available < _MEMORY_WARN:
        remedy = f"end other programs or add swap: {_gib(_MEMORY_WARN)} are asked for"
        found = f"{_gib(available)} available"
        return Check(name="memory", status="warn", found=found, remedy=remedy)
    return Check(name="memory", status="ok", found=f"{_gib(available)} available")


@check("engine")
def engine(machine: Machine) -> Check | None:
    """The pinned BuildKit engine: it runs, or root may start it."""
    if running := machine.engine():
        return Check(name="engine", status="ok", found=running)
    if machine.user != 0:
        return Check(
            name="engine",
            status="fail",
            found="not running, and only root can start it",
            remedy="run as root, or name a docker buildx builder of your own with --builder",
        )
    return Check(name="engine", status="ok", found="not running; a build starts it")


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _gib(size: int) -> str:
    return f"{size / _GIB:.1f} GiB"
