"""The monotonic clock against the others: a jump of the wall clock, a sleep of the machine."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# NTP slews a clock by at most 0.5 ms a second; what is more than this was a step.
STEP_NS = 10_000_000
SLEW = 1000  # one part in a thousand
CALM_NS = 1_000_000
TRIES = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """Three clocks read at one moment, nanoseconds."""

    monotonic: int
    wall: int
    boot: int


def now() -> Moment:
    """Read the clocks; again if something came in between."""
    best: tuple[int, Moment] | None = None
    for _ in range(TRIES):
        before = time.monotonic_ns()
        wall = time.time_ns()
        boot = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        after = time.monotonic_ns()
        moment = Moment(monotonic=(before + after) // 2, wall=wall, boot=boot)
        if best is None or after - before < best[0]:
            best = (after - before, moment)
        if best[0] < CALM_NS:
            break
    assert best is not None  # noqa: S101 - TRIES is not 0
    return best[1]


class Watch:
    """Compares the clocks each time that it is asked.

    Attributes:
        jumps: what it found, as the report says it.
    """

    def __init__(self, origin_ns: int, read: Callable[[], Moment] = now) -> None:
        self._read = read
        self._origin = origin_ns
        self._first = self._last = read()
        self.jumps: list[dict[str, Any]] = []

    def look(self) -> int:
        """Compare with the last look; nanoseconds since the origin."""
        here, last = self._read(), self._last
        passed = here.monotonic - last.monotonic
        allowed = STEP_NS + passed // SLEW
        for kind, moved in (
            ("wall", here.wall - last.wall - passed),
            ("suspend", here.boot - last.boot - passed),
        ):
            if abs(moved) > allowed:
                self.jumps.append(
                    {"kind": kind, "at_ns": here.monotonic - self._origin, "by_ns": moved}
                )
        self._last = here
        return here.monotonic - self._origin

    def drift_ns(self) -> int:
        """How far the wall clock went ahead of the monotonic one since the first look."""
        passed = self._last.monotonic - self._first.monotonic
        return self._last.wall - self._first.wall - passed
