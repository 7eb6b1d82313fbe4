"""``smoke``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from buildkit.cli import render, signer, stores, trials
from buildkit.device import inventory
from buildkit.errors import InputError

if TYPE_CHECKING:
    import argparse

    from buildkit.device.delivery import Registry

_NOTES = """\
The device gets what it lacks of image, model and golden data, checks every digest and a signature
by a key that it was enrolled with, and only then runs: without a network, with limits, in the image
that is to ship. It signs what it saw; this machine signs the same, and what the gate decides by
the rules of the recipe ([smoke], docs/gate.md). All of it hangs on image and model in the store.

examples:
  python -m buildkit smoke digits:1.0.0 --device shelf-1
  python -m buildkit smoke recipes/digits/recipe.toml --device shelf-1 --device shelf-2
  python -m buildkit smoke digits:1.1.0 --baseline digits:1.0.0 --device shelf-1 --html page.html
  python -m buildkit smoke digits:1.0.0 --device shelf-1 --registry https://HOST/team/digits
  python -m buildkit smoke digits:1.0.0 --local

exit status: 0 PASS on every device; 1 FAIL on one; 2 INCONCLUSIVE, or it could not begin
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _NOTES
    parser.add_argument("what", help="an image by name or digest, or a recipe.toml")
    parser.add_argument(
        "--device",
        action="append",
        default=[],
        metavar="NAME",
        help="an enrolled device, by name or host; may be given several times",
    )
    parser.add_argument(
        "--local",
        action="store_true",
        help="in this machine's engine instead; marked as such, and no test of a device",
    )
    parser.add_argument(
        "--target", metavar="NAME", help="with --local: whose image and model (default: amd64)"
    )
    parser.add_argument("--baseline", metavar="REF", help="an image to compare with, in turns")
    parser.add_argument(
        "--registry", metavar="URL", help="the device brings it from http(s)://HOST/REPOSITORY"
    )
    parser.add_argument(
        "--registry-ca", type=Path, metavar="FILE", help="certificates (PEM) it is held against"
    )
    parser.add_argument(
        "--profile",
        choices=("quick", "smoke", "release"),
        help="how long (default: as the recipe says, else smoke)",
    )
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page for people")
    parser.add_argument(
        "--devices", type=Path, metavar="FILE", help="default: the user's devices.toml"
    )
    signer.argument(parser)
    stores.argument(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object, nothing else")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def run(options: argparse.Namespace) -> int:
    """Try it, and show what came of it."""
    from buildkit.evidence.keys import KeyRing, location  # noqa: PLC0415 - `--help` must not wait
    from buildkit.pipeline import devices, limits, local, smoke  # noqa: PLC0415 - as above
    from buildkit.pipeline.trials import Asked  # noqa: PLC0415 - as above

    if bool(options.device) == options.local:
        msg = "say where: on a device, or in the engine"
        raise InputError(msg, "--device NAME, or --local")
    if options.target and not options.local:
        msg = "--target is for --local: a device has its own"
        raise InputError(msg, "leave it out")
    if options.registry and options.local:
        msg = "--registry is for devices: the engine takes everything from the store"
        raise InputError(msg, "leave it out")
    progress = render.progress(options)
    found = limits.find(options.what, store=options.store, profile=options.profile)
    asked = Asked(
        store=found.store,
        ref=found.ref,
        limits=found.limits,
        recipe=found.recipe,
        baseline=options.baseline or "",
        registry=_registry(options),
    )
    who = signer.chosen(options, progress)
    if options.local:
        target = options.target or "amd64"
        done = local.local(asked, target, signer=who, progress=progress)
    else:
        file = options.devices or inventory.location()
        ring = KeyRing.load(location())
        boards = devices.chosen(file, options.device)
        done = smoke.smoke(asked, boards, ring=ring, signer=who, progress=progress)
    return trials.show(found, done, page=options.html, as_json=options.json)


def _registry(options: argparse.Namespace) -> Registry | None:
    from buildkit.pipeline import limits  # noqa: PLC0415 - `--help` must not wait for it

    if options.registry is None:
        return None
    return limits.registry(options.registry, options.registry_ca)
