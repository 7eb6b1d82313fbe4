"""``gate``."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from buildkit.cli import render, signer, stores, trials

if TYPE_CHECKING:
    from buildkit.pipeline.verdicts import Shelf
    from buildkit.store import Store

_MOST_DAYS = 36_500
_SIGNED_DAYS = 30
_NOTES = """\
Nothing is run: it reads the test results that hang on image and model in the store, and judges the
newest run of each device, by that device's clock: of runs in turns, the last one. Only what a
device of the key ring signed counts (`keys`). Keys that are unknown or retired, and signatures that
do not fit, are named and do not count; nor do runs on no device (`smoke --local`), unless they are
asked for by --device local.

The rules are those of the recipe that the image was built from; --recipe takes what a recipe says
now. Where the store does not know its recipe, those of its target alone count, and the answer says
so. There is no --baseline: slower and larger can be told only of runs that took turns on one board,
which is what `smoke --baseline` is for.

examples:
  python -m buildkit gate digits:1.0.0
  python -m buildkit gate digits:1.0.0 --recipe recipes/digits/recipe.toml --since 30
  python -m buildkit gate digits:1.0.0 --device shelf-1 --sign

exit status: 0 PASS on every device; 1 FAIL on one; 2 INCONCLUSIVE, or no test result counts
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _NOTES
    parser.add_argument("ref", help="an image by name or digest, or a recipe.toml")
    parser.add_argument(
        "--recipe", type=Path, metavar="FILE", help="judge by what this recipe.toml says now"
    )
    parser.add_argument(
        "--profile",
        choices=("quick", "smoke", "release"),
        help="of the results to judge (default: as the recipe says, else smoke)",
    )
    parser.add_argument("--target", metavar="NAME", default="", help="only this kind of device")
    parser.add_argument(
        "--device",
        metavar="NAME",
        default="",
        help="only this device, by name or id of its key; `local`: what ran on none",
    )
    parser.add_argument(
        "--since",
        type=_days,
        metavar="DAYS",
        help=f"only results that are not older (default with --sign: {_SIGNED_DAYS})",
    )
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page for people")
    parser.add_argument(
        "--sign", action="store_true", help="sign the verdict, and keep it in the store"
    )
    signer.argument(parser)
    stores.argument(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object, nothing else")


def run(options: argparse.Namespace) -> int:
    """Judge, and show what came of it."""
    from buildkit.evidence.keys import KeyRing, location  # noqa: PLC0415 - `--help` must not wait
    from buildkit.pipeline import gates, limits  # noqa: PLC0415 - as above
    from buildkit.pipeline.trials import Asked  # noqa: PLC0415 - as above

    found = limits.find(
        options.ref, store=options.store, profile=options.profile, rules=options.recipe
    )
    judged = gates.judge(
        Asked(store=found.store, ref=found.ref, limits=found.limits),
        gates.Wanted(target=options.target, device=options.device, days=_since(options)),
        ring=KeyRing.load(location()),
        now=int(time.time()),
        shelf=_shelf(found.store, options) if options.sign else None,
    )
    return trials.show(
        found,
        judged.trials,
        page=options.html,
        as_json=options.json,
        passed_over=judged.passed_over,
    )


def _since(options: argparse.Namespace) -> int | None:
    # What a policy counts from is the time of the verdict, which a new one must not renew unasked.
    return options.since or (_SIGNED_DAYS if options.sign else None)


def _shelf(store: Store, options: argparse.Namespace) -> Shelf:
    from buildkit.pipeline.verdicts import Shelf  # noqa: PLC0415 - `--help` must not wait for it

    who = signer.chosen(options, None if options.json else render.Lines())
    return Shelf(store=store, signer=who.somebody())


def _days(text: str) -> int:
    if not (text.isdecimal() and text.isascii() and 0 < int(text[:9]) <= _MOST_DAYS):
        msg = f"{text!r} is not a number of days, 1 to {_MOST_DAYS}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)
