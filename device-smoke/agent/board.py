"""What the board says of itself, and its frequency governor."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.container import HOME, Mount, Node

if TYPE_CHECKING:
    from agent.programs import Programs

_MARK = "etc/edge-standin"
_TREES = ("sys/firmware/devicetree/base", "proc/device-tree")
_POLICIES = "sys/devices/system/cpu/cpufreq"
_LIBRARIES = ("libvchiq_arm.so*", "libvcos.so*", "libbcm_host.so*")
_NODES = ("dev/vcio", "dev/hailo*")
_GOVERNOR = re.compile(r"/sys/devices/system/cpu/cpufreq/policy\d+/scaling_governor")


class Board:
    """The machine as seen from `root`, which a test can choose."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def text(self, name: str) -> str:
        """A file's text without NULs and blanks around it; empty when it cannot be read."""
        try:
            with (self.root / name).open("rb") as file:
                return file.read(1 << 16).decode(errors="replace").strip("\0 \t\r\n")
        except OSError:
            return ""

    @property
    def boot_id(self) -> str:
        """Another one after each start of the kernel."""
        return self.text("proc/sys/kernel/random/boot_id")

    def facts(self) -> dict[str, Any]:
        """What ``facts`` says of the board."""
        memory = re.search(r"^MemTotal:\s+(\d+) kB$", self.text("proc/meminfo"), re.MULTILINE)
        named = re.search(r'^PRETTY_NAME="?([^"\n]+)', self.text("etc/os-release"), re.MULTILINE)
        model = next(filter(None, (self.text(f"{tree}/model") for tree in _TREES)), None)
        return {
            "machine": os.uname().machine,
            "os": named.group(1) if named else "",
            "board": model,
            "standin": self.standin(),
            "page_bytes": os.sysconf("SC_PAGE_SIZE"),
            "memory_bytes": int(memory.group(1)) * 1024 if memory else 0,
            "boot_id": self.boot_id,
        }

    def standin(self) -> str | bool:
        """What a stand-in says of itself; ``False`` for a board without such a mark."""
        for name in (_MARK, *(f"{tree}/edge-standin" for tree in _TREES)):
            if (self.root / name).exists():
                said = self.text(name)
                return said.splitlines()[0] if said else "a stand-in that does not say more"
        return False

    def mounts(self) -> list[Mount]:
        """What of the board the harness reads and a container would hide; only what is there."""
        wanted = [(_TREES[0], "/run/edge-smoke/device-tree"), (_MARK, f"/{_MARK}")]
        # Where a stand-in keeps what it says of its sensors.
        wanted.append(("run/edge-standin", "/run/edge-standin"))
        tool = next((n for n in ("usr/bin/vcgencmd", "opt/vc/bin/vcgencmd") if self._has(n)), None)
        if tool is not None:
            wanted.append((tool, "/usr/bin/vcgencmd"))
            machine = os.uname().machine
            for pattern in _LIBRARIES:
                for found in sorted((self.root / f"usr/lib/{machine}-linux-gnu").glob(pattern)):
                    name = str(found.relative_to(self.root))
                    wanted.append((name, f"/{name}"))
        return [Mount(str(self.root / source), to) for source, to in wanted if self._has(source)]

    def _has(self, name: str) -> bool:
        return (self.root / name).exists()

    def nodes(self) -> list[Node]:
        """Device nodes of firmware and accelerators."""
        found = []
        for pattern in _NODES:
            for path in sorted(self.root.glob(pattern)):
                status = path.stat()
                if stat.S_ISCHR(status.st_mode):
                    number = (os.major(status.st_rdev), os.minor(status.st_rdev))
                    group = status.st_gid if status.st_mode & stat.S_IRGRP else 0
                    found.append(Node(f"/{path.relative_to(self.root)}", *number, group))
        return found

    def governors(self) -> dict[str, str]:
        """The governor in each policy's file, by the file's path on the board."""
        files = sorted((self.root / _POLICIES).glob("policy*/scaling_governor"))
        names = [str(file.relative_to(self.root)) for file in files]
        return {f"/{name}": self.text(name) for name in names}

    def offers(self, file: str, governor: str) -> bool:
        """Whether a policy has this governor."""
        name = file.lstrip("/").replace("scaling_governor", "scaling_available_governors")
        return governor in self.text(name).split()

    def set_governor(self, file: str, governor: str, programs: Programs) -> None:
        """Write it, with ``sudo`` where needed; `governors` tells whether that worked."""
        if _GOVERNOR.fullmatch(file) is None or not governor.isidentifier():
            return
        target = self.root / file.lstrip("/")
        try:
            target.write_text(governor)
        except PermissionError:
            from agent.programs import which
            from agent.runtimes import SUDO

            if which("sudo"):
                data = iter([governor.encode()])
                programs.run([*SUDO, "tee", str(target)], feed=data, seconds=10)
        except OSError:
            pass


def one_governor(governors: dict[str, str]) -> str | None:
    """For the statement: their names, or nothing where there is no frequency scaling."""
    return ", ".join(sorted(set(governors.values()))) or None


def artifact_mounts(model: Path, golden: Path, smoke: Path) -> list[Mount]:
    """The files under test, and what tests them."""
    return [
        Mount(str(model), f"{HOME}/model.onnx"),
        Mount(str(golden), f"{HOME}/golden.npz"),
        Mount(str(smoke), f"{HOME}/smoke.zip"),
    ]
