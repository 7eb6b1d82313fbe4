"""Which container runtimes this device has, and which of them can be used."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from agent.container import Found
from agent.errors import AgentError, Kind
from agent.order import RUNTIMES
from agent.programs import which

if TYPE_CHECKING:
    from agent.blobs import Blobs
    from agent.container import Runtime
    from agent.places import Places
    from agent.programs import Ended, Programs

SUDO = ("sudo", "-n")
NO_MEMORY_LIMIT = (
    "this kernel cannot limit the memory of a container: add cgroup_enable=memory to its command "
    "line (/boot/firmware/cmdline.txt) and reboot"
)
_VERSION = re.compile(r"\d+\.\d+[\w.+~-]*")


def find(programs: Programs, root: Path = Path("/"), *, user: int | None = None) -> list[Found]:
    """Every runtime of the protocol, in the order of preference.

    Args:
        programs: that are started, all of them side by side.
        root: of the machine that is looked at.
        user: id that the agent runs as.
    """
    is_root = (os.geteuid() if user is None else user) == 0
    there = [name for name in RUNTIMES if which(name)]
    questions: dict[str, list[str]] = {
        "docker": ["docker", "version", "--format", "{{.Server.Version}}"],
        "podman": ["podman", "--version"],
        "crun": ["crun", "--version"],
    }
    asked = {name: questions[name] for name in there}
    if there and not is_root and which("sudo"):
        asked["sudo"] = [*SUDO, "true"]
        if "docker" in there:
            asked["sudo docker"] = [*SUDO, *questions["docker"]]
    answers = dict(zip(asked, programs.together(list(asked.values()))))
    can_sudo = "sudo" in answers and answers["sudo"].code == 0
    found = []
    for name in RUNTIMES:
        if name not in there:
            found.append(Found(name=name, version="", argv=(), why="it is not there"))
        elif name == "docker":
            found.append(_docker(answers))
        elif name == "podman":
            found.append(_podman(answers[name], root, is_root=is_root, can_sudo=can_sudo))
        else:
            found.append(_crun(answers[name], is_root=is_root, can_sudo=can_sudo))
    if not limits_memory(root):
        found = [
            Found(
                name=each.name,
                version=each.version,
                argv=each.argv,
                why=each.why or NO_MEMORY_LIMIT,
            )
            for each in found
        ]
    return found


def choose(found: list[Found], wanted: str) -> Found:
    """The wanted one, or with ``auto`` the first that can be used.

    Raises:
        AgentError: none can.
    """
    candidates = [each for each in found if wanted in {"auto", each.name}]
    for each in candidates:
        if not each.why:
            return each
    why = "; ".join(f"{each.name}: {each.why}" for each in candidates)
    raise AgentError(
        Kind.RUNTIME, f"no container runtime can be used ({why})", "install one of them"
    )


def make(found: Found, programs: Programs, blobs: Blobs, places: Places) -> Runtime:
    """The adapter for a runtime."""
    if found.name == "docker":
        from agent.docker import Docker

        return Docker(found, programs, blobs, places)
    if found.name == "podman":
        from agent.podman import Podman

        return Podman(found, programs, blobs, places)
    from agent.crun import Crun

    return Crun(found, programs, blobs, places)


def limits_memory(root: Path = Path("/")) -> bool:
    """Whether the kernel has a memory controller (Raspberry Pi OS turns it off)."""
    groups = root / "sys/fs/cgroup"
    try:
        return "memory" in (groups / "cgroup.controllers").read_text().split()
    except OSError:
        return (groups / "memory" / "memory.limit_in_bytes").exists()


def _version(ended: Ended) -> str:
    match = _VERSION.search(ended.out.decode(errors="replace")) if ended.code == 0 else None
    return match.group() if match else ""


def _docker(answers: dict[str, Ended]) -> Found:
    for key, argv in (("docker", ("docker",)), ("sudo docker", (*SUDO, "docker"))):
        version = _version(answers[key]) if key in answers else ""
        if version:
            return Found(name="docker", version=version, argv=argv, why="")
    why = f"its daemon does not answer: {answers['docker'].said}"
    return Found(name="docker", version="", argv=("docker",), why=why)


def _podman(ended: Ended, root: Path, *, is_root: bool, can_sudo: bool) -> Found:
    version = _version(ended)
    argv = ("podman",) if is_root or not can_sudo else (*SUDO, "podman")
    why = "" if version else f"it does not work: {ended.said}"
    if not why and not is_root and not can_sudo and not _delegated(root):
        why = "without root it may not limit memory: no delegated memory controller, and no sudo"
    return Found(name="podman", version=version, argv=argv, why=why)


def _crun(ended: Ended, *, is_root: bool, can_sudo: bool) -> Found:
    version = _version(ended)
    argv = ("crun",) if is_root else (*SUDO, "crun")
    why = "" if version else f"it does not work: {ended.said}"
    if not why and not which("umoci"):
        why = "umoci is not there, which unpacks images for it"
    if not why and not is_root and not can_sudo:
        why = "it needs root, or sudo that asks for no password"
    return Found(name="crun", version=version, argv=argv, why=why)


def _delegated(root: Path) -> bool:
    """Whether systemd gives this user the memory controller."""
    user = os.getuid()
    service = f"sys/fs/cgroup/user.slice/user-{user}.slice/user@{user}.service"
    try:
        return "memory" in (root / service / "cgroup.controllers").read_text().split()
    except OSError:
        return False
