"""The same model and the same image on every processor.

In full, as the recipes are, this takes hours of emulation (docs/quantisation.md says what came
out); here digits trains for a shorter time as well, vision is a smaller one, and each processor
packs one layer of the base.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
from cpus import Job, Lab, Made
from real_project import ROOT, Project

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    Models = Mapping[str, Made]

# The engine only because the fixture `digits` is a whole build.
pytestmark = [pytest.mark.nix, pytest.mark.engine, pytest.mark.network]

_LOG = logging.getLogger(__name__)

HOST = "host"
# Vector units without AVX; AVX2 without VNNI; a Pi 5's core; everything that QEMU knows, with SVE.
EMULATED = ("x86-64 Nehalem", "x86-64 Haswell", "aarch64 cortex-a76", "aarch64 max")
RECIPES = ROOT / "recipes"
# One layer of the base on each, as compression takes long: the sandbox packed the others.
PACKED = dict(
    zip(EMULATED, [("linux/arm64", "debian"), ("linux/amd64", "python")] * 2, strict=True)
)
# The fourth is made of operators of which it is claimed that they answer alike; the fifth is the
# same, with weights of 8 bits.
NAMES = ("digits", "digits, trained here", "vision", "whole", "wide", "transformer")
WHOLE = ("digits", "digits, trained here", "whole")


@pytest.fixture(scope="session")
def lab(digits: Project) -> Lab:
    return Lab(digits)


@pytest.fixture(scope="session")
def jobs(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Job]:
    """Each model, small enough; digits also as the recipe has it, trained on this machine."""
    home = tmp_path_factory.mktemp("jobs")
    recipe = RECIPES / "digits/train.py"
    lab.run(HOST, {"digits": Job(recipe)}, home)
    short = home / "short"
    shutil.copytree(recipe.parent, short, ignore=shutil.ignore_patterns("app", "__pycache__"))
    text = (short / "train.py").read_text()
    assert "\nEPOCHS = 50\n" in text
    (short / "train.py").write_text(text.replace("\nEPOCHS = 50\n", "\nEPOCHS = 2\n"))
    scripts = {}
    for name in ("whole", "encoder"):
        scripts[name] = home / name / "train.py"
        scripts[name].parent.mkdir()
        shutil.copy(ROOT / f"tests/unit/model/make_{name}.py", scripts[name])
    vision = {"SIZE": "48", "SAMPLES": "20", "WIDTH": "25"}
    found = (
        Job(recipe, made=home / "digits/train"),
        Job(short / "train.py"),
        Job(RECIPES / "vision/train.py", vision),
        Job(scripts["whole"]),
        Job(scripts["whole"], settings={"reduce_range": False}),
        Job(scripts["encoder"]),
    )
    return dict(zip(NAMES, found, strict=True))


@pytest.fixture(scope="session")
def native(lab: Lab, jobs: Mapping[str, Job], tmp_path_factory: pytest.TempPathFactory) -> Models:
    """What each model is on this machine's own processor."""
    return lab.run(HOST, jobs, tmp_path_factory.mktemp("native"))


@pytest.fixture(scope="session")
def emulated(
    lab: Lab, jobs: Mapping[str, Job], tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Models]:
    """What each model is on the others; two at a time."""

    def run(processor: str) -> Models:
        return lab.run(processor, jobs, tmp_path_factory.mktemp(processor.replace(" ", "-")))

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(EMULATED, pool.map(run, EMULATED), strict=True))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("processor", EMULATED)
def test_every_file_is_the_same(
    processor: str, name: str, native: Models, emulated: Mapping[str, Models]
) -> None:
    assert native[name].ranges["way"] == "exact"
    here, there = ({**made[name].files} for made in (native, emulated[processor]))
    if name == "wide" and processor == "x86-64 Haswell":
        # Sums that saturate change the accuracy itself.
        assert here.pop("check/accuracy.json") != there.pop("check/accuracy.json")
    assert there == here
    assert len(here) >= 7


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("processor", EMULATED)
def test_int8_answers_are_the_same_where_that_is_claimed(
    processor: str,
    name: str,
    native: Models,
    emulated: Mapping[str, Models],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Elsewhere the difference is measured: ``pytest -rP`` shows it."""
    here, there = native[name], emulated[processor][name]
    caplog.set_level(logging.INFO)
    equal = here.logits["quantised"] == there.logits["quantised"]
    # Of how much all answers differ among themselves.
    distance = float(np.abs(here.answers - there.answers).max() / np.ptp(here.answers))
    moved = int((here.answers.argmax(1) != there.answers.argmax(1)).sum())
    _LOG.info(
        "%s on %s: int8 answers %s, largest difference %.2g of their spread, %d of %d classes; "
        "float answers %s",
        name, processor, "equal" if equal else "differ", distance, moved, len(here.answers),
        "equal" if here.logits["float"] == there.logits["float"] else "differ",
    )  # fmt: skip
    if here.claim["same_on_every_cpu"]:
        assert equal, here.claim
        assert np.array_equal(there.on_device, here.answers)
    # Sums that saturate have no limit: that is why `reduce_range` is on.
    if not here.claim["saturating_operators"]:
        assert distance < 0.1
        assert moved <= len(here.answers) // 20


def test_what_is_claimed_of_the_answers(native: Models, emulated: Mapping[str, Models]) -> None:
    """Not more than is true, nor less: where two kinds of doubt stand, processors do differ."""
    for name in NAMES:
        claim = native[name].claim
        assert claim["same_on_every_cpu"] is (name in WHOLE)
        assert bool(claim["float_operators"]) is (name in ("vision", "transformer"))
        assert bool(claim["saturating_operators"]) is (name == "wide")
    assert native["vision"].claim["float_operators"] == {"Add": 11}
    for name in ("vision", "wide"):
        assert len({made[name].logits["quantised"] for made in emulated.values()}) > 1


def test_the_recipes_own_lock_names_these_files(digits: Project, native: Models) -> None:
    locked = json.loads(digits.lock.read_bytes())["model"]
    made = native["digits"]
    assert made.files["float/model.onnx"] == f"sha256:{locked['float_sha256']}"
    assert made.files["quantised/model.onnx"] == f"sha256:{locked['quantized_sha256']}"
    assert made.ranges["ranges"] == {
        name: [float(end) for end in ends] for name, ends in locked["ranges"].items()
    }


def test_the_published_model_says_so(digits: Project, native: Models) -> None:
    (digest,) = {model["digest"] for model in digits.build()["models"] if model["target"] == "pi5"}
    manifest = digits.store.read_json(digest)
    (card,) = (
        layer["digest"]
        for layer in manifest["layers"]
        if layer["annotations"]["org.cncf.model.filepath"] == "model.json"
    )
    answers = digits.store.read_json(card)["answers"]
    assert answers == {**native["digits"].claim, "sha256": native["digits"].logits["quantised"]}


@pytest.fixture(scope="session")
def images(
    lab: Lab, digits: Project, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, str]:
    """The index of the image whose layers and documents each processor makes; two at a time."""
    home = tmp_path_factory.mktemp("images")

    def run(processor: str) -> str:
        out = home / processor.replace(" ", "-")
        try:
            return lab.image(processor, digits, out, [PACKED[processor]])
        finally:
            shutil.rmtree(out, ignore_errors=True)

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(EMULATED, pool.map(run, EMULATED), strict=True))


@pytest.mark.parametrize("processor", EMULATED)
def test_the_image_is_the_same(processor: str, digits: Project, images: Mapping[str, str]) -> None:
    assert images[processor] == digits.build()["image"]["digest"]


SURROUNDINGS: Mapping[str, Mapping[str, str]] = {
    "hash seed": {"PYTHONHASHSEED": "4711"},
    "locale": {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"},
    "time zone": {"TZ": "Asia/Kathmandu"},
    "home": {"HOME": "/nowhere at all"},
    "threads asked for": {"OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "3"},
    "BLAS kernels": {"OPENBLAS_CORETYPE": "Prescott"},
    "numpy's vector units": {"NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F"},
}


@pytest.mark.parametrize("varied", [*SURROUNDINGS, "umask", "one core"])
def test_surroundings_do_not_matter(
    varied: str, lab: Lab, jobs: Mapping[str, Job], native: Models, tmp_path: Path
) -> None:
    """On this machine's processor, so the float model's answers are the same too."""
    cores, umask = os.sched_getaffinity(0), os.umask(0o077 if varied == "umask" else 0o022)
    try:
        if varied == "one core":
            os.sched_setaffinity(0, {min(cores)})
        there = lab.run(HOST, jobs, tmp_path / "out", **SURROUNDINGS.get(varied, {}))
    finally:
        os.umask(umask)
        os.sched_setaffinity(0, cores)
    for name, here in native.items():
        assert there[name].files == here.files, name
        assert there[name].logits == here.logits, name
