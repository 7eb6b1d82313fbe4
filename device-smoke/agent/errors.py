"""How a call ends badly: a kind of docs/device-protocol.md, and whose fault it is."""

from __future__ import annotations

import errno
from enum import Enum


class Kind(str, Enum):
    """What went wrong; the words of the protocol."""

    USAGE = "usage"
    REFUSED = "refused"
    BUSY = "busy"
    RUNTIME = "runtime"
    DISK = "disk"
    DEVICE = "device"
    NETWORK = "network"
    INTERRUPTED = "interrupted"


_BLAME = {
    Kind.USAGE: "host",
    Kind.REFUSED: "artifact",
    Kind.BUSY: "device",
    Kind.RUNTIME: "device",
    Kind.DISK: "device",
    Kind.DEVICE: "device",
    Kind.NETWORK: "network",
    Kind.INTERRUPTED: "host",
}

_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.EFBIG}


class AgentError(Exception):
    """The call failed.

    Args:
        kind: decides whose fault it is.
        message: what happened and where, one line.
        remedy: what the user can do about it; may be empty.
    """

    def __init__(self, kind: Kind, message: str, remedy: str = "") -> None:
        self.kind = kind
        self.blame = _BLAME[kind]
        self.message = " ".join(message.split())
        self.remedy = remedy
        super().__init__(f"{kind.value}: {self.message}")

    def document(self) -> dict[str, str]:
        """As the last line of the answer says it."""
        return {
            "kind": self.kind.value,
            "blame": self.blame,
            "message": self.message,
            "remedy": self.remedy,
        }


class Stopped(BaseException):
    """A signal, the end of input, or a missing heartbeat asks for an end.

    Not an `Exception`, so that nothing swallows it.
    """

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(why)


def of_system(error: OSError) -> AgentError:
    """What the operating system refused, in the words of the protocol."""
    where = f"{error.filename}: " if error.filename else ""
    text = f"{where}{error.strerror or error}"
    if error.errno in _DISK:
        return AgentError(Kind.DISK, text, "make room, or look at the disk of the device")
    return AgentError(Kind.DEVICE, text)
