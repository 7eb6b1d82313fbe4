"""``rebuild``."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from buildkit.cli import render, signer, stores

if TYPE_CHECKING:
    import argparse

_NOTES = """\
Sources and lock come out of the store, inputs by their hashes; everything is made in a Nix store
and an engine of its own. The answer is kept in the store, on the image.

exit status: 0 identical; 1 different (`why` says what); 2 it could not be made again
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _NOTES
    parser.add_argument("ref", help="an image or a model: name, digest, or its first hex digits")
    signer.argument(parser)
    stores.argument(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object, nothing else")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def run(options: argparse.Namespace) -> int:
    """Rebuild, and show the answer."""
    from buildkit.pipeline.rebuild import rebuild  # noqa: PLC0415 - `--help` must not wait for it

    progress = render.progress(options)
    answer = rebuild(
        options.ref,
        store=stores.chosen(options).root,
        signer=signer.chosen(options, progress),
        progress=progress,
    )
    if options.json:
        render.document({**dataclasses.asdict(answer), "seconds": dict(answer.seconds)})
    else:
        for note in answer.notes:
            print(render.lines(f"note: {note}"))
        for item in answer.differences:
            print(render.plain(f"{item.what}: {item.before or '-'} → {item.after or '-'}"))
        said = "identical" if answer.identical else "different"
        print(f"{said}: {answer.compared} digests compared, record {answer.record}")
    return 0 if answer.identical else 1
