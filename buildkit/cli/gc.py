"""``gc``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildkit import amounts
from buildkit.cli import render, stores

if TYPE_CHECKING:
    import argparse

_NOTES = """\
Without options only debris goes: what killed builds left, and blobs that no entry needs.
Older builds of a recipe stay until --untagged is given.
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _NOTES
    stores.argument(parser)
    parser.add_argument("--untagged", action="store_true", help="delete builds without a name too")
    parser.add_argument("--dry-run", action="store_true", help="only say what would go")
    parser.add_argument("--json", action="store_true", help="print one JSON object, nothing else")


def run(options: argparse.Namespace) -> int:
    """Collect garbage, and say what went."""
    store = stores.chosen(options)
    gone = store.gc(untagged=options.untagged, dry_run=options.dry_run)
    if options.json:
        render.document(
            {
                "entries": [entry.digest for entry in gone.entries],
                "blobs": gone.blobs,
                "temporary": gone.temporary,
                "bytes": gone.size,
                "dry_run": gone.dry_run,
            }
        )
        return 0
    verb = "would delete" if gone.dry_run else "deleted"
    print(
        f"{verb} {len(gone.entries)} entries, {gone.blobs} blobs and {gone.temporary} left-over "
        f"files: {amounts.size(gone.size)}"
    )
    return 0
