"""Test results over time as inline SVG. Pure."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from buildkit import canonical
from buildkit.markup import Markup, shown, tag
from buildkit.markup.axes import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Axis,
    around,
    chart,
    labelled,
    vertical,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit.audit.report.types import Run

_MOST = 120
_TICKS = 4
_TWO_DAYS = 2 * 86400
_LAST = 253402300799


@dataclass(frozen=True, kw_only=True, slots=True)
class _Point:
    """One run, or several that are near one another."""

    at: float
    p50_ns: float
    p95_ns: float


def when(seconds: int | None) -> str:
    """``2026-11-21 12:30:00 UTC``."""
    if seconds is None or not 0 <= seconds <= _LAST:
        return "unknown"
    return canonical.timestamp(seconds).replace("T", " ").replace("Z", " UTC")


def trend(name: str, target: str, runs: Sequence[Run]) -> Markup | None:
    """Latency of the runs on one kind of device over time, and where one failed.

    Args:
        name: of which the chart's ids are made.
        target: kind of device.
        runs: in any order.

    Returns:
        Nothing when none of them measured anything and none failed.
    """
    timed = [run for run in runs if 0 <= run.at <= _LAST]
    points = _points(timed)
    failed = [float(run.at) for run in timed if run.result == "FAILED"]
    if not points and not failed:
        return None
    across = _across([*(each.at for each in points), *failed])
    values = [value for each in points for value in (each.p50_ns, each.p95_ns)] or [0.0, 1e6]
    up = around([0.0, *values], HEIGHT - BOTTOM, TOP, room=0.08)
    up = Axis(0.0, up.high, up.start, up.end)
    marks = []
    for each in points:
        left, middle, end = across.at(each.at), up.at(each.p50_ns), up.at(each.p95_ns)
        marks.append(tag("line", x1=left, x2=left, y1=middle, y2=end, class_="candidate"))
        marks.append(tag("circle", cx=left, cy=middle, r=3, class_="mark candidate"))
        marks.append(tag("rect", x=left - 3, y=end - 1, width=6, height=2, class_="mark candidate"))
    for at in failed[:_MOST]:
        left, low = across.at(at), HEIGHT - BOTTOM - 6
        cross = f"M{left - 4:.1f} {low - 4} l8 8 m0 -8 l-8 8"
        marks.append(tag("path", d=cross, class_="cross"))
    return chart(
        name,
        f"Latency on {shown(target)} over time",
        _said(runs, points, failed),
        vertical(up, "ms", lambda value: value / 1e6),
        labelled(across, _ticks(across), "time (UTC)"),
        *marks,
    )


def _said(runs: Sequence[Run], points: Sequence[_Point], failed: Sequence[float]) -> str:
    if not points:
        return f"{len(runs)} runs, {len(failed)} failed; none measured a latency"
    medians = [each.p50_ns / 1e6 for each in points]
    return (
        f"{len(runs)} runs, {len(failed)} failed; medians from {min(medians):.4g} ms "
        f"to {max(medians):.4g} ms, the last {medians[-1]:.4g} ms"
    )


def _points(runs: Sequence[Run]) -> list[_Point]:
    """Every run that measured something; of very many, the median of those that are near."""
    found = sorted(
        (float(run.at), float(run.p50_ns), float(run.p95_ns))
        for run in runs
        if run.p50_ns is not None and run.p95_ns is not None and 0 <= run.p50_ns <= run.p95_ns
    )
    step = -(-len(found) // _MOST) or 1
    groups = [found[at : at + step] for at in range(0, len(found), step)]
    return [
        _Point(
            at=statistics.median(each[0] for each in group),
            p50_ns=statistics.median(each[1] for each in group),
            p95_ns=max(each[2] for each in group),
        )
        for group in groups
    ]


def _across(times: Sequence[float]) -> Axis:
    """An axis for all times; one alone has an hour around it."""
    low, high = min(times), max(times)
    room = max((high - low) * 0.04, 1800.0)
    return Axis(low - room, high + room, LEFT, WIDTH - RIGHT)


def _ticks(across: Axis) -> list[tuple[float, str]]:
    span = across.high - across.low
    found = []
    for place in range(_TICKS):
        at = across.low + span * (place + 0.5) / _TICKS
        day, time = when(int(at)).split(" ")[:2] if 0 <= at <= _LAST else ("", "")
        found.append((at, day if span > _TWO_DAYS else time[:5]))
    return found
