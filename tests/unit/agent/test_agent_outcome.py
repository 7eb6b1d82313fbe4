"""What is made of a report, and what runs in the container."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from agent import container, crun, engine, outcome
from agent import order as orders
from agent.container import Found, Job, Mount, Node
from agent.verify import MANIFEST, Descriptor, Plan
from agent_parts import HOME, Artifacts, report
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Mapping

DIGEST = "sha256:" + "0" * 64
CHANGES: list[tuple[list[Any], Any, str]] = [
    (["latency", "samples"], 0, "load"),
    (["accuracy", "golden", "answered"], 9, "golden"),
    (["accuracy", "golden"], {"samples": 0, "answered": 0, "correct": 0}, "golden"),
    (["accuracy", "not_finite"], 1, "golden"),
    (["accuracy", "differing"], 1, "steady"),
    (["runtime", "providers", "missing"], ["X"], "provider"),
    (["runtime", "providers", "asked"], ["X"], "provider"),
    (["placement", "providers", "CPUExecutionProvider", "nodes"], 0, "provider"),
    (["sensors", "throttling", "live"], ["throttled"], "conditions"),
    (["sensors", "throttling", "new"], ["throttled"], "conditions"),
    (["sensors", "throttling", "live"], None, "conditions"),
    (["clock", "jumps"], [{}], "conditions"),
    (["processes", 0, "clock", "jumps"], [{}], "conditions"),
    (["latency", "incomplete_windows"], 1, "conditions"),
]


def good() -> dict[str, Any]:
    artifacts = Artifacts()
    return report(artifacts.order, artifacts.onnx)


@pytest.mark.parametrize(("path", "value", "test"), CHANGES)
def test_one_thing_that_does_not_hold(path: list[Any], value: Any, test: str) -> None:
    document = good()
    assert outcome.tests(document).result == "PASSED"
    inner: Any = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    found = outcome.tests(document)
    if test == "conditions":
        assert (found.result, found.warned, found.failed) == ("WARNED", (test,), ())
    else:
        assert (found.result, found.failed) == ("FAILED", (test,))
    assert len({*found.passed, *found.warned, *found.failed}) == len(outcome.TESTS)


def test_an_accelerator_has_to_run_nodes_and_the_cpu_need_not() -> None:
    document = good()
    document["runtime"]["providers"]["asked"] = ["X", "CPUExecutionProvider"]
    assert outcome.tests(document).failed == ("provider",)
    document["placement"]["providers"] = {"X": {"nodes": 1}}
    assert outcome.tests(document).result == "PASSED"


def test_all_that_is_read_stands_in_the_schema() -> None:
    schema = json.loads((HOME.parent / "docs" / "smoke-report.schema.json").read_bytes())
    names: set[str] = set()

    def walk(part: Any) -> None:
        if isinstance(part, dict):
            names.update(part.get("properties", {}))
            for inner in part.values():
                walk(inner)
        elif isinstance(part, list):
            for inner in part:
                walk(inner)

    walk(schema)

    def keys(part: Any) -> set[str]:
        if isinstance(part, list):
            return set().union(*map(keys, part)) if part else set()
        if not isinstance(part, dict):
            return set()
        return set(part) | {key for inner in part.values() for key in keys(inner)}

    assert keys(good()) - names == {"CPUExecutionProvider"}
    assert schema["properties"]["schema"]["const"] == outcome.SCHEMA


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda x: st.dictionaries(
            st.sampled_from(["latency", "accuracy", "golden", "runtime", "samples"]), x
        ),
    )
)
def test_no_report_breaks_the_judge(document: Any) -> None:
    from agent.programs import Ended

    order = orders.parse(Artifacts().order)
    out = container.BEGAN + json.dumps(document).encode()
    found = outcome.judge(Ended(code=0, out=out, err=""), order, DIGEST, oom=None)
    assert found.failure is not None
    assert found.report is None


@pytest.mark.parametrize(("oom", "kind"), [(True, "memory"), (None, "memory"), (False, "device")])
def test_whose_fault_a_kill_is(oom: bool | None, kind: str) -> None:  # noqa: FBT001 - of a table
    from agent.programs import Ended

    order = orders.parse(Artifacts().order)
    ended = Ended(code=137, out=container.BEGAN, err="")
    found = outcome.judge(ended, order, DIGEST, oom=oom).failure
    assert found is not None
    assert found.kind == kind


@pytest.mark.parametrize(
    ("events", "wanted"),
    [
        ("low 0\noom 1\noom_kill 1\n", True),
        ("low 0\noom 0\noom_kill 1\n", False),
        ("low 0\noom 2\noom_kill 0\n", False),
        ("low 0\n", None),
        ("nonsense\n", None),
        (None, None),
    ],
)
def test_what_the_kernel_says_of_memory(
    tmp_path: Path,
    events: str | None,
    wanted: bool | None,  # noqa: FBT001 - of a table
) -> None:
    if events is not None:
        (tmp_path / "memory.events").write_text(events)
    assert crun.ran_out(tmp_path) is wanted


def test_the_report_comes_out_of_the_container_alone(tmp_path: Path) -> None:
    # In the place of the harness: it prints, as libraries do, and writes a report.
    package = tmp_path / "smoke"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(
        "import os, sys\n"
        "print('noise'); os.write(1, b'more noise'); sys.stdout.flush()\n"
        "name = next(a for a in sys.argv if a.startswith('--out=')).partition('=')[2]\n"
        "open(name, 'w').write('{}')\n"
        "sys.exit(int(os.environ.get('CODE', '0')))\n"
    )
    order = orders.parse(Artifacts().order)
    place = str(tmp_path / "report.json")
    words = [
        word.replace(f"{container.SCRATCH}/report.json", place)
        for word in container.arguments(order)
    ]
    for code, written in ((0, b"began\n{}"), (2, b"began\n")):
        ended = subprocess.run(
            [sys.executable, *words],
            cwd=tmp_path,
            env={"PYTHONPATH": str(tmp_path), "CODE": str(code)},
            capture_output=True,
            check=False,
        )
        assert (ended.returncode, ended.stdout) == (code, written)
        assert b"noise" in ended.stderr


def test_values_of_an_order_are_never_options() -> None:
    artifacts = Artifacts()
    artifacts.order["nonce"] = "--out=/x"
    words = container.arguments(orders.parse(artifacts.order))
    assert "--nonce=--out=/x" in words
    assert all(word.startswith("--") and "=" in word for word in words[2:])


def test_the_images_own_python_path_stays_behind_ours() -> None:
    assert container.variables({})["PYTHONPATH"] == "/opt/edge-smoke/smoke.zip"
    found = container.variables({"Env": ["PYTHONPATH=/app", "broken"]})
    assert found["PYTHONPATH"] == "/opt/edge-smoke/smoke.zip:/app"


@pytest.mark.parametrize(
    ("settings", "first"),
    [
        ({"Entrypoint": ["/usr/bin/python3.11", "/app/main.py"]}, "/usr/bin/python3.11"),
        ({"Cmd": ["python3", "x"]}, "python3"),
        ({"Entrypoint": ["/bin/sh", "-c", "python3 x"], "Cmd": None}, "python3"),
        ({}, "python3"),
    ],
)
def test_where_python_may_be(settings: Mapping[str, Any], first: str) -> None:
    found = container.pythons(settings)
    assert found[0] == first
    assert len(set(found)) == len(found) >= 4


def job(folder: Path, **changes: Any) -> Job:
    descriptor = Descriptor(DIGEST, 1, MANIFEST, {})
    plan = Plan(
        manifest=descriptor,
        config=descriptor,
        layers=(),
        settings={"Env": ["PATH=/x", "A=b=c"]},
        model=DIGEST,
        signers=(),
    )
    values: dict[str, Any] = {
        "name": "edge-smoke-1",
        "folder": folder,
        "plan": plan,
        "arguments": ("-c", "code"),
        "variables": {"PYTHONPATH": "/opt/edge-smoke/smoke.zip"},
        "mounts": (Mount("/a,b", "/opt/edge-smoke/model.onnx"),),
        "nodes": (Node("/dev/hailo0", 511, 0, 44),),
        "memory_bytes": 1 << 30,
        "cpus": 2,
        "pids": 100,
        "seconds": 60,
    }
    return Job(**{**values, **changes})


def test_what_docker_is_told(tmp_path: Path) -> None:
    from agent.programs import Programs

    found = Found(name="docker", version="24", argv=("sudo", "-n", "docker"), why="")
    docker = engine.Engine(found, Programs(), None, None)  # type: ignore[arg-type]
    words = docker.command(job(tmp_path), "python3")
    assert words[:4] == ["sudo", "-n", "docker", "run"]
    for wanted in (
        *("--network=none", "--read-only", "--cap-drop=all", "--pull=never"),
        *("--security-opt=no-new-privileges", "--pids-limit=100", "--cpus=2"),
        *(f"--memory={1 << 30}", f"--memory-swap={1 << 30}", "--device=/dev/hailo0"),
        *("--group-add=44", "--entrypoint=python3", "--name=edge-smoke-1"),
        '--mount=type=bind,"source=/a,b",target=/opt/edge-smoke/model.onnx,readonly',
    ):
        assert wanted in words
    assert words[-2:] == ["-c", "code"]
    assert not any(word.startswith("--cpus") for word in docker.command(job(tmp_path, cpus=0), "p"))


@given(st.text(st.characters(exclude_characters="\0\r\n", codec="utf-8"), min_size=1))
def test_no_path_is_taken_for_an_option_of_a_mount(path: str) -> None:
    (fields,) = csv.reader([engine.mount_option(path, "/x")])
    assert fields == ["type=bind", f"source={path}", "target=/x", "readonly"]


def test_what_crun_is_told(tmp_path: Path) -> None:
    user = {"uid": 65532, "gid": 65532}
    document = crun.config(job(tmp_path), Path("/images/rootfs"), "python3", user)
    process, linux = document["process"], document["linux"]
    assert process["args"] == ["python3", "-c", "code"]
    assert process["env"] == ["PATH=/x", "A=b=c", "PYTHONPATH=/opt/edge-smoke/smoke.zip"]
    assert process["user"] == {**user, "additionalGids": [44]}
    assert process["noNewPrivileges"] is True
    assert process["capabilities"] == {}
    assert document["root"] == {"path": "/images/rootfs", "readonly": True}
    assert {"type": "network"} in linux["namespaces"]
    assert linux["resources"]["memory"]["limit"] == 1 << 30
    assert linux["resources"]["pids"] == {"limit": 100}
    assert linux["resources"]["cpu"] == {"quota": 200_000, "period": 100_000}
    assert linux["resources"]["devices"][0] == {"allow": False, "access": "rwm"}
    for mount in document["mounts"]:
        writable = mount["type"] in {"tmpfs", "proc", "devpts"}
        assert writable or "ro" in mount["options"], mount
    assert (
        "cpu" not in crun.config(job(tmp_path, cpus=0), Path("/x"), "p", user)["linux"]["resources"]
    )


def test_swap_is_limited_where_the_kernel_can(tmp_path: Path) -> None:
    assert not crun.swap_accounted(tmp_path)
    (tmp_path / "init.scope").mkdir()
    assert not crun.swap_accounted(tmp_path)
    (tmp_path / "init.scope/memory.swap.max").touch()
    assert crun.swap_accounted(tmp_path)
