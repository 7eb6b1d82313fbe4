"""``lock``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from buildkit.cli import render

if TYPE_CHECKING:
    import argparse

_NOTES = """\
Without options, pins that the recipe still asks for stay; new ones are resolved.

examples:
  python -m buildkit lock recipe.toml                   write or complete recipe.lock
  python -m buildkit lock recipe.toml --check           exit 1 when recipe and lock disagree
  python -m buildkit lock recipe.toml --update          move every pin to what is current
  python -m buildkit lock recipe.toml --update numpy    move one, and say what moved
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _NOTES
    parser.add_argument("recipe", type=Path, help="recipe.toml")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--check", action="store_true", help="report drift, write nothing")
    how.add_argument("--update", nargs="*", metavar="NAME", help="move these pins, or all")
    parser.add_argument("--json", action="store_true", help="print one JSON object, nothing else")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def run(options: argparse.Namespace) -> int:
    """Lock, or compare recipe and lock."""
    from buildkit.pipeline import locking  # noqa: PLC0415 - `--help` must not wait for it

    if options.check:
        moved = locking.check(options.recipe)
        if options.json:
            render.document({"drift": [dataclasses.asdict(item) for item in moved]})
        elif moved:
            for item in moved:
                print(render.lines(f"{item.message}\n    → {item.remedy}"))
        else:
            print("recipe and lock agree")
        return 1 if moved else 0
    progress = render.progress(options)
    locked = locking.lock(options.recipe, update=options.update, progress=progress)
    if options.json:
        render.document(
            {
                "lock": {"digest": locked.digest},
                "changes": [dataclasses.asdict(item) for item in locked.changes],
                "seconds": dict(locked.seconds),
            }
        )
        return 0
    if locked.first:
        print(f"pinned {len(locked.changes)} inputs")
    elif locked.changes:
        rows = [
            (item.section, item.name, item.before or "(new)", "→", item.after or "(gone)")
            for item in locked.changes
        ]
        print(render.table(rows))
    else:
        print("nothing moved")
    print(f"lock {render.plain(str(locked.file))}  {locked.digest}")
    return 0
