"""Shows verdicts: as a table for people, as JSON for scripts, as a page."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from buildkit.cli import render
from buildkit.gate import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from buildkit.gate import Verdict
    from buildkit.pipeline.limits import Named
    from buildkit.pipeline.trials import Trial

_STATUS = {Outcome.PASS: 0, Outcome.FAIL: 1, Outcome.INCONCLUSIVE: 2}
_NO_RECIPE = "its target's alone: this store does not know its recipe; name a recipe.toml"


def show(
    named: Named,
    trials: Sequence[Trial],
    *,
    page: Path | None,
    as_json: bool,
    passed_over: Sequence[str] = (),
) -> int:
    """Print them, whose rules they rest on, and what was passed over; the exit status."""
    from buildkit.pipeline import pages  # noqa: PLC0415 - `--help` must not wait for it
    from buildkit.pipeline import trials as made  # noqa: PLC0415 - as above

    ref, outcome = named.ref, made.outcome(trials)
    written = pages.of_trials(ref, trials, page) if page is not None else ()
    if as_json:
        render.document(
            {
                "ref": ref,
                "outcome": str(outcome),
                "rules_from": named.rules_from,
                "trials": [_plain(trial) for trial in trials],
                "pages": [str(each) for each in written],
                "passed_over": list(passed_over),
            }
        )
        return _STATUS[outcome]
    if named.rules_from == "target":
        print(render.plain(f"rules      {_NO_RECIPE}"))
    for trial in trials:
        _show(trial)
    for why in passed_over:
        print(render.plain(f"not judged {why}"))
    for each in written:
        print(render.plain(f"page       {each}"))
    print(render.plain(f"{ref}: {outcome}{_where(trials)}"))
    return _STATUS[outcome]


def _where(trials: Sequence[Trial]) -> str:
    """Behind the outcome: what several devices said, or that there was none."""
    if not trials:
        return ": no test result about it counts"
    marked = ["local: on no device"] if any(each.local for each in trials) else []
    if len(trials) > 1:
        twice = len({each.device for each in trials}) < len(trials)
        for each in trials:
            of = f" ({each.target})" if twice else ""
            marked.append(f"{each.device}{of} {each.verdict.outcome}")
    return f" ({', '.join(marked)})" if marked else ""


def _show(trial: Trial) -> None:
    times = f", attempt {trial.attempts}" if trial.attempts > 1 else ""
    print(render.plain(f"device     {trial.device} ({trial.target}){times}"))
    for mark in sorted(set(trial.marks)):
        print(render.plain(f"mark       {mark}"))
    _table(trial.verdict, with_baseline=bool(trial.baseline))
    for finding in trial.verdict.findings:
        said = f"{finding.outcome}: {finding.rule}: {finding.message} [{finding.blame}]"
        print(render.plain(said))
    if trial.referrers:
        print(f"evidence   {len(trial.referrers)} referrers on image and model")


def _table(verdict: Verdict, *, with_baseline: bool) -> None:
    if not verdict.rows:
        return
    heads = ["", "measured", "baseline", "change", "limit", ""]
    rows = [
        [
            row.name,
            row.value,
            row.baseline,
            "" if row.change is None else f"{row.change:+.1f} %",
            row.limit,
            "" if row.outcome is None else str(row.outcome),
        ]
        for row in verdict.rows
    ]
    shown = [
        [cell for at, cell in enumerate(row) if with_baseline or at not in (2, 3)]
        for row in [heads, *rows]
    ]
    print(render.table(shown, indent="  "))


def _plain(trial: Trial) -> dict[str, Any]:
    return {
        "device": trial.device,
        "target": trial.target,
        "outcome": str(trial.verdict.outcome),
        "attempts": trial.attempts,
        "brought_bytes": trial.brought,
        "local": trial.local,
        "marks": list(trial.marks),
        "findings": [
            {
                "rule": each.rule,
                "outcome": str(each.outcome),
                "blame": str(each.blame),
                "message": each.message,
            }
            for each in trial.verdict.findings
        ],
        "rows": [
            dataclasses.asdict(each) | {"outcome": each.outcome and str(each.outcome)}
            for each in trial.verdict.rows
        ],
        "tried": dict(trial.tried),
        "referrers": list(trial.referrers),
    }
