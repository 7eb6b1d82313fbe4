"""Every key of ``devices.toml``, once: reader and documentation go by this table.

Defaults stand in `buildkit.device.types.Device`, whose fields have the names of the keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from buildkit.device.hostkeys import host_key
from buildkit.device.types import Device
from buildkit.errors import InputError
from buildkit.recipe import TARGETS
from buildkit.recipe.forms import Form
from buildkit.recipe.kinds import Choice, Number, Text
from buildkit.recipe.notes import shown
from buildkit.recipe.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from buildkit.recipe.locate import KeyPath
    from buildkit.recipe.notes import Notes

SCHEMA_VERSION = 1
RUNTIMES = ("auto", "docker", "podman", "crun")

# Neither an option of ssh, nor anything that a ProxyCommand of the user's would give to a shell.
_HOST = Form(
    r"(?!-)(?!.*@-)[A-Za-z0-9_.:%+@\[\]-]{1,255}",
    "a host, as OpenSSH is asked for it",
    'write one such as "pi@192.0.2.7", or a name out of ~/.ssh/config',
)
_KEY = Form(
    r"[0-9a-f]{16}",
    "the id of a key: 16 lower-case hexadecimal digits",
    "enrol the device again, which writes it",
)
_FILE = Form(
    r"(?:/|~/)[^\u0000-\u001f\u007f]{1,400}",
    "an absolute path, or one that begins with ~/",
    'write one such as "~/.ssh/id_ed25519"',
)
HOST_KEY_EXAMPLE = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _HostKey:
    """A pinned SSH host key."""

    about: str
    example: str = HOST_KEY_EXAMPLE

    def read(self, value: Any, path: KeyPath, notes: Notes) -> str | None:
        remedy = "enrol the device again, or copy it from /etc/ssh/ssh_host_ed25519_key.pub there"
        if not isinstance(value, str):
            notes.add(path, f"must be a string, is {shown(value)}", remedy)
            return None
        try:
            return host_key(value).text
        except InputError as error:
            notes.add(path, f"is {error.message}", remedy)
            return None

    def schema(self) -> dict[str, Any]:
        return {"type": "string"}


DEVICE = Table(
    about="a board",
    record=Device,
    keys={
        "host": Text(
            about="what OpenSSH is asked for: `user@host`, or a name of the SSH configuration",
            form=_HOST,
            example="pi@192.0.2.7",
        ),
        "target": Choice(about="kind of device", options=tuple(TARGETS), example="pi5"),
        "host_key": _HostKey(about="its SSH host key; no other is accepted"),
        "key": Text(
            about="id of the key that it signs with, which is in the key ring",
            form=_KEY,
            example="0123456789abcdef",
        ),
        "port": Number(
            about="of SSH; 0 leaves it to the SSH configuration",
            low=0,
            high=65535,
            example=2222,
            whole=True,
        ),
        "identity": Text(
            about="file of the private SSH key; else the SSH configuration says",
            form=_FILE,
            example="~/.ssh/id_ed25519",
        ),
        "runtime": Choice(
            about="what starts the container; `auto`: the first that can",
            options=RUNTIMES,
            example="crun",
        ),
    },
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Root:
    """The document, for the defaults of `Table`."""

    schema: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Devices:
    """All boards, for the defaults of `Table`."""


def root(names: Iterable[str]) -> Table:
    """The table of a document with devices of these names."""
    devices = Table(
        about="boards, each under its name",
        record=_Devices,
        keys=dict.fromkeys(names, DEVICE),
        absent="defaults",
    )
    form = Choice(about="form of this file", options=(SCHEMA_VERSION,), example=1)
    return Table(about="Known boards.", record=_Root, keys={"schema": form, "devices": devices})
