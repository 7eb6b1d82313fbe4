"""Start, stop and look after one engine."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shutil
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from buildkit import digests, disk, homes
from buildkit.engine import launch
from buildkit.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit.run import Runner

_START_SECONDS = 60.0
_STOP_SECONDS = 20.0
_KEEP_STORAGE = "10GB"
_PRIVATE_BINFMT = (6, 7)
_BINFMT = Path("/proc/sys/fs/binfmt_misc")

Binfmt = Literal["private", "shared"]


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineSpec:
    """What an engine is made of.

    Attributes:
        tree: folder of the engine's root (from Nix).
        tools: folder of the command-line tools (from Nix).
        tools_library: library folder of the tools.
        tools_loader: dynamic loader of the tools.
        emulator: path of the emulator for the foreign architecture inside `tree`.
        foreign: the architecture that needs emulation (``arm64`` on an amd64 host).
    """

    tree: Path
    tools: Path
    tools_library: Path
    tools_loader: Path
    emulator: str
    foreign: str

    @property
    def identity(self) -> str:
        """Twelve hex digits that name this engine: other pins are another engine."""
        return digests.hex_of(digests.of_bytes(f"{self.tree.name} {self.tools.name}".encode()))[:12]


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """What is known of an engine.

    Attributes:
        identity: see `EngineSpec.identity`.
        running: whether it answers on its socket.
        pid: of the engine's first process, 0 when there is none.
        socket: path of its Docker socket.
        data: folder of its build cache.
        log: file that it writes to.
        binfmt: how foreign programs run: in a namespace of its own, or for the whole machine.
        tree: folder of its root in the Nix store, empty when it does not run.
    """

    identity: str
    running: bool
    pid: int
    socket: Path
    data: Path
    log: Path
    binfmt: str
    tree: str


def need_root() -> None:
    """Refuse where no engine can be started.

    Raises:
        EngineError: this user is not root.
    """
    if os.geteuid() != 0:
        msg = "the BuildKit engine needs root to make its namespaces"
        raise EngineError(
            msg, "run the build with sudo, or name a builder of your own with --builder NAME"
        )


def runtime_home() -> Path:
    """Folder for sockets; short, because a socket's path has at most 107 bytes."""
    if os.geteuid() == 0:
        return Path("/run/edge-buildkit")
    return Path(os.environ.get("XDG_RUNTIME_DIR", f"/tmp/edge-buildkit-{os.geteuid()}"))  # noqa: S108 - the fall-back of the XDG base directory specification


def state_home() -> Path:
    """Folder for build caches and logs; see `buildkit.homes`."""
    return homes.home("state") / "engines"


class Engine:
    """One engine, named by what it is made of.

    Args:
        identity: see `EngineSpec.identity`.
        runner: starts the launcher.
    """

    def __init__(self, identity: str, runner: Runner) -> None:
        self.identity = identity
        self._runner = runner
        self.runtime = runtime_home() / identity
        self.state = state_home() / identity
        self.socket = self.runtime / "socket/docker.sock"
        self.log = self.state / "engine.log"
        self._record_file = self.runtime / "engine.json"
        self._life = self.state / "life"

    @classmethod
    def known(cls, runner: Runner) -> tuple[Engine, ...]:
        """Every engine that has a state or runtime folder on this machine."""
        homes = (state_home(), runtime_home())
        names = {path.name for home in homes if home.is_dir() for path in home.iterdir()}
        return tuple(cls(name, runner) for name in sorted(names) if len(name) == 12)

    def status(self) -> Status:
        """What is known of it now; starts nothing."""
        record = self._record()
        return Status(
            identity=self.identity,
            running=bool(record) and self._answers(),
            pid=record.get("pid", 0),
            socket=self.socket,
            data=self.state / "data",
            log=self.log,
            binfmt=record.get("binfmt", ""),
            tree=record.get("tree", ""),
        )

    def start(self, spec: EngineSpec, say: Callable[[str], None] = lambda _: None) -> Status:
        """Start it unless it runs; two callers at once start one engine.

        Args:
            spec: what it is made of.
            say: told when an engine really is started.

        Raises:
            EngineError: no permission, a kernel feature is missing, or it did not answer in time.
        """
        if self.status().running:
            return self.status()
        need_root()
        with disk.exclusive(self.state):
            self._settle()
            if self.status().running:
                return self.status()
            self._clear()
            binfmt = preferred_binfmt()
            say(f"starting the BuildKit engine {self.identity} (emulation: {binfmt})")
            # First, so that an engine that answers always has one, whenever a caller is ended.
            self._write_client(spec)
            self._launch(spec, binfmt)
            self._await()
        return self.status()

    def stop(self) -> bool:
        """End it and all that it started; True when it ran.

        Raises:
            EngineError: it could not be ended.
        """
        with disk.exclusive(self.state):
            if not self._record():
                self._settle()
            record = self._record()
            if record:
                self._end(record["pid"])
            self._clear()
        return bool(record)

    def belongs_to(self, folder: Path) -> None:
        """Let it be an orphan when `folder` is gone."""
        self.state.mkdir(parents=True, exist_ok=True)
        (self.state / "owner").write_text(str(folder))

    @property
    def is_orphan(self) -> bool:
        """Whether it was started for a command that is gone without having ended it."""
        try:
            return not Path((self.state / "owner").read_text()).exists()
        except OSError:
            return False

    def forget(self) -> None:
        """End it and delete its build cache and log."""
        self.stop()
        shutil.rmtree(self.state, ignore_errors=True)

    @property
    def client(self) -> list[str]:
        """The pinned docker client, as the first words of an argv."""
        return [str(self.runtime / "client/docker")]

    @property
    def client_environment(self) -> dict[str, str]:
        """Variables that point a Docker client at this engine and nothing else."""
        return {
            "DOCKER_HOST": f"unix://{self.socket}",
            "DOCKER_CONFIG": str(self.runtime / "client"),
            "DOCKER_CONTEXT": "",
            "BUILDX_BUILDER": "",
            "BUILDX_CONFIG": str(self.runtime / "client/buildx"),
        }

    def _record(self) -> dict[str, Any]:
        """The launcher's record, when the process in it is still the one it meant."""
        try:
            record: dict[str, Any] = json.loads(self._record_file.read_text())
            alive = launch.is_alive(record["pid"], record["started"])
        except (OSError, ValueError, KeyError):
            return {}
        return record if alive else {}

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(5)
            try:
                link.connect(str(self.socket))
                link.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
                return b" 200 " in link.recv(64)
            except OSError:
                return False

    def _settle(self) -> None:
        """Wait for an engine that a killed command left half-started, or that is still ending.

        Raises:
            EngineError: it neither answers nor ends.
        """
        end = time.monotonic() + _START_SECONDS
        while self._lives() and not (self._record() and self._answers()):
            if time.monotonic() > end:
                record = self._record()
                if record:
                    self._end(record["pid"])
                    return
                msg = f"an engine that does not answer has the folder {self.state}"
                raise EngineError(msg, f"end the processes that `fuser {self._life}` names")
            time.sleep(0.02)

    def _lives(self) -> bool:
        """Whether a process of it is there, from the launcher to the last container."""
        try:
            with self._life.open() as stream:
                fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def _launch(self, spec: EngineSpec, binfmt: Binfmt) -> None:
        for name in ("root", "upper", "socket"):
            (self.runtime / name).mkdir(parents=True, exist_ok=True)
        self.runtime.chmod(0o700)
        (self.state / "data").mkdir(parents=True, exist_ok=True)
        record = {"identity": self.identity, "tree": str(spec.tree), "binfmt": binfmt}
        config = {
            "tree": str(spec.tree),
            "runtime": str(self.runtime),
            "data": str(self.state / "data"),
            "socket_folder": str(self.runtime / "socket"),
            "log": str(self.log),
            "life": str(self._life),
            "record_file": str(self._record_file),
            "record": record,
            "binfmt": binfmt,
            "emulator": spec.emulator,
            "foreign": spec.foreign,
            "daemon": {
                "features": {"containerd-snapshotter": True},
                "builder": {"gc": {"enabled": True, "defaultKeepStorage": _KEEP_STORAGE}},
            },
            "arguments": [
                "--config-file=/run/daemon.json",
                "--host=unix:///run/socket/docker.sock",
                "--exec-root=/run/docker",
                "--pidfile=/run/docker.pid",
                # A network of nothing but loopback needs neither a bridge nor a firewall.
                "--bridge=none",
                "--iptables=false",
                "--ip6tables=false",
            ],
            "environment": {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"},
        }
        if binfmt == "shared":
            share_binfmt(spec)
        config_file = self.runtime / "launch.json"
        config_file.write_text(json.dumps(config))
        result = self._runner(
            [sys.executable, "-m", "buildkit.engine.launch", config_file],
            env={"PYTHONPATH": str(Path(__file__).parents[2])},
            deadline=_START_SECONDS,
            check=False,
        )
        if result.code != 0:
            msg = f"the BuildKit engine cannot be started: {result.stderr.strip()}"
            raise EngineError(msg, "run `python -m buildkit doctor` to see what the kernel lacks")

    def _await(self) -> None:
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end:
            if self._answers():
                return
            if not self._record():
                break
            time.sleep(0.05)
        msg = f"the BuildKit engine did not come up; the end of its log:\n  {self.tail()}"
        raise EngineError(msg, f"the whole log: python -m buildkit engine logs {self.identity}")

    def tail(self, lines: int = 12) -> str:
        """The last lines of its log."""
        try:
            text = self.log.read_text(errors="replace")
        except OSError:
            return "(no log)"
        return "\n  ".join(text.splitlines()[-lines:])

    def _write_client(self, spec: EngineSpec) -> None:
        """Write launchers for the pinned docker client and its buildx plugin."""
        client = self.runtime / "client"
        (client / "cli-plugins").mkdir(parents=True, exist_ok=True)
        programs = {
            client / "docker": "usr/bin/docker",
            client / "cli-plugins/docker-buildx": "usr/libexec/docker/cli-plugins/docker-buildx",
        }
        for script, program in programs.items():
            script.write_text(
                "#!/bin/sh\n"
                f"exec '{spec.tools_loader}' --library-path '{spec.tools_library}' "
                f'--argv0 "$0" \'{spec.tools / program}\' "$@"\n'
            )
            script.chmod(0o755)
        (client / "config.json").write_text("{}")

    def _end(self, pid: int) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                return
            end = time.monotonic() + _STOP_SECONDS
            while time.monotonic() < end:
                if not self._record():
                    return
                time.sleep(0.05)
        msg = f"the BuildKit engine (process {pid}) does not end"
        raise EngineError(msg)

    def _clear(self) -> None:
        """Take away what an engine that is gone left in the runtime folder."""
        shutil.rmtree(self.runtime, ignore_errors=True)
        rule = _BINFMT / f"edge-buildkit-{_foreign()}"
        if rule.exists() and not any(
            engine.status().binfmt == "shared" for engine in Engine.known(self._runner)
        ):
            rule.write_text("-1")


def _foreign() -> str:
    return "amd64" if platform.machine() == "aarch64" else "arm64"


def preferred_binfmt() -> Binfmt:
    """A private list of interpreters where the kernel has them, else the machine's."""
    release = tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2])
    try:
        namespaces = int(Path("/proc/sys/user/max_user_namespaces").read_text())
    except (OSError, ValueError):
        namespaces = 0
    return "private" if release >= _PRIVATE_BINFMT and namespaces else "shared"


def share_binfmt(spec: EngineSpec) -> None:
    """Register the emulator for the whole machine, under a name of our own.

    Raises:
        EngineError: the kernel has no binfmt_misc, or it is not mounted.
    """
    if not (_BINFMT / "register").exists():
        msg = "this kernel offers no list of interpreters (binfmt_misc)"
        raise EngineError(msg, f"mount -t binfmt_misc binfmt_misc {_BINFMT}")
    if not (_BINFMT / f"edge-buildkit-{spec.foreign}").exists():
        launch.register(_BINFMT, spec.foreign, str(spec.tree / spec.emulator))
