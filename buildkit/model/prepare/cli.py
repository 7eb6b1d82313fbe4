"""The command line of the sandbox: one stage for each run."""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import PrepareError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def _train(args: argparse.Namespace) -> None:
    from . import train  # noqa: PLC0415 - as below

    train.run(os.environ, args.out)


def _import(args: argparse.Namespace) -> None:
    from . import importing  # noqa: PLC0415 - numpy must not load before `_one_thread`

    importing.run(args.model, args.out)


def _optimise(args: argparse.Namespace) -> None:
    from . import optimise, settings  # noqa: PLC0415 - as above

    optimise.run(args.model, settings.load(args.settings), args.out)


def _calibrate(args: argparse.Namespace) -> None:
    from . import calibrate, settings  # noqa: PLC0415 - as above

    calibrate.run(args.model, args.data, settings.load(args.settings).calibration, args.out)


def _quantise(args: argparse.Namespace) -> None:
    from . import quantise, settings  # noqa: PLC0415 - as above

    quantise.run(args.model, settings.load(args.settings), args.ranges, args.out)


def _check(args: argparse.Namespace) -> None:
    from . import check  # noqa: PLC0415 - as above

    check.run(args.float, args.quantised, args.data, args.out)


# For each stage: its function, the options that it needs, those that it may have.
STAGES: dict[str, tuple[Callable[[argparse.Namespace], None], tuple[str, ...], tuple[str, ...]]] = {
    "import": (_import, ("model",), ()),
    "optimise": (_optimise, ("model", "settings"), ()),
    "calibrate": (_calibrate, ("model", "data", "settings"), ()),
    "quantise": (_quantise, ("model", "settings"), ("ranges",)),
    "check": (_check, ("float", "quantised", "data"), ("settings",)),
    "train": (_train, (), ()),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one stage.

    Returns:
        0 done, 3 the input is bad, 1 anything else that failed.
    """
    args = _parser().parse_args(argv)
    _one_thread()
    try:
        STAGES[args.stage][0](args)
    except PrepareError as error:
        return _fail(error.message, error.remedy, error.exit_code)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        return _fail(f"{error.strerror or error}{where}", "check paths, permissions and space", 1)
    except MemoryError:
        return _fail("there is not enough memory", "use a machine with more memory", 1)
    except Exception as error:  # noqa: BLE001 - the caller gets one form of error, whatever happens
        if args.stage == "train":
            traceback.print_exc()
            msg = f"the training script failed: {type(error).__name__}: {error}"
            return _fail(msg, "its traceback stands above", 1)
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}:{last.lineno}"
        msg = f"{args.stage}: {type(error).__name__} at {where}: {error}"
        return _fail(msg, "this is a fault of the program: please report it", 1)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="prepare", description="Prepare an ONNX model.")
    stages = parser.add_subparsers(dest="stage", required=True, metavar="STAGE")
    for name, (_, needed, possible) in STAGES.items():
        stage = stages.add_parser(name)
        for option in (*needed, *possible):
            stage.add_argument(f"--{option}", type=Path, required=option in needed)
        stage.add_argument("--out", type=Path, required=True, help="folder to write into")
    return parser


def _one_thread() -> None:
    """Samples run in parallel, so the libraries below must not start threads of their own."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"


def _fail(message: str, remedy: str, status: int) -> int:
    line = json.dumps({"error": message, "remedy": remedy}, ensure_ascii=True, sort_keys=True)
    sys.stderr.write(line + "\n")
    return status
