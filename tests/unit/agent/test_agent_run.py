"""Whole runs: the agent as a process, fake runtimes, real signatures."""

from __future__ import annotations

import base64
import json
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
from agent.errors import Stopped
from agent.watch import Signals, Watch
from agent_parts import (
    PAYLOAD,
    POLICY,
    Artifacts,
    Device,
    ed25519_key,
    other_p256,
    p256,
    report,
    statement,
    until,
)
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from buildkit.evidence import statement as statements
from buildkit.evidence.dsse import pae

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path)


@pytest.fixture
def ready(device: Device) -> tuple[Device, Artifacts]:
    artifacts = Artifacts()
    device.enroll(p256())
    device.fill(artifacts)
    device.answers(report(artifacts.order, artifacts.onnx))
    return device, artifacts


def is_clean(device: Device) -> bool:
    return not device.containers and not device.runs and device.governor == "ondemand"


@pytest.mark.parametrize("runtime", ["docker", "podman", "crun", "auto"])
def test_a_run_is_signed_and_leaves_nothing(ready: tuple[Device, Artifacts], runtime: str) -> None:
    device, artifacts = ready
    answer = device.ask("run", {**artifacts.order, "runtime": runtime})
    key = device.ask("facts", {})["done"]["key"]
    done = answer["done"]
    assert done["key"] == key["id"]
    public = serialization.load_pem_public_key(key["pem"].encode())
    assert isinstance(public, ec.EllipticCurvePublicKey)
    payload = base64.b64decode(done["payload"])
    signed = pae(PAYLOAD, payload)
    public.verify(base64.b64decode(done["signature"]), signed, ec.ECDSA(hashes.SHA256()))
    parsed = statements.parse(payload, "test")
    assert {each.digest for each in parsed.subjects} == {
        artifacts.order["image"]["manifest"],
        artifacts.order["model"]["manifest"],
    }
    predicate = parsed.predicate
    assert predicate["result"] == "PASSED"
    assert predicate["passedTests"] == ["load", "golden", "steady", "provider", "conditions"]
    run = predicate["run"]
    assert run["nonce"] == "nonce-1"
    assert run["report"] == report(artifacts.order, artifacts.onnx)
    assert run["failure"] is None
    assert run["governor"] == {"before": "ondemand", "during": "performance"}
    assert run["runtime"]["name"] == ("docker" if runtime == "auto" else runtime)
    assert run["limits"] == artifacts.order["limits"]
    assert run["settings"] == artifacts.order["settings"]
    assert statements.parse(payload, "test").payload() == payload
    assert is_clean(device)


@pytest.mark.parametrize("runtime", ["docker", "podman", "crun"])
def test_the_image_is_made_ready_once(ready: tuple[Device, Artifacts], runtime: str) -> None:
    device, artifacts = ready
    order = {**artifacts.order, "runtime": runtime}
    for _ in range(2):
        assert "done" in device.ask("run", order)
    calls = (device.state / "calls").read_text().splitlines()
    # A plain user's go through sudo, which is written down as well.
    made = [call for call in map(json.loads, calls) if {"load", "unpack"} & set(call)]
    assert len([call for call in made if call[0] != "sudo"]) == 1
    assert device.ask("clean", {"blobs": False})["done"]["removed"]["images"] == 1
    assert list((device.data / "images").iterdir()) == []
    assert "done" in device.ask("run", order)


def test_docker_with_the_newer_store_names_images_by_manifest(
    ready: tuple[Device, Artifacts],
) -> None:
    device, artifacts = ready
    device.answers(report(artifacts.order, artifacts.onnx), store="containerd")
    assert statement(device.ask("run", artifacts.order))["predicate"]["result"] == "PASSED"


def test_an_unpacked_image_without_its_mark_is_made_again(
    ready: tuple[Device, Artifacts],
) -> None:
    device, artifacts = ready
    order = {**artifacts.order, "runtime": "crun"}
    device.ask("run", order)
    unpacked = device.data / "images" / f"crun-{artifacts.config[7:]}"
    unpacked.with_name(unpacked.name + ".done").unlink()
    (unpacked / "rootfs/etc/half").touch()
    assert "done" in device.ask("run", order)
    assert not (unpacked / "rootfs/etc/half").exists()


@pytest.mark.parametrize(
    ("modes", "kind", "blame"),
    [
        ({"code": 2, "says": "smoke: model: it cannot be loaded\n"}, "model", "artifact"),
        ({"code": 2, "says": "x\nsmoke: memory: killed\n"}, "memory", "artifact"),
        ({"code": 2, "says": "smoke: device: disk full\n"}, "device", "device"),
        ({"code": 2, "says": "smoke: usage: nonsense\n"}, "usage", "host"),
        ({"code": 137, "oom": True}, "memory", "artifact"),
        ({"code": 137}, "device", "device"),
        ({"code": 1, "oom": True}, "memory", "artifact"),
        ({"code": 139}, "runtime", "artifact"),
        ({"code": 0}, "runtime", "artifact"),
        ({"code": 0, "blanks": 17 << 20}, "runtime", "artifact"),
        (
            {"code": 1, "began": False, "says": "exec /usr/bin/python3: exec format error"},
            "architecture",
            "artifact",
        ),
        (
            {"code": 1, "began": False, "says": "Fatal Python error: init_fs_encoding"},
            "runtime",
            "artifact",
        ),
    ],
)
def test_a_run_that_failed_is_signed(
    ready: tuple[Device, Artifacts], modes: dict[str, Any], kind: str, blame: str
) -> None:
    device, artifacts = ready
    device.answers(None, **modes)
    predicate = statement(device.ask("run", artifacts.order))["predicate"]
    assert predicate["result"] == "FAILED"
    assert predicate["passedTests"] == []
    assert predicate["run"]["report"] is None
    assert (predicate["run"]["failure"]["kind"], predicate["run"]["failure"]["blame"]) == (
        kind,
        blame,
    )
    assert is_clean(device)


@pytest.mark.parametrize("runtime", ["docker", "crun"])
def test_a_run_that_never_ends_is_ended(ready: tuple[Device, Artifacts], runtime: str) -> None:
    device, artifacts = ready
    device.answers(None, sleeps=True)
    settings = {**artifacts.order["settings"], "deadline_s": 1}
    order = {**artifacts.order, "settings": settings, "runtime": runtime}
    predicate = statement(device.ask("run", order))["predicate"]
    assert predicate["run"]["failure"]["kind"] == "deadline"
    assert is_clean(device)


def test_a_runtime_that_does_not_start_it_is_an_error(ready: tuple[Device, Artifacts]) -> None:
    device, artifacts = ready
    device.answers(None, code=125, began=False, says="docker: cgroups are missing")
    error = device.ask("run", artifacts.order)["error"]
    assert (error["kind"], error["blame"]) == ("runtime", "device")
    assert "cgroups are missing" in error["message"]
    assert is_clean(device)


def test_other_names_of_python_are_tried(ready: tuple[Device, Artifacts]) -> None:
    device, artifacts = ready
    good = report(artifacts.order, artifacts.onnx)
    device.answers(good, no_python=["/usr/bin/python3.11", "python3"])
    assert "done" in device.ask("run", artifacts.order)
    device.answers(good, no_python=["python3", "python3.11", "python3.12", "python3.13"])
    predicate = statement(device.ask("run", artifacts.order))["predicate"]
    assert predicate["run"]["failure"]["message"] == "the image has no Python 3"


@pytest.mark.parametrize("field", ["schema", "nonce", "model", "golden"])
def test_a_report_about_something_else_does_not_count(
    ready: tuple[Device, Artifacts], field: str
) -> None:
    device, artifacts = ready
    strange = report(artifacts.order, artifacts.onnx)
    strange[field] = {"sha256": "0" * 64} if field in {"model", "golden"} else "other"
    device.answers(strange)
    run = statement(device.ask("run", artifacts.order))["predicate"]["run"]
    assert run["report"] is None
    assert run["failure"]["kind"] == "runtime"
    assert field in run["failure"]["message"]


@pytest.mark.parametrize("runtime", ["docker", "podman", "crun"])
@pytest.mark.parametrize("end", ["input", "SIGTERM", "SIGHUP", "SIGINT", "SIGKILL"])
def test_whoever_ends_it_the_board_is_clean(
    ready: tuple[Device, Artifacts], end: str, runtime: str
) -> None:
    device, artifacts = ready
    device.answers(None, sleeps=True)
    call = device.start("run", {**artifacts.order, "runtime": runtime})
    until(lambda: device.containers)
    assert device.governor == "performance"
    if end == "SIGKILL":
        call.kill()
    else:
        if end == "input":
            call.hang_up()
        else:
            call.process.send_signal(signal.Signals[end])
        error = call.last()["error"]
        assert (error["kind"], error["blame"]) == ("interrupted", "host")
    until(lambda: is_clean(device))
    device.answers(report(artifacts.order, artifacts.onnx))
    order = {**artifacts.order, "runtime": runtime}
    assert statement(device.ask("run", order))["predicate"]["result"] == "PASSED"


def test_without_a_heartbeat_it_ends() -> None:
    source, host = os.pipe()
    watch = Watch(source, Signals(), seconds=0.2)
    os.write(host, b"\n")
    watch.check()
    time.sleep(0.25)
    with pytest.raises(Stopped, match="no heartbeat"):
        watch.check()
    os.write(host, b"\n")
    watch.check()
    os.close(host)
    with pytest.raises(Stopped, match="end of input"):
        watch.check()
    os.close(source)


def test_one_run_at_a_time(ready: tuple[Device, Artifacts]) -> None:
    device, artifacts = ready
    device.answers(None, sleeps=True)
    call = device.start("run", artifacts.order)
    until(lambda: device.containers)
    assert device.ask("run", artifacts.order)["error"]["kind"] == "busy"
    assert device.ask("clean", {"blobs": False})["error"]["kind"] == "busy"
    # Others do not disturb it.
    assert device.ask("missing", {"blobs": []})["done"] == {"missing": []}
    assert device.ask("facts", {})["done"]["leftovers"] == []
    assert device.containers
    call.hang_up()
    assert call.last()["error"]["kind"] == "interrupted"


def test_a_power_cut_is_put_right_by_the_next_call(ready: tuple[Device, Artifacts]) -> None:
    device, _ = ready
    folder = device.data / "runs" / "0123456789abcdef"
    folder.mkdir(parents=True)
    governor = f"/{POLICY}/scaling_governor"
    record = {
        "run": folder.name,
        "boot_id": "boot-1",
        "runtime": "docker",
        "argv": ["docker"],
        "governors": {governor: "ondemand"},
    }
    (folder / "undo.json").write_text(json.dumps(record))
    # One that was cut off before anything was changed.
    (device.data / "runs" / "ffff").mkdir()
    (device.state / "containers" / f"edge-smoke-{folder.name}").touch()
    (device.data / "images" / ".new-crun-half").mkdir(parents=True)
    device.file(f"{POLICY}/scaling_governor", "performance")
    assert len(device.ask("facts", {})["done"]["leftovers"]) == 2
    assert "done" in device.ask("missing", {"blobs": []})
    assert is_clean(device)
    assert not (device.data / "images" / ".new-crun-half").exists()
    # After a new start of the kernel its governor is not ours to change.
    folder.mkdir()
    (folder / "undo.json").write_text(json.dumps({**record, "boot_id": "boot-0"}))
    device.file(f"{POLICY}/scaling_governor", "powersave")
    device.ask("missing", {"blobs": []})
    assert device.governor == "powersave"
    assert device.runs == []


def test_what_cannot_be_put_right_is_kept_for_later(ready: tuple[Device, Artifacts]) -> None:
    device, _ = ready
    folder = device.data / "runs" / "0123456789abcdef"
    folder.mkdir(parents=True)
    record = {"boot_id": "x", "runtime": "docker", "argv": ["docker"], "governors": {}}
    (folder / "undo.json").write_text(json.dumps(record))
    device.answers(None, stays=True)
    assert "done" in device.ask("missing", {"blobs": []})
    assert device.ask("facts", {})["done"]["leftovers"] == ["run 0123456789abcdef was cut off"]
    device.answers(None)
    assert "done" in device.ask("missing", {"blobs": []})
    assert device.runs == []


def test_a_governor_that_is_not_offered_is_left_alone(ready: tuple[Device, Artifacts]) -> None:
    device, artifacts = ready
    run = statement(device.ask("run", {**artifacts.order, "governor": "schedutil"}))
    assert run["predicate"]["run"]["governor"] == {"before": "ondemand", "during": "ondemand"}
    (device.root / POLICY / "scaling_governor").unlink()
    run = statement(device.ask("run", artifacts.order))
    assert run["predicate"]["run"]["governor"] == {"before": None, "during": None}


def test_nothing_runs_that_is_refused(ready: tuple[Device, Artifacts]) -> None:
    device, artifacts = ready
    device.blob(artifacts.layer).write_bytes(b"tampered")
    error = device.ask("run", artifacts.order)["error"]
    assert (error["kind"], error["blame"]) == ("refused", "artifact")
    assert artifacts.layer in error["message"]
    calls = (device.state / "calls").read_text() if (device.state / "calls").exists() else ""
    assert '"run"' not in calls
    # It is not kept: the host brings it again.
    asked = {"digest": artifacts.layer, "size": 5000}
    answer = device.ask("missing", {"blobs": [asked]})["done"]
    assert answer == {"missing": [{**asked, "have": 0}]}


def test_signatures_of_both_kinds_count_and_those_of_strangers_do_not(device: Device) -> None:
    device.enroll(p256(), ed25519_key())
    for signer, result in ((ed25519_key(), "done"), (other_p256(), "error")):
        artifacts = Artifacts(signer)
        device.fill(artifacts)
        device.answers(report(artifacts.order, artifacts.onnx))
        answer = device.ask("run", artifacts.order)
        assert result in answer
    assert "trusted" in answer["error"]["message"]


def test_a_device_that_is_not_enrolled_runs_nothing(device: Device) -> None:
    artifacts = Artifacts()
    device.fill(artifacts)
    error = device.ask("run", artifacts.order)["error"]
    assert error["kind"] == "device"
    assert "not enrolled" in error["message"]


@pytest.mark.parametrize(
    ("modes", "kind"),
    [({"load_fails": "no space left on device"}, "disk"), ({"load_fails": "bad"}, "runtime")],
)
def test_an_image_that_cannot_be_loaded(
    ready: tuple[Device, Artifacts], modes: dict[str, Any], kind: str
) -> None:
    device, artifacts = ready
    device.answers(None, **modes)
    assert device.ask("run", artifacts.order)["error"]["kind"] == kind
    assert is_clean(device)


def test_without_a_memory_controller_no_runtime_is_usable(
    ready: tuple[Device, Artifacts],
) -> None:
    device, artifacts = ready
    device.file("sys/fs/cgroup/cgroup.controllers", "cpu pids\n")
    error = device.ask("run", artifacts.order)["error"]
    assert error["kind"] == "runtime"
    assert "cgroup_enable=memory" in error["message"]


def test_a_program_that_may_still_make_the_container_is_waited_for(
    ready: tuple[Device, Artifacts],
) -> None:
    device, _ = ready
    folder = device.data / "runs" / "0123456789abcdef"
    folder.mkdir(parents=True)
    record = {"boot_id": "x", "runtime": "crun", "argv": ["sudo", "-n", "crun"], "governors": {}}
    (folder / "undo.json").write_text(json.dumps(record))
    # As root, so it can neither be killed nor hold a pipe of ours.
    device.file("proc/77/cmdline", f"crun\0run\0edge-smoke-{folder.name}\0")
    assert "done" in device.ask("missing", {"blobs": []})
    assert device.runs == [folder.name]
    (device.root / "proc/77/cmdline").unlink()
    assert "done" in device.ask("missing", {"blobs": []})
    assert device.runs == []
