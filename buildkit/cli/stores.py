"""Which store a command means."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from buildkit.store import Store

if TYPE_CHECKING:
    import argparse


def argument(parser: argparse.ArgumentParser) -> None:
    """Declare ``--store``."""
    parser.add_argument(
        "--store", type=Path, metavar="DIR", help="default: .buildkit/store here or above"
    )


def chosen(options: argparse.Namespace) -> Store:
    """The store named, or the nearest one above the current folder.

    Raises:
        StoreError: there is none.
    """
    if options.store is not None:
        return Store.open(options.store)
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / ".buildkit/store").is_dir():
            return Store.open(folder / ".buildkit/store")
    return Store.open(here / ".buildkit/store")
