"""Devices by name: enrolled, asked, forgotten."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

from buildkit.device import agent as agents
from buildkit.device import enrol, inventory, ssh, zips
from buildkit.errors import InputError
from buildkit.evidence.keys import KeyRing, change
from buildkit.pipeline import standins
from buildkit.recipe import TARGETS
from buildkit.run import run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from buildkit.device.answers import Facts
    from buildkit.device.enrol import Enrolled
    from buildkit.device.hostkeys import HostKey
    from buildkit.device.types import Device
    from buildkit.run import Runner

STANDIN = "standin:"


def enrolled(file: Path) -> Mapping[str, Device]:
    """Every device of an inventory, by name."""
    return inventory.load(file)


def chosen(file: Path, names: Sequence[str]) -> tuple[Device, ...]:
    """Devices by name or by host.

    Raises:
        InputError: there is no such device, or one is named twice.
    """
    known = inventory.load(file)
    found = tuple(inventory.find(known, name) for name in names)
    for device in found:
        if found.count(device) > 1:
            msg = f"{device.name}: named twice"
            raise InputError(msg, "name each device once")
    return found


def enroll(
    wanted: Device,
    *,
    file: Path,
    ring: Path,
    trust: Sequence[bytes] = (),
    host_key: str = "",
    replace: bool = False,
    confirm: Callable[[HostKey], bool] | None = None,
    runner: Runner = run,
) -> Enrolled:
    """Make a board one's own: pin its host key, tell it whom to trust, and keep its key.

    Args:
        wanted: name, host and target; `Device.host` may be ``standin:NAME``.
        file: inventory to write it to.
        ring: folder of the key ring: whose keys the board will trust, and where its own goes.
        trust: further public keys in PEM that it is to trust.
        host_key: its SSH host key or the fingerprint of it, known by another way.
        replace: it may take the place of a device of the same name.
        confirm: asks a person about the host key when none was given.
        runner: starts ssh.

    Raises:
        InputError: the name is taken, the target unknown, nobody confirmed, or there is no key.
        DeviceError: it cannot be reached or used.
    """
    if wanted.target not in TARGETS:
        msg = f"{wanted.target!r} is no target"
        raise InputError(msg, f"one of: {', '.join(TARGETS)}")
    if wanted.name in inventory.load(file) and not replace:
        msg = f"{wanted.name} is enrolled already"
        raise InputError(msg, "give another --name, or --replace")
    if wanted.host.startswith(STANDIN):
        wanted, host_key = _standin(wanted, runner)
    if not host_key or host_key.startswith("SHA256:"):
        found = enrol.find_host_key(wanted, wanted=host_key, confirm=confirm, runner=runner)
        host_key = found.text
    own = KeyRing.load(ring)
    pems = [key.pem for key in own.keys if key.state in ("active", "old", "imported")]
    done = enrol.enrol(
        dataclasses.replace(wanted, host_key=host_key), [*pems, *trust], runner=runner
    )
    # The ring first: an entry whose key is not there is of no use, a key without one does no harm.
    change.add_device(ring, done.key.pem, wanted.name, epoch=int(time.time()))
    inventory.put(file, done.device, replace=replace)
    return done


def _standin(wanted: Device, runner: Runner) -> tuple[Device, str]:
    name = wanted.host.removeprefix(STANDIN)
    board = standins.one(name, runner=runner).status()
    if not board.running:
        msg = f"the stand-in {name!r} does not run"
        raise InputError(msg, f"python -m buildkit standin start {name}")
    line = board.connection
    device = dataclasses.replace(
        wanted,
        host=f"{line.user}@{line.host}",
        port=line.port,
        identity=str(line.identity),
    )
    return device, line.host_key


def facts(device: Device) -> Facts:
    """What a device says of itself.

    Raises:
        DeviceError: it cannot be reached or used.
    """
    with ssh.connect(device) as link:
        return agents.Agent(link=link, packed=zips.agent()).facts()


def clean(device: Device, *, blobs: bool) -> Any:
    """Put right what killed runs left; with `blobs` remove all but key and trust.

    Raises:
        DeviceError: it cannot be reached or used.
    """
    with ssh.connect(device) as link:
        return agents.Agent(link=link, packed=zips.agent()).clean(blobs=blobs)


def wipe(device: Device) -> None:
    """Remove all that is ours from a device, its key and whom it trusts among it.

    Raises:
        DeviceError: it cannot be reached or used.
    """
    with ssh.connect(device) as link:
        agents.Agent(link=link, packed=zips.agent()).wipe()


def forget(file: Path, name: str) -> Device:
    """Take a device out of the inventory; its key stays in the ring, and what it saw counts.

    Raises:
        InputError: there is no such device.
    """
    return inventory.remove(file, name)
