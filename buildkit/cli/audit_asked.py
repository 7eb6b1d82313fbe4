"""Arguments that questions of ``audit`` share."""

from __future__ import annotations

import argparse

_MOST = 1_000_000


def rows(text: str) -> int:
    """How many rows are shown at most.

    Raises:
        ArgumentTypeError: it is no number, or too large.
    """
    if not (text.isascii() and text.isdigit() and len(text) < 8 and 0 < int(text) <= _MOST):
        msg = f"{text!r} is no number from 1 to {_MOST}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)
