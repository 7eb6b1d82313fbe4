"""What the stand-in is made of, by version and hash: ``nix/standin.lock`` as data.

As in a recipe's lock, a row names a package, its version, its file and its hash, and never a host.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from buildkit import canonical, digests
from buildkit.errors import LockError
from buildkit.lock.types import DebianPin

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SCHEMA = "edge-buildkit/standin-lock/v1"
RELOCK = "write it again: python -m buildkit standin lock"
_FORMS = {
    "name": r"[a-z0-9][a-z0-9+.-]*",
    "version": r"[A-Za-z0-9][A-Za-z0-9.+:~-]*",
    "architecture": r"amd64|arm64|all",
    "suite": r"[a-z]+(-security)?",
    "file": r"[A-Za-z0-9+_][A-Za-z0-9+._-]*",
    "sha256": r"[0-9a-f]{64}",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class HostPins:
    """What a build host of one architecture needs.

    Attributes:
        seed: the package whose static busybox starts everything in the sandbox.
        seed_nar_sha256: hex digits of the Nix archive of the seed's folder.
        emulator: packages of QEMU.
        workshop: packages of what makes file systems, initial RAM disk and device tree.
    """

    seed: DebianPin
    seed_nar_sha256: str
    emulator: tuple[DebianPin, ...]
    workshop: tuple[DebianPin, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class StandinLock:
    """All that goes into a stand-in.

    Attributes:
        hosts: build host architecture (``amd64``, ``arm64``) → pins.
        busybox: of the board's processor, for its first programs.
        kernels: page size in bytes → the kernel's package.
        roots: container runtime → packages of the board's system.
        asked: digest of what was asked for.
    """

    hosts: Mapping[str, HostPins]
    busybox: DebianPin
    kernels: Mapping[int, DebianPin]
    roots: Mapping[str, tuple[DebianPin, ...]]
    asked: str

    def wanted(self, host: str, runtime: str, pages: int) -> tuple[DebianPin, ...]:
        """Every package that one kind of board needs on one kind of build host, each file once.

        Raises:
            LockError: the lock has no such host, runtime or page size.
        """
        if host not in self.hosts or runtime not in self.roots or pages not in self.kernels:
            msg = f"the stand-in's lock has nothing for {host}, {runtime}, {pages} byte pages"
            raise LockError(msg, RELOCK)
        pins = self.hosts[host]
        own = (pins.seed, *pins.emulator, *pins.workshop)
        board = (self.busybox, self.kernels[pages], *self.roots[runtime])
        return tuple({pin.sha256: pin for pin in (*own, *board)}.values())


def to_json(lock: StandinLock) -> dict[str, Any]:
    """The lock's document; Nix gets it too. Packages stand once, lists name them by their hash."""
    packages: dict[str, Any] = {}

    def name(pin: DebianPin) -> str:
        packages[pin.sha256] = asdict(pin)
        return pin.sha256

    hosts = {
        architecture: {
            "seed": name(pins.seed),
            "seed_nar_sha256": pins.seed_nar_sha256,
            "emulator": [name(pin) for pin in pins.emulator],
            "workshop": [name(pin) for pin in pins.workshop],
        }
        for architecture, pins in lock.hosts.items()
    }
    return {
        "schema": SCHEMA,
        "asked": lock.asked,
        "hosts": hosts,
        "busybox": name(lock.busybox),
        "kernels": {str(pages): name(pin) for pages, pin in lock.kernels.items()},
        "roots": {runtime: [name(pin) for pin in pins] for runtime, pins in lock.roots.items()},
        "packages": packages,
    }


def dump(lock: StandinLock) -> bytes:
    """The lock as the file has it: the same lock is always the same bytes."""
    document = to_json(lock)
    return canonical.dump_pretty({**document, "integrity": _integrity(document)})


def load(file: Path) -> StandinLock:
    """Read a lock.

    Raises:
        LockError: it is missing, cannot be read, or is not sound.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        msg = f"{file.name}: the stand-in's lock cannot be read: {error.strerror}"
        raise LockError(msg, RELOCK) from error
    return parse(data, file.name)


def parse(data: bytes, file: str) -> StandinLock:
    """Read a lock from bytes, whatever they are.

    Raises:
        LockError: not a lock of this version, edited by hand, or not sound.
    """
    try:
        document = canonical.load(data)
        if not isinstance(document, dict) or document.get("schema") != SCHEMA:
            msg = f"{file}: not a lock of a stand-in that this version can read"
            raise LockError(msg, RELOCK)
        if document.pop("integrity", None) != _integrity(document):
            msg = f"{file}: edited by hand: its content is not what its integrity line says"
            raise LockError(msg, RELOCK)
        return _lock(document)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"{file}: not sound: {error}"
        raise LockError(msg, RELOCK) from error


def _integrity(document: Mapping[str, Any]) -> str:
    return digests.of_bytes(canonical.dump(document))


def _lock(document: Mapping[str, Any]) -> StandinLock:
    packages = {sha256: _pin(row) for sha256, row in document["packages"].items()}
    if any(pin.sha256 != sha256 for sha256, pin in packages.items()):
        msg = "a package stands under another's hash"
        raise ValueError(msg)
    hosts = {
        architecture: HostPins(
            seed=packages[row["seed"]],
            seed_nar_sha256=_text(row["seed_nar_sha256"], "sha256"),
            emulator=tuple(packages[name] for name in row["emulator"]),
            workshop=tuple(packages[name] for name in row["workshop"]),
        )
        for architecture, row in document["hosts"].items()
    }
    return StandinLock(
        hosts=hosts,
        busybox=packages[document["busybox"]],
        kernels={int(pages): packages[name] for pages, name in document["kernels"].items()},
        roots={
            runtime: tuple(packages[name] for name in names)
            for runtime, names in document["roots"].items()
        },
        asked=str(document["asked"]),
    )


def _pin(row: Mapping[str, Any]) -> DebianPin:
    if set(row) != {field.name for field in fields(DebianPin)}:
        msg = f"a package has other fields: {', '.join(sorted(row))}"
        raise ValueError(msg)
    size = row["size"]
    if not isinstance(size, int) or isinstance(size, bool) or size <= 0:
        msg = f"{size!r} is no size"
        raise ValueError(msg)
    return DebianPin(**{name: _text(row[name], name) for name in _FORMS}, size=size)


def _text(value: Any, form: str) -> str:
    if not isinstance(value, str) or re.fullmatch(_FORMS[form], value) is None:
        msg = f"{str(value)[:80]!r} is no {form}"
        raise ValueError(msg)
    return value
