from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from smoke import report
from smoke.answers import Checker
from smoke.engine import CPU, Settings
from smoke.errors import SmokeError
from smoke.golden import Golden
from smoke.host import Host
from smoke.placement import parse
from smoke.process import killed_for_memory
from smoke.profiles import PROFILES
from smoke.samples import unpack
from smoke.unknown import Unknown
from smoke_parts import (
    CLASSES,
    INPUTS,
    ROOT,
    SAMPLES,
    command,
    environment,
    pi,
    put_tool,
    smoke,
    write_golden,
    write_model,
)

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEMA = json.loads((ROOT / "docs" / "smoke-report.schema.json").read_bytes())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    work = tmp_path / "work"
    work.mkdir()
    write_model(work / "model.onnx")
    write_golden(work / "golden.npz")
    return work


def read(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "report.json").read_bytes())
    check(document)
    return document


def check(document: dict[str, Any]) -> None:
    """It fits the schema, and exactly what is null has a reason."""
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    assert sorted(nulls(document, "")) == sorted(document["unknown"])


def nulls(tree: Any, pointer: str) -> list[str]:
    if tree is None:
        return [pointer]
    if not isinstance(tree, (dict, list)):
        return []
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    return [
        found
        for key, value in items
        for found in nulls(value, f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}")
    ]


def test_a_good_model(folder: Path) -> None:
    done = smoke(folder, "--nonce", "abc-1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert sorted(path.name for path in folder.iterdir()) == [
        "golden.npz",
        "model.onnx",
        "report.json",
    ]
    document = read(folder)
    assert document["nonce"] == "abc-1"
    (process,) = document["processes"]
    timed = document["accuracy"]["timed"]
    assert timed["correct"] == timed["samples"] == document["latency"]["samples"] >= 200
    golden = {"samples": SAMPLES, "answered": SAMPLES, "correct": SAMPLES}
    assert document["accuracy"]["golden"] == golden
    assert (document["accuracy"]["differing"], document["accuracy"]["not_finite"]) == (0, 0)
    assert document["latency"]["incomplete_windows"] == 0
    for window, summary in zip(process["windows"], document["latency"]["windows"], strict=True):
        latencies, gaps = unpack(window["latency"]), unpack(window["gap"])
        assert len(latencies) == len(gaps) == summary["samples"]
        assert min(latencies) == summary["min_ns"] > 0
        assert window["spent_ns"] >= window["busy_ns"]
        inside = set(range(len(gaps))) - set(window["stretches"])
        assert window["busy_ns"] == sum(latencies) + sum(gaps[place] for place in inside)
    memory = process["memory"]
    assert 0 < memory["baseline"]["rss_bytes"] <= memory["steady"]["peak_rss_bytes"]
    assert document["placement"]["nodes_on_accelerator"] == 0
    assert document["placement"]["providers"][CPU]["operators"] == {"MatMul": 1, "Sigmoid": 1}
    assert document["runtime"]["threads"] == 1
    assert document["runtime"]["providers"]["missing"] == []


def test_wrong_labels_and_a_provider_that_is_not_there(folder: Path) -> None:
    write_golden(folder / "golden.npz", shift=1)
    done = smoke(folder, "--provider", "NoSuchExecutionProvider")
    assert (done.returncode, done.stderr) == (0, "")
    document = read(folder)
    assert document["accuracy"]["timed"]["correct"] == 0
    assert document["accuracy"]["golden"]["correct"] == 0
    assert document["runtime"]["providers"]["missing"] == ["NoSuchExecutionProvider"]
    assert document["placement"]["accelerators_asked"] == ["NoSuchExecutionProvider"]
    assert document["placement"]["session_providers"] == [CPU]
    assert document["placement"]["nodes_on_accelerator"] == 0


def order(folder: Path, root: Path = Path("/")) -> report.Order:
    return report.Order(
        model=folder / "model.onnx",
        golden=folder / "golden.npz",
        profile=replace(PROFILES["quick"], processes=2, windows=1, window_ms=20),
        settings=Settings(threads=1),
        folder=folder,
        root=root,
    )


def test_fresh_processes_on_a_board_that_throttles(folder: Path, tmp_path: Path) -> None:
    root = pi(tmp_path / "board")
    count = root / "count"
    put_tool(
        root,
        "vcgencmd",
        f'[ "$1" = get_throttled ] || exit 1\necho >> {count}\n'
        f"[ $(wc -l < {count}) = 2 ] && echo throttled=0x80008 || echo throttled=0x0",
    )
    write_model(folder / "model.onnx", batch=4)
    document = report.make(order(folder, root))
    check(document)
    assert [window["process"] for window in document["latency"]["windows"]] == [0, 1]
    assert document["model"]["batch"] == 4
    assert document["accuracy"]["golden"]["correct"] == SAMPLES
    assert document["accuracy"]["timed"]["samples"] == 4 * document["latency"]["samples"]
    assert document["board"]["model"] == "Raspberry Pi 5 Model B Rev 1.0"
    assert document["sensors"]["before"]["throttled"] == {"raw": 0, "now": [], "since_boot": []}
    assert document["sensors"]["throttling"] == {
        "live": ["soft_temperature_limit"],
        "new": ["soft_temperature_limit"],
    }
    first = document["processes"][0]["sensors"]
    assert first["throttled"][0] == 0x80008
    assert set(first["temperature_mc"]) == {48300}


def strange_model(path: Path) -> None:
    """Its answers are text."""
    graph = helper.make_graph(
        [helper.make_node("Cast", ["pixels"], ["text"], to=TensorProto.STRING)],
        "strange",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["N", INPUTS])],
        [helper.make_tensor_value_info("text", TensorProto.STRING, ["N", INPUTS])],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)


def greedy_model(path: Path) -> None:
    """One of its tensors has 16 TiB."""
    size = numpy_helper.from_array(np.array([1 << 20, 1 << 22]), "size")
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMax", ["pixels"], ["highest"], keepdims=1),
            helper.make_node("Expand", ["highest", "size"], ["everywhere"]),
            helper.make_node("ReduceMax", ["everywhere"], ["again"], keepdims=0),
            helper.make_node("Add", ["pixels", "again"], ["scores"]),
        ],
        "greedy",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["N", INPUTS])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", INPUTS])],
        [size],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def spoil(folder: Path, **arrays: Any) -> None:
    write_golden(folder / "golden.npz", **arrays)


FAULTS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "no model": ("model: ", lambda at: (at / "model.onnx").unlink()),
    "broken model": (
        "model: model.onnx cannot be loaded: ",
        lambda at: cut(at / "model.onnx", 50),
    ),
    "opset of the future": (
        "model: model.onnx cannot be loaded: ONNX Runtime only *guarantees* support",
        lambda at: write_model(at / "model.onnx", opset=99),
    ),
    "strange answers": (
        "model: the first output is ",
        lambda at: strange_model(at / "model.onnx"),
    ),
    "too much memory": (
        "memory: out of memory: ",
        lambda at: greedy_model(at / "model.onnx"),
    ),
    "no golden": ("golden: ", lambda at: (at / "golden.npz").unlink()),
    "broken golden": (
        "golden: golden.npz cannot be read: ",
        lambda at: cut(at / "golden.npz", 900),
    ),
    "golden for another model": (
        "golden: array 'pixels' is float32[40, 3]",
        lambda at: spoil(at, pixels=np.zeros((SAMPLES, 3), np.float32)),
    ),
    "golden with more": (
        "golden: golden.npz holds ",
        lambda at: spoil(at, other=np.zeros(SAMPLES)),
    ),
    "golden with nan": (
        "golden: array 'pixels' holds values that are not finite",
        lambda at: spoil(at, pixels=np.full((SAMPLES, INPUTS), np.nan, np.float32)),
    ),
    "report is there": ("usage: ", lambda at: (at / "report.json").write_text("old")),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_no_report_but_one_clear_line(folder: Path, fault: str) -> None:
    says, make = FAULTS[fault]
    make(folder)
    refused(folder, says)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--deadline", "0"], "model: the model did not finish before the deadline"),
        (["--threads", "-1"], "usage: "),
        (["--nonce", "a b"], "usage: "),
        (["--prof", "quick"], "usage: "),
    ],
)
def test_options_that_cannot_be(folder: Path, options: list[str], says: str) -> None:
    refused(folder, says, *options)


def refused(folder: Path, says: str, *options: str) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    done = smoke(folder, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"smoke: {says}")
    assert done.stderr.count("\n") == 1
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def workers_of(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z" and int(fields[1]) == parent:
            found.append(int(stat.parent.name))
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_nothing(folder: Path, number: signal.Signals) -> None:
    before = sorted(folder.iterdir())
    with subprocess.Popen(
        command(folder, profile="smoke"), env=environment(), stderr=subprocess.PIPE, text=True
    ) as running:
        until = time.monotonic() + 60
        while not (workers := workers_of(running.pid)) and time.monotonic() < until:
            time.sleep(0.02)
        running.send_signal(number)
        _, said = running.communicate(timeout=120)
    assert workers
    assert running.returncode == 128 + number
    assert said == f"smoke: interrupted: no report; signal {int(number)}\n"
    assert sorted(folder.iterdir()) == before
    assert not Path("/proc", str(workers[0])).exists()


def test_a_killed_worker(folder: Path) -> None:
    with subprocess.Popen(
        command(folder, profile="smoke"), env=environment(), stderr=subprocess.PIPE, text=True
    ) as running:
        until = time.monotonic() + 60
        while not (workers := workers_of(running.pid)) and time.monotonic() < until:
            time.sleep(0.02)
        os.kill(workers[0], signal.SIGKILL)
        _, said = running.communicate(timeout=120)
    assert running.returncode == 2
    # Where the kernel counts such kills it is known that this was none of them.
    kind = "device" if killed_for_memory(Host()) is False else "memory"
    assert said.startswith(f"smoke: {kind}: ")
    assert not (folder / "report.json").exists()


@pytest.mark.parametrize(
    ("events", "wanted"),
    [
        ("low 0\nhigh 0\nmax 9\noom 1\noom_kill 1\noom_group_kill 0", True),
        ("low 0\nhigh 0\nmax 9\noom 0\noom_kill 0", False),
        # The board had no memory left: not the limit's fault.
        ("max 0\noom 0\noom_kill 1", False),
        # Reached, but nothing was killed for it.
        ("max 3\noom 2\noom_kill 0", False),
        ("max 3", None),
        (None, None),
    ],
)
def test_whose_fault_a_kill_is(tmp_path: Path, events: str | None, *, wanted: bool | None) -> None:
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    if events is not None:
        (group / "memory.events").write_text(events + "\n")
    found = killed_for_memory(Host(root=tmp_path))
    assert (None if isinstance(found, Unknown) else found) is wanted


def test_a_disk_without_room(folder: Path) -> None:
    before = sorted(folder.iterdir())
    small = ["sh", "-c", 'ulimit -f 8; exec "$@"', "sh", *command(folder)]
    done = subprocess.run(
        small, env=environment(), capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 2
    assert done.stderr.startswith("smoke: device: ")
    assert sorted(folder.iterdir()) == before


def test_a_report_is_whole_or_not_there(tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    report.write(b"one", out)
    with pytest.raises(SmokeError, match="is there already"):
        report.write(b"two", out)
    with pytest.raises(SmokeError, match=r"^device: .* cannot be written"):
        report.write(b"three", tmp_path / "no" / "report.json")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"one"]


def test_answers_that_change_or_are_not_numbers() -> None:
    feeds = tuple({"pixels": np.zeros((1, 1), np.float32)} for _ in range(3))
    checker = Checker(Golden(feeds=feeds, labels=np.array([0, 1, 1]), batch=1))
    one, other = (np.eye(CLASSES, dtype=np.float32)[place : place + 1] for place in (0, 1))
    checker.take([0, 0, 1], [[one], [other], [other * np.nan]], timed=True)
    found = checker.document()
    assert found["timed"] == {"samples": 3, "correct": 1}
    assert found["golden"] == {"samples": 3, "answered": 2, "correct": 1}
    assert (found["differing"], found["not_finite"]) == (1, 1)
    assert checker.missing() == [2]


def test_nodes_by_provider() -> None:
    def event(name: str, provider: str, operator: str, index: str) -> dict[str, Any]:
        details = {"provider": provider, "op_name": operator, "node_index": index}
        return {"cat": "Node", "name": f"{name}_kernel_time", "dur": 5, "args": details}

    events = [
        {"cat": "Session", "name": "model_run", "dur": 50, "args": {}},
        *[event("conv", "NpuExecutionProvider", "Conv", "0")] * 3,
        event("", CPU, "Softmax", "1"),
        event("", CPU, "Softmax", "2"),
    ]
    found = parse(events)
    assert found["nodes"] == 3
    npu = {"nodes": 1, "operators": {"Conv": 1}, "time_us": 15}
    assert found["providers"]["NpuExecutionProvider"] == npu
    assert found["providers"][CPU] == {"nodes": 2, "operators": {"Softmax": 2}, "time_us": 10}
