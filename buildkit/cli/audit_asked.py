"""Arguments that questions of ``audit`` share."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

REF = "a name in the store, a digest, or its first 7 hex digits"
_MOST = 1_000_000


def ref(parser: argparse.ArgumentParser) -> None:
    """Declare the artifact that is asked about."""
    parser.add_argument("ref", help=REF)


def limit(parser: argparse.ArgumentParser, default: int = 200) -> None:
    """Declare ``--limit``."""
    parser.add_argument(
        "--limit",
        type=_rows,
        default=default,
        metavar="N",
        help=f"rows at most (default: {default})",
    )


def form(parser: argparse.ArgumentParser) -> None:
    """Declare ``--json`` and ``--csv``."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--json", action="store_true", help="print one JSON object, nothing else")
    group.add_argument("--csv", action="store_true", help="print comma-separated values")


def say(options: argparse.Namespace) -> Callable[[str], None]:
    """Where to tell of what takes long."""
    from buildkit.cli import render  # noqa: PLC0415 - `--help` must not wait for it
    from buildkit.pipeline.audit import nobody  # noqa: PLC0415 - as above

    lines = render.progress(options) if hasattr(options, "json") else None
    return lines.note if lines is not None else nobody


def _rows(text: str) -> int:
    """How many rows are shown at most.

    Raises:
        ArgumentTypeError: it is no number, or too large.
    """
    if not (text.isascii() and text.isdigit() and len(text) < 8 and 0 < int(text) <= _MOST):
        msg = f"{text!r} is no number from 1 to {_MOST}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)
