"""``sign``."""

from __future__ import annotations

from pathlib import Path
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
  python -m buildkit sign digits:1.0.0 --classic            for `cosign tree` and older cosign
  python -m buildkit sign 91931126e651 --model-signing out  a model's files with model.sig
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _NOTES
    parser.add_argument("ref", help="an image or a model: name, digest, or its first hex digits")
    signer.argument(parser)
    parser.add_argument(
        "--classic", action="store_true", help="also in the form that cosign had before bundles"
    )
    parser.add_argument(
        "--model-signing",
        type=Path,
        metavar="DIR",
        help="instead: write one model's files there, signed as OpenSSF Model Signing does",
    )
    stores.argument(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object, nothing else")


def run(options: argparse.Namespace) -> int:
    """Sign, and say what hangs where."""
    from buildkit.pipeline import signed  # noqa: PLC0415 - `--help` must not wait for it

    store, who = stores.chosen(options).root, signer.chosen(options)
    if options.model_signing is not None:
        files = signed.model_files(options.ref, store=store, signer=who, out=options.model_signing)
        if options.json:
            render.document({"files": [str(file) for file in files]})
        else:
            print(*(render.plain(str(file)) for file in files), sep="\n")
        return 0
    done = signed.sign(options.ref, store=store, signer=who, classic=options.classic)
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
