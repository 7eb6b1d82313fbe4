"""The list of checks: a new one is a function with this decorator, in a module of this room."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildkit.doctor.types import Check
from buildkit.errors import BuildkitError

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit.doctor.types import Machine

    Answer = Callable[[Machine], Check | None]

_CHECKS: dict[str, Answer] = {}


def check(name: str) -> Callable[[Answer], Answer]:
    """Put a function into the list under `name`.

    The function gets the machine and gives one `Check`, or None where there is nothing to look at.
    A `BuildkitError` that it lets through becomes a failed check with the error's remedy.
    """

    def add(answer: Answer) -> Answer:
        if name in _CHECKS:
            msg = f"two checks are named {name!r}"
            raise ValueError(msg)
        _CHECKS[name] = answer
        return answer

    return add


def names(module: str) -> tuple[str, ...]:
    """The checks of one module, by its dotted name, in the order in which they stand there."""
    return tuple(name for name, answer in _CHECKS.items() if answer.__module__ == module)


def make(name: str, machine: Machine) -> Check | None:
    """Make one check; None where there is nothing to look at."""
    try:
        return _CHECKS[name](machine)
    except BuildkitError as error:
        return Check(name=name, status="fail", found=error.message, remedy=error.remedy)
