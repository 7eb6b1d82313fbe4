"""A verdict as one HTML page that needs nothing else: no script, no request to anybody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from buildkit.gate import charts, settings
from buildkit.gate.measured import Measured, names
from buildkit.gate.reading import MalformedError
from buildkit.gate.report import read
from buildkit.gate.types import Outcome
from buildkit.markup import Markup, foreign, join, tag
from buildkit.markup.page import document, figure, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from buildkit.gate.types import Row, Rules, Run, Verdict

_MOST_RUNS = 8
_WHERE: Final = (
    *("device", "target", "board", "kernel", "page", "governor"),
    *("ONNX Runtime", "providers", "nodes", "no report"),
)
_MEANING: Final = {
    Outcome.PASS: "every run counts, and every rule holds",
    Outcome.FAIL: "a rule does not hold",
    Outcome.INCONCLUSIVE: "it could not be decided; this says nothing about the artifact",
}


def html(
    verdict: Verdict,
    rules: Rules,
    *,
    title: str,
    runs: Sequence[Run],
    baseline: Sequence[Run] = (),
    facts: Sequence[tuple[str, str]] = (),
) -> str:
    """The page.

    Args:
        verdict: what was decided.
        rules: by which.
        title: of the page: name and version of the artifact.
        runs: of the candidate.
        baseline: runs that it was compared with.
        facts: more to tell: (what, value), such as digests and the time.
    """
    seen = [(run, _read(run)) for run in runs]
    before = [(run, _read(run)) for run in baseline]
    return document(
        f"{verdict.outcome}: {title}",
        tag("h1", foreign(title)),
        tag("p", tag("span", str(verdict.outcome), class_=f"outcome {verdict.outcome}")),
        tag("p", f"{verdict.outcome}: {_MEANING[verdict.outcome]}.", class_="quiet"),
        *_marks([*seen, *before]),
        *_reasons(verdict),
        *_comparison(verdict, with_baseline=bool(baseline)),
        *_latency(seen, before, rules),
        *_heat(seen, rules),
        *_boards(seen, before),
        *_facts(rules, runs, baseline, facts),
    )


def _read(run: Run) -> Measured | str:
    """What was measured, or why nothing was."""
    if run.failure is not None:
        return f"{run.failure.kind}: {run.failure.message}"
    if run.report is None:
        return "no report"
    try:
        return read(run.report)
    except MalformedError as error:
        return f"the report cannot be used: {error}"


def _marks(seen: Sequence[tuple[Run, Measured | str]]) -> Iterator[Markup]:
    """What must not be overlooked: that this was no board."""
    if any(run.local for run, _ in seen):
        said = "LOCAL: it ran in an engine of the host, on no device. Times mean nothing here."
        yield tag("p", said, class_="marked", role="note")
    for mark in sorted(
        {found.board.standin for _, found in seen if isinstance(found, Measured)} - {""}
    ):
        said = "STAND-IN: it ran on no real board. Times mean nothing here. The stand-in says: "
        yield tag("p", said, foreign(mark), class_="marked", role="note")


def _reasons(verdict: Verdict) -> Iterator[Markup]:
    if not verdict.findings:
        return
    yield tag("h2", "Reasons")
    yield tag(
        "ul",
        *(
            tag(
                "li",
                _word(finding.outcome),
                " ",
                foreign(finding.message),
                " ",
                tag("span", f"({finding.rule}; at fault: {finding.blame})", class_="quiet"),
            )
            for finding in verdict.findings
        ),
    )


def _word(outcome: Outcome | None) -> Markup:
    return join("-") if outcome is None else tag("span", str(outcome), class_=f"word {outcome}")


def _comparison(verdict: Verdict, *, with_baseline: bool) -> Iterator[Markup]:
    if not verdict.rows:
        return
    names_ = ["quantity", "measured", *(["baseline", "change"] if with_baseline else [])]
    yield tag("h2", "Measured, and its limits")
    yield table(
        [*names_, "limit", "holds"],
        [_comparison_row(row, with_baseline=with_baseline) for row in verdict.rows],
        "Every quantity with its baseline and limit",
    )


def _comparison_row(row: Row, *, with_baseline: bool) -> Markup:
    change = "" if row.change is None else f"{row.change:+.1f} %"
    return tag(
        "tr",
        tag("th", row.name, scope="row"),
        tag("td", row.value, class_="number"),
        *(tag("td", each, class_="number") for each in (row.baseline, change) if with_baseline),
        tag("td", row.limit),
        tag("td", _word(row.outcome)),
    )


def _latency(
    seen: Sequence[tuple[Run, Measured | str]],
    before: Sequence[tuple[Run, Measured | str]],
    rules: Rules,
) -> Iterator[Markup]:
    series = [
        charts.Series(
            name=name,
            windows=[
                window.ordered
                for _, found in side
                if isinstance(found, Measured)
                for window in found.windows
                if window.ordered
            ],
        )
        for name, side in (("candidate", seen), ("baseline", before))
    ]
    series = [each for each in series if each.windows]
    if not series:
        return
    limits = [
        (f"{name} ≤ {value:g} ms", value * 1e6)
        for name, value in (
            ("p50", rules.max_p50_ms),
            ("p95", rules.max_p95_ms),
            ("p99", rules.max_p99_ms),
        )
        if value is not None
    ]
    yield tag("h2", "Latency")
    if len(series) > 1:
        legend = "Candidate: solid line, round marks. Baseline: dashed line, square marks."
        yield tag("p", legend, class_="quiet")
    yield figure(
        "Share of inferences that took at most so long", charts.distribution(series, limits)
    )
    yield figure("Each window: median (mark) up to its 95th percentile", charts.windows(series))


def _heat(seen: Sequence[tuple[Run, Measured | str]], rules: Rules) -> Iterator[Markup]:
    found = [(place, one) for place, (_, one) in enumerate(seen, 1) if isinstance(one, Measured)]
    if not found:
        return
    yield tag("h2", "Temperature and clock")
    for place, one in found[:_MOST_RUNS]:
        if len(seen) > 1:
            yield tag("h3", f"Run {place}")
        yield from _tracks(place, one, rules)
    if len(found) > _MOST_RUNS:
        yield tag("p", f"{len(found) - _MOST_RUNS} more runs are not drawn.", class_="quiet")


def _tracks(place: int, found: Measured, rules: Rules) -> Iterator[Markup]:
    marks = [
        (reading.at_ns / 1e9, ", ".join(names(reading.bits)))
        for reading in found.readings
        if reading.bits is not None and names(reading.bits)
    ]
    heat = [
        (reading.at_ns / 1e9, reading.temperature_mc / 1000)
        for reading in found.readings
        if reading.temperature_mc is not None
    ]
    clock = [
        (reading.at_ns / 1e9, reading.clock_khz / 1e6)
        for reading in found.readings
        if reading.clock_khz is not None
    ]
    for name, title, unit, points, limit in (
        ("temperature", "Temperature of the CPU", "°C", heat, rules.max_temperature_c),
        ("clock", "Clock of the fastest core", "GHz", clock, None),
    ):
        if points:
            track = charts.Track(title=title, unit=unit, points=points, marks=marks, limit=limit)
            yield figure(f"{title}, {unit}", charts.track(f"{name}-{place}", track))
        else:
            yield tag("p", f"{title}: unknown.", class_="quiet")
    if found.live is None:
        yield tag("p", "Whether the board was throttled is not known for every reading.")
    elif not found.live and not found.sticky:
        yield tag("p", "The board was not throttled.")
        if found.earlier:
            bits = ", ".join(names(found.earlier))
            said = f"But since it was booted there had been {bits} before the run, and a repeat "
            yield tag("p", said + "between two readings cannot be seen: reboot it for the next.")
    if found.sticky:
        yield tag("p", f"Throttled between two readings: {', '.join(names(found.sticky))}.")


def _boards(
    seen: Sequence[tuple[Run, Measured | str]], before: Sequence[tuple[Run, Measured | str]]
) -> Iterator[Markup]:
    """A column for each run, since a phone has room for few columns and many rows."""
    sides = [("run", each) for each in enumerate(seen, 1)]
    sides += [("baseline", each) for each in enumerate(before, 1)]
    columns = [f"{name} {place}" for name, (place, _) in sides]
    told = [_where(*each) for _, (_, each) in sides]
    rows = [
        tag(
            "tr",
            tag("th", what, scope="row"),
            *(tag("td", foreign(each.get(what, ""))) for each in told),
        )
        for what in _WHERE
        if any(each.get(what) for each in told)
    ]
    yield tag("h2", "Boards")
    yield table(["", *columns], rows, "Where each run was")


def _where(run: Run, found: Measured | str) -> dict[str, str]:
    said = {"device": run.device, "target": run.target}
    if not isinstance(found, Measured):
        return said | {"no report": found}
    board, settings_ = found.board, found.settings
    return said | {
        "board": board.model or "unknown",
        "kernel": board.kernel or "unknown",
        "page": f"{board.page_bytes} bytes",
        "governor": ", ".join(board.governors or ("unknown",)),
        "ONNX Runtime": settings_.onnxruntime,
        "providers": ", ".join(settings_.asked),
        "nodes": ", ".join(f"{each}: {count}" for each, count in found.ran.items()),
    }


def _facts(
    rules: Rules, runs: Sequence[Run], baseline: Sequence[Run], facts: Sequence[tuple[str, str]]
) -> Iterator[Markup]:
    told = [*facts, ("rules", settings.digest(rules))]
    for name, side in (("run", runs), ("baseline", baseline)):
        for place, run in enumerate(side, 1):
            told += [(f"evidence of {name} {place}", each) for each in run.evidence]
    rows = [
        tag("tr", tag("th", foreign(name), scope="row"), tag("td", tag("code", foreign(value))))
        for name, value in told
    ]
    yield tag("h2", "Digests")
    yield table(["what", "value"], rows, "What this is about, and what says so")
