"""What one report says, as records; `buildkit.gate.report` makes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CPU: Final = "CPUExecutionProvider"
BITS: Final = ("under_voltage", "frequency_capped", "throttled", "soft_temperature_limit")

SINCE_BOOT: Final = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """Sensors at one moment; ``None`` is unknown.

    Attributes:
        at_ns: since the start of the run.
        temperature_mc: thousandths of a degree Celsius.
        clock_khz: of the fastest core.
        bits: the firmware's throttle bits.
    """

    at_ns: int
    temperature_mc: int | None
    clock_khz: int | None
    bits: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """One window of one process: its samples in nanoseconds, sorted."""

    process: int
    ordered: Sequence[int]
    complete: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Board:
    """Where it ran; ``None`` is unknown.

    Attributes:
        standin: what a stand-in says of itself; empty for a board.
        governors: of the CPU's frequency.
    """

    model: str | None
    machine: str
    kernel: str | None
    page_bytes: int
    standin: str
    governors: tuple[str, ...] | None
    cores: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How it ran.

    Attributes:
        asked: execution providers, most wanted first.
        missing: those of them that this ONNX Runtime does not have.
    """

    profile: str
    onnxruntime: str
    asked: tuple[str, ...]
    missing: tuple[str, ...]
    threads: int
    inter_op_threads: int
    execution_mode: str
    optimization: str
    batch: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """What the model answered.

    Attributes:
        samples: golden inputs.
        answered: how many of them were asked.
        correct: by the worst process.
        differing: answers that differ from the first one for the same input.
        not_finite: answers with NaN or infinity.
        sha256: of all answers; unknown as the report may say.
    """

    samples: int
    answered: int
    correct: int
    differing: int
    not_finite: int
    sha256: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What one report says.

    Attributes:
        windows: of all processes; the samples of all together are `ordered`.
        load_ns: cold load, by process.
        first_ns: first inference, by process.
        busy_ns: time inside timed stretches.
        memory_bytes: highest resident memory and what was swapped out, of the largest process.
        oom_kills: in the container.
        nodes: of the optimised graph.
        ran: nodes by execution provider.
        jumps: ``wall`` or ``suspend``, and by how many nanoseconds.
        why: JSON pointer → why there is null.
    """

    board: Board
    settings: Settings
    answers: Answers
    model_sha256: str
    golden_sha256: str
    ordered: Sequence[int]
    windows: tuple[Window, ...]
    load_ns: tuple[int, ...]
    first_ns: tuple[int, ...]
    busy_ns: int
    memory_bytes: int | None
    oom_kills: int | None
    nodes: int
    ran: Mapping[str, int]
    readings: tuple[Reading, ...]
    jumps: tuple[tuple[str, int], ...]
    why: Mapping[str, str]

    @property
    def on_accelerator(self) -> int:
        """Nodes that ran on a provider that was asked for and is not the CPU's."""
        wanted = {name for name in self.settings.asked if name != CPU}
        return sum(count for name, count in self.ran.items() if name in wanted)

    @property
    def live(self) -> int | None:
        """Throttle bits that were set at any reading; unknown if any reading is."""
        seen = 0
        for reading in self.readings:
            if reading.bits is None:
                return None
            seen |= reading.bits
        return seen & (1 << len(BITS)) - 1

    @property
    def sticky(self) -> int | None:
        """Bits "since boot" that were not set at the first reading; unknown if any reading is."""
        if self.live is None:
            return None
        first = self.readings[0].bits or 0
        seen = 0
        for reading in self.readings:
            seen |= reading.bits or 0
        return (seen & ~first) >> SINCE_BOOT & (1 << len(BITS)) - 1

    @property
    def earlier(self) -> int:
        """Bits "since boot" that were set at the first reading already: they hide repeats."""
        return (self.readings[0].bits or 0) >> SINCE_BOOT & (1 << len(BITS)) - 1


def names(bits: int) -> tuple[str, ...]:
    """Throttle bits by name."""
    return tuple(name for place, name in enumerate(BITS) if bits >> place & 1)
