"""``sign``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildkit.cli import render, signer, stores

if TYPE_CHECKING:
    import argparse

_NOTES = """\
Everything that a build said about its artifacts is signed again, and attached beside what is
there already: after a key was rotated, with an identity of CI, or where a build was told not to
sign.

examples:
  python -m buildkit sign digits:1.0.0
  python -m buildkit sign digits:1.0.0 --signer keyless
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _NOTES
    parser.add_argument("ref", help="an image or a model: name, digest, or its first hex digits")
    signer.argument(parser)
    stores.argument(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object, nothing else")


def run(options: argparse.Namespace) -> int:
    """Sign, and say what hangs where."""
    from buildkit.pipeline.signed import sign  # noqa: PLC0415 - `--help` must not wait for it

    done = sign(options.ref, store=stores.chosen(options).root, signer=signer.chosen(options))
    if options.json:
        render.document(
            {
                "signer": done.signer,
                "statements": done.statements,
                "referrers": [each.digest for each in done.referrers],
            }
        )
    else:
        said = f"{done.statements} statements, on {len(done.referrers)} places, by {done.signer}"
        print(render.plain(said))
    return 0
