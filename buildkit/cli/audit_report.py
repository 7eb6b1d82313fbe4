"""``audit report``."""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from buildkit.cli import audit_asked, stores

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from buildkit.audit import Index
    from buildkit.store import Store

HELP = "one page about an artifact, for a person: what, wherefrom, tests, signatures, gaps"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    audit_asked.ref(parser)
    form = parser.add_mutually_exclusive_group(required=True)
    form.add_argument(
        "--html",
        nargs="?",
        const="-",
        metavar="FILE",
        help="write one HTML page that needs no network (default: to standard output)",
    )
    form.add_argument("--json", action="store_true", help="print the same as one JSON object")


def run(options: argparse.Namespace, opened: Callable[[], AbstractContextManager[Index]]) -> int:
    """Ask the index, and write the page."""
    from buildkit.audit.report import page  # noqa: PLC0415 - `--help` must not wait for it
    from buildkit.cli import render  # noqa: PLC0415 - as above
    from buildkit.pipeline import audit_report, pages  # noqa: PLC0415 - as above

    with opened() as index:
        found = audit_report.report(index, options.ref, store=_store(options))
    if options.json:
        render.document(dataclasses.asdict(found))
        return 0
    text = page.html(found, at=int(time.time()))
    if options.html == "-":
        sys.stdout.write(text)
    else:
        pages.write(text, Path(options.html))
        print(render.plain(f"page       {options.html}"))
    return 0


def _store(options: argparse.Namespace) -> Store | None:
    """The store, where there is one: an index can be asked without."""
    from buildkit.errors import StoreError  # noqa: PLC0415 - `--help` must not wait for it

    try:
        return stores.chosen(options)
    except StoreError:
        return None
