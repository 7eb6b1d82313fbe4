"""Runs, rules and what the build says in; one verdict out. Pure."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from buildkit.gate import compare, limits
from buildkit.gate.combined import combine
from buildkit.gate.conditions import conditions, failed, noise
from buildkit.gate.doubts import Doubt, Reach, farthest, unclear
from buildkit.gate.reading import MalformedError
from buildkit.gate.report import read
from buildkit.gate.types import Blame, Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from buildkit.gate.measured import Measured
    from buildkit.gate.types import Expected, Row, Rules, Run

TRANSIENT: Final = frozenset(
    {
        *("throttled", "temperature", "clock", "suspend", "noise", "samples", "windows"),
        *("slower", "network", "busy", "device"),
    }
)
"""Rules of INCONCLUSIVE findings that another run may not have."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Seen:
    """A run, what was measured in it, and why that does not count, or not for all."""

    run: Run
    found: Measured | None
    doubts: tuple[Doubt, ...]

    @property
    def counts(self) -> bool:
        """Whether rules about function can be decided by it."""
        return self.found is not None and farthest(self.doubts) < Reach.ALL


def judge(
    candidate: Sequence[Run], rules: Rules, expected: Expected, *, baseline: Sequence[Run] = ()
) -> Verdict:
    """Decide about one artifact on one device.

    Args:
        candidate: its runs: repetitions, or those of an ABBA order with `baseline`.
        rules: limits.
        expected: what the build says of the model.
        baseline: runs of what it is compared with, on the same device; none without a comparison.

    Returns:
        PASS only if every run counts and every rule holds. A rule that does not hold makes it FAIL
        whatever else is in doubt, as long as no doubt reaches that rule (docs/gate.md).
    """
    seen = [_look(run, rules) for run in candidate]
    doubts = [*_told(seen), *_mixed(seen)]
    if not seen:
        doubts.append(unclear("runs", "there is no run to judge", blame=Blame.HOST))
    counting = [] if _mixed(seen) else [each for each in seen if each.counts]
    shown = counting or [each for each in seen if each.found is not None]
    if not shown:
        return _verdict(doubts, ())
    before = [_look(run, rules) for run in baseline]
    untimed = _untimed(shown)
    if not untimed and (baseline or limits.asks_times(rules)):
        doubts += noise(_windows(shown))
    judging = limits.Judging(
        rules=rules,
        found=combine(_measured(shown)),
        baseline=combine(_measured(before)) if _measured(before) else None,
        untimed=untimed,
        void=not counting,
        disturbed=len(counting) < len(seen) or farthest(doubts) >= Reach.TIMES,
    )
    rows = []
    for limit in limits.LIMITS:
        row, found = limits.judge(limit, judging)
        rows.append(row)
        doubts += found
    doubts += limits.answers(_measured(counting), expected, rules)
    if baseline:
        against = _against(shown, before, untimed=untimed)
        doubts += against
        for row, found in compare.rows(judging, void=bool(against)):
            rows.append(row)
            doubts += found
    same = [each for each in before if each.counts]
    doubts += limits.same_answers(_measured([*counting, *same]), expected)
    return _verdict(doubts, rows)


def retry(verdict: Verdict, attempt: int, rules: Rules) -> bool:
    """Whether another run makes sense.

    Args:
        verdict: of the runs so far.
        attempt: how many there were.
        rules: how many there may be.
    """
    return (
        verdict.outcome is Outcome.INCONCLUSIVE
        and attempt < rules.attempts
        and all(finding.rule in TRANSIENT for finding in verdict.findings)
    )


def _look(run: Run, rules: Rules) -> _Seen:
    if run.failure is not None:
        return _Seen(run=run, found=None, doubts=(failed(run.failure),))
    if run.report is None:
        silent = unclear("report", "there is no report, and no word about why", reach=Reach.ALL)
        return _Seen(run=run, found=None, doubts=(silent,))
    try:
        found = read(run.report)
    except MalformedError as error:
        broken = unclear("report", f"the report cannot be used: {error}", reach=Reach.ALL)
        return _Seen(run=run, found=None, doubts=(broken,))
    return _Seen(run=run, found=found, doubts=conditions(run, found, rules))


def _told(seen: Sequence[_Seen]) -> Iterator[Doubt]:
    """The doubts of all runs; which run is told where there are several."""
    for number, each in enumerate(seen, 1):
        for doubt in each.doubts:
            yield _about(doubt, f"run {number}: ") if len(seen) > 1 else doubt


def _about(doubt: Doubt, prefix: str) -> Doubt:
    message = prefix + doubt.finding.message
    return dataclasses.replace(doubt, finding=dataclasses.replace(doubt.finding, message=message))


def _mixed(seen: Sequence[_Seen]) -> list[Doubt]:
    """Runs that are not repetitions of one another."""
    kinds = {
        (each.run.device, each.run.target, each.run.local, each.found.board.standin)
        for each in seen
        if each.found is not None
    }
    models = {(found.model_sha256, found.golden_sha256) for found in _measured(seen)}
    if max(len(kinds), len(models)) < 2:
        return []
    message = "the runs are of several models, or on several devices"
    return [unclear("mixed", message, blame=Blame.HOST, reach=Reach.ALL)]


def _measured(seen: Iterable[_Seen]) -> list[Measured]:
    return [each.found for each in seen if each.found is not None]


def _windows(seen: Iterable[_Seen]) -> list[Sequence[int]]:
    return [window.ordered for found in _measured(seen) for window in found.windows]


def _untimed(seen: Sequence[_Seen]) -> str:
    """Why times are not judged; empty where they are."""
    if any(each.run.local for each in seen):
        return limits.LOCAL
    return limits.STANDIN if any(found.board.standin for found in _measured(seen)) else ""


def _against(shown: Sequence[_Seen], before: Sequence[_Seen], *, untimed: str) -> list[Doubt]:
    """Why there can be no comparison; the rules of the candidate are not reached by it."""
    found = [*_told(before)]
    first = next((each for each in shown if each.found is not None), None)
    for each in before:
        if first is not None and first.found is not None and each.found is not None:
            there = (first.run, first.found)
            found += compare.comparable(there, (each.run, each.found))
    if not untimed:
        found += noise(_windows(before))
    result: list[Doubt] = []
    for doubt in found:
        about = _about(doubt, "baseline: ").finding
        if about.outcome is Outcome.FAIL:
            # The candidate is not at fault when what it is compared with does not run.
            about = dataclasses.replace(about, outcome=Outcome.INCONCLUSIVE, blame=Blame.HOST)
        if about.rule not in {each.finding.rule for each in result}:
            result.append(Doubt(finding=about))
    return result


def _verdict(doubts: Iterable[Doubt], rows: Iterable[Row]) -> Verdict:
    # Failures first; a message that several runs have stands there once.
    found = dict.fromkeys(doubt.finding for doubt in doubts)
    findings = sorted(found, key=lambda finding: finding.outcome is not Outcome.FAIL)
    outcome = findings[0].outcome if findings else Outcome.PASS
    return Verdict(outcome=outcome, findings=tuple(findings), rows=tuple(rows))
