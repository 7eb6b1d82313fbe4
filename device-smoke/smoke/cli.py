"""``python3 -m smoke``: one report, or one line that says why there is none."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from . import VERSION, report
from .engine import CPU, LEVELS, Settings
from .errors import Interrupted, Kind, SmokeError
from .profiles import PROFILES
from .stopping import stopping

if TYPE_CHECKING:
    from collections.abc import Sequence

NO_REPORT = 2
NONCE = re.compile(r"[A-Za-z0-9_.:+/=-]{1,128}")


class _Parser(argparse.ArgumentParser):
    """Errors in one line, like all others."""

    def error(self, message: str) -> NoReturn:
        raise SmokeError(Kind.USAGE, message)


def main(arguments: Sequence[str]) -> int:
    """Run; 0: the report is written, 2: it is not, 128 + n: signal n asked us to stop."""
    try:
        with stopping.armed():
            _run(arguments)
    except SmokeError as error:
        return _failed(str(error))
    except MemoryError:
        return _failed(f"{Kind.MEMORY}: out of memory")
    except OSError as error:
        return _failed(f"{Kind.DEVICE}: {error}")
    except Interrupted as interrupted:
        _failed(f"interrupted: no report; {interrupted}")
        return 128 + interrupted.signal
    return 0


def _failed(message: str) -> int:
    sys.stderr.write(f"smoke: {' '.join(message.split())}\n")
    return NO_REPORT


def _run(arguments: Sequence[str]) -> None:
    options = _parser().parse_args(arguments)
    out: Path = options.out
    if out.exists() or out.is_symlink():
        raise SmokeError(Kind.USAGE, f"{out} is there already; remove it")
    if not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
        raise SmokeError(Kind.USAGE, f"{out.parent} is no folder that can be written into")
    order = report.Order(
        model=options.model,
        golden=options.golden,
        profile=PROFILES[options.profile],
        settings=Settings(
            providers=tuple(options.provider or [CPU]),
            threads=options.threads,
            level=options.optimization,
        ),
        folder=out.parent,
        nonce=options.nonce or "",
        deadline_s=options.deadline,
        root=options.root,
    )
    document = report.make(order)
    text = json.dumps(document, indent=1, sort_keys=True, allow_nan=False)
    # From here on a signal comes too late: a report that is there means exit status 0.
    stopping.hold()
    report.write(text.encode() + b"\n", out)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="smoke", description="Smoke test of a model on this device.", allow_abbrev=False
    )
    add = parser.add_argument
    add("--version", action="version", version=f"smoke {VERSION}")
    add("--model", type=Path, required=True, help="ONNX file")
    add("--golden", type=Path, required=True, help=".npz: one array for each input, and label")
    add("--profile", choices=sorted(PROFILES), default="smoke", help="how long (smoke)")
    add("--out", type=Path, required=True, help="the report; must not be there yet")
    add("--provider", action="append", help=f"execution provider, most wanted first ({CPU})")
    add("--threads", type=_count, default=0, help="of one operator; 0: one for each core (0)")
    add("--optimization", choices=sorted(LEVELS), default="all", help="of the graph (all)")
    add("--nonce", type=_nonce, help="repeated in the report")
    add("--deadline", type=_count, default=3600, help="seconds for the whole run (3600)")
    add("--root", type=Path, default=Path("/"), help=argparse.SUPPRESS)
    return parser


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > 9:
        message = f"expected a whole number, found {text!r}"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def _nonce(text: str) -> str:
    if not NONCE.fullmatch(text):
        message = "expected 1 to 128 letters, digits or ._:+/=-"
        raise argparse.ArgumentTypeError(message)
    return text
