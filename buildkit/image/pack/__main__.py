"""``python -m pack debian|python|app``: one layer, or the app layers of a build, per call."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from . import app, debian, wheels
from .layer import PackError, write_layer


def main() -> int:
    """Run one packing step; exit status 3 and one JSON line when its input is bad."""
    parser = argparse.ArgumentParser(prog="pack")
    steps = parser.add_subparsers(dest="step", required=True)
    step = steps.add_parser("debian")
    step.add_argument("--architecture", required=True)
    step.add_argument("--prune", type=Path, required=True)
    step = steps.add_parser("python")
    step.add_argument("--version", required=True)
    step.add_argument("--prune", type=Path, required=True)
    step = steps.add_parser("app")
    step.add_argument("request", type=Path)
    options = parser.parse_args()
    try:
        if options.step == "app":
            app.normalise(json.loads(options.request.read_text()))
            return 0
        prune = json.loads(options.prune.read_text())
        if options.step == "debian":
            files = [Path(name) for name in os.environ["debs"].split()]  # noqa: SIM112 - Nix's name
            content = debian.collect(files, options.architecture, prune)
        else:
            files = [Path(name) for name in os.environ["wheels"].split()]  # noqa: SIM112
            content = wheels.collect(files, options.version, prune)
        write_layer(Path(os.environ["out"]), content)  # noqa: SIM112
    except PackError as error:
        sys.stderr.write(json.dumps({"error": str(error), "remedy": error.remedy}) + "\n")
        return 3
    return 0


sys.exit(main())
