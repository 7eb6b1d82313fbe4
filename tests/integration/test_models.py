"""Every source and every kind of quantisation, from lock to artifact."""

from __future__ import annotations

import json
import shutil
import tomllib
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from real_project import Project, make_project

from buildkit import digests

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.nix, pytest.mark.engine, pytest.mark.network]

CLASSES = 4


def write_model(folder: Path) -> str:
    """A linear classifier, and data that it gets right; the hex digits of the model's digest."""
    generator = np.random.default_rng(5)
    weights = generator.integers(-8, 9, (32, CLASSES)).astype(np.float32) / 8
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["input", "weights"], ["logits"], name="linear")],
        "linear",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    data = model.SerializeToString(deterministic=True)
    (folder / "model.onnx").write_bytes(data)
    inputs = generator.integers(-16, 17, (64, 32)).astype(np.float32) / 16
    np.savez(folder / "calibration.npz", input=inputs)
    np.savez(folder / "golden.npz", input=inputs, label=(inputs @ weights).argmax(1))
    return digests.hex_of(digests.of_bytes(data))


def write_recipe(project: Project, source: str, quantization: str) -> None:
    """Give the project's recipe another model."""
    text = project.recipe.read_text().split("[model]")[0]
    calibration = '[model.calibration]\ndata = "calibration.npz"\n'
    project.recipe.write_text(
        f'{text}[model]\ntask = "classification"\n{source}\n'
        f'[model.prepare]\nquantization = "{quantization}"\n'
        f"{calibration if quantization == 'static-int8' else ''}"
        f'[model.golden]\ndata = "golden.npz"\nmax_drop = 10.0\n'
    )


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose model is a file; locked once, so that each test only adds its model."""
    project = make_project(tmp_path_factory.mktemp("models") / "project", "digits")
    sha256 = write_model(project.folder)
    write_recipe(project, f'[model.file]\npath = "model.onnx"\nsha256 = "{sha256}"', "none")
    project.cli("lock", project.recipe)
    return project


def kinds_in(project: Project, result: dict[str, Any]) -> set[str]:
    data = project.store.read(f"sha256:{result['models'][0]['file_sha256']}")
    return {node.op_type for node in onnx.load_from_string(data).graph.node}


@pytest.mark.parametrize(
    ("quantization", "operator"),
    [
        ("none", "MatMul"),
        ("dynamic-int8", "DynamicQuantizeLinear"),
        ("static-int8", "QuantizeLinear"),
        ("int4-weights", "MatMulNBits"),
    ],
)
def test_each_quantisation_of_a_file(quantization: str, operator: str, scene: Project) -> None:
    source = tomllib.loads(scene.recipe.read_text())["model"]["file"]["sha256"]
    write_recipe(scene, f'[model.file]\npath = "model.onnx"\nsha256 = "{source}"', quantization)
    scene.cli("lock", scene.recipe)
    result = scene.build()
    assert operator in kinds_in(scene, result)
    locked = json.loads(scene.lock.read_bytes())["model"]
    assert locked["float_sha256"] == source
    assert locked["quantized_sha256"] == result["models"][0]["file_sha256"]
    assert bool(locked["ranges"]) == (quantization == "static-int8")
    assert result["models"][0]["accuracy"]["float"] == 100


def test_a_model_that_is_an_artifact_of_another_store(scene: Project, tmp_path: Path) -> None:
    sha256 = write_model(scene.folder)
    write_recipe(scene, f'[model.file]\npath = "model.onnx"\nsha256 = "{sha256}"', "none")
    scene.cli("lock", scene.recipe)
    first = scene.build("--store", tmp_path / "theirs")
    other = Project(tmp_path / "project", "digits")
    shutil.copytree(scene.root, other.root, ignore=shutil.ignore_patterns(".buildkit"))
    digest = first["models"][0]["digest"]
    where = f'[model.artifact]\nstore = "../../../theirs"\ndigest = "{digest}"'
    write_recipe(other, where, "static-int8")
    other.cli("lock", other.recipe)
    result = other.build()
    assert "QuantizeLinear" in kinds_in(other, result)
    locked = json.loads(other.lock.read_bytes())["model"]
    assert locked["artifact"] == digest
    assert locked["float_sha256"] == first["models"][0]["file_sha256"]


def test_updating_one_name_moves_nothing_else(scene: Project) -> None:
    before = scene.lock.read_bytes()
    done = json.loads(scene.cli("lock", scene.recipe, "--update", "numpy", "--json").stdout)
    # The lock is of today, so the newest is what it has.
    assert done["changes"] == []
    assert scene.lock.read_bytes() == before


def test_drift_is_named_by_key(scene: Project) -> None:
    text = scene.recipe.read_text()
    scene.recipe.write_text(text.replace('version = "1.0.0"', 'version = "1.0.1"'))
    found = scene.cli("lock", scene.recipe, "--check", status=1).stdout
    scene.recipe.write_text(text)
    assert "version" in found
    assert "agree" in scene.cli("lock", scene.recipe, "--check").stdout
