"""What can happen during a smoke run, when, and how often: rounds drawn by seed and number."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

FAULTS = {
    "power cut": 14,
    "line cut, short": 8,
    "line cut, long": 6,
    "line cut, for good": 2,
    "ssh killed": 7,
    "line slow": 4,
    "disk full before": 4,
    "disk full": 8,
    "host killed": 10,
    "host and ssh killed": 6,
    "SIGINT": 7,
    "SIGTERM": 4,
    "agent killed": 8,
    "agent and guardian killed": 4,
    "container killed": 7,
    "runtime missing": 5,
    "clock jump": 5,
    "out of memory": 6,
    "board stands still": 4,
}
"""Kind of fault → how often, among the others."""

HOST = ("host killed", "host and ssh killed", "SIGINT", "SIGTERM", "ssh killed")
"""Faults of the host's own side: it may be gone before it says what is in the store by then."""

SLOW = ("line cut, for good", "line cut, long", "line slow", "board stands still", "out of memory")
"""Faults whose rounds may take minutes."""

PHASES = {"begin": 2, "delivery": 5, "load": 3, "run": 6, "sign": 3, "any": 5}
"""Phase of the smoke run → how often, among the others."""


@dataclass(frozen=True, kw_only=True)
class Round:
    """What is to happen in one round.

    Attributes:
        seed: of all rounds.
        number: of this one.
        fault: key of `FAULTS`.
        phase: key of `PHASES`, or ``store``.
        moment: 0 to 1: when in the phase.
        blank: what is taken away from the board before: ``blobs``, ``images`` or nothing.
        chance: for whatever the fault still has to choose.
    """

    seed: int
    number: int
    fault: str
    phase: str
    moment: float
    blank: str
    chance: random.Random = field(repr=False, compare=False)


def drawn(seed: int, number: int) -> Round:
    """A round, by its seed and number alone."""
    chance = random.Random(f"{seed}/{number}")  # noqa: S311 - moments, not secrets
    fault = chance.choices(list(FAULTS), list(FAULTS.values()))[0]
    phases = PHASES | ({"store": 4} if fault in HOST else {})
    if fault == "container killed":
        phases = {"run": 1}
    elif fault.startswith("agent"):
        phases = {name: phases[name] for name in ("delivery", "load", "run", "sign")}
    elif fault == "disk full before":
        phases = {"begin": 1}
    phase = chance.choices(list(phases), list(phases.values()))[0]
    if phase == "delivery" or fault == "disk full before":
        blank = "blobs"
    elif phase == "load":
        blank = "images"
    else:
        blank = chance.choice(["", "", "images", "blobs"])
    return Round(
        seed=seed,
        number=number,
        fault=fault,
        phase=phase,
        moment=chance.random(),
        blank=blank,
        chance=chance,
    )
