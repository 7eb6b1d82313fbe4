"""HTML and SVG that cannot be written unescaped: text is text unless it was made here."""

from __future__ import annotations

import html
import unicodedata

_LONGEST = 200
_INVISIBLE = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
_MARKS = frozenset({"Mn", "Me"})
_MOST_MARKS = 4
_VOID = frozenset({"meta", "br"})


class Markup(str):
    """What `tag` made."""

    __slots__ = ()


def tag(name: str, /, *content: str, **attributes: str | float) -> Markup:
    """An element.

    Args:
        name: of the element.
        content: `Markup` stands as it is; any other text is cleaned and escaped.
        attributes: ``class_`` is ``class``; ``stroke_width`` is ``stroke-width``.
    """
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_escaped(_attribute(value))}"'
        for key, value in attributes.items()
    )
    if name in _VOID:
        return Markup(f"<{name}{said}>")
    return Markup(f"<{name}{said}>{join(*content)}</{name}>")


def join(*content: str) -> Markup:
    """Several pieces, one after the other."""
    return Markup(
        "".join(each if isinstance(each, Markup) else _escaped(clean(each)) for each in content)
    )


def foreign(text: str) -> Markup:
    """Text from elsewhere, which cannot turn the direction of what stands around it."""
    return tag("bdi", shown(text))


def clean(text: str) -> str:
    """Text with a space for every control character and every mark of direction.

    Of the marks above and below one letter, no more stay than any language writes.
    """
    if text.isascii() and text.isprintable():
        return text
    found, marks = [], 0
    for sign in text:
        kind = unicodedata.category(sign)
        marks = marks + 1 if kind in _MARKS else 0
        if marks <= _MOST_MARKS:
            found.append(" " if kind in _INVISIBLE else sign)
    return "".join(found)


def shown(text: str) -> str:
    """Text from a device in one short line."""
    short = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    return " ".join(clean(short).split())


def _attribute(value: str | float) -> str:
    if isinstance(value, Markup):
        return value
    if isinstance(value, str):
        return clean(value)
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _escaped(text: str) -> str:
    return html.escape(text, quote=True)
