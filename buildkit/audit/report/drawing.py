"""Draws a graph as inline SVG: stages side by side on a screen, one below the other on a phone."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from buildkit.audit.report.graph import STAGES
from buildkit.markup import Markup, shown, tag

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from buildkit.audit.report.graph import Graph, Thing

_WIDTH, _HEIGHT = 156, 62
_HEAD = 22
# Signs that a box has room for, and of the larger ones.
_ROOM, _ROOM_LARGE = 24, 18


@dataclass(frozen=True, slots=True)
class _Place:
    left: float
    top: float


def drawing(graph: Graph, *, upright: bool) -> Markup:
    """The graph.

    Args:
        graph: with one thing at least.
        upright: for a narrow window: stages one below the other, two boxes in a row.
    """
    stages = graph.stages()
    places, width, height = _upright(stages) if upright else _lying(stages)
    name = "graph-narrow" if upright else "graph-wide"
    said = "; ".join(
        f"{STAGES[stage[0].stage]}: {', '.join(_words(each) for each in stage)}" for stage in stages
    )
    return tag(
        "svg",
        tag("title", "From what it was made, and where it went", id=f"{name}-title"),
        tag("desc", said, id=f"{name}-desc"),
        *_heads(stages, places, upright=upright),
        *(
            tag("path", d=_curve(places[one], places[other], upright=upright), class_="arrow")
            for one, other in graph.arrows
        ),
        *(_box(each, places[each.id]) for each in graph.things),
        viewBox=f"0 0 {width:g} {height:g}",
        width=width,
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
        class_=f"graph {'narrow' if upright else 'wide'}",
    )


def _words(thing: Thing) -> str:
    return " ".join(filter(None, (thing.title, shown(thing.name), thing.mark)))


def _lying(stages: Sequence[Sequence[Thing]]) -> tuple[dict[str, _Place], float, float]:
    """A column for each stage, in the middle of the height."""
    gap, between = 36, 12
    tallest = max(len(stage) for stage in stages) * (_HEIGHT + between) - between
    places = {}
    for column, stage in enumerate(stages):
        own = len(stage) * (_HEIGHT + between) - between
        for row, each in enumerate(stage):
            top = _HEAD + (tallest - own) / 2 + row * (_HEIGHT + between)
            places[each.id] = _Place(1 + column * (_WIDTH + gap), top)
    width = len(stages) * (_WIDTH + gap) - gap + 2
    return places, width, tallest + _HEAD + 1


def _upright(stages: Sequence[Sequence[Thing]]) -> tuple[dict[str, _Place], float, float]:
    """Rows of two."""
    between, gap = 12, 26
    whole = 2 * _WIDTH + between
    places = {}
    top = 0.0
    for stage in stages:
        top += _HEAD
        for at in range(0, len(stage), 2):
            row = stage[at : at + 2]
            own = len(row) * (_WIDTH + between) - between
            for column, each in enumerate(row):
                left = (whole - own) / 2 + column * (_WIDTH + between)
                places[each.id] = _Place(1 + left, top)
            top += _HEIGHT + between
        top += gap - between
    return places, whole + 2, top - gap + 1


def _heads(
    stages: Sequence[Sequence[Thing]], places: dict[str, _Place], *, upright: bool
) -> Iterator[Markup]:
    for stage in stages:
        first = places[stage[0].id]
        top = first.top - 7 if upright else 12
        left = 1.0 if upright else first.left
        yield tag("text", STAGES[stage[0].stage], x=left, y=top, class_="stage")


def _curve(one: _Place, other: _Place, *, upright: bool) -> str:
    if upright:
        left, top = one.left + _WIDTH / 2, one.top + _HEIGHT
        right, bottom = other.left + _WIDTH / 2, other.top
        middle = (top + bottom) / 2
        bend = f"{left:g} {middle:g}, {right:g} {middle:g}"
    else:
        left, top = one.left + _WIDTH, one.top + _HEIGHT / 2
        right, bottom = other.left, other.top + _HEIGHT / 2
        middle = (left + right) / 2
        bend = f"{middle:g} {top:g}, {middle:g} {bottom:g}"
    return f"M{left:g} {top:g} C{bend}, {right:g} {bottom:g}"


def _box(thing: Thing, place: _Place) -> Markup:
    """A box, an SVG of its own: what is too wide for it is cut off there."""
    mark = f" {thing.mark}" if thing.mark in ("PASS", "FAIL", "INCONCLUSIVE") else ""
    title = f"{thing.title}: {thing.mark}" if thing.mark else thing.title
    return tag(
        "svg",
        tag("rect", x=0.5, y=0.5, width=_WIDTH - 1, height=_HEIGHT - 1, rx=4, class_="box" + mark),
        tag("text", _cut(title), x=8, y=18, class_="title" + mark),
        tag("text", _cut(thing.name, _ROOM_LARGE), x=8, y=36, class_="name"),
        tag("text", _cut(thing.note), x=8, y=53, class_="note"),
        x=place.left,
        y=place.top,
        width=_WIDTH,
        height=_HEIGHT,
    )


def _cut(text: str, room: int = _ROOM) -> str:
    """As much of a text as a box has room for."""
    found = ""
    line = shown(text)
    for sign in line:
        room -= 2 if unicodedata.east_asian_width(sign) in "WF" else 1
        if room < 0:
            return found.rstrip() + "…"
        found += sign
    return found
