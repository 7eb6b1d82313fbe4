"""``init``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from buildkit.cli import render

if TYPE_CHECKING:
    import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("folder", type=Path, nargs="?", default=Path(), help="default: here")
    parser.add_argument("--name", help="name of the recipe (default: the folder's)")


def run(options: argparse.Namespace) -> int:
    """Write the files, and say what comes next."""
    from buildkit.pipeline import other  # noqa: PLC0415 - `--help` must not wait for it

    folder: Path = options.folder
    written = other.init(folder, options.name or folder.resolve().name)
    for file in written:
        print(f"wrote {render.plain(str(file))}")
    recipe = folder / "recipe.toml"
    print(f"\nnext: python -m buildkit lock {recipe}\n      python -m buildkit build {recipe}")
    return 0
