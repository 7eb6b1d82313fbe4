"""Cells of tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildkit.audit.report.trend import when
from buildkit.markup import Markup, foreign, join, tag
from buildkit.markup.page import table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_OPEN = 20

_WORDS = {
    "PASS": "PASS",
    "PASSED": "PASS",
    "FAIL": "FAIL",
    "FAILED": "FAIL",
    "INCONCLUSIVE": "INCONCLUSIVE",
    "WARNED": "INCONCLUSIVE",
}


def time(seconds: int | None, *, head: bool = False) -> Markup:
    """A time in one line; `head` when it names the row."""
    if head:
        return tag("th", when(seconds), scope="row", class_="time")
    return tag("td", when(seconds), class_="time")


def word(outcome: str) -> Markup:
    """A result, in its colour and as a word; empty where there is none."""
    return tag(
        "td", tag("span", foreign(outcome), class_=f"word {_WORDS.get(outcome, '')}".strip())
    )


def number(text: str) -> Markup:
    """A number with its unit."""
    return tag("td", text, class_="number")


def text(value: str) -> Markup:
    """Text from elsewhere."""
    return tag("td", foreign(value))


def code(*values: str) -> Markup:
    """Digests, each in a line of its own."""
    if not values:
        return tag("td", "none")
    first, *others = (tag("code", foreign(value)) for value in values)
    lines = [first, *(join(tag("br"), each) for each in others)]
    return tag("td", join(*lines), class_="wide")


def folded(
    columns: Sequence[str],
    rows: Sequence[Markup],
    caption: str,
    total: int,
    *,
    numbers: Sequence[str] = (),
) -> Iterator[Markup]:
    """A table of which only the first rows are unfolded.

    Args:
        columns: their heads.
        rows: each a ``tr``.
        caption: what it shows.
        total: how many rows there would be, were all of them on the page.
        numbers: those of `columns` that hold numbers.
    """
    yield table(columns, rows[:_OPEN], caption, numbers=numbers)
    rest = rows[_OPEN:]
    if rest:
        yield tag(
            "details",
            tag("summary", f"{len(rest)} more"),
            table(columns, rest, f"{caption}: the rest", numbers=numbers),
        )
    if total > len(rows):
        yield tag("p", f"{total - len(rows)} more are not on this page.", class_="quiet")
