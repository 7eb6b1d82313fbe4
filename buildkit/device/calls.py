"""One conversation with the agent: how long it may take, and how it can go wrong."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from buildkit.device import answers, ssh
from buildkit.device.answers import Done, Failure
from buildkit.device.wording import clean
from buildkit.errors import DeviceError, DeviceRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from buildkit.conversation import Conversation
    from buildkit.device.answers import Note
    from buildkit.device.types import Device

NO_AGENT, WRONG_BYTES = 66, 67
"""Exit statuses of our own scripts on the device (sysexits.h has others there)."""

LOOK_S = 0.5
"""How often a wait looks up to see whether somebody wants an end."""

SHORT_S = 600.0
"""For all of a call that brings nothing and runs nothing, however much it says."""

_NO_PROGRAM = 127


class Stop(Protocol):
    """Says that somebody wants an end; a `threading.Event` does."""

    def is_set(self) -> bool:
        """Whether to end now."""


def _pass_over(_: Note) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How a call waits.

    Attributes:
        quiet_s: seconds without a word, and without taking a byte, after which the line counts as
            cut.
        whole_s: seconds for all of it; None: as long as it says something.
        beat_s: seconds between two signs of life; 0: none.
        grace_s: seconds that the agent has to clean up when it must end early.
        stop: asks for an early end.
        progress: hears what it reports.
    """

    quiet_s: float = 120.0
    whole_s: float | None = None
    beat_s: float = 0.0
    grace_s: float = 2.0
    stop: Stop | None = None
    progress: Callable[[Note], None] = _pass_over

    def look(self, device: Device) -> None:
        """See whether somebody wants an end.

        Raises:
            DeviceError: they do.
        """
        if self.stop is not None and self.stop.is_set():
            msg = f"{device.name}: it was told to stop"
            raise DeviceError(kind="interrupted", blame="host", message=msg, remedy="run it again")


class AbsentError(Exception):
    """The agent is not on the device."""


class Call:
    """One conversation.

    Args:
        device: with whom.
        command: of docs/device-protocol.md.
        program: what speaks for it.
        patience: how to wait.
    """

    def __init__(
        self, device: Device, command: str, program: Conversation, patience: Patience
    ) -> None:
        self._device = device
        self._command = command
        self._program = program
        self._patience = patience
        self._began = self._heard = self._beaten = time.monotonic()

    def put(self, data: bytes) -> bool:
        """Send bytes; whether the agent still takes them.

        Raises:
            DeviceError: somebody wants an end.
            DeadlineError: nobody took them.
        """
        self._patience.look(self._device)
        taken = self._program.write(data, wait=self._patience.quiet_s)
        self._heard = time.monotonic()
        return taken

    def answer(self) -> Mapping[str, Any]:
        """Wait for the last line, and hand on those before it.

        Raises:
            AbsentError: there is no agent.
            DeviceError: it failed, the line was cut, or somebody wants an end.
            DeviceRefused: a check on the device says no.
            Garbled: it does not speak the protocol.
            ToolError: it says too much.
        """
        while True:
            line = self._program.line(wait=LOOK_S)
            self._patience.look(self._device)
            self._watch(heard=line is not None)
            if line is None:
                continue
            if not line.endswith(b"\n"):
                code = self._program.finish(wait=self._patience.grace_s)
                raise ended(self._device, self._command, code, self._program.stderr)
            said = answers.reply(line)
            if isinstance(said, Done):
                return said.value
            if isinstance(said, Failure):
                raise _failed(self._device, said)
            self._patience.progress(said)

    def _watch(self, *, heard: bool) -> None:
        now, patience = time.monotonic(), self._patience
        if heard:
            self._heard = now
        if now - self._heard > patience.quiet_s:
            raise silent(self._device, self._command, patience.quiet_s)
        if patience.whole_s is not None and now - self._began > patience.whole_s:
            msg = f"{self._device.name}: {self._command} took more than {patience.whole_s:.0f} s"
            raise DeviceError(
                kind="network",
                blame="device",
                message=msg,
                remedy="give it more time, or look at the board",
            )
        if 0 < patience.beat_s <= now - self._beaten:
            self._program.write(b"\n", wait=patience.quiet_s)
            self._beaten = now


def ended(device: Device, command: str, code: int, said: str) -> Exception:
    """The program over there ended without an answer.

    Args:
        device: which.
        command: what it was doing.
        code: exit status of ssh.
        said: standard error.
    """
    last = clean(said.strip().rpartition("\n")[2], 200)
    why = f": {last}" if last else ""
    if code == NO_AGENT:
        return AbsentError()
    if code == ssh.LOST or code < 0:
        return ssh.failure(device, said, during=command)
    if code == _NO_PROGRAM:
        msg = f"{device.name}: there is no python3 on it{why}"
        remedy = "on the device, as root: apt-get install --no-install-recommends python3"
        return DeviceError("device", "device", msg, remedy)
    msg = f"{device.name}: {command} ended with status {code} and without an answer{why}"
    return DeviceError("network", "network", msg, "run it again")


def silent(device: Device, command: str, seconds: float) -> DeviceError:
    """It says nothing, and takes nothing."""
    msg = f"{device.name}: no sign of life for {seconds:.0f} s during {command}"
    return DeviceError("network", "network", msg, "look at the board and its network")


def garbled(device: Device, command: str, why: str) -> DeviceError:
    """It does not speak the protocol."""
    msg = f"{device.name}: it answered `{command}` wrongly: {why}"
    return DeviceError("network", "device", msg, "look at the board: nothing it said was used")


def _failed(device: Device, said: Failure) -> DeviceError | DeviceRefused:
    msg = f"{device.name}: {said.message}"
    if said.kind == "refused":
        return DeviceRefused(msg, said.remedy)
    return DeviceError(said.kind, said.blame, msg, said.remedy)
