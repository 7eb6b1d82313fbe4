"""The tamper matrix: what somebody does who owns the store, or a wrong key, but not the right one.

Every row is applied to a copy of an honest, signed store, and must end in exit 1 with exactly the
reasons of the row. ``docs/tampering.md`` is written from here (`tamper_docs`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from signed_world import World


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One row.

    Attributes:
        group: heading of its table.
        name: stable, for the test's name.
        what: what is done, for people.
        reasons: every reason word of the answer, sorted; none for a control.
        attack: does it.
    """

    group: str
    name: str
    what: str
    reasons: tuple[str, ...]
    attack: Callable[[World], Any]


CASES: list[Case] = []
CONTROLS: list[Case] = []
UNDECIDED: list[Case] = []


class Group:
    """Takes down the rows of one table."""

    def __init__(self, title: str) -> None:
        self._title = title

    def add(self, name: str, what: str, reasons: str, attack: Callable[[World], Any]) -> None:
        """A row; `reasons` are words with spaces between."""
        rows = {"=": CONTROLS, "?": UNDECIDED}.get(reasons, CASES)
        words = tuple(sorted(reasons.split())) if rows is CASES else ()
        known = {each.name for each in (*CASES, *CONTROLS, *UNDECIDED)}
        assert name not in known, name
        rows.append(Case(group=self._title, name=name, what=what, reasons=words, attack=attack))

    def __call__(self, what: str, reasons: str) -> Callable[[Callable[[World], Any]], None]:
        """The same as a decorator; the function's name is the row's."""

        def take(attack: Callable[[World], Any]) -> None:
            self.add(attack.__name__.strip("_").replace("_", "-"), what, reasons, attack)

        return take
