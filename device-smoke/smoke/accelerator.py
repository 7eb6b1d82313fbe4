"""Accelerators on the board; for Hailo the driver, the library and the firmware must match."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .unknown import Unknown

if TYPE_CHECKING:
    from .host import Host

HAILO = "0x1e60"
CORAL = "0x1ac1"
PROCESSING_ACCELERATOR = "0x12"  # PCI base class
MODULES = ("hailo_pci", "hailo1x_pci")  # Hailo-8; Hailo-10H and Hailo-15


def fingerprint(host: Host) -> dict[str, Any]:
    """What the report says of them. Empty lists mean: looked, and there is none."""
    return {"pci": _pci(host), "hailo": _hailo(host)}


def _pci(host: Host) -> list[dict[str, Any]] | Unknown:
    if not (host.root / "sys/bus/pci/devices").is_dir():
        return Unknown("/sys/bus/pci/devices is not there")
    found = []
    for folder in host.names("sys/bus/pci/devices/*"):
        vendor = host.text(f"{folder}/vendor")
        kind = host.text(f"{folder}/class")
        of_interest = vendor in {HAILO, CORAL}
        if of_interest or (isinstance(kind, str) and kind.startswith(PROCESSING_ACCELERATOR)):
            found.append(
                {
                    "address": folder.rpartition("/")[2],
                    "vendor": vendor,
                    "device": host.text(f"{folder}/device"),
                    "class": kind,
                    "driver": host.link(f"{folder}/driver"),
                    "link_speed": host.text(f"{folder}/current_link_speed"),
                    "link_width": host.number(f"{folder}/current_link_width"),
                }
            )
    return found


def _hailo(host: Host) -> dict[str, Any]:
    devices = host.names("dev/hailo*")
    library = host.tool("hailortcli", "--version")
    asked = (
        host.tool("hailortcli", "fw-control", "identify", seconds=20)
        if devices
        else Unknown("/dev/hailo* is not there")
    )
    identity = parse_identity(asked)
    version = re.search(r"\d+(?:\.\d+)+", library) if isinstance(library, str) else None
    if isinstance(library, str):
        library = version.group(0) if version else Unknown("hailortcli --version has no number")
    return {
        "devices": [f"/{name}" for name in devices],
        "driver": host.first(*(f"sys/module/{module}/version" for module in MODULES)),
        "library": library,
        "firmware": _field(identity, "Firmware Version"),
        "architecture": _field(identity, "Device Architecture"),
        "board": _field(identity, "Board Name"),
        "identity": identity,
    }


def parse_identity(text: str | Unknown) -> dict[str, str] | Unknown:
    """``key: value`` lines of ``hailortcli fw-control identify``, without serial numbers."""
    if isinstance(text, Unknown):
        return text
    found = {}
    for line in text.splitlines():
        key, colon, value = (part.strip("\0 \t") for part in line.partition(":"))
        if colon and key and value and "serial" not in key.lower():
            found[key] = value
    return found or Unknown("hailortcli fw-control identify said nothing of use")


def _field(identity: dict[str, str] | Unknown, name: str) -> str | Unknown:
    if isinstance(identity, Unknown):
        return identity
    return identity.get(name) or Unknown(f"hailortcli names no {name!r}")
