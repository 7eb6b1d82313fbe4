"""First contact: whose machine is it, and with which key will it sign?"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from buildkit import scratch, tools
from buildkit.device import answers, inventory, ssh, zips
from buildkit.device.agent import Agent
from buildkit.device.calls import garbled
from buildkit.device.hostkeys import HOST_KEY_TYPES, HostKey, host_key
from buildkit.errors import DeviceError, InputError
from buildkit.evidence.keys import ALGORITHMS, public_key
from buildkit.run import run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from buildkit.device.answers import Facts
    from buildkit.device.types import Device
    from buildkit.device.zips import Packed
    from buildkit.evidence.keys import PublicKey
    from buildkit.run import Runner

    Confirm: TypeAlias = Callable[["HostKey"], bool]

_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")
_ASK_S = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Enrolled:
    """A device that is ready to be asked.

    Attributes:
        device: for ``devices.toml``.
        key: its own, in PEM and as a record; for the key ring.
        facts: what it says of itself.
    """

    device: Device
    key: PublicKey
    facts: Facts


def find_host_key(
    device: Device,
    *,
    wanted: str = "",
    confirm: Confirm | None = None,
    runner: Runner = run,
    path: str | None = None,
) -> HostKey:
    """The host key to pin.

    Args:
        device: where; its own `Device.host_key` does not count.
        wanted: the key itself, or its fingerprint (``SHA256:…``), by another way than this line.
        confirm: asks a person about what the machine shows, when nothing is `wanted`.
        runner: starts ssh.
        path: folders to look for ssh in, as in ``PATH``.

    Raises:
        InputError: `wanted` is neither, nobody confirmed, or there can be no such device.
        DeviceError: it cannot be reached, or has another key.
    """
    inventory.check(device)
    if wanted and not wanted.startswith("SHA256:"):
        return host_key(wanted)
    if wanted and _FINGERPRINT.fullmatch(wanted.rstrip("=")) is None:
        msg = f"{wanted[:80]!r} is not a fingerprint (SHA256: and 43 characters)"
        raise InputError(msg, "on the device: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub")
    seen: list[str] = []
    # It shows the one that the two agree on first; the others are asked for by name.
    for algorithms in ("", *HOST_KEY_TYPES[:5]) if wanted else ("",):
        found = _shown(device, algorithms, runner, path)
        if found is None:
            continue
        if not wanted:
            if confirm is not None and confirm(found):
                return found
            msg = (
                f"{device.name} ({device.host}): nobody confirmed its host key {found.fingerprint}"
            )
            raise InputError(msg, "give its fingerprint: --host-key SHA256:…")
        if found.fingerprint == wanted.rstrip("="):
            return found
        seen.append(found.fingerprint)
    msg = f"{device.name} ({device.host}): it has the host key {seen[0]}, not {wanted}"
    remedy = "on the device: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub"
    raise DeviceError(kind="network", blame="device", message=msg, remedy=remedy)


def enrol(
    device: Device,
    trusted: Sequence[bytes],
    *,
    packed: Packed | None = None,
    runner: Runner = run,
    path: str | None = None,
) -> Enrolled:
    """Bring the agent to a device, tell it whom to trust, and learn its key.

    Args:
        device: with its pinned host key; `Device.key` may be empty.
        trusted: public keys in PEM; they take the place of all that it trusted before.
        packed: the agent; that of this installation when absent.
        runner: starts ssh.
        path: folders to look for ssh in, as in ``PATH``.

    Raises:
        DeviceError: it cannot be reached or used, or did not do what it was asked to.
        InputError: one of `trusted` is no public key, there is none, or no such device.
    """
    inventory.check(device)
    if not trusted:
        msg = "a device that trusts no key runs nothing"
        raise InputError(msg, "make one: python -m buildkit keys make")
    keys = [public_key(pem, "a trusted key") for pem in trusted]
    with ssh.connect(device, runner=runner, path=path) as link:
        agent = Agent(link=link, packed=zips.agent() if packed is None else packed)
        request = {"trusted": [key.pem.decode() for key in keys]}
        key, ids = agent.call("enroll", request, answers.enrolled)
        if set(ids) != {each.id for each in keys}:
            raise garbled(device, "enroll", "it trusts other keys than it was told to")
        own = _own(device, key)
        facts = agent.facts()
    return Enrolled(device=dataclasses.replace(device, key=own.id), key=own, facts=facts)


def _own(device: Device, key: answers.Key) -> PublicKey:
    try:
        own = public_key(key.pem.encode(), f"the key of {device.name}")
    except InputError as error:
        raise garbled(device, "enroll", error.message) from error
    if own.id != key.id or own.algorithm != ALGORITHMS[0]:
        raise garbled(device, "enroll", "its key is not the one that it names, or not ECDSA P-256")
    return own


def _shown(device: Device, algorithms: str, runner: Runner, path: str | None) -> HostKey | None:
    """The host key that a machine shows, reached as the user's configuration says.

    ssh writes it down before it would log in, which it is not allowed to try.
    """
    with scratch.folder(ssh.short_folder()) as folder:
        known = folder / "known_hosts"
        options = ssh.fixed(
            StrictHostKeyChecking="accept-new",
            UserKnownHostsFile=str(known),
            HostKeyAlias=ssh.alias(device.name),
            PreferredAuthentications="none",
            ControlPath="none",
            **({"HostKeyAlgorithms": ssh.algorithms(algorithms)} if algorithms else {}),
        )
        said = runner(
            [
                tools.find("ssh", path),
                *options,
                *ssh.place(device.port, ""),
                *("--", device.host, "exit"),
            ],
            deadline=_ASK_S,
            check=False,
        )
        lines = known.read_text(encoding="ascii").splitlines() if known.is_file() else []
    for line in lines:
        return host_key(line.partition(" ")[2])
    if algorithms:
        return None
    raise ssh.failure(device, said.stderr, during="the first contact")
