"""Charts as inline SVG: no script, no colours of their own, and in words as well."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from buildkit.gate import stats
from buildkit.gate.words import milliseconds
from buildkit.markup import Markup, join, tag
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
    horizontal,
    labelled,
    polyline,
    vertical,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_POINTS = 200
_MOST_WINDOWS = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """Latencies of one side.

    Attributes:
        name: ``candidate`` or ``baseline``; also the class for its style.
        windows: samples of each window in nanoseconds, sorted.
    """

    name: str
    windows: Sequence[Sequence[int]]

    @property
    def ordered(self) -> list[int]:
        """All samples, sorted."""
        return sorted(itertools.chain.from_iterable(self.windows))


@dataclass(frozen=True, kw_only=True, slots=True)
class Track:
    """One sensor over the time of a run.

    Attributes:
        title: what it shows.
        unit: ``°C``.
        points: (seconds, value) of the readings that are known.
        marks: (seconds, word) of readings at which the board was throttled.
        limit: a line across; none when ``None``.
    """

    title: str
    unit: str
    points: Sequence[tuple[float, float]]
    marks: Sequence[tuple[float, str]]
    limit: float | None = None


def distribution(series: Sequence[Series], limits: Sequence[tuple[str, float]]) -> Markup:
    """Share of the inferences that were as fast or faster (ECDF), candidate and baseline.

    Args:
        series: with at least one sample each.
        limits: (name, nanoseconds), as vertical lines where they are near.
    """
    sorted_ = [(each, each.ordered) for each in series]
    edges: list[float] = []
    for _, ordered in sorted_:
        edges += [ordered[0], stats.quantile(ordered, stats.P99)]
    near = [(name, value) for name, value in limits if value * 4 <= 5 * max(edges)]
    across = around([*edges, *(value for _, value in near)], LEFT, WIDTH - RIGHT)
    up = Axis(0, 100, HEIGHT - BOTTOM, TOP)
    lines = []
    for each, ordered in sorted_:
        ranks = sorted({round(step * (len(ordered) - 1) / _POINTS) for step in range(_POINTS + 1)})
        points = [
            (across.at(ordered[rank]), up.at((rank + 1) * 100 / len(ordered)))
            for rank in ranks
            if ordered[rank] <= across.high
        ]
        lines.append(polyline(points, f"line {each.name}"))
    for name, value in near:
        lines.append(_upright(across.at(value), name))
    said = "; ".join(
        f"{each.name}: median {milliseconds(stats.quantile(ordered, stats.MEDIAN))}, "
        f"95th percentile {milliseconds(stats.quantile(ordered, stats.P95))}, "
        f"{len(ordered)} inferences"
        for each, ordered in sorted_
    )
    return chart(
        "latency-distribution",
        "Latency: share of inferences at or below",
        said,
        vertical(up, "%"),
        horizontal(across, "ms", lambda value: value / 1e6),
        *lines,
    )


def windows(series: Sequence[Series]) -> Markup:
    """Median (mark) and 95th percentile (end of the line) of every window, in order."""
    shown = [
        (each.name, place, window)
        for each in series
        for place, window in enumerate(each.windows[:_MOST_WINDOWS], 1)
        if window
    ]
    values = [(stats.quantile(window, 50), stats.quantile(window, 95)) for *_, window in shown]
    up = around([number for pair in values for number in pair], HEIGHT - BOTTOM, TOP)
    most = max(place for _, place, _ in shown)
    cut = f", the first {most}" if any(len(each.windows) > most for each in series) else ""
    across = Axis(0, most + 1, LEFT, WIDTH - RIGHT)
    marks = []
    for (name, place, _), (median, tail) in zip(shown, values, strict=True):
        # Side by side, and told apart by their form as well.
        middle = across.at(place + (0.15 if name == "baseline" else -0.15))
        marks.append(
            tag("line", x1=middle, x2=middle, y1=up.at(median), y2=up.at(tail), class_=name)
        )
        marks.append(_mark(name, middle, up.at(median)))
    return chart(
        "latency-windows",
        f"Median and 95th percentile of each window{cut}",
        f"{len(shown)} windows; medians from {milliseconds(min(pair[0] for pair in values))} "
        f"to {milliseconds(max(pair[0] for pair in values))}",
        vertical(up, "ms", lambda value: value / 1e6),
        labelled(across, [(place, str(place)) for place in _some(most)], "window"),
        *marks,
    )


def track(name: str, shown: Track) -> Markup:
    """A sensor over time, with a mark at each reading of a throttled board."""
    times = [at for at, _ in shown.points] + [at for at, _ in shown.marks]
    limit = [] if shown.limit is None else [shown.limit]
    values = [value for _, value in shown.points] + limit
    across = around(times, LEFT, WIDTH - RIGHT, room=0.02)
    up = around(values, HEIGHT - BOTTOM, TOP, room=0.1)
    points = [(across.at(at), up.at(value)) for at, value in shown.points]
    lines = [polyline(points, "line candidate"), *(_mark("candidate", *place) for place in points)]
    if shown.limit is not None:
        level = up.at(shown.limit)
        lines.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=level, y2=level, class_="limit"))
    for at, word in shown.marks:
        lines.append(_upright(across.at(at), word, "throttled"))
    numbers = [value for _, value in shown.points]
    throttled = f"; throttled at {len(shown.marks)} readings" if shown.marks else ""
    return chart(
        name,
        shown.title,
        f"from {min(numbers):.1f} to {max(numbers):.1f} {shown.unit}, "
        f"{len(numbers)} readings{throttled}",
        vertical(up, shown.unit),
        horizontal(across, "s"),
        *lines,
    )


def _mark(name: str, left: float, top: float) -> Markup:
    if name == "baseline":
        return tag("rect", x=left - 3, y=top - 3, width=6, height=6, class_="mark baseline")
    return tag("circle", cx=left, cy=top, r=3, class_="mark candidate")


def _upright(left: float, word: str, class_: str = "limit") -> Markup:
    anchor = "end" if left > (LEFT + WIDTH - RIGHT) / 2 else "start"
    shift = -4 if anchor == "end" else 4
    return join(
        tag("line", x1=left, x2=left, y1=TOP, y2=HEIGHT - BOTTOM, class_=class_),
        tag("text", word, x=left + shift, y=TOP + 10, text_anchor=anchor, class_=class_),
    )


def _some(count: int) -> list[int]:
    """At most ten of the numbers from 1."""
    step = max(1, -(-count // 10))
    return list(range(1, count + 1, step))
