"""An HTML page that needs nothing else: no script, no request to anybody; and what is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from buildkit.markup import Markup, shown, tag
from buildkit.markup.style import STYLE

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"


def document(title: str, *main: Markup, style: str = "") -> str:
    """The whole page.

    Args:
        title: of the window.
        main: what the page shows.
        style: rules of this page alone, after those of all.
    """
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", shown(title)),
        tag("style", Markup(STYLE + style)),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, tag('body', tag('main', *main)), lang='en')}\n"


def table(
    columns: Sequence[str], rows: Sequence[Markup], caption: str, *, numbers: Collection[str] = ()
) -> Markup:
    """A table; wider than a phone, it can be scrolled, with keys as well.

    Args:
        columns: their heads.
        rows: each a ``tr``.
        caption: what it shows.
        numbers: those of `columns` that hold numbers.
    """
    cells = [
        tag("th", each, scope="col", **({"class_": "number"} if each in numbers else {}))
        for each in columns
    ]
    head = tag("thead", tag("tr", *cells))
    found = tag("table", tag("caption", caption, class_="quiet"), head, tag("tbody", *rows))
    return tag("div", found, class_="scroll", tabindex="0", role="region", aria_label=caption)


def figure(caption: str, chart: Markup) -> Markup:
    """A chart with what it shows."""
    return tag("figure", chart, tag("figcaption", caption, class_="quiet"))
