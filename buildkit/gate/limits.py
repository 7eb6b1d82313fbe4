"""Every limit, one row each: what is measured, against what, and whether it holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from buildkit.gate import words
from buildkit.gate.doubts import fail, unclear
from buildkit.gate.types import Outcome, Row

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from buildkit.gate.combined import Combined
    from buildkit.gate.doubts import Doubt
    from buildkit.gate.measured import Measured
    from buildkit.gate.types import Expected, Rules

LOCAL: Final = "local"
STANDIN: Final = "stand-in"
"""Why times are not judged."""

_MS = 1_000_000

Value = Callable[["Combined"], float | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """One quantity and its limit.

    Attributes:
        rule: word of the finding.
        name: of the row.
        value: of the runs, in base units.
        limit: in base units; ``None`` without one.
        text: a number in base units for people.
        time: a time, which only a board tells; else a matter of function.
        least: the limit is the smallest value allowed, and not the largest.
        condition: beyond the limit it is no failure, but the run does not count (`conditions`).
    """

    rule: str
    name: str
    value: Value
    limit: Callable[[Rules], float | None]
    text: Callable[[float], str]
    time: bool = False
    least: bool = False
    condition: bool = False

    def holds(self, value: float, limit: float) -> bool:
        """Whether `value` is within `limit`."""
        return value >= limit if self.least else value <= limit

    def words(self, limit: float) -> str:
        """``≤ 20 ms``."""
        number, space, unit = self.text(limit).partition(" ")
        plain = number.rstrip("0").rstrip(".") if "." in number else number
        return f"{'≥' if self.least else '≤'} {plain}{space}{unit}"


def _ms(limit: float | None) -> float | None:
    return None if limit is None else limit * _MS


def _none(_: Rules) -> None:
    return None


LIMITS: Final = (
    Limit(
        rule="load",
        name="cold load",
        value=lambda found: found.load_ns,
        limit=lambda rules: _ms(rules.max_load_ms),
        text=words.milliseconds,
        time=True,
    ),
    Limit(
        rule="first",
        name="first inference",
        value=lambda found: found.first_ns,
        limit=lambda rules: _ms(rules.max_first_ms),
        text=words.milliseconds,
        time=True,
    ),
    Limit(
        rule="p50",
        name="latency p50",
        value=lambda found: found.p50_ns,
        limit=lambda rules: _ms(rules.max_p50_ms),
        text=words.milliseconds,
        time=True,
    ),
    Limit(
        rule="p95-point",
        name="latency p95",
        value=lambda found: found.p95_ns,
        limit=_none,
        text=words.milliseconds,
        time=True,
    ),
    Limit(
        rule="p95",
        name="latency p95, upper 99 % bound",
        value=lambda found: found.bound_ns,
        limit=lambda rules: _ms(rules.max_p95_ms),
        text=words.milliseconds,
        time=True,
    ),
    Limit(
        rule="p99",
        name="latency p99",
        value=lambda found: found.p99_ns,
        limit=lambda rules: _ms(rules.max_p99_ms),
        text=words.milliseconds,
        time=True,
    ),
    Limit(
        rule="throughput",
        name="throughput",
        value=lambda found: found.throughput,
        limit=lambda rules: rules.min_throughput,
        text=words.rate,
        time=True,
        least=True,
    ),
    Limit(
        rule="memory",
        name="peak memory",
        value=lambda found: found.memory_bytes,
        limit=lambda rules: rules.max_memory_bytes,
        text=words.mebibytes,
    ),
    Limit(
        rule="accuracy",
        name="accuracy",
        value=lambda found: found.accuracy,
        limit=lambda rules: rules.min_accuracy,
        text=words.percent,
        least=True,
    ),
    Limit(
        rule="share",
        name="nodes on an accelerator",
        value=lambda found: found.share,
        limit=lambda rules: rules.min_on_accelerator,
        text=words.percent,
        least=True,
    ),
    Limit(
        rule="samples",
        name="timed inferences",
        value=lambda found: found.samples,
        limit=lambda rules: rules.min_samples,
        text=lambda value: f"{value:.0f}",
        least=True,
        condition=True,
    ),
    Limit(
        rule="temperature",
        name="highest temperature",
        value=lambda found: found.temperature_mc,
        limit=lambda rules: (
            None if rules.max_temperature_c is None else rules.max_temperature_c * 1000
        ),
        text=words.degrees,
        condition=True,
    ),
)
"""In the order of the rows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Judging:
    """What quantities are judged with.

    Attributes:
        found: of the candidate.
        baseline: the same; ``None`` without one.
        untimed: why times are not judged (``stand-in``); empty where they are.
        void: no run counts, so that nothing is decided.
        disturbed: something disturbed a run, so that no time is decided.
    """

    rules: Rules
    found: Combined
    baseline: Combined | None
    untimed: str
    void: bool
    disturbed: bool


def asks_times(rules: Rules) -> bool:
    """Whether there is any limit on a time."""
    return any(limit.time and limit.limit(rules) is not None for limit in LIMITS)


def judge(limit: Limit, given: Judging) -> tuple[Row, tuple[Doubt, ...]]:
    """Compare one quantity with its limit."""
    value, most = limit.value(given.found), limit.limit(given.rules)
    before = None if given.baseline is None else limit.value(given.baseline)
    row = Row(
        name=limit.name,
        value=_text(limit, value),
        baseline="" if given.baseline is None else _text(limit, before),
        change=(value / before - 1) * 100 if value is not None and before else None,
    )
    if most is None:
        return row, ()
    said = limit.words(most)
    if limit.time and given.untimed:
        return replace(row, limit=f"{said} (not judged: {given.untimed})"), ()
    outcome = _outcome(limit, value, most, given)
    row = replace(row, limit=said, outcome=outcome)
    # Why a run does not count is told by `conditions`.
    if limit.condition or given.void or (limit.time and given.disturbed):
        return row, ()
    if value is None:
        return row, (unclear(limit.rule, f"{limit.name} is unknown, and must be {said}"),)
    if outcome is Outcome.FAIL:
        message = f"{limit.name} is {limit.text(value)}, and must be {said}"
        return row, (fail(limit.rule, message),)
    return row, ()


def _outcome(limit: Limit, value: float | None, most: float, given: Judging) -> Outcome | None:
    holds = value is not None and limit.holds(value, most)
    if limit.condition:
        # The engine's machine may have no sensors.
        unmet = None if given.untimed == LOCAL else Outcome.INCONCLUSIVE
        return Outcome.PASS if holds else unmet
    if value is None or given.void or (limit.time and given.disturbed):
        return Outcome.INCONCLUSIVE
    return Outcome.PASS if holds else Outcome.FAIL


def _text(limit: Limit, value: float | None) -> str:
    return "unknown" if value is None else limit.text(value)


def answers(runs: Sequence[Measured], expected: Expected, rules: Rules) -> Iterator[Doubt]:
    """What the answers say beside their accuracy: numbers, steady, and those of the build."""
    for run in runs:
        found = run.answers
        if found.not_finite:
            yield fail("finite", f"{found.not_finite} answers hold NaN or infinity")
        if found.differing:
            message = f"{found.differing} answers differ from the first one for the same input"
            yield fail("steady", message)
        if run.oom_kills:
            yield fail("memory", f"{run.oom_kills} processes were killed: out of memory")
        if found.samples != expected.samples or expected.samples < 1:
            message = f"{found.samples} golden inputs, and the build had {expected.samples}"
            yield unclear("golden", message)
        elif found.answered < found.samples:
            message = f"only {found.answered} of {found.samples} golden inputs were answered"
            yield unclear("golden", message)
        else:
            yield from _against_build(found.correct, expected, rules)
            if expected.answers_sha256 and found.sha256 not in {None, expected.answers_sha256}:
                message = "the bytes of the answers are not those of the build"
                yield fail("answers", f"{message}; this model answers the same on every CPU")


def _against_build(correct: int, expected: Expected, rules: Rules) -> Iterator[Doubt]:
    said = f"{correct} of {expected.samples} right, and {expected.correct} at the build"
    fewer = (expected.correct - correct) * 100 / expected.samples
    if fewer > rules.max_accuracy_change:
        most = f"at most {rules.max_accuracy_change:g} points fewer are allowed"
        yield fail("change", f"{said}: {fewer:.4g} points fewer; {most}")
    elif expected.same_answers and correct != expected.correct:
        yield fail("answers", f"{said}; this model answers the same on every CPU")


def same_answers(runs: Sequence[Measured], expected: Expected) -> Iterator[Doubt]:
    """Runs of one model over one golden set that should have given the same bytes."""
    known: dict[tuple[str, str], str] = {}
    if not expected.same_answers:
        return
    for run in runs:
        if run.answers.sha256 is None:
            continue
        key = (run.model_sha256, run.golden_sha256)
        if known.setdefault(key, run.answers.sha256) != run.answers.sha256:
            message = "the bytes of the answers differ from those of another run"
            yield fail("answers", f"{message}; this model answers the same on every CPU")
            return
