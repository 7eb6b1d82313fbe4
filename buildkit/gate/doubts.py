"""What a finding means for the other rules: how much of a run can still be believed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from buildkit.gate.types import Blame, Finding, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable


class Reach(IntEnum):
    """What cannot be decided any more because of a finding.

    `ITSELF`: nothing but its own rule. `TIMES`: latency, throughput and their comparison too.
    `ALL`: nothing that was measured in this run.
    """

    ITSELF = 0
    TIMES = 1
    ALL = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Doubt:
    """A finding and its reach."""

    finding: Finding
    reach: Reach = Reach.ITSELF


def fail(rule: str, message: str) -> Doubt:
    """The artifact is not good enough."""
    return Doubt(
        finding=Finding(rule=rule, outcome=Outcome.FAIL, blame=Blame.ARTIFACT, message=message)
    )


def unclear(
    rule: str, message: str, *, blame: Blame = Blame.DEVICE, reach: Reach = Reach.ITSELF
) -> Doubt:
    """Something could not be decided."""
    return Doubt(
        finding=Finding(rule=rule, outcome=Outcome.INCONCLUSIVE, blame=blame, message=message),
        reach=reach,
    )


def farthest(doubts: Iterable[Doubt]) -> Reach:
    """The largest reach."""
    return max((doubt.reach for doubt in doubts), default=Reach.ITSELF)
