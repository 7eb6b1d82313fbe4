"""The interpreter and the programs that a build starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildkit import tools
from buildkit.doctor.registry import check
from buildkit.doctor.types import Check

if TYPE_CHECKING:
    from buildkit.doctor.types import Machine

_LOWEST_PYTHON = (3, 11)
_DAEMON = "nix/var/nix/daemon-socket/socket"


@check("python")
def python(machine: Machine) -> Check:
    """Python is new enough, and has pip, which brings the wheels."""
    found = f"Python {tools.written(machine.python)}"
    if machine.python < _LOWEST_PYTHON:
        lowest = tools.written(_LOWEST_PYTHON)
        remedy = f"use Python {lowest} or later (Debian 12 has it)"
        return Check(name="python", status="fail", found=found, remedy=remedy)
    if not machine.modules("pip"):
        remedy = "scripts/bootstrap, or as root: apt-get install python3-pip"
        return Check(name="python", status="fail", found=f"{found} without pip", remedy=remedy)
    return Check(name="python", status="ok", found=f"{found} with pip")


@check("git")
def git(machine: Machine) -> Check:
    """Git tells commit and time."""
    found = tools.require("git", machine.runner, machine.path)
    return Check(name="git", status="ok", found=f"git {tools.written(found)}")


@check("apt")
def apt(machine: Machine) -> Check:
    """APT resolves and brings Debian packages."""
    tools.find("apt-cache", machine.path)
    found = tools.require("apt-get", machine.runner, machine.path)
    return Check(name="apt", status="ok", found=f"APT {tools.written(found)}")


@check("nix")
def nix(machine: Machine) -> Check:
    """Nix is there, new enough, and can be used by this user."""
    tools.find("nix-store", machine.path)
    found = tools.written(tools.require("nix", machine.runner, machine.path))
    if machine.has(_DAEMON):
        how = "through its daemon"
    elif machine.user == 0:
        how = "as root"
    else:
        how = "with a store of your own in the project's .buildkit"
    return Check(name="nix", status="ok", found=f"Nix {found}, {how}")
