"""The training scripts: the same bytes whatever the machine, and files that the build can use."""

from __future__ import annotations

import ast
import gzip
import hashlib
import importlib.util
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkit.recipe import load

if TYPE_CHECKING:
    from types import ModuleType

RECIPES = Path(__file__).parents[3] / "recipes"
OUTPUTS = ("model.onnx", "calibration.npz", "golden.npz")
SMALL_VISION = {"SIZE": "64", "SAMPLES": "20", "WIDTH": "25"}


def machines() -> dict[str, dict[str, str]]:
    """Ways to make numpy compute as on another machine.

    Real emulation of other CPUs takes minutes; these switches choose the same kernels.
    """
    kinds = {"threads": {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}}
    if platform.machine() == "x86_64":
        # numpy's and OpenBLAS's names; numpy warns of a name that it does not know.
        kinds["nehalem"] = {
            "OPENBLAS_CORETYPE": "Nehalem",
            "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
        }
        kinds["haswell"] = {
            "OPENBLAS_CORETYPE": "Haswell",
            "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
        }
    else:
        kinds["armv8"] = {"OPENBLAS_CORETYPE": "ARMV8"}
    return kinds


@pytest.fixture(scope="module")
def data_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stand-in for the scikit-learn wheel: its data file, with ten noisy prototypes in it."""
    site = tmp_path_factory.mktemp("site")
    folder = site / "sklearn/datasets/data"
    folder.mkdir(parents=True)
    (site / "sklearn/__init__.py").write_text("raise ImportError('reading needs no import')\n")
    rng = np.random.default_rng(7)
    labels = rng.integers(0, 10, 700)
    prototypes = rng.integers(0, 17, (10, 64))
    pixels = np.clip(prototypes[labels] + rng.integers(-3, 4, (700, 64)), 0, 16)
    lines = [",".join(map(str, [*row, label])) for row, label in zip(pixels, labels, strict=True)]
    (folder / "digits.csv.gz").write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))
    return site


def train(recipe: str, out: Path, **environment: str) -> Path:
    """Run a training script as the sandbox does, and give the folder that it wrote into."""
    out.mkdir()
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    single = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    done = subprocess.run(
        [sys.executable, "-B", "train.py"],
        cwd=RECIPES / recipe,
        env={**kept, **single, "OUT": str(out), "SEED": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return out


def hashes(folder: Path) -> dict[str, str]:
    assert sorted(path.name for path in folder.iterdir()) == sorted(OUTPUTS)
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in OUTPUTS}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory, data_package: Path) -> Path:
    folder = tmp_path_factory.mktemp("digits") / "out"
    return train("digits", folder, PYTHONPATH=str(data_package))


@pytest.fixture(scope="module")
def vision(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train("vision", tmp_path_factory.mktemp("vision") / "out", **SMALL_VISION)


@pytest.mark.parametrize("machine", machines())
def test_digits_are_the_same_bytes_on(
    machine: str, digits: Path, data_package: Path, tmp_path: Path
) -> None:
    site = {"PYTHONPATH": str(data_package), "PYTHONHASHSEED": "7"}
    assert hashes(train("digits", tmp_path / "out", **site, **machines()[machine])) == hashes(
        digits
    )


@pytest.mark.parametrize("machine", machines())
def test_vision_is_the_same_bytes_on(machine: str, vision: Path, tmp_path: Path) -> None:
    more = {**SMALL_VISION, "PYTHONHASHSEED": "7", **machines()[machine]}
    assert hashes(train("vision", tmp_path / "out", **more)) == hashes(vision)


def test_another_seed_gives_another_model(vision: Path, tmp_path: Path) -> None:
    other = train("vision", tmp_path / "out", **SMALL_VISION, SEED="2")
    assert hashes(other)["model.onnx"] != hashes(vision)["model.onnx"]


def test_digits_without_the_data_says_so(tmp_path: Path) -> None:
    if importlib.util.find_spec("sklearn") is not None:
        pytest.fail("the test environment carries scikit-learn: this test needs one without")
    with pytest.raises(AssertionError, match="scikit-learn is not installed"):
        train("digits", tmp_path / "out")


def arrays(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    with np.load(path, allow_pickle=False) as data:
        return {name: data[name] for name in data.files}


@pytest.mark.parametrize(
    ("recipe", "sample", "calibration", "golden"),
    [("digits", (1, 8, 8), 200, 500), ("vision", (3, 64, 64), 16, 64)],
)
def test_the_files_are_what_the_build_expects(
    request: pytest.FixtureRequest,
    recipe: str,
    sample: tuple[int, ...],
    calibration: int,
    golden: int,
) -> None:
    folder: Path = request.getfixturevalue(recipe)
    model = onnx.load(folder / "model.onnx")
    (source,), (target,) = model.graph.input, model.graph.output
    shapes = [
        [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (source, target)
    ]
    assert (source.name, target.name) == ("input", "logits")
    assert shapes == [["batch", *sample], ["batch", 10]]
    assert (model.ir_version, [opset.version for opset in model.opset_import]) == (8, [17])
    seen, held_out = arrays(folder / "calibration.npz"), arrays(folder / "golden.npz")
    assert list(seen) == ["input"]
    assert sorted(held_out) == ["input", "label"]
    assert seen["input"].shape == (calibration, *sample)
    assert held_out["input"].shape == (golden, *sample)
    assert {seen["input"].dtype, held_out["input"].dtype} == {np.dtype(np.float32)}
    assert held_out["label"].shape == (golden,)
    assert held_out["label"].dtype == np.int64
    assert set(held_out["label"].tolist()) == set(range(10))


@pytest.mark.parametrize(("recipe", "least"), [("digits", 0.95), ("vision", 0.3)])
def test_the_model_has_learnt(request: pytest.FixtureRequest, recipe: str, least: float) -> None:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime as ort

    folder: Path = request.getfixturevalue(recipe)
    golden = arrays(folder / "golden.npz")
    session = ort.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {"input": golden["input"]})
    assert (scores.argmax(1) == golden["label"]).mean() > least


@pytest.mark.parametrize("name", ["digits", "vision"])
def test_the_recipe_is_right_and_names_every_input(name: str) -> None:
    recipe = load(RECIPES / name / "recipe.toml")
    assert recipe.name == name
    source = recipe.model.source
    inputs = getattr(source, "inputs", None)
    beside = sorted(path.name for path in (RECIPES / name).glob("*.py"))
    assert inputs is not None
    assert beside == sorted(["train.py", *inputs])


def test_the_recipes_share_one_image() -> None:
    one, other = (load(RECIPES / name / "recipe.toml").image for name in ("digits", "vision"))
    assert one == other


# Functions whose last bits depend on the CPU: sums in an order of their own, and libm.
UNEVEN = {
    *("sum", "mean", "std", "var", "dot", "vdot", "inner", "matmul", "einsum", "tensordot"),
    *("linalg", "fft", "exp", "expm1", "log", "log2", "log10", "log1p", "power", "tanh", "sin"),
    *("cos", "tan", "cumsum", "average", "cov", "convolve", "correlate", "trace", "prod"),
    *("normal", "standard_normal", "exponential", "gamma", "softmax", "logaddexp", "cbrt"),
}


@pytest.mark.parametrize("file", ["digits/train.py", "vision/train.py", "vision/textures.py"])
def test_a_script_leaves_sums_to_exact(file: str) -> None:
    """A float32 file hides most differences of the last bits, so the bytes alone prove little."""
    tree = ast.parse((RECIPES / file).read_text())
    found = [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(tree)
        if (isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult | ast.Pow))
        or (
            isinstance(node, ast.Attribute)
            and node.attr in UNEVEN
            and ast.unparse(node.value) != "exact"
        )
    ]
    assert found == []


SUMS = """
import hashlib
import sys
import numpy as np
sys.path.insert(0, ".")
import exact
rng = np.random.default_rng(3)
a, b = rng.random((64, 300)) - 0.5, rng.random((300, 48)) - 0.5
hash = lambda x: hashlib.sha256(np.ascontiguousarray(x).tobytes()).hexdigest()
print(hash(exact.matmul(a, b)), hash(exact.total(a, (0, 1))), hash(a @ b))
"""


def sums(environment: dict[str, str]) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-B", "-c", SUMS],
        cwd=RECIPES / "digits",
        env={"PATH": os.environ["PATH"], "OPENBLAS_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return done.stdout.split()


def test_exact_sums_are_the_same_in_every_bit() -> None:
    found = [sums(environment) for environment in ({}, *machines().values())]
    assert len({(product, total) for product, total, _ in found}) == 1
    if platform.machine() == "x86_64":
        # Else the switches chose nothing, and the line above proves nothing.
        assert len({plain for _, _, plain in found}) > 1


def load_exact() -> ModuleType:
    spec = importlib.util.spec_from_file_location("exact", RECIPES / "digits/exact.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


exact = load_exact()
sizes = st.integers(1, 70)


@settings(deadline=None)
@given(sizes, sizes, sizes, st.integers(0, 2**32 - 1), st.integers(-300, 300))
def test_a_product_depends_on_no_order(
    rows: int, inner: int, columns: int, seed: int, scale: int
) -> None:
    rng = np.random.default_rng(seed)
    a = np.ldexp(rng.random((rows, inner)) - 0.5, scale)
    b = rng.random((inner, columns)) - 0.5
    order = rng.permutation(inner)
    product = exact.matmul(a, b)
    assert product.tobytes() == exact.matmul(a[:, order], b[order]).tobytes()
    # 20 bits or more of each operand: the error is below 2**-19 of what the largest could give.
    bound = inner * np.abs(a).max() * np.abs(b).max() * 2.0**-19
    assert np.abs(product - a @ b).max() <= bound


@settings(deadline=None)
@given(sizes, sizes, st.integers(0, 2**32 - 1))
def test_a_sum_depends_on_no_order(rows: int, columns: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a = rng.random((rows, columns)) - 0.5
    total = exact.total(a, 0)
    assert total.tobytes() == exact.total(a[rng.permutation(rows)], 0).tobytes()
    assert np.abs(total - a.sum(0)).max() <= rows * 2.0**-30


def test_nothing_sums_to_nothing() -> None:
    assert not exact.matmul(np.zeros((2, 3)), np.ones((3, 4))).any()
    assert not exact.total(np.zeros((2, 3)), (0, 1)).any()
