"""Frame, axes and lines of a chart as inline SVG."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from buildkit.markup import Markup, join, tag

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WIDTH, HEIGHT = 440, 260
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 14, 44


@dataclass(frozen=True, slots=True)
class Axis:
    """Numbers to places: `low` is at `start`, `high` at `end`."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Where a value stands; one outside stands at the end."""
        share = (value - self.low) / (self.high - self.low)
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """About five round numbers."""
        rough = (self.high - self.low) / 5
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * each for each in (1, 2, 5, 10) if power * each >= rough)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def around(values: Sequence[float], start: float, end: float, *, room: float = 0.05) -> Axis:
    """An axis for all of `values`, of which there is one at least, with some room beside them."""
    low, high = min(values), max(values)
    # One value alone has room around it as well.
    margin = (high - low) * room or abs(high) * room or 1.0
    return Axis(low - margin, high + margin, start, end)


def chart(name: str, title: str, description: str, *content: Markup) -> Markup:
    """The frame.

    Args:
        name: of which its ids are made; of letters, digits and ``-``, once on a page.
        title: what it shows.
        description: what is to be seen, in words.
        content: what is drawn.
    """
    ids = f"{name}-title {name}-desc"
    return tag(
        "svg",
        tag("title", title, id=f"{name}-title"),
        tag("desc", description, id=f"{name}-desc"),
        *content,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_labelledby=ids,
    )


def polyline(points: Sequence[tuple[float, float]], class_: str) -> Markup:
    """A line from point to point."""
    # Not as an attribute's text, which is cut where it is long.
    places = Markup(" ".join(f"{left:.1f},{top:.1f}" for left, top in points))
    return tag("polyline", points=places, class_=class_)


def horizontal(
    axis: Axis, unit: str, scale: Callable[[float], float] = lambda value: value
) -> Markup:
    """The axis below, with round numbers; `scale` turns values into `unit`."""
    scaled = Axis(scale(axis.low), scale(axis.high), axis.start, axis.end)
    return labelled(scaled, [(tick, f"{tick:g}") for tick in scaled.ticks()], unit)


def labelled(axis: Axis, ticks: Sequence[tuple[float, str]], unit: str) -> Markup:
    """The axis below, with words of one's own at values."""
    level = HEIGHT - BOTTOM
    return join(
        tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=level, y2=level, class_="axis"),
        *(
            tag("text", word, x=axis.at(tick), y=level + 16, text_anchor="middle")
            for tick, word in ticks
        ),
        tag("text", unit, x=(LEFT + WIDTH - RIGHT) / 2, y=HEIGHT - 8, text_anchor="middle"),
    )


def vertical(
    axis: Axis, unit: str, scale: Callable[[float], float] = lambda value: value
) -> Markup:
    """The axis on the left, with lines across."""
    scaled = Axis(scale(axis.low), scale(axis.high), axis.start, axis.end)
    return join(
        *(
            join(
                tag(
                    "line",
                    x1=LEFT,
                    x2=WIDTH - RIGHT,
                    y1=scaled.at(tick),
                    y2=scaled.at(tick),
                    class_="grid",
                ),
                tag("text", f"{tick:g}", x=LEFT - 6, y=scaled.at(tick) + 4, text_anchor="end"),
            )
            for tick in scaled.ticks()
        ),
        tag("text", unit, x=4, y=TOP + 2),
    )
