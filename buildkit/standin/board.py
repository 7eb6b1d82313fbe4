"""A stand-in by name: start, stop, cut, look at it, order faults."""

from __future__ import annotations

import base64
import dataclasses
import re
import secrets
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from buildkit import canonical, disk, homes
from buildkit.errors import DeviceError, InputError, ToolError
from buildkit.lock import cache
from buildkit.standin import faults, keys
from buildkit.standin.running import DISK, Running, ended
from buildkit.standin.snapshot import MEMORY, Snapshots
from buildkit.standin.types import Connection, Machine, Options, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from buildkit.run import Runner
    from buildkit.standin.types import Maker

USER = "pi"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_RECORD = "board.json"


def state_home() -> Path:
    """Folder of all stand-ins; see `buildkit.homes`."""
    return homes.home("state") / "standins"


class Standin:
    """One emulated board.

    Args:
        name: lower-case letters, digits and ``-``.
        runner: starts programs.
        home: folder of all stand-ins; `state_home` when absent.
        cache_home: of what can be made again; `buildkit.lock.cache.home` when absent.

    Raises:
        InputError: not a name.
    """

    def __init__(
        self,
        name: str,
        runner: Runner,
        *,
        home: Path | None = None,
        cache_home: Path | None = None,
    ) -> None:
        if _NAME.fullmatch(name) is None:
            msg = f"{name!r} cannot name a stand-in"
            raise InputError(msg, "use lower-case letters, digits and `-`, at most 32")
        self.name = name
        self.folder = (home or state_home()) / name
        self._running = Running(self.folder, runner)
        self._snapshots = Snapshots(cache_home or cache.home(), runner)

    @classmethod
    def known(cls, runner: Runner, *, home: Path | None = None) -> tuple[Standin, ...]:
        """Every stand-in of this user, by name."""
        home = home or state_home()
        folders = sorted(home.iterdir()) if home.is_dir() else []
        found = [folder.name for folder in folders if (folder / _RECORD).is_file()]
        return tuple(cls(name, runner, home=home) for name in found)

    def status(self) -> Status:
        """What is known of it; starts nothing.

        Raises:
            DeviceError: there is no such stand-in.
        """
        record = self._record()
        if not record:
            msg = f"there is no stand-in {self.name!r}"
            remedy = f"python -m buildkit standin start {self.name}"
            raise DeviceError(kind="device", blame="host", message=msg, remedy=remedy)
        pid = self._running.pid
        return Status(
            name=self.name,
            running=bool(pid),
            pid=pid,
            folder=self.folder,
            options=Options(**record["options"]),
            connection=self._connection(record),
            faults=record["faults"],
            machine_gone=not Path(record["machine"]["disk"]).exists(),
        )

    def start(
        self,
        make: Maker,
        *,
        fresh: bool = False,
        say: Callable[[str], None] = lambda _: None,
        **wanted: Any,
    ) -> Status:
        """Start it unless it runs. A new board is restored in a second or two from a snapshot.

        Args:
            make: gives the machine for some options.
            fresh: forget its disk, its keys and its faults.
            say: told what takes time.
            **wanted: fields of `Options`; those left out are as before, or the defaults.

        Raises:
            InputError: it runs, or its disk was made, with other options.
            ToolError: the emulator does not start.
            DeviceError: the board does not come up.
        """
        with self._alone():
            record = self._record()
            known = {} if fresh else record.get("options", {})
            options = Options(**{**known, **wanted})
            pid = self._running.pid
            if pid and not fresh and record.get("pid") == pid:
                self._refuse_other(record, options, "reach", "memory_mib")
                say(f"stand-in {self.name} runs already")
                return self.status()
            if not fresh:
                self._refuse_other(record, options)
            # Before anything is forgotten, since it may fail.
            machine = self._machine(make, options, {} if fresh else record)
            # Another process than the record's comes of a start that was killed half-way.
            self._running.kill()
            if fresh or not record:
                self._clear()
                record = {name: record[name] for name in ("port",) if name in record}
            port = self._start(machine, options, record, say)
            if record.get("port", port) != port:
                say(f"port {record['port']} is taken: SSH is at {port} now")
            self._keep(
                options=dataclasses.asdict(options),
                port=port,
                faults=_lasting(record.get("faults", {})),
                machine=machine.to_json(),
                pid=self._running.pid,
            )
            return self.status()

    def _machine(self, make: Maker, options: Options, record: Mapping[str, Any]) -> Machine:
        """What it is made of: a board with a disk stays what it was, whatever the lock says now."""
        if not record or not (self.folder / DISK).exists():
            return make(options, self.folder / "machine")
        machine = Machine.from_json(record["machine"], Path)
        if not machine.disk.exists():
            msg = f"the system that the disk of stand-in {self.name} stands on is gone"
            raise InputError(msg, f"standin start {self.name} --fresh forgets the disk")
        return machine

    def _start(
        self,
        machine: Machine,
        options: Options,
        record: Mapping[str, Any],
        say: Callable[[str], None],
    ) -> int:
        """Start it from its disk, or as a new board; the port of its SSH server."""
        port = record.get("port", 0)
        if not (self.folder / DISK).exists():
            return self._new(machine, options, port, say)
        say("starting it from its disk")
        return self._cold(machine, options, port)

    def stop(self) -> bool:
        """Shut it down; True when it ran. Its disk stays."""
        return self._end(self._running.power_off)

    def cut(self) -> bool:
        """Cut its power; True when it ran. The next start finds the disk as it was."""
        return self._end(self._running.kill)

    def forget(self) -> None:
        """Cut its power and delete all that is left of it."""
        self.cut()
        shutil.rmtree(self.folder, ignore_errors=True)

    def connection(self) -> Connection:
        """How to log in.

        Raises:
            DeviceError: there is no such stand-in.
        """
        return self.status().connection

    def order(self, script: str) -> str:
        """Run a script as root on the board, past SSH and whatever a fault did to the line.

        Raises:
            ToolError: it failed; the end of what it printed is in the message.
            DeviceError: the board does not run.
        """
        return self._running.order(script)

    def monitor(self, order: str, **arguments: Any) -> Any:
        """Give the emulator an order (QEMU Machine Protocol); `_` in names stands for ``-``."""
        return self._running.monitor(order, **arguments)

    def fault(self, name: str, value: str = "") -> Mapping[str, str]:
        """Order a fault; all that are ordered now.

        Args:
            name: a key of `FAULTS`.
            value: what follows it.

        Raises:
            InputError: there is no such fault, or the value makes no sense.
            DeviceError: the board does not run.
        """
        row = faults.named(name)
        value = row.read(value)
        self._need_running()
        with self._alone():
            row.strike(self, value)
            return self._note_faults({**self._record()["faults"], name: value})

    def heal(self, name: str | None = None) -> Mapping[str, str]:
        """Put a fault right, or all of them; what is still ordered.

        Raises:
            InputError: there is no such fault.
            DeviceError: the board does not run.
        """
        chosen = faults.FAULTS if name is None else {name: faults.named(name)}
        self._need_running()
        with self._alone():
            for row in chosen.values():
                row.heal(self)
            left = self._record()["faults"]
            return self._note_faults({key: left[key] for key in left if key not in chosen})

    def _new(
        self, machine: Machine, options: Options, port: int, say: Callable[[str], None]
    ) -> int:
        """A board that has never run: from a snapshot, or from its kernel if that fails."""
        try:
            kept = self._snapshots.find(machine, options, say)
            shutil.copyfile(kept / DISK, self.folder / DISK)
            port = self._running.launch(machine, options, port=port, restore=True)
            ended(lambda: self._running.restore(kept / MEMORY), self._running)
            self._greet(port)
        except (ToolError, DeviceError, OSError) as error:
            say(f"no snapshot can be used, starting the kernel: {error}")
            self._snapshots.drop(machine, options)
            (self.folder / DISK).unlink(missing_ok=True)
            self._running.new_disk(machine)
            return self._cold(machine, options, port)
        return port

    def _cold(self, machine: Machine, options: Options, port: int) -> int:
        port = self._running.launch(machine, options, port=port)
        self._greet(port)
        return port

    def _greet(self, port: int) -> None:
        """Give a board what makes it this one: the time, randomness, keys; wait for SSH."""

        def greet() -> None:
            self._running.await_orders()
            faults.set_clock(self)
            self.order(_greeting(keys.of(self._keys_folder())))
            self._running.await_ssh(port)

        ended(greet, self._running)

    def _keys_folder(self) -> Path:
        folder = self.folder / "keys"
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def _end(self, end: Callable[[], None]) -> bool:
        if not self.folder.is_dir():
            return False
        with self._alone():
            ran = bool(self._running.pid)
            end()
            record = self._record()
            if record:
                left = record["faults"]
                self._note_faults({name: left[name] for name in left if faults.FAULTS[name].lasts})
        return ran

    def _need_running(self) -> None:
        if not self.status().running:
            msg = f"stand-in {self.name} does not run"
            remedy = f"python -m buildkit standin start {self.name}"
            raise DeviceError(kind="device", blame="host", message=msg, remedy=remedy)

    def _refuse_other(self, record: Mapping[str, Any], options: Options, *more: str) -> None:
        before = record.get("options", {})
        for name in ("runtime", "pages", *more):
            now = getattr(options, name)
            if before.get(name, now) != now:
                msg = f"stand-in {self.name} was made with {name} {before[name]}, not {now}"
                how = "stop it first" if name in {"reach", "memory_mib"} else "add --fresh"
                raise InputError(msg, f"{how}, or choose another name")

    def _clear(self) -> None:
        """Forget everything but the lock that is held."""
        shutil.rmtree(self.folder / "keys", ignore_errors=True)
        for name in (DISK, _RECORD, "console.log"):
            (self.folder / name).unlink(missing_ok=True)

    def _connection(self, record: Mapping[str, Any]) -> Connection:
        pair = keys.of(self._keys_folder())
        return Connection(
            host="127.0.0.1",
            port=record["port"],
            user=USER,
            identity=pair.identity,
            host_key=pair.host,
        )

    def _note_faults(self, found: Mapping[str, str]) -> Mapping[str, str]:
        self._keep(**{**self._record(), "faults": dict(found)})
        return found

    def _record(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = canonical.load((self.folder / _RECORD).read_bytes())
        except (OSError, ValueError):
            return {}
        return found

    def _keep(self, **record: Any) -> None:
        """Write the record and what OpenSSH needs, each at once."""
        disk.replace(self.folder / _RECORD, canonical.dump_pretty(record))
        how = self._connection(record)
        place = f"[{how.host}]:{how.port}"
        hosts = self.folder / "known_hosts"
        disk.replace(hosts, f"{place} {how.host_key}\n".encode())
        lines = (
            f"Host {self.name}",
            f"  HostName {how.host}",
            f"  Port {how.port}",
            f"  User {how.user}",
            f'  IdentityFile "{how.identity}"',
            "  IdentitiesOnly yes",
            f'  UserKnownHostsFile "{hosts}"',
            "  GlobalKnownHostsFile none",
            "  StrictHostKeyChecking yes",
        )
        disk.replace(self.folder / "ssh_config", "\n".join((*lines, "")).encode())

    @contextmanager
    def _alone(self) -> Iterator[None]:
        # It holds private keys.
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with disk.exclusive(self.folder):
            yield


def _lasting(found: Mapping[str, str]) -> dict[str, str]:
    """The faults that are on the disk."""
    return {name: value for name, value in found.items() if faults.FAULTS[name].lasts}


def _greeting(pair: keys.Keys) -> str:
    """A script that makes a restored board another one than all that come of the same snapshot.

    RNDRESEEDCRNG (0x5207) lets the kernel's random numbers start anew from what was written
    (random(4)); without it two boards would make the same keys.
    """
    private = base64.b64encode(pair.host_private.encode()).decode()
    return f"""
    set -e
    umask 022
    perl -e 'open F, ">", "/dev/urandom"; syswrite F, "{secrets.token_hex(32)}"; ioctl F, 0x5207, 0'
    [ -s /etc/machine-id ] || tr -d - < /proc/sys/kernel/random/uuid > /etc/machine-id
    host=/etc/ssh/ssh_host_ed25519_key
    (umask 077; echo {private} | base64 -d > /run/host-key)
    if ! cmp -s /run/host-key $host; then
      cp /run/host-key $host
      chmod 600 $host
      echo '{pair.host}' > $host.pub
      echo '{pair.login}' > /root/.ssh/authorized_keys
      echo '{pair.login}' > /home/pi/.ssh/authorized_keys
      chown 1000:1000 /home/pi/.ssh/authorized_keys
      sync
    fi
    rm /run/host-key
    pidof sshd > /dev/null || /usr/sbin/sshd
    """
