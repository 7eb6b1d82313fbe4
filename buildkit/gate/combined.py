"""Several runs of one artifact on one device as one set of numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from buildkit.gate import stats

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from buildkit.gate.measured import Measured

_PER_SECOND = 1_000_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Combined:
    """Numbers of all runs together; ``None`` where any run that it needs does not know.

    Cold load, first inference, p50 and throughput are the median of the runs (of two middle ones
    the slower); tails, memory, temperature, accuracy and share are the worst of the runs. So two
    runs are never better than each of them.

    Attributes:
        ordered: all timed inferences of all runs, nanoseconds, sorted.
        change: percentage points that fewer are right than at the build; below 0 if more.
        share: percent of the nodes on an accelerator.
        samples: of the run with the fewest.
    """

    load_ns: int
    first_ns: int
    p50_ns: int | None
    p95_ns: int | None
    bound_ns: int | None
    p99_ns: int | None
    throughput: float | None
    memory_bytes: int | None
    accuracy: float | None
    share: float | None
    samples: int
    temperature_mc: int | None
    ordered: Sequence[int]


def combine(runs: Sequence[Measured]) -> Combined:
    """All runs (at least one) together."""
    return Combined(
        load_ns=stats.middle([stats.middle(run.load_ns) for run in runs]),
        first_ns=stats.middle([stats.middle(run.first_ns) for run in runs]),
        p50_ns=_median([_quantile(run, stats.MEDIAN) for run in runs]),
        p95_ns=_worst([_quantile(run, stats.P95) for run in runs]),
        bound_ns=_worst([stats.upper(run.ordered, stats.P95) for run in runs]),
        p99_ns=_worst([_quantile(run, stats.P99) for run in runs]),
        throughput=_slowest([_rate(run) for run in runs]),
        memory_bytes=_worst([run.memory_bytes for run in runs]),
        accuracy=_least([_accuracy(run) for run in runs]),
        share=_least([_share(run) for run in runs]),
        samples=min(len(run.ordered) for run in runs),
        temperature_mc=_worst([each.temperature_mc for run in runs for each in run.readings]),
        ordered=sorted(value for run in runs for value in run.ordered),
    )


def _quantile(run: Measured, percent: int) -> int | None:
    return stats.quantile(run.ordered, percent) if run.ordered else None


def _rate(run: Measured) -> float | None:
    return len(run.ordered) * _PER_SECOND / run.busy_ns if run.ordered and run.busy_ns else None


def _accuracy(run: Measured) -> float | None:
    found = run.answers
    whole = found.samples > 0 and found.answered == found.samples
    return found.correct * 100 / found.samples if whole else None


def _share(run: Measured) -> float | None:
    return run.on_accelerator * 100 / run.nodes if run.nodes else None


def _known(values: Sequence[float | None]) -> list[float]:
    known = [value for value in values if value is not None]
    return known if len(known) == len(values) else []


def _pick(values: Sequence[int | None], pick: Callable[[list[int]], int]) -> int | None:
    known = [value for value in values if value is not None]
    return pick(known) if known and len(known) == len(values) else None


def _worst(values: Sequence[int | None]) -> int | None:
    return _pick(values, max)


def _median(values: Sequence[int | None]) -> int | None:
    return _pick(values, stats.middle)


def _least(values: Sequence[float | None]) -> float | None:
    return min(_known(values), default=None)


def _slowest(values: Sequence[float | None]) -> float | None:
    """The median, and of two middle ones the slower."""
    known = sorted(_known(values), reverse=True)
    return known[len(known) // 2] if known else None
