"""Who signs: the options that several commands share."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from buildkit.cli import passphrases, render
from buildkit.evidence import signers
from buildkit.evidence.signer import Who
from buildkit.run import run

if TYPE_CHECKING:
    import argparse


def argument(parser: argparse.ArgumentParser) -> None:
    """Declare ``--signer`` and what goes with it."""
    parser.add_argument(
        "--signer",
        metavar="WHO",
        default=os.environ.get(signers.VARIABLE) or signers.DEFAULT,
        help=f"who signs: {', '.join(signers.SPECS)} (default: {signers.DEFAULT})",
    )
    parser.add_argument(
        "--trust-config",
        type=Path,
        metavar="FILE",
        help="for keyless: another Sigstore instance than the public one",
    )


def chosen(options: argparse.Namespace, progress: render.Lines | None = None) -> Who:
    """Whom the user named.

    Args:
        options: with those of `argument`.
        progress: told when a key is made.

    Raises:
        InputError: there is no such signer.
    """
    from buildkit.evidence.keys import location  # noqa: PLC0415 - not for a command without signer

    signers.check(options.signer)
    settings = signers.Settings(
        keys=location(),
        epoch=int(time.time()),
        runner=run,
        passphrase=passphrases.unlock,
        note=progress.note if progress else _nobody,
        trust_config=options.trust_config,
    )
    return Who(spec=options.signer, ready=lambda: signers.signer(options.signer, settings))


def _nobody(text: str) -> None:
    """Tell nobody."""
