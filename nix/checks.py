# ruff: noqa: INP001 - a program of the sandbox, not a package
"""What `nix flake check` holds the built things to; runs in the sandbox with the builder's Python.

    checks.py layers LAYER… --out FILE
    checks.py model --out FILE --lock LOCK --float DIR --quantised DIR --accuracy DIR [--ranges DIR]

Ends with status 1 and the difference when something is not what the lock says.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import sys
from pathlib import Path
from typing import Any


def main() -> int:
    """Run one check and write what it found."""
    parser = argparse.ArgumentParser(description="hold what was built to the lock")
    parser.add_argument("what", choices=("layers", "model"))
    parser.add_argument("folders", nargs="*", type=Path)
    for option in ("out", "lock", "float", "quantised", "accuracy", "ranges"):
        parser.add_argument(f"--{option}", type=Path)
    options = parser.parse_args()
    found = _layers(options.folders) if options.what == "layers" else _model(options)
    wrong = [line for line, right in found if not right]
    for line in wrong:
        sys.stderr.write(f"{line}\n")
    options.out.write_text("".join(f"{line}\n" for line, _ in found))
    return 1 if wrong or not found else 0


def _layers(folders: list[Path]) -> list[tuple[str, bool]]:
    """Each layer's record tells the digests of the layer, packed and unpacked (OCI `diff_id`)."""
    found = []
    for folder in folders:
        said = json.loads((folder / "layer.json").read_bytes())
        packed = (folder / "layer.tar.gz").read_bytes()
        for key, data in (("digest", packed), ("diff_id", gzip.decompress(packed))):
            digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
            found.append((f"{folder.name} {key} {digest}", said[key] == digest))
    return found


def _model(options: argparse.Namespace) -> list[tuple[str, bool]]:
    lock: dict[str, Any] = json.loads(options.lock.read_bytes())
    pins, asked = lock["model"], lock["recipe"]["document"]["model"]
    found = []
    for name, folder, wanted in (
        ("float model", options.float, pins["float_sha256"]),
        ("quantised model", options.quantised, pins["quantized_sha256"]),
    ):
        digest = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
        found.append((f"{name} sha256:{digest}, the lock says sha256:{wanted}", digest == wanted))
    if options.ranges is not None:
        ranges = json.loads((options.ranges / "ranges.json").read_bytes())["ranges"]
        found.append((f"{len(ranges)} calibration ranges, made again", ranges == pins["ranges"]))
    accuracy = json.loads((options.accuracy / "accuracy.json").read_bytes())
    limit = asked["golden"]["max_drop"]
    line = f"accuracy {accuracy['float']} % to {accuracy['quantised']} %, {limit} points allowed"
    found.append((line, accuracy["drop"] <= limit))
    return found


if __name__ == "__main__":
    sys.exit(main())
