"""The section of a report on tests: charts over time, what gates decided, and the numbers."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from buildkit.audit.report.cells import code, folded, number, text, time, word
from buildkit.audit.report.trend import trend
from buildkit.markup import Markup, foreign, shown, tag
from buildkit.markup.page import figure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from buildkit.audit.report.types import Report, Run

_MOST = 500
_MOST_TARGETS = 12


def tests(report: Report) -> Iterator[Markup]:
    """What the section shows."""
    if not report.runs:
        yield tag("p", "No test result that counts is known.")
    targets: dict[str, list[Run]] = {}
    for run in report.runs:
        targets.setdefault(run.target, []).append(run)
    charts = list(_charts(targets))
    if charts:
        yield tag("div", *charts, class_="trends")
    if len(targets) > _MOST_TARGETS:
        yield tag("p", f"{len(targets) - _MOST_TARGETS} more targets are not drawn.")
    yield from _devices(report)
    yield from _verdicts(report)
    yield from _runs(report)


def _charts(targets: dict[str, list[Run]]) -> Iterator[Markup]:
    for at, (target, runs) in enumerate(sorted(targets.items())[:_MOST_TARGETS]):
        drawn = trend(f"trend-{at}", target, runs)
        count = Counter(run.result for run in runs)
        said = ", ".join(f"{count[each]} {each}" for each in ("PASSED", "WARNED", "FAILED"))
        if drawn is None:
            yield tag("p", foreign(target), f": {said}; none measured a latency.")
            continue
        caption = "Mark: median; line up to the 95th percentile; cross: the run failed."
        yield tag(
            "div",
            tag("h3", foreign(target)),
            tag("p", f"{said}.", class_="quiet"),
            figure(caption, drawn),
        )


def _verdicts(report: Report) -> Iterator[Markup]:
    if not report.verdicts:
        yield tag("p", "No gate decided about it.")
        return
    yield tag("h3", "What gates decided")
    yield from folded(
        ["when", "verdict", "devices", "evidence"],
        [
            tag(
                "tr",
                time(each.at, head=True),
                word(each.outcome),
                tag(
                    "td",
                    foreign(", ".join(f"{name} ({kind})" for kind, name, _ in each.devices)),
                ),
                code(each.evidence),
            )
            for each in report.verdicts
        ],
        "What gates decided, newest first",
        report.total.verdicts,
    )


def _devices(report: Report) -> Iterator[Markup]:
    """Where it ran, each device with its newest verdict."""
    devices: dict[tuple[str, str], list[Run]] = {}
    for run in report.runs:
        devices.setdefault((run.target, run.key or run.where), []).append(run)
    if not devices:
        return
    verdicts = {
        (target, key): each.outcome
        for each in reversed(report.verdicts)
        for target, _, key in each.devices
    }
    yield tag("h3", "Devices")
    yield from folded(
        [
            *("device", "target", "runs", "passed", "newest verdict", "last run"),
            *("board", "kernel", "firmware", "key"),
        ],
        [
            tag(
                "tr",
                tag("th", foreign(runs[0].where), *_mark(runs[0]), scope="row", class_="name"),
                text(target),
                number(str(len(runs))),
                number(str(sum(run.result != "FAILED" for run in runs))),
                word(verdicts.get((target, runs[0].key), "")),
                time(runs[0].at),
                text(_all(run.board for run in runs)),
                text(_all(run.kernel for run in runs)),
                text(_all(run.firmware for run in runs)),
                code(*filter(None, [runs[0].key])),
            )
            for (target, _), runs in sorted(devices.items())
        ],
        "Where it ran",
        len(devices),
        numbers=("runs", "passed"),
    )


def _runs(report: Report) -> Iterator[Markup]:
    if not report.runs:
        return
    yield tag("h3", "Runs")
    yield from folded(
        ["ended", "target", "device", "result", "median", "95th percentile", "profile", "evidence"],
        [
            tag(
                "tr",
                time(run.at, head=True),
                text(run.target),
                tag("td", foreign(run.where), *_mark(run), class_="name"),
                word(run.result),
                number(_milliseconds(run.p50_ns)),
                number(_milliseconds(run.p95_ns)),
                text(run.profile),
                code(run.evidence),
            )
            for run in report.runs[:_MOST]
        ],
        "Runs, newest first; times are those of each device's own clock",
        report.total.runs,
        numbers=("median", "95th percentile"),
    )


def _all(values: Iterable[str]) -> str:
    """Each value once, in their order: the newest first."""
    return ", ".join(filter(None, dict.fromkeys(values))) or "unknown"


def _mark(run: Run) -> Iterator[Markup]:
    if run.mark and run.where != run.mark:
        yield tag("span", f" ({shown(run.mark)})", class_="quiet")


def _milliseconds(nanoseconds: int | None) -> str:
    return "" if nanoseconds is None else f"{nanoseconds / 1e6:.3f} ms"
