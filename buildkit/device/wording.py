"""Words of a device, made fit for a message: one line, no control characters, not too long."""

from __future__ import annotations


def clean(text: str, most: int) -> str:
    """`text` with a space for everything that is no visible character, at most `most` of them.

    That takes line breaks, escape sequences of terminals, and marks that turn the direction of
    writing.
    """
    shown = "".join(each if each.isprintable() else " " for each in text[: 4 * most])
    shown = " ".join(shown.split())
    return shown if len(shown) <= most else shown[: most - 1] + "…"
