"""Candidate against baseline: is it slower or larger, and is that sure?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from buildkit.gate import stats
from buildkit.gate.doubts import fail, unclear
from buildkit.gate.types import Blame, Outcome, Row
from buildkit.markup import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildkit.gate.combined import Combined
    from buildkit.gate.doubts import Doubt
    from buildkit.gate.limits import Judging
    from buildkit.gate.measured import Measured
    from buildkit.gate.types import Run

# The one that decides first.
_WORDS: Final = {
    Outcome.FAIL: "yes",
    Outcome.INCONCLUSIVE: "cannot be told",
    Outcome.PASS: "no",
}
GROSS: Final = 3
"""How many times what `max_slower` allows is too slow even where times are not judged."""

_PERCENTS: Final = (("p50", stats.MEDIAN), ("p95", stats.P95))


def comparable(candidate: tuple[Run, Measured], baseline: tuple[Run, Measured]) -> Iterator[Doubt]:
    """Why two runs cannot be compared: another device, board, kernel or setting."""
    wanted = dict(_circumstances(*candidate))
    for name, value in _circumstances(*baseline):
        if value != wanted[name]:
            message = f"it differs from the candidate in {name}: {value}, and {wanted[name]}"
            yield unclear("comparable", message, blame=Blame.HOST)


def rows(given: Judging, *, void: bool) -> Iterator[tuple[Row, tuple[Doubt, ...]]]:
    """The comparisons that count, one row each.

    Args:
        given: candidate and baseline.
        void: the baseline does not count, or cannot be compared.
    """
    for name, most, test, timed in (
        ("slower than the baseline", given.rules.max_slower, slower, True),
        ("larger than the baseline", given.rules.max_larger, larger, False),
    ):
        limit = f"≤ {most:+g} %"
        if timed and given.untimed:
            doubts = () if void else tuple(_grossly(given, most))
            if not doubts:
                limit = f"{limit} (not judged: {given.untimed})"
                yield Row(name=name, value="not judged", limit=limit), ()
                continue
            limit = f"≤ {_gross(most):+g} % ({given.untimed})"
            yield Row(name=name, value="yes", limit=limit, outcome=Outcome.FAIL), doubts
            continue
        if void or given.void or given.baseline is None or (timed and given.disturbed):
            word = _WORDS[Outcome.INCONCLUSIVE]
            yield Row(name=name, value=word, limit=limit, outcome=Outcome.INCONCLUSIVE), ()
            continue
        doubts = tuple(test(given.found, given.baseline, most))
        found = {doubt.finding.outcome for doubt in doubts} or {Outcome.PASS}
        outcome = next(each for each in _WORDS if each in found)
        yield Row(name=name, value=_WORDS[outcome], limit=limit, outcome=outcome), doubts


def _circumstances(run: Run, found: Measured) -> Iterator[tuple[str, str]]:
    board, settings = found.board, found.settings
    for name, value in (
        ("device", run.device),
        ("place", "the engine" if run.local else board.standin or "a board"),
        ("board", board.model),
        ("machine", board.machine),
        ("kernel", board.kernel),
        ("memory page", board.page_bytes),
        ("governor", board.governors),
        ("usable cores", board.cores),
        ("profile", settings.profile),
        ("providers", settings.asked),
        ("threads", settings.threads),
        ("inter-operator threads", settings.inter_op_threads),
        ("execution mode", settings.execution_mode),
        ("optimization", settings.optimization),
        ("batch", settings.batch),
    ):
        text = ", ".join(value) if isinstance(value, tuple) else str(value)
        yield name, "unknown" if value is None else shown(text)


def slower(found: Combined, before: Combined, most: float) -> Iterator[Doubt]:
    """Whether p50 and p95 are above the baseline's by more than `most` percent, as far as is sure.

    Both quantiles have a lower and an upper 99 % confidence bound. It is slower when its lower
    bound is too far above the baseline's upper one; it is not when its upper bound is not too far
    above the baseline's lower one; and in between nothing is decided.
    """
    for name, percent in _PERCENTS:
        low_mine, high_mine = _bounds(found, percent)
        low_theirs, high_theirs = _bounds(before, percent)
        if not (low_mine and high_mine and low_theirs and high_theirs):
            yield unclear("slower", f"{name}: too few samples for a comparison")
            continue
        low, high = _change(low_mine, high_theirs), _change(high_mine, low_theirs)
        said = f"{name} is {low:+.1f} to {high:+.1f} % against the baseline's"
        if low > most:
            yield fail("slower", f"{said}; at most {most:g} % is allowed")
        elif high > most:
            yield unclear("slower", f"{said}, which is too wide to tell whether {most:g} % holds")


def _gross(most: float) -> float:
    return (100 + most) * GROSS - 100


def _grossly(given: Judging, most: float) -> Iterator[Doubt]:
    """Whether p50 is so far above the baseline's that no emulation can be the reason.

    The median alone: whatever else the machine does makes the tail of both sides. And of all runs
    of a side together, whose bound one run that was held up does not move.
    """
    if given.void or given.disturbed or given.baseline is None:
        return
    low, _ = _bounds(given.found, stats.MEDIAN)
    _, high = _bounds(given.baseline, stats.MEDIAN)
    if low and high and _change(low, high) > _gross(most):
        message = f"p50 is at least {low / high:.3g} times the baseline's"
        yield fail(
            "slower",
            f"{message}, and {_gross(most) / 100 + 1:.3g} times is the most on any machine",
        )


def larger(found: Combined, before: Combined, most: float) -> Iterator[Doubt]:
    """Whether peak memory is above the baseline's by more than `most` percent."""
    if found.memory_bytes is None or not before.memory_bytes:
        yield unclear("larger", "peak memory, or the baseline's, is unknown")
        return
    change = _change(found.memory_bytes, before.memory_bytes)
    if change > most:
        message = f"peak memory is {change:+.1f} % against the baseline's"
        yield fail("larger", f"{message}; at most {most:g} % is allowed")


def _bounds(found: Combined, percent: int) -> tuple[int | None, int | None]:
    return stats.lower(found.ordered, percent), stats.upper(found.ordered, percent)


def _change(value: int, before: int) -> float:
    return (value / before - 1) * 100
