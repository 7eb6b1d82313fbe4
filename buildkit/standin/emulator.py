"""QEMU's command line, and the sockets by which a running one is spoken to."""

from __future__ import annotations

import base64
import binascii
import fcntl
import json
import os
import secrets
import socket
import struct
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from buildkit.errors import DeadlineError, DeviceError, ToolError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from buildkit.standin.types import Machine, Options

NETWORK = "n0"
REACH_HOST = "10.0.2.100"
_FLOCK = "hhqqi4x"
_ANSWER_S = 20.0
_NOT_THERE = "python -m buildkit standin status"


def command(
    machine: Machine, options: Options, disk: Path, *, port: int, restore: bool = False
) -> tuple[str, ...]:
    """The emulator of one board; starts in the board's folder and goes on without its parent.

    The clock of the processor's timer and its model are those of a Pi 5. One processor and a
    large cache of translated code are the fastest. The board has no network but SSH from this
    machine's loopback, and one port of it where that was asked for.

    Args:
        machine: what Nix made.
        options: what kind of board.
        disk: its file; opened again by its name when a state is saved, so the name is absolute.
        port: of this machine's loopback, for SSH.
        restore: wait for a saved state instead of starting the kernel.
    """
    network = f"user,id={NETWORK},restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"
    if options.reach:
        relay = f"{machine.busybox} nc 127.0.0.1 {options.reach}"
        network += f",guestfwd=tcp:{REACH_HOST}:{options.reach}-cmd:{relay}"
    drive = {
        "driver": "qcow2",
        "node-name": "d0",
        "discard": "unmap",
        "file": {"driver": "file", "filename": str(disk)},
    }
    return (
        *machine.run(machine.emulator),
        *("-machine", "virt-10.0,gic-version=2", "-cpu", "cortex-a76,cntfrq=54000000"),
        *("-smp", "1", "-m", f"{options.memory_mib}M"),
        *("-accel", "tcg,thread=multi,tb-size=512"),
        *("-nodefaults", "-no-user-config", "-display", "none", "-daemonize"),
        *("-pidfile", "pid", "-serial", "file:console.log"),
        *("-qmp", "unix:qmp,server=on,wait=off"),
        *("-kernel", str(machine.kernel), "-initrd", str(machine.initrd)),
        *("-dtb", str(machine.devicetree)),
        *("-append", "console=ttyAMA0 root=/dev/vda rw net.ifnames=0 quiet apparmor=0 panic=-1"),
        *("-blockdev", json.dumps(drive, sort_keys=True)),
        *("-device", "virtio-blk-pci,drive=d0,romfile="),
        *("-netdev", network, "-device", f"virtio-net-pci,netdev={NETWORK},romfile="),
        *("-device", "virtio-rng-pci,romfile=", "-device", "virtio-serial-pci"),
        *("-chardev", "socket,id=orders,path=orders,server=on,wait=off"),
        *("-device", "virtconsole,chardev=orders"),
        *(("-incoming", "defer") if restore else ()),
    )


def process(folder: Path) -> int:
    """The emulator that holds the lock on the board's pid file; 0 when none runs."""
    try:
        with (folder / "pid").open() as stream:
            asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            answer = fcntl.fcntl(stream, fcntl.F_OFD_GETLK, asked)
            if struct.unpack(_FLOCK, answer)[0] == fcntl.F_UNLCK:
                return 0
            return int(stream.read().strip() or 0)
    except (OSError, ValueError):
        return 0


@contextmanager
def connected(folder: Path, name: str, deadline: float) -> Iterator[socket.socket]:
    """A socket of the board's folder, however long that folder's path is.

    Raises:
        DeviceError: nobody listens.
        DeadlineError: the block waited too long for an answer.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(deadline)
            try:
                link.connect(f"/proc/self/fd/{handle}/{name}")
                yield link
            except TimeoutError as error:
                msg = f"stand-in {folder.name}: no answer after {deadline:.0f} s ({name})"
                raise DeadlineError(msg, f"look at {folder / 'console.log'}") from error
            except OSError as error:
                msg = f"stand-in {folder.name} does not run"
                raise DeviceError(
                    kind="device", blame="host", message=msg, remedy=_NOT_THERE
                ) from error
    finally:
        os.close(handle)


class Monitor:
    """Orders to the emulator (QEMU Machine Protocol).

    Args:
        folder: of the board.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, order: str, **arguments: Any) -> Any:
        """Give one order; its answer.

        Raises:
            ToolError: the emulator refuses it.
            DeviceError: it does not run.
            DeadlineError: it does not answer.
        """
        with connected(self._folder, "qmp", _ANSWER_S) as link, link.makefile("rb") as lines:
            for said in ({"execute": "qmp_capabilities"}, _order(order, arguments)):
                link.sendall(json.dumps(said).encode() + b"\n")
                answer = _answer(lines)
            if "error" in answer:
                msg = f"stand-in {self._folder.name}: {order}: {answer['error'].get('desc')}"
                raise ToolError(msg)
            return answer.get("return")


def _order(order: str, arguments: dict[str, Any]) -> dict[str, Any]:
    named = {name.replace("_", "-"): value for name, value in arguments.items()}
    return {"execute": order, "arguments": named} if named else {"execute": order}


def _answer(lines: Any) -> dict[str, Any]:
    """The next answer; greetings and events between are passed over."""
    for line in lines:
        said: dict[str, Any] = json.loads(line)
        if "return" in said or "error" in said:
            return said
    return {"return": None}


def order(folder: Path, script: str, *, deadline: float = 60.0) -> tuple[int, str]:
    """Run a script as root on the board, by its line to the host, which no network fault cuts.

    Returns:
        Exit status, and what it printed.

    Raises:
        DeviceError: the board does not run.
        DeadlineError: it does not answer.
    """
    token = secrets.token_hex(8)
    line = f"\n{token} {base64.b64encode(script.encode()).decode()}\n".encode()
    with (folder / "orders.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with connected(folder, "orders", deadline) as link, link.makefile("rb") as lines:
            link.sendall(line)
            end = time.monotonic() + deadline
            for said in lines:
                words = said.decode(errors="replace").split()
                # An answer to someone who has gone may come first.
                if len(words) >= 2 and words[0] == token and words[1].isdigit():
                    return int(words[1]), _text(words[2] if len(words) > 2 else "")
                if time.monotonic() > end:
                    # Not the same as the end of what it says: it may only be slow to come up.
                    msg = f"stand-in {folder.name}: no answer of use after {deadline:.0f} s"
                    raise DeadlineError(msg, f"look at {folder / 'console.log'}")
    msg = f"stand-in {folder.name}: it ended, or said nothing of use"
    raise DeviceError(
        kind="device", blame="host", message=msg, remedy=f"look at {folder / 'console.log'}"
    )


def _text(word: str) -> str:
    try:
        return base64.b64decode(word).decode(errors="replace").rstrip("\n")
    except binascii.Error:
        return ""
