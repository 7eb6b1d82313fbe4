"""How long and how often: `quick` for tests of the path, `smoke` for a change, `release`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """One way to run; all times in milliseconds.

    Attributes:
        name: as on the command line.
        processes: fresh processes, one after the other; each loads the model and times `windows`.
        windows: of each process.
        window_ms: shortest length of a window.
        window_samples: fewest samples of a window.
        window_limit_ms: a window that is not complete by then ends as incomplete.
        warmups: inferences before the first window that count for nothing.
        warmup_ms: shortest time of those.
        repeats: most inferences of each block of the repeated-input check.
        rest_limit_ms: for golden inputs that the windows did not reach.
        sensor_ms: between two readings of the sensors.
    """

    name: str
    processes: int
    windows: int
    window_ms: int
    window_samples: int
    window_limit_ms: int
    warmups: int
    warmup_ms: int
    repeats: int
    rest_limit_ms: int
    sensor_ms: int

    def document(self) -> dict[str, Any]:
        """As the report says it."""
        return asdict(self)


PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            name="quick",
            processes=1,
            windows=2,
            window_ms=100,
            window_samples=100,
            window_limit_ms=30000,
            warmups=10,
            warmup_ms=0,
            repeats=20,
            rest_limit_ms=30000,
            sensor_ms=50,
        ),
        Profile(
            name="smoke",
            processes=1,
            windows=3,
            window_ms=2000,
            window_samples=300,
            window_limit_ms=120000,
            warmups=10,
            warmup_ms=500,
            repeats=50,
            rest_limit_ms=120000,
            sensor_ms=500,
        ),
        Profile(
            name="release",
            processes=5,
            windows=3,
            window_ms=5000,
            window_samples=1000,
            window_limit_ms=600000,
            warmups=50,
            warmup_ms=2000,
            repeats=200,
            rest_limit_ms=600000,
            sensor_ms=1000,
        ),
    )
}
