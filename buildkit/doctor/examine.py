"""Makes every check."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildkit.doctor import kernel, programs, resources, sources
from buildkit.doctor.registry import make, names
from buildkit.doctor.types import Check, Machine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from buildkit.run import Runner

# A module of checks stands here; the order is that of the answer.
_MODULES = (programs, kernel, resources, sources)


def examine(
    runner: Runner,
    *,
    folders: Mapping[str, Path],
    engine: Callable[[], str],
    online: bool = False,
) -> tuple[Check, ...]:
    """Look at this machine; changes nothing on it.

    Args:
        runner: starts programs.
        folders: what grows there (``store``, ``inputs``, ``Nix store``) → the folder.
        engine: the pinned BuildKit engine that runs, for people; empty when none does.
        online: also ask the package index.
    """
    return examine_machine(Machine(runner=runner, folders=folders, engine=engine, online=online))


def examine_machine(machine: Machine) -> tuple[Check, ...]:
    """Make every check on `machine`, in a fixed order."""
    answers = (make(name, machine) for module in _MODULES for name in names(module.__name__))
    return tuple(answer for answer in answers if answer is not None)
