"""Exact calibration beside ONNX Runtime's own MinMax: time, memory, and what it costs in accuracy.

Time: the vision recipe with 16 images. Memory: the same model with 256 images, in a process of its
own. Accuracy: the digits recipe at the same settings, ranges from one and from the other.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

# As in the sandbox: samples run in parallel, what is below them does not. Before numpy loads.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod
from onnxruntime.quantization.calibrate import create_calibrator
from paired import compare

from buildkit.lock import cache, codec, fetch
from buildkit.model.prepare import calibrate, check, quantise
from buildkit.model.prepare.optimise import optimise
from buildkit.model.prepare.settings import Calibration, Settings
from buildkit.run import run

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
SETTINGS = Settings()
MEMORY_LIMIT = 512 << 20


class Reader(CalibrationDataReader):  # type: ignore[misc]
    """One sample at a time, as ONNX Runtime's examples do it."""

    def __init__(self, data: Path) -> None:
        self.samples = self._read(data)

    @staticmethod
    def _read(data: Path) -> Iterator[dict[str, Any]]:
        array = np.load(data)["input"]
        for number in range(len(array)):
            yield {"input": array[number : number + 1]}

    def get_next(self) -> Any:
        """The next sample, or None."""
        return next(self.samples, None)


def trained(recipe: str, out: Path, **environment: str) -> Path:
    """Run a recipe's training script; the folder it wrote."""
    out.mkdir()
    script = ROOT / "recipes" / recipe / "train.py"
    subprocess.run(
        [sys.executable, script],
        env={**os.environ, "OUT": str(out), "SEED": "1", **environment},
        check=True,
    )
    model = optimise(onnx.load(out / "model.onnx"), SETTINGS)
    (out / "prepared.onnx").write_bytes(model.SerializeToString())
    return out


def digits_data(home: Path) -> Path:
    """The pinned scikit-learn, as far as the training script reads it; a folder for PYTHONPATH."""
    lock = codec.load(ROOT / "recipes/digits/recipe.lock")
    wheels = lock.hosts["amd64"].builder_wheels
    pins = [pin for pin in wheels if pin.name == "scikit-learn"]
    (wheel,) = fetch.bring(pins, run, cache.home()).files.values()
    with zipfile.ZipFile(wheel) as archive:
        for name in ("sklearn/__init__.py", "sklearn/datasets/data/digits.csv.gz"):
            archive.extract(name, home)
    return home


def ours(made: Path, data: str = "calibration.npz") -> dict[str, Any]:
    """``ranges.json`` of our stage."""
    model = onnx.load(made / "prepared.onnx")
    return calibrate.calibrate(model, made / data, Calibration())


def theirs(made: Path) -> dict[str, tuple[float, float]]:
    """ONNX Runtime's calibrator, all cores, as `quantize_static` uses it."""
    with tempfile.TemporaryDirectory() as folder:
        model = onnx.load(made / "prepared.onnx")
        calibrator = create_calibrator(
            made / "prepared.onnx",
            sorted({node.op_type for node in model.graph.node}),
            augmented_model_path=str(Path(folder, "augmented.onnx")),
            calibrate_method=CalibrationMethod.MinMax,
        )
        calibrator.collect_data(Reader(made / "calibration.npz"))
        found = calibrator.compute_data().data
    return {
        name: (float(ends.lowest.item()), float(ends.highest.item()))
        for name, ends in found.items()
    }


def accuracy(made: Path, ranges: Any) -> float:
    """Top-1 in percent of digits, quantised with these ranges."""
    plain = onnx.load(made / "model.onnx")
    content, _ = quantise.quantise(onnx.load(made / "prepared.onnx"), SETTINGS, ranges)
    found, _ = check.check(plain, onnx.load_from_string(content), made / "golden.npz")
    return float(found["quantised"])


def peak(made: Path, data: str) -> int:
    """Bytes that a process has at most, from its start to its ranges."""
    done = subprocess.run(
        [sys.executable, __file__, "--peak", str(made), data],
        check=True,
        capture_output=True,
        text=True,
    )
    return int(json.loads(done.stdout))


def main() -> None:
    """Run and print."""
    onnxruntime.set_default_logger_severity(4)
    with tempfile.TemporaryDirectory() as home:
        vision = trained("vision", Path(home, "vision"), SAMPLES="20")
        assert ours(vision)["way"] == "exact"  # noqa: S101 - else it measures something else
        compare(
            "vision, 16 images, beside ONNX Runtime's MinMax",
            lambda: ours(vision),
            lambda: theirs(vision),
        )
        images = np.load(vision / "calibration.npz")["input"]
        many = np.concatenate([images] * (256 // len(images)))
        np.savez(vision / "many.npz", input=many)
        for data, count in (("calibration.npz", len(images)), ("many.npz", len(many))):
            size = peak(vision, data)
            print(f"vision, {count} images: {size >> 20} MB at most (limit {MEMORY_LIMIT >> 20})")
        site = digits_data(Path(home, "site"))
        digits = trained("digits", Path(home, "digits"), PYTHONPATH=str(site))
        exact = accuracy(digits, quantise.read_ranges(ours(digits)))
        other = accuracy(digits, theirs(digits))
        print(f"digits: {exact} % with exact ranges, {other} % with ONNX Runtime's")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--peak", nargs=2, metavar=("FOLDER", "DATA"), help=argparse.SUPPRESS)
    given = parser.parse_args().peak
    if given:
        ours(Path(given[0]), given[1])
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    else:
        main()
