"""One emulator in one folder: start it, wait for it, save and restore its state, end it."""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from buildkit.errors import BuildkitError, DeadlineError, DeviceError, ToolError
from buildkit.standin import emulator

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from buildkit.run import Runner
    from buildkit.standin.types import Machine, Options

DISK = "disk.qcow2"
_START_SECONDS = 120.0
_TAKEN = "host forwarding rule"
_TRIES = 8
_SHOWN_LINES = 12


class Running:
    """The emulator of a folder, whether it runs or not.

    Args:
        folder: where its disk is, and everything that it writes.
        runner: starts programs.
    """

    def __init__(self, folder: Path, runner: Runner) -> None:
        self.folder = folder
        self._runner = runner
        self.monitor = emulator.Monitor(folder)

    @property
    def pid(self) -> int:
        """Its process; 0 when none runs."""
        return emulator.process(self.folder)

    def new_disk(self, machine: Machine) -> None:
        """An empty layer over the machine's disk."""
        words = ("create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(machine.disk), DISK)
        self._runner([*machine.run(machine.image_tool), *words], cwd=self.folder, deadline=60)

    def launch(
        self, machine: Machine, options: Options, *, port: int = 0, restore: bool = False
    ) -> int:
        """Start it; gives the port of this machine's loopback that leads to its SSH server.

        Args:
            machine: what Nix made.
            options: what kind of board.
            port: to take if it is free.
            restore: wait for a saved state.

        Raises:
            ToolError: the emulator does not start.
        """
        for name in ("pid", "qmp", "orders"):
            (self.folder / name).unlink(missing_ok=True)
        for _ in range(_TRIES):
            port = port or free_port()
            disk = self.folder.absolute() / DISK
            words = emulator.command(machine, options, disk, port=port, restore=restore)
            try:
                self._runner(words, cwd=self.folder, deadline=_START_SECONDS)
            except ToolError as error:
                if _TAKEN not in error.message:
                    raise
                port = 0
                continue
            except BaseException:
                # It has a session of its own by now.
                self.kill()
                raise
            return port
        msg = "no TCP port of the loopback is free for a stand-in"
        raise ToolError(msg, "end programs that listen on many ports")

    def restore(self, file: Path) -> None:
        """Bring a launched emulator into the state that `save` wrote.

        Raises:
            ToolError: the state does not fit, or is damaged.
        """
        self.monitor("migrate-incoming", channels=[_channel(file)])
        self._migrated("restored")
        # It was stopped when it was saved.
        self.monitor("cont")

    def save(self, file: Path) -> None:
        """Stop it, and write memory and devices to a file; the disk is then as they expect it.

        Raises:
            ToolError: the state cannot be written.
        """
        self.monitor("stop")
        self.monitor("migrate-set-parameters", max_bandwidth=1 << 40)
        self.monitor("migrate", channels=[_channel(file)])
        self._migrated("saved")

    def _migrated(self, what: str) -> None:
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end:
            answer: dict[str, Any] = self.monitor("query-migrate") or {}
            status = answer.get("status", "")
            if status == "completed":
                return
            if status in {"failed", "cancelled"}:
                msg = f"the stand-in's state cannot be {what}: {answer.get('error-desc', status)}"
                raise ToolError(msg)
            time.sleep(0.01)
        msg = f"the stand-in's state was not {what} in {_START_SECONDS:.0f} s"
        raise DeadlineError(msg)

    def await_orders(self) -> None:
        """Wait until it takes orders.

        Raises:
            DeviceError: it ended, or takes none; the end of its console is in the message.
        """
        end = time.monotonic() + _START_SECONDS
        wait = 0.5
        while time.monotonic() < end:
            # What is sent before anyone listens may be lost: ask again, more patiently.
            with suppress(DeadlineError):
                if emulator.order(self.folder, "true", deadline=wait)[0] == 0:
                    return
            wait = min(wait * 1.5, 10)
        msg = f"stand-in {self.folder.name} does not come up:\n  {self.console()}"
        raise DeviceError(
            kind="device", blame="host", message=msg, remedy="start --fresh forgets its disk"
        )

    def await_ssh(self, port: int) -> None:
        """Wait until its SSH server greets (RFC 4253, section 4.2).

        Raises:
            DeviceError: it does not.
        """
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as link:
                link.settimeout(3)
                if link.recv(4) == b"SSH-":
                    return
            time.sleep(0.02)
        msg = f"stand-in {self.folder.name}: its SSH server does not answer on port {port}"
        raise DeviceError(
            kind="network",
            blame="host",
            message=msg,
            remedy=f"look at {self.folder / 'console.log'}",
        )

    def order(self, script: str) -> str:
        """Run a script as root on the board; what it printed.

        Raises:
            ToolError: it failed.
            DeviceError: the board does not run.
        """
        status, said = emulator.order(self.folder, script)
        if status != 0:
            end = "\n  ".join(said.splitlines()[-10:])
            msg = f"stand-in {self.folder.name}: an order failed with {status}:\n  {end}"
            raise ToolError(msg)
        return said

    def power_off(self) -> None:
        """Let it write everything down, and end it; the hard way if it does not end."""
        with suppress(BuildkitError):
            # The board is gone before it can answer.
            emulator.order(self.folder, _POWER_OFF, deadline=10)
        if not self._await_end(10):
            self.kill()

    def kill(self) -> None:
        """Cut its power."""
        pid = self.pid
        if pid:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            self._await_end(20)

    def _await_end(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while self.pid and time.monotonic() < end:
            time.sleep(0.01)
        return not self.pid

    def console(self) -> str:
        """The last lines of its console."""
        try:
            text = (self.folder / "console.log").read_text(errors="replace")
        except OSError:
            return "(no console)"
        return "\n  ".join(text.splitlines()[-_SHOWN_LINES:])


# Sync, mount read-only (sysrq.rst of the kernel), off.
_POWER_OFF = "sync; echo u > /proc/sysrq-trigger; sleep 0.2; poweroff -f"


def _channel(file: Path) -> dict[str, Any]:
    place = {"transport": "file", "filename": str(file), "offset": 0}
    return {"channel-type": "main", "addr": place}


def free_port() -> int:
    """A TCP port of the loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def ended(act: Callable[[], None], running: Running) -> None:
    """Do something; when it does not come to its end, neither does the emulator go on."""
    try:
        act()
    except BaseException:
        running.kill()
        raise
