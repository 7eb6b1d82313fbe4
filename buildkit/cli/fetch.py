"""``fetch``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from buildkit.cli import render

if TYPE_CHECKING:
    import argparse

_NOTES = """\
Inputs are kept by hash in the cache and in the Nix store. A folder of files in
EDGE_BUILDKIT_INPUTS is looked at first, so a machine without a network can be served from a disk.
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _NOTES
    parser.add_argument("recipe", type=Path, help="recipe.toml")
    parser.add_argument("--json", action="store_true", help="print one JSON object, nothing else")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def run(options: argparse.Namespace) -> int:
    """Fetch, and say how much was missing."""
    from buildkit.pipeline import other  # noqa: PLC0415 - `--help` must not wait for it

    progress = render.progress(options)
    brought = other.fetch(options.recipe, progress=progress)
    if options.json:
        render.document({"fetched": brought})
    else:
        print(f"{brought} inputs fetched" if brought else "nothing to fetch, every input is here")
    return 0
