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


def folder(options: argparse.Namespace) -> Path:
    """The store named, or the nearest one above the current folder; it need not be there."""
    named: Path | None = options.store
    return named or nearest(Path.cwd())


def chosen(options: argparse.Namespace) -> Store:
    """The store in `folder`.

    Raises:
        StoreError: there is none.
    """
    return Store.open(folder(options))
