"""Import, optimise, quantise and check, as functions and as processes."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from prepare_graphs import Array, cnn, encoder, floats, images, model, save

from buildkit.model import prepare
from buildkit.model.prepare import importing, quantise, signature
from buildkit.model.prepare.calibrate import calibrate
from buildkit.model.prepare.check import check, percent
from buildkit.model.prepare.cli import main
from buildkit.model.prepare.errors import BadInputError
from buildkit.model.prepare.fold import fold
from buildkit.model.prepare.optimise import optimise
from buildkit.model.prepare.settings import Settings
from buildkit.run import run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SETTINGS = Settings()
# As far as one machine can play another: numpy's and OpenBLAS's kernels for an old processor.
OTHER_KERNELS = (
    {"OPENBLAS_CORETYPE": "Prescott", "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4"}
    if platform.machine() == "x86_64"
    else {}
)
HOME = Path(prepare.__file__).parents[1]


def answers(made: onnx.ModelProto, feed: dict[str, Array]) -> Array:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        made.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found: Array = session.run(None, feed)[0]
    return found


def kinds(made: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in made.graph.node]


def last_error(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    said = capsys.readouterr()
    assert said.out == ""
    found: dict[str, str] = json.loads(said.err.splitlines()[-1])
    assert sorted(found) == ["error", "remedy"]
    return found


# --- import


def test_import_keeps_the_bytes_and_writes_the_signature(tmp_path: Path) -> None:
    source = save(tmp_path / "in.onnx", cnn())
    importing.run(source, tmp_path / "out")
    assert (tmp_path / "out/model.onnx").read_bytes() == source.read_bytes()
    assert json.loads((tmp_path / "out/signature.json").read_bytes()) == {
        "inputs": [{"name": "x", "dtype": "float32", "shape": ["N", 2, 8, 8]}],
        "outputs": [{"name": "y", "dtype": "float32", "shape": ["N", 4]}],
        "opset": 17,
        "domains": {},
        "ir_version": 8,
        "producer": {"name": "tests", "version": ""},
        "parameters": 6 * 18 + 4 * 6 + 54 + 6 + 2 + 24 + 4,
    }


def external() -> onnx.ModelProto:
    made = cnn()
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    return made


def newer() -> onnx.ModelProto:
    made = cnn()
    made.opset_import[0].version = 99
    return made


def nameless() -> onnx.ModelProto:
    made = cnn()
    del made.graph.output[:]
    return made


def for_one_cpu() -> onnx.ModelProto:
    node = helper.make_node("Conv", ["x", "w"], ["y"], domain="com.microsoft.nchwc")
    return model([node], {"x": [1, 8, 4, 4]}, {"y": [1, 8, 4, 4]}, {"w": floats(1, 8, 8, 1, 1)})


def custom() -> onnx.ModelProto:
    return model([helper.make_node("Mine", ["x"], ["y"], domain="my")], {"x": [1]}, {"y": [1]}, {})


def broken() -> onnx.ModelProto:
    return model([helper.make_node("Relu", ["nowhere"], ["y"])], {"x": [1]}, {"y": [1]}, {})


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (external, "keeps tensor 'w1' in another file"),
        (newer, "needs opset 99"),
        (nameless, "no outputs|not valid ONNX"),
        (for_one_cpu, "made for one CPU only"),
        (custom, "cannot load the model"),
        (broken, "not valid ONNX"),
        (lambda: model([], {"x": [1]}, {"x": [1]}, {}), "no nodes"),
    ],
)
def test_import_refuses(build: Callable[[], onnx.ModelProto], message: str) -> None:
    with pytest.raises(BadInputError, match=message) as caught:
        importing.check(build())
    assert caught.value.remedy


@pytest.mark.parametrize("content", [b"", b"hello", b"\x08\x08", b"PK\x03\x04"])
def test_import_refuses_what_is_no_model(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.onnx").write_bytes(content)
    words = ["import", "--model", str(tmp_path / "in.onnx"), "--out", str(tmp_path / "out")]
    assert main(words) == 3
    assert "not an ONNX model" in last_error(capsys)["error"]
    assert not (tmp_path / "out").exists()


# --- optimise


def test_basic_fusion_merges_normalisation_and_keeps_the_answers() -> None:
    made = optimise(cnn(), SETTINGS)
    assert "BatchNormalization" not in kinds(made)
    assert kinds(made).count("Conv") == 2
    assert {v.name for v in made.graph.value_info} >= {"f", "g"}
    x = {"x": floats(9, 4, 2, 8, 8)}
    assert answers(made, x) == pytest.approx(answers(cnn(), x), rel=1e-4, abs=1e-5)


def test_merged_weights_are_rounded_once() -> None:
    made = fold(cnn())
    tensors = {t.name: numpy_helper.to_array(t) for t in made.graph.initializer}
    before = {t.name: numpy_helper.to_array(t) for t in cnn().graph.initializer}
    factor = before["s"].astype(float) / np.sqrt(
        before["v"].astype(float) + float(np.float32(1e-5))
    )
    weight = (before["w1"] * factor.reshape(-1, 1, 1, 1)).astype(np.float32)
    assert (tensors["n1.weight"] == weight).all()


def test_constants_are_folded() -> None:
    made = model(
        [
            helper.make_node("Shape", ["w"], ["s"]),
            helper.make_node("Gather", ["s", "i"], ["one"]),
            helper.make_node("Concat", ["minus", "one"], ["to"], axis=0),
            helper.make_node("Mul", ["w", "two"], ["w2"]),
            helper.make_node("MatMul", ["x", "w2"], ["p"]),
            helper.make_node("Reshape", ["p", "to"], ["y"]),
        ],
        {"x": ["N", 3]},
        {"y": ["N", 4]},
        {
            "w": floats(1, 3, 4),
            "i": np.array([1]),
            "minus": np.array([-1]),
            "two": np.array(2, np.float32),
        },
    )
    folded = fold(made)
    assert kinds(folded) == ["MatMul", "Reshape"]
    tensors = {t.name: numpy_helper.to_array(t) for t in folded.graph.initializer}
    assert tensors["to"].tolist() == [-1, 4]
    assert (tensors["w2"] == floats(1, 3, 4) * 2).all()


def test_a_convolution_with_another_reader_is_not_merged() -> None:
    made = cnn()
    made.graph.output.append(helper.make_tensor_value_info("c1", TensorProto.FLOAT, None))
    assert "BatchNormalization" in kinds(fold(made))


@pytest.mark.parametrize("op", ["Mul", "Add"])
def test_scaling_after_a_convolution_is_merged(op: str) -> None:
    made = model(
        [
            helper.make_node("Conv", ["x", "w"], ["c"]),
            helper.make_node(op, ["c", "k"], ["y"]),
        ],
        {"x": ["N", 2, 8, 8]},
        {"y": ["N", 3, 6, 6]},
        {"w": floats(1, 3, 2, 3, 3), "k": floats(2, 3, 1, 1)},
    )
    assert kinds(fold(made)) == ["Conv"]
    x = {"x": floats(9, 2, 2, 8, 8)}
    assert answers(fold(made), x) == pytest.approx(answers(made, x), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("fusion", ["none", "basic", "extended"])
@pytest.mark.parametrize("build", [cnn, encoder])
def test_each_fusion_can_be_calibrated_and_quantised(
    tmp_path: Path, fusion: str, build: Callable[[], onnx.ModelProto]
) -> None:
    made = build()
    settings = dataclasses.replace(SETTINGS, fusion=fusion)
    name = made.graph.input[0].name
    whole = np.random.default_rng(4).integers(0, 11, size=(12, 6))
    values: Array = floats(3, 12, 2, 8, 8) if name == "x" else whole
    np.savez(tmp_path / "d.npz", **{name: values})  # type: ignore[arg-type]
    ready = optimise(made, settings)
    assert ready.SerializeToString() == optimise(made, settings).SerializeToString()
    found = calibrate(ready, tmp_path / "d.npz", None)
    assert found["way"] == "exact", found["reason"]
    content, report = quantise.quantise(ready, settings, quantise.read_ranges(found))
    work = "Conv" if name == "x" else "MatMul"
    assert report["quantized_nodes"][work] == kinds(ready).count(work)
    plain, small = (
        answers(made, {name: values}),
        answers(onnx.load_from_string(content), {name: values}),
    )
    assert np.abs(plain - small).max() < 0.15 * np.abs(plain).max()


def test_extended_fusion_makes_fused_operators() -> None:
    made = optimise(encoder(), dataclasses.replace(SETTINGS, fusion="extended"))
    assert {"BiasGelu", "Gelu", "SkipLayerNormalization"} & set(kinds(made))


def test_stack_traces_of_exporters_are_dropped() -> None:
    made = cnn()
    made.graph.node[0].doc_string = 'File "/home/someone/train.py"'
    made.graph.node[0].metadata_props.add(key="trace", value="/home/someone")
    for fusion in ("none", "basic"):
        ready = optimise(made, dataclasses.replace(SETTINGS, fusion=fusion))
        assert b"someone" not in ready.SerializeToString()


def half() -> onnx.ModelProto:
    made = cnn()
    weight = numpy_helper.to_array(made.graph.initializer[0]).astype(np.float16)
    made.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "w1"))
    return made


def already_quantised() -> onnx.ModelProto:
    content, _ = quantise.quantise(
        encoder(), dataclasses.replace(SETTINGS, quantization="int4-weights"), None
    )
    return onnx.load_from_string(content)


@pytest.mark.parametrize(
    ("build", "message"),
    [(half, "w1 holds 16-bit floats"), (already_quantised, "already quantised")],
)
def test_fusion_that_depends_on_the_cpu_is_refused(
    build: Callable[[], onnx.ModelProto], message: str
) -> None:
    with pytest.raises(BadInputError, match=message):
        optimise(build(), SETTINGS)
    with pytest.raises(BadInputError, match=message):
        quantise.quantise(build(), dataclasses.replace(SETTINGS, quantization="dynamic-int8"), None)


# --- quantise


def quantised(
    made: onnx.ModelProto, ranges: dict[str, Any] | None = None, **changes: Any
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    settings = dataclasses.replace(SETTINGS, **changes)
    found = None if ranges is None else quantise.read_ranges(ranges)
    content, report = quantise.quantise(optimise(made, settings), settings, found)
    return onnx.load_from_string(content), report


def test_static_weights_are_seven_bits_per_channel(tmp_path: Path) -> None:
    ready = optimise(cnn(), SETTINGS)
    ranges = calibrate(ready, images(tmp_path / "d.npz"), None)
    made, report = quantised(cnn(), ranges)
    tensors = {t.name: numpy_helper.to_array(t) for t in made.graph.initializer}
    weight = tensors["n1.weight_quantized"]
    assert weight.dtype == np.int8
    assert np.abs(weight).max() <= 64
    assert tensors["n1.weight_scale"].shape == (6,)
    low, high = (min(ranges["ranges"]["x"][0], 0), max(ranges["ranges"]["x"][1], 0))
    assert tensors["x_scale"] == np.float32((high - low) / 255)
    assert report["warnings"] == []
    assert report["float"]["size"] > 0
    assert quantised(cnn(), ranges, per_channel=False)[1]["quantized"] != report["quantized"]
    wide = quantised(cnn(), ranges, reduce_range=False)[1]
    assert "VNNI" in wide["warnings"][0]


def test_ranges_as_text_give_the_same_file(tmp_path: Path) -> None:
    ready = optimise(cnn(), SETTINGS)
    found = calibrate(ready, images(tmp_path / "d.npz"), None)
    text = {"ranges": {n: [repr(v) for v in ends] for n, ends in found["ranges"].items()}}
    assert quantised(cnn(), text)[1] == quantised(cnn(), found)[1]


def test_dynamic_on_convolutions_warns() -> None:
    _, report = quantised(cnn(), quantization="dynamic-int8")
    assert "2 convolutions" in report["warnings"][0]
    assert report["quantized_nodes"]["ConvInteger"] == 2
    _, report = quantised(encoder(), quantization="dynamic-int8")
    assert report["warnings"] == []
    assert report["quantized_nodes"] == {"MatMulInteger": 11}


def test_int4_blocks_hold_the_weights() -> None:
    made, report = quantised(encoder(), quantization="int4-weights", block_size=16)
    assert report["quantized_nodes"] == {"MatMulNBits": 11}
    node = next(n for n in made.graph.node if n.op_type == "MatMulNBits")
    assert helper.get_node_attr_value(node, "block_size") == 16
    ids = {"ids": np.random.default_rng(4).integers(0, 11, size=(12, 6))}
    assert answers(made, ids) == pytest.approx(answers(encoder(), ids), abs=2.0)


def test_none_gives_the_prepared_model() -> None:
    made, report = quantised(cnn(), quantization="none")
    assert made == optimise(cnn(), SETTINGS)
    assert report["quantized_nodes"] == {}
    assert report["float"] == report["quantized"]


def no_work() -> onnx.ModelProto:
    return model([helper.make_node("Sin", ["x"], ["y"])], {"x": ["N", 2]}, {"y": ["N", 2]}, {})


@pytest.mark.parametrize("how", ["static-int8", "dynamic-int8", "int4-weights"])
def test_nothing_to_quantise_is_refused(how: str) -> None:
    with pytest.raises(BadInputError, match=f"no node that {how} can quantise"):
        quantised(no_work(), {"ranges": {"x": [0, 1], "y": [0, 1]}}, quantization=how)


def test_static_needs_ranges() -> None:
    with pytest.raises(BadInputError, match="needs the ranges"):
        quantised(cnn())


@pytest.mark.parametrize(
    "ends", [[0.1, 1], [1, 0], [0], [0, 1, 2], ["a", 1], [True, 1], [0, 1e39], "01", [0, "inf"]]
)
def test_ranges_that_are_not_two_float32_in_order_are_refused(ends: Any) -> None:
    with pytest.raises(BadInputError, match="the range of tensor 't' is not"):
        quantise.read_ranges({"ranges": {"t": ends}})


def test_missing_ranges_are_refused() -> None:
    with pytest.raises(BadInputError, match="no object `ranges`"):
        quantise.read_ranges({})


# --- check


@pytest.mark.parametrize(
    ("part", "whole", "expected"), [(1, 3, 33.3333), (2, 3, 66.6667), (-1, 8, -12.5), (7, 7, 100.0)]
)
def test_percentages_are_rounded_exactly(part: int, whole: int, expected: float) -> None:
    assert percent(part, whole) == expected


def test_check_counts(tmp_path: Path) -> None:
    x = floats(50, 12, 2, 8, 8)
    right = answers(cnn(), {"x": x}).argmax(1)
    labels = right.copy()
    labels[:3] = (labels[:3] + 1) % 4
    golden = images(tmp_path / "g.npz", labels=labels)
    ranges = calibrate(optimise(cnn(), SETTINGS), golden, None)
    small, _ = quantised(cnn(), ranges)
    accuracy, logits = check(cnn(), small, golden)
    agreed = int((answers(small, {"x": x}).argmax(1) == right).sum())
    assert accuracy["samples"] == 12
    assert accuracy["correct"]["float"] == 9
    assert accuracy["float"] == 75.0
    assert accuracy["agreement"] == percent(agreed, 12)
    assert accuracy["drop"] == percent(9 - accuracy["correct"]["quantised"], 12)
    for batch in (1, 5):
        assert check(cnn(), small, golden, batch=batch)[0] == accuracy
    again = check(cnn(), small, golden)
    assert again == (accuracy, logits)


def test_a_label_beyond_the_classes_is_refused(tmp_path: Path) -> None:
    golden = images(tmp_path / "g.npz", labels=np.full(12, 4))
    with pytest.raises(BadInputError, match="'label' holds 4, the model has 4 classes"):
        check(cnn(), cnn(), golden)


def test_models_with_other_inputs_are_refused(tmp_path: Path) -> None:
    golden = images(tmp_path / "g.npz", labels=np.zeros(12, np.int64))
    with pytest.raises(BadInputError, match="different inputs"):
        check(cnn(), encoder(), golden)


def test_outputs_that_are_no_scores_are_refused(tmp_path: Path) -> None:
    made = model(
        [helper.make_node("ReduceMean", ["x"], ["y"], axes=[1, 2, 3], keepdims=0)],
        {"x": ["N", 2, 8, 8]},
        {"y": ["N"]},
        {},
    )
    golden = images(tmp_path / "g.npz", labels=np.zeros(12, np.int64))
    with pytest.raises(BadInputError, match="the first output is float32"):
        check(made, made, golden)


# --- as processes


def stages(folder: Path, out: Path, environment: dict[str, str]) -> dict[str, bytes]:
    """All stages in a clean process each; the bytes of every file that they wrote."""
    settings = folder / "settings.json"
    settings.write_text("{}")
    path = {name: str(out / name) for name in ("float", "ready", "ranges", "small", "answer")}
    data = str(folder / "d.npz")
    words: list[Sequence[str]] = [
        ["import", "--model", str(folder / "in.onnx"), "--out", path["float"]],
        ["optimise", "--model", path["float"] + "/model.onnx", "--out", path["ready"]],
        ["calibrate", "--model", path["ready"] + "/prepared.onnx", "--data", data,
         "--out", path["ranges"]],
        ["quantise", "--model", path["ready"] + "/prepared.onnx", "--out", path["small"],
         "--ranges", path["ranges"] + "/ranges.json"],
        ["check", "--float", path["float"] + "/model.onnx", "--data", data,
         "--quantised", path["small"] + "/model.onnx", "--out", path["answer"]],
    ]  # fmt: skip
    for each in words:
        extra = [] if each[0] in ("import", "check") else ["--settings", str(settings)]
        argv = [sys.executable, "-m", "prepare", *each, *extra]
        said = run(argv, env={"PYTHONPATH": str(HOME), **environment}, deadline=60)
        assert (said.text, said.stderr) == ("", "")
    return {
        str(file.relative_to(out)): file.read_bytes()
        for file in sorted(out.rglob("*"))
        if file.is_file()
    }


def test_stages_write_the_same_bytes_whatever_the_surroundings(tmp_path: Path) -> None:
    save(tmp_path / "in.onnx", cnn())
    images(tmp_path / "d.npz", labels=np.arange(12) % 4)
    first = stages(tmp_path, tmp_path / "a", {"PYTHONHASHSEED": "0"})
    before = os.umask(0o077)
    try:
        second = stages(
            tmp_path,
            tmp_path / "b",
            {
                "PYTHONHASHSEED": "4711",
                "OMP_NUM_THREADS": "7",
                "OPENBLAS_NUM_THREADS": "7",
                "LC_ALL": "C",
                "TZ": "Asia/Tokyo",
                **OTHER_KERNELS,
            },
        )
    finally:
        os.umask(before)
    assert first == second
    assert sorted(first) == [
        "answer/accuracy.json",
        "answer/logits.json",
        "float/model.onnx",
        "float/signature.json",
        "ranges/ranges.json",
        "ready/prepared.onnx",
        "small/model.onnx",
        "small/report.json",
    ]
    modes = {stat.S_IMODE((tmp_path / "b" / name).stat().st_mode) for name in second}
    assert modes == {0o644}


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import prepare.cli, sys; sys.exit(bool({'numpy', 'onnx', 'onnxruntime'} & {*sys.modules}))"
    )
    run([sys.executable, "-c", code], env={"PYTHONPATH": str(HOME)})


def test_a_missing_file_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "--model", str(tmp_path / "no"), "--out", str(tmp_path)]) == 3
    assert last_error(capsys)["error"].startswith("the model cannot be read")


def test_what_cannot_be_written_is_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = save(tmp_path / "in.onnx", cnn())
    (tmp_path / "out").write_text("a file")
    assert main(["import", "--model", str(source), "--out", str(tmp_path / "out")]) == 1
    assert last_error(capsys)["remedy"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.onnx", "out"]


def test_wrong_usage_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["quantise"])
    assert caught.value.code == 2
    assert "--model" in capsys.readouterr().err


def test_signature_of_strange_shapes() -> None:
    made = model([helper.make_node("Relu", ["x"], ["y"])], {"x": ["N", 3]}, {"y": ["N", 3]}, {})
    made.graph.input[0].type.tensor_type.shape.dim[0].ClearField("value")
    made.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    assert signature.of(made).inputs[0].shape == ("?", 3)
    assert signature.document(made)["outputs"][0]["dtype"] == "int64"
