"""Which store a command means."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from buildkit.store import Store
from buildkit.store.layout import nearest

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
    return Store.open(options.store or nearest(Path.cwd()))
