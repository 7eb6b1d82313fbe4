"""The one adapter for OpenSSH: a line to a device whose host key is known.

The user's own configuration counts (``ProxyJump``, ``User``, ``IdentityFile``); what decides
whether this is the right machine, and what our own session needs, does not come from it. See
ssh_config(5).
"""

from __future__ import annotations

import re
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from buildkit import scratch, tools
from buildkit.device.wording import clean
from buildkit.errors import DeviceError, InputError, ToolError
from buildkit.run import run, talk

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

    from buildkit.conversation import Conversation
    from buildkit.device.types import Device
    from buildkit.run import Runner

LOST = 255
"""Exit status of ssh when it is not that of the remote command."""

MOST_SAID = 8 << 20
"""Bytes that a device may say at once: ten thousand blobs, each with its digest."""

ENROL_AGAIN = "python -m buildkit device enroll"

_CONNECT_S, _PERSIST_S, _CLOSE_S = 20, 60, 5.0
# Paths that ssh reads as they are: its options know `%`, `~`, `$`, quotes and spaces.
_PLAIN = re.compile(r"[A-Za-z0-9/._-]{1,48}")
# Of sun_path's 108 bytes ssh takes 17 for a name that it makes up while it begins.
_SOCKET = "c"
_RSA = "rsa-sha2-512,rsa-sha2-256"

_FIXED = {
    "BatchMode": "yes",
    # Which machine it is: the pinned key decides, and nothing beside it.
    "StrictHostKeyChecking": "yes",
    "GlobalKnownHostsFile": "/dev/null",
    "KnownHostsCommand": "none",
    "VerifyHostKeyDNS": "no",
    "NoHostAuthenticationForLocalhost": "no",
    "CheckHostIP": "no",
    "HashKnownHosts": "no",
    "UpdateHostKeys": "no",
    # What we need to speak with a program over it.
    "ConnectTimeout": str(_CONNECT_S),
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "3",
    "TCPKeepAlive": "yes",
    "RequestTTY": "no",
    "RemoteCommand": "none",
    "PermitLocalCommand": "no",
    "SessionType": "default",
    "StdinNull": "no",
    "ForkAfterAuthentication": "no",
    "LogLevel": "INFO",
    # A device gets nothing of ours.
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "ClearAllForwardings": "yes",
    "Tunnel": "no",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """A line to one device; made by `connect`.

    Attributes:
        device: which.
        options: of every ssh.
        runner: starts programs that answer at once.
        program: ssh.
    """

    device: Device
    options: tuple[str, ...]
    runner: Runner
    program: Path

    def talk(self, script: str, *, limit: int = MOST_SAID) -> AbstractContextManager[Conversation]:
        """Start a script of the POSIX shell on the device, and speak with it.

        Args:
            script: one line without single quotes.
            limit: bytes that it may say at once.

        Raises:
            ToolError: ssh cannot be started.
        """
        # The user's login shell may be any; all of them know this.
        words = ("--", self.device.host, f"exec /bin/sh -c '{script}'")
        return talk([self.program, *self.options, *words], limit=limit)

    def drop(self) -> None:
        """Close the shared connection; the next call makes a new one."""
        with suppress(ToolError):
            self.runner(
                [self.program, *self.options, "-O", "exit", "--", self.device.host],
                deadline=_CLOSE_S,
                check=False,
            )


@contextmanager
def connect(device: Device, *, runner: Runner = run, path: str | None = None) -> Iterator[Link]:
    """A line to `device`; nothing is sent before it is used.

    Calls share one connection, which ends with the block.

    Args:
        device: which, with its pinned host key.
        runner: starts ssh.
        path: folders to look for ssh in, as in ``PATH``.

    Raises:
        ToolError: there is no ssh.
        InputError: the file of the private SSH key is not there.
        OSError: no folder for temporary files can be made.
    """
    home = short_folder()
    scratch.sweep(home)
    with scratch.folder(home) as folder:
        known = folder / "known_hosts"
        known.write_text(f"{alias(device.name)} {device.host_key}\n", encoding="ascii")
        pinned = {
            "UserKnownHostsFile": str(known),
            "HostKeyAlias": alias(device.name),
            "HostKeyAlgorithms": algorithms(device.host_key),
            "ControlMaster": "auto",
            "ControlPath": str(folder / _SOCKET),
            "ControlPersist": str(_PERSIST_S),
        }
        link = Link(
            device=device,
            options=(*written(pinned | _FIXED), *place(device.port, device.identity)),
            runner=runner,
            program=tools.find("ssh", path),
        )
        try:
            yield link
        finally:
            if (folder / _SOCKET).exists():
                link.drop()


def place(port: int, identity: str) -> tuple[str, ...]:
    """Options for the port and the private key, where they are not the user's configuration's.

    Raises:
        InputError: the file of the private key is not there.
    """
    words: list[str] = ["-p", str(port)] if port else []
    if identity:
        file = Path(identity).expanduser()
        if not file.is_file():
            msg = f"{identity}: no such file, where the private SSH key should be"
            raise InputError(msg, "correct `identity` in devices.toml, or leave it out")
        words += ["-i", str(file), "-o", "IdentitiesOnly=yes"]
    return tuple(words)


def written(options: Mapping[str, str]) -> tuple[str, ...]:
    """Options as words of a command, and no terminal."""
    return ("-T", *(word for name, value in options.items() for word in ("-o", f"{name}={value}")))


def fixed(**more: str) -> tuple[str, ...]:
    """The options that every ssh of ours has, some of them replaced."""
    return written(_FIXED | more)


def alias(name: str) -> str:
    """The name under which a device's host key is looked up."""
    return f"edge-buildkit-{name}"


def algorithms(host_key: str) -> str:
    """The signature algorithms that fit a host key (RFC 8332 for RSA)."""
    kind = host_key.split(maxsplit=1)[0]
    return _RSA if kind == "ssh-rsa" else kind


def short_folder() -> Path:
    """A folder for temporary files whose name leaves room for that of a socket."""
    home = scratch.session()
    return home if _PLAIN.fullmatch(str(home)) else Path("/tmp")  # noqa: S108 - the folder is ours


_CHANGED = (
    (
        "it does not have the host key that it was enrolled with: it is another machine, "
        "it was set up anew, or somebody stands in between"
    ),
    f"look at the board; if it was set up anew, enrol it again: {ENROL_AGAIN}",
)
# What ssh says → whose fault it is, what that means, and what to do. The first that fits.
_WORDS: tuple[tuple[str, str, str, str], ...] = (
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", "device", *_CHANGED),
    ("no matching host key type found", "device", *_CHANGED),
    ("Host key verification failed", "device", *_CHANGED),
    ("host key is known for", "device", *_CHANGED),
    (
        "Permission denied",
        "host",
        "it does not let this user in",
        "copy your SSH key to it (ssh-copy-id), or load it (ssh-add): passwords are not asked for",
    ),
    (
        "Too many authentication failures",
        "host",
        "it does not let this user in",
        "name the right key: `identity` in devices.toml",
    ),
    (
        "Could not resolve hostname",
        "network",
        "its name is not known here",
        "correct `host` in devices.toml, or wait until the board is up",
    ),
    (
        "Connection refused",
        "network",
        "nobody answers SSH there",
        "wait until the board is up, and see that its SSH server runs",
    ),
    (
        "Bad configuration option",
        "host",
        "ssh does not know an option: it is older than 8.7, or ~/.ssh/config has a mistake",
        "use the ssh of Debian 12 or later",
    ),
    (
        "Bad owner or permissions",
        "host",
        "ssh does not trust the permissions of ~/.ssh/config",
        "chmod 600 ~/.ssh/config",
    ),
)
_UNREACHABLE = re.compile(
    r"Connection timed out|Operation timed out|No route to host|Network is unreachable"
    r"|Host is down|banner exchange|port 65535"
)


def failure(device: Device, said: str, *, during: str) -> DeviceError:
    """What ssh said when the line failed, in our words.

    Args:
        device: which.
        said: standard error of ssh.
        during: what the line was used for.
    """
    who = f"{device.name} ({device.host})"
    lines = [line for line in said.splitlines() if line.strip("@ \r")]
    last = f" ({clean(lines[-1], 200)})" if lines else ""
    for word, blame, meaning, remedy in _WORDS:
        if word in said:
            return DeviceError("network", blame, f"{who}: {meaning}{last}", remedy)
    if _UNREACHABLE.search(said):
        msg = f"{who}: it cannot be reached{last}"
        remedy = "see that it has power and a network, and that `host` in devices.toml is right"
        return DeviceError("network", "network", msg, remedy)
    msg = f"{who}: the line was cut during {during}{last}"
    return DeviceError("network", "network", msg, "run it again; what arrived is not sent twice")
