"""The agent on a device: brought when it is not there, asked, and its answers read."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from buildkit import canonical, digests
from buildkit.device import answers
from buildkit.device.answers import Garbled
from buildkit.device.calls import (
    LOOK_S,
    NO_AGENT,
    SHORT_S,
    WRONG_BYTES,
    AbsentError,
    Call,
    Patience,
    ended,
    garbled,
    silent,
)
from buildkit.device.ssh import MOST_SAID
from buildkit.device.wording import clean
from buildkit.errors import DeadlineError, DeviceError, ToolError
from buildkit.evidence import strict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    from buildkit.device.answers import Facts
    from buildkit.device.ssh import Link
    from buildkit.device.zips import Packed

    Feed: TypeAlias = Callable[[Callable[[bytes], bool]], None]

T = TypeVar("T")

_HOME = "${XDG_CACHE_HOME:-$HOME/.cache}/edge-buildkit"
_BRING_S = 60.0
# A statement in base64, and a little around it.
_MOST_SIGNED = strict.LARGEST // 3 * 4 + (1 << 20)
# Stands in double quotes of the shell, so none of its special characters, and no single quotes.
_BRING = "; ".join(
    (
        "import hashlib, os, sys",
        "path, digest = sys.argv[1:]",
        "data = sys.stdin.buffer.read()",
        f"hashlib.sha256(data).hexdigest() == digest or sys.exit({WRONG_BYTES})",
        "home = os.path.dirname(path)",
        "os.makedirs(home, 0o700, True)",
        "fresh = path + str(os.getpid())",
        r"file = open(fresh, \"wb\")",
        "file.write(data)",
        "file.flush()",
        "os.fsync(file.fileno())",
        "file.close()",
        "os.replace(fresh, path)",
        "os.fsync(os.open(home, os.O_RDONLY))",
    )
)

_DATA = "${XDG_DATA_HOME:-$HOME/.local/share}/edge-buildkit"
_CONFIG = "${XDG_CONFIG_HOME:-$HOME/.config}/edge-buildkit"
_WIPE_S = 120.0
# By name: on a host that is its own device, what else is in these folders is the host's.
_WIPE = (
    f'cd "{_DATA}" && rm -rf blobs partial images runs lock; '
    f'rm -rf "{_CONFIG}/device" "{_HOME}"/agent-* || exit 1; '
    f'rmdir "{_DATA}" "{_CONFIG}" "{_HOME}"; exit 0'
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Agent:
    """The agent on one device.

    Attributes:
        link: to the device.
        packed: the program.
    """

    link: Link
    packed: Packed

    def facts(self, patience: Patience | None = None) -> Facts:
        """What the device says of itself.

        Raises:
            DeviceError: see `call`.
        """
        return self.call("facts", {}, answers.facts, patience=patience)

    def clean(self, *, blobs: bool, patience: Patience | None = None) -> Any:
        """Put right what a killed run left, and with `blobs` remove all but key and trust.

        Returns:
            What is gone, as the agent tells it.

        Raises:
            DeviceError: see `call`.
        """
        return self.call("clean", {"blobs": blobs}, answers.removed, patience=patience)

    def wipe(self, patience: Patience | None = None) -> None:
        """Leave nothing of ours on the device: its key is gone for ever.

        Raises:
            DeviceError: see `call`; or not all of it could be removed.
        """
        self.clean(blobs=True, patience=patience)
        with self.link.talk(_WIPE) as program:
            if code := program.finish(wait=_WIPE_S):
                raise ended(self.link.device, "the removal of its key", code, program.stderr)

    def call(
        self,
        command: str,
        request: Mapping[str, Any],
        read: Callable[[Mapping[str, Any]], T],
        *,
        feed: Feed | None = None,
        patience: Patience | None = None,
    ) -> T:
        """Ask one thing.

        Args:
            command: of docs/device-protocol.md.
            request: its first line.
            read: reads the answer; raises `Garbled`.
            feed: gives the bytes that follow the request to a function, which says whether the
                agent still takes them; when it is asked a second time, all of them again.
            patience: how to wait.

        Raises:
            DeviceError: the line was cut, or the device could not do it.
            DeviceRefused: a check on the device says no.
            ToolError: ssh cannot be started.
        """
        waiting = Patience(whole_s=SHORT_S) if patience is None else patience
        try:
            return self._ask(command, request, read, feed, waiting)
        except AbsentError:
            self.bring(waiting)
        try:
            return self._ask(command, request, read, feed, waiting)
        except AbsentError as error:
            msg = f"{self.link.device.name}: the agent vanishes as soon as it is there"
            raise DeviceError(
                kind="device", blame="device", message=msg, remedy="look at its folder ~/.cache"
            ) from error

    def bring(self, patience: Patience | None = None) -> None:
        """Put the agent onto the device, whole or not at all.

        Raises:
            DeviceError: the line was cut, or the device cannot keep it.
            ToolError: ssh cannot be started.
        """
        device, waiting = (
            self.link.device,
            Patience(whole_s=SHORT_S) if patience is None else patience,
        )
        what = "the bringing of the agent"
        script = f'exec python3 -I -c "{_BRING}" "{self._path}" {self._hex}'
        with self.link.talk(script) as program:
            end = time.monotonic() + _BRING_S
            try:
                program.write(self.packed.data, wait=_BRING_S)
                program.close()
                # It has nothing to say; the end of its output is its end.
                while (line := program.line(wait=LOOK_S)) is None or line:
                    waiting.look(device)
                    if time.monotonic() > end:
                        raise silent(device, what, _BRING_S)
            except DeadlineError as error:
                raise silent(device, what, _BRING_S) from error
            except ToolError as error:
                raise garbled(device, what, error.message) from error
            if code := program.finish(wait=waiting.grace_s):
                raise self._not_brought(code, program.stderr)

    def _not_brought(self, code: int, said: str) -> Exception:
        device = self.link.device
        if code == WRONG_BYTES:
            msg = f"{device.name}: the agent arrived garbled"
            return DeviceError("network", "network", msg, "run it again")
        if code != 1:
            return ended(device, "the bringing of the agent", code, said)
        # Python's own status, after it said what the system refused.
        why = clean(said.strip().rpartition("\n")[2], 200)
        msg = f"{device.name}: it cannot keep the agent: {why}"
        return DeviceError("disk", "device", msg, "make room in its ~/.cache, or make it writable")

    def _ask(
        self,
        command: str,
        request: Mapping[str, Any],
        read: Callable[[Mapping[str, Any]], T],
        feed: Feed | None,
        patience: Patience,
    ) -> T:
        device = self.link.device
        script = (
            f'agent="{self._path}"; test -s "$agent" || exit {NO_AGENT}; '
            f'exec python3 -I "$agent" {command}'
        )
        limit = _MOST_SIGNED if command == "run" else MOST_SAID
        with self.link.talk(script, limit=limit) as program:
            call = Call(device, command, program, patience)
            try:
                call.put(canonical.dump(request) + b"\n")
                if feed is not None:
                    feed(call.put)
                return read(call.answer())
            except DeadlineError as error:
                raise silent(device, command, patience.quiet_s) from error
            except ToolError as error:
                raise garbled(device, command, error.message) from error
            except Garbled as error:
                raise garbled(device, command, str(error)) from error
            finally:
                # The end of its input tells the agent to clean up and go.
                program.finish(wait=patience.grace_s)

    @property
    def _hex(self) -> str:
        return digests.hex_of(self.packed.digest)

    @property
    def _path(self) -> str:
        return f"{_HOME}/agent-{self._hex}.pyz"
