"""The image under test in the engine on this machine: how it runs, how it ends, what it leaves."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from docker import errors
from onnx import TensorProto, helper, numpy_helper
from real_project import ROOT

from buildkit import digests, media
from buildkit.engine import local

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from docker.models.containers import Container
    from real_project import Docker, Project

    from buildkit.engine import Engine
    from buildkit.records import Descriptor
    from buildkit.store import Store

pytestmark = [pytest.mark.nix, pytest.mark.engine]

NATIVE, FOREIGN = ("arm64", "amd64") if os.uname().machine == "aarch64" else ("amd64", "arm64")
DIGIT = (1, 8, 8)

# Stands in the harness's place and says how it is kept.
PROBE = """\
import json, os, pathlib, sys, urllib.request
def tried(work):
    try:
        return str(work())
    except OSError as error:
        return type(error).__name__
status = dict(l.split(":", 1) for l in open("/proc/self/status").read().splitlines())
out = sys.argv[sys.argv.index("--out") + 1]
facts = {
    "uid": os.getuid(),
    "capabilities": [status[n].strip() for n in ("CapEff", "CapPrm", "CapBnd", "CapAmb")],
    "no_new_privileges": status["NoNewPrivs"].strip(),
    "network": os.listdir("/sys/class/net"),
    "root": tried(lambda: open("/written", "w")),
    "model": tried(lambda: open("/run/edge-smoke/model.onnx", "wb")),
    "tmp": tried(lambda: open("/tmp/written", "w").write("x")),
    "proxies": [name for name in os.environ if "proxy" in name.lower()],
    "mine": os.environ.get("MINE"),
}
open(out, "w").write(json.dumps(facts))
"""


@dataclass(frozen=True)
class Scene:
    """All that an order needs."""

    engine: Engine
    store: Store
    order: local.LocalOrder
    images: dict[str, Descriptor]
    docker: Docker

    def run(self, **changes: Any) -> local.LocalRun:
        return local.run_local(self.engine, self.store, replace(self.order, **changes))

    @contextmanager
    def every_container(self, work: Callable[[Container], object]) -> Iterator[None]:
        """Somebody else who does something to each run that the engine says is under way."""
        over = threading.Event()

        def look() -> None:
            while not over.wait(0.1):
                # It may end meanwhile.
                with suppress(errors.APIError):
                    for each in self.docker.client.containers.list(filters={"label": local.LABEL}):
                        work(each)

        somebody = threading.Thread(target=look)
        somebody.start()
        try:
            yield
        finally:
            over.set()
            somebody.join()

    def debris(self) -> list[Any]:
        """Containers of ours, and volumes that no test of another file made."""
        found = self.docker.client.containers.list(all=True, filters={"label": local.LABEL})
        volumes = self.docker.client.volumes.list(filters={"label": "com.docker.volume.anonymous"})
        return [*found, *volumes, *self.engine.runtime.glob("edge-smoke-*")]


def packed(**modules: str) -> bytes:
    """A zip of a package `smoke`."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, text in {"__init__": "", **modules}.items():
            archive.writestr(f"smoke/{name}.py", text)
    return stream.getvalue()


@pytest.fixture(scope="module")
def scene(
    digits: Project, engine: Engine, docker_api: Docker, tmp_path_factory: pytest.TempPathFactory
) -> Scene:
    store, built = digits.store, digits.build()
    images = {
        one["platform"].split("/")[1]: store.resolve(one["digest"])
        for one in built["image"]["platforms"]
    }
    golden = tmp_path_factory.mktemp("golden") / "golden.npz"
    pixels = np.random.default_rng(3).random((30, *DIGIT), np.float32) * 16
    np.savez(golden, input=pixels, label=np.zeros(30, np.int64))
    order = local.LocalOrder(
        image=images[NATIVE],
        model=store.path(f"sha256:{built['models'][0]['file_sha256']}"),
        golden=golden,
        smoke=packed(
            **{file.stem: file.read_text() for file in ROOT.glob("device-smoke/smoke/*.py")}
        ),
        nonce="-abc",
        profile="quick",
        memory_bytes=1 << 29,
        deadline_s=120,
    )
    return Scene(engine, store, order, images, docker_api)


@pytest.fixture(autouse=True)
def _nothing_is_left(scene: Scene) -> Any:
    yield
    assert scene.debris() == []


def model(path: Path, nodes: list[Any], **values: Any) -> Path:
    """A model with the inputs and outputs of digits."""
    scores = [
        helper.make_node("ReduceMax", ["found"], ["most"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["most", "one"], ["column"]),
        helper.make_node("Expand", ["column", "ten"], ["scores"]),
    ]
    values = {"one": np.array([1]), "ten": np.array([1, 10]), **values}
    graph = helper.make_graph(
        [*nodes, *scores],
        "made",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", *DIGIT])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 10])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(made, path)
    return path


def endless(path: Path) -> Path:
    flag = helper.make_tensor_value_info("go", TensorProto.BOOL, [])
    on = helper.make_tensor_value_info("on", TensorProto.BOOL, [])
    at = helper.make_tensor_value_info("at", TensorProto.INT64, [])
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *DIGIT]) for name in "ab"
    ]
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Sin", ["a"], ["b"])],
        "body",
        [at, flag, values[0]],
        [on, values[1]],
    )
    loop = helper.make_node("Loop", ["many", "yes", "input"], ["found"], body=body)
    return model(path, [loop], many=2**62, yes=True)


def variant(scene: Scene, config: Callable[[dict[str, Any]], None]) -> Descriptor:
    """The native image with another configuration."""
    manifest = json.loads(scene.store.read(scene.images[NATIVE].digest))
    document = json.loads(scene.store.read(manifest["config"]["digest"]))
    config(document)
    changed = scene.store.put_json(document, media.CONFIG)
    manifest["config"] = changed.to_json()
    return scene.store.put_json(manifest, media.MANIFEST)


def test_both_platforms_give_the_same_answers_and_say_what_they_are(scene: Scene) -> None:
    reports = {}
    for name, image in scene.images.items():
        run = scene.run(image=image)
        assert run.report is not None, run
        assert run.failure is None
        assert (run.status, run.late, run.oom_killed) == (0, False, False)
        assert (run.platform, run.emulated) == (f"linux/{name}", name == FOREIGN)
        assert run.runtime[0].isdigit()
        reports[name] = json.loads(run.report)
    native, foreign = reports[NATIVE], reports[FOREIGN]
    assert {native["board"]["machine"], foreign["board"]["machine"]} == {"x86_64", "aarch64"}
    assert native["board"]["standin"] is False
    assert foreign["board"]["standin"] == f"the engine of this machine, which emulates {FOREIGN}"
    assert native["nonce"] == foreign["nonce"] == "-abc"
    assert native["processes"][0]["cgroup"]["memory_max_bytes"] == 1 << 29
    answers = {report["accuracy"]["answers_sha256"] for report in reports.values()}
    assert len(answers) == 1
    assert None not in answers


def test_the_container_has_no_network_no_rights_and_a_root_that_it_cannot_write(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = {"proxies": {"default": {"httpProxy": "http://127.0.0.1:9"}}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    run = scene.run(smoke=packed(__main__=PROBE))
    assert run.report is not None, run
    facts = json.loads(run.report)
    assert facts["uid"] == 65532
    assert {int(each, 16) for each in facts["capabilities"]} == {0}
    assert facts["no_new_privileges"] == "1"
    assert facts["network"] == ["lo"]
    assert facts["root"] == "OSError"
    assert facts["model"] == "PermissionError"
    assert facts["tmp"] == "1"
    assert facts["proxies"] == []


def test_too_little_memory_is_told_apart(scene: Scene, tmp_path: Path) -> None:
    huge = model(
        tmp_path / "huge.onnx",
        [
            helper.make_node("ReduceMean", ["input"], ["mean"], axes=[1, 2, 3], keepdims=1),
            helper.make_node("Expand", ["mean", "size"], ["wide"]),
            helper.make_node("Sin", ["wide"], ["found"]),
        ],
        size=np.array([1, 1 << 10, 1 << 10, 1 << 8]),
    )
    run = scene.run(model=huge, memory_bytes=1 << 28)
    assert run.report is None
    assert run.oom_killed
    assert run.failure is not None
    assert run.failure[0] == "memory"
    # Not even enough for the harness itself, which can then say nothing. It asks when it is told
    # to: the engine begins to watch a container's memory when it has started.
    greedy = """
import signal, time
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
signal.sigwait([signal.SIGUSR1])
time.sleep(0.5)
kept = b"." * (1 << 27)
"""
    with scene.every_container(lambda each: each.kill("SIGUSR1")):
        run = scene.run(smoke=packed(__main__=greedy), memory_bytes=1 << 26)
    assert run.failure == ("memory", "it was killed for want of memory")


def test_a_container_that_somebody_kills_is_not_said_to_want_memory(scene: Scene) -> None:
    with scene.every_container(lambda each: each.kill()):
        run = scene.run(smoke=packed(__main__="import time; time.sleep(60)"))
    assert (run.status, run.oom_killed, run.late) == (137, False, False)
    assert run.failure is not None
    assert run.failure[0] == "runtime"
    assert "exit status 137" in run.failure[1]


def test_a_model_that_never_ends_is_ended(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The harness says it, however long its Python takes to begin.
    monkeypatch.setattr(local, "GRACE_SECONDS", 60.0)
    run = scene.run(model=endless(tmp_path / "endless.onnx"), deadline_s=3)
    assert run.failure == ("model", "the model did not finish before the deadline")


def test_what_does_not_heed_the_deadline_is_killed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "GRACE_SECONDS", 0.5)
    script = "import signal, time; signal.signal(15, signal.SIG_IGN); print('x'); time.sleep(600)"
    began = time.monotonic()
    run = scene.run(smoke=packed(__main__=script), deadline_s=1)
    assert time.monotonic() - began < 300
    assert run.late
    assert run.failure == ("deadline", "it did not end in time")


def test_an_image_for_a_processor_that_nobody_emulates_is_told_apart(scene: Scene) -> None:
    # The header of a program for RISC-V, and nothing after it.
    program = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xf3\x00\x01\x00\x00\x00"
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as files:
        info = tarfile.TarInfo("python3")
        info.size, info.mode = 64, 0o755
        files.addfile(info, io.BytesIO(program.ljust(64, b"\0")))
    layer = scene.store.put_bytes(gzip.compress(stream.getvalue(), mtime=0), media.LAYER)
    config = {
        "architecture": "riscv64",
        "os": "linux",
        "config": {"Entrypoint": ["/python3"]},
        "rootfs": {"type": "layers", "diff_ids": [digests.of_bytes(stream.getvalue())]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": media.MANIFEST,
        "config": scene.store.put_json(config, media.CONFIG).to_json(),
        "layers": [layer.to_json()],
    }
    run = scene.run(image=scene.store.put_json(manifest, media.MANIFEST))
    assert (run.report, run.emulated, run.platform) == (None, True, "linux/riscv64")
    assert run.failure == ("architecture", "this machine cannot run programs for linux/riscv64")


def test_python_is_found_where_the_image_does_not_name_it(scene: Scene) -> None:
    def change(config: dict[str, Any]) -> None:
        config["config"]["Entrypoint"] = ["/no/such/program"]
        config["config"]["Env"] += ["MINE=yes"]

    run = scene.run(image=variant(scene, change), smoke=packed(__main__=PROBE))
    assert run.report is not None, run
    assert json.loads(run.report)["mine"] == "yes"


def test_an_image_without_python_is_a_failure_of_the_image(scene: Scene) -> None:
    def change(config: dict[str, Any]) -> None:
        config["config"]["Entrypoint"] = ["/app/serve"]
        config["config"]["Env"] = ["PATH=/nowhere"]

    run = scene.run(image=variant(scene, change))
    assert (run.report, run.status) == (None, 127)
    assert run.failure is not None
    assert run.failure[0] == "runtime"
    assert "python3" in run.failure[1]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("", "exit status 0: it said nothing"),
        ("import os; os.symlink('/etc/passwd', '/run/edge-smoke/out/report.json')", "status 0"),
        ("import os; os.mkdir('/run/edge-smoke/out/report.json')", "exit status 0"),
        ("raise SystemExit('lost')", "exit status 1: lost"),
    ],
)
def test_an_end_without_a_report_is_a_failure(scene: Scene, script: str, said: str) -> None:
    run = scene.run(smoke=packed(__main__=script))
    assert run.report is None
    assert run.failure is not None
    assert run.failure[0] == "runtime"
    assert said in run.failure[1]


def test_a_few_images_stay_in_the_engine(scene: Scene) -> None:
    script = "raise SystemExit(3)"
    for number in range(4):

        def change(config: dict[str, Any], number: int = number) -> None:
            config["config"]["Labels"] = {"number": str(number)}

        assert scene.run(image=variant(scene, change), smoke=packed(__main__=script)).status == 3
    assert len(scene.docker.client.images.list(local.REPOSITORY)) == local.IMAGES_KEPT


SLOW = """\
import sys
from pathlib import Path
from buildkit.engine import Engine, local
from buildkit.run import run
from buildkit.store import Store
identity, root, digest, empty, zipped = sys.argv[1:]
store = Store.open(Path(root))
order = local.LocalOrder(image=store.resolve(digest), model=Path(empty), golden=Path(empty),
                         smoke=Path(zipped).read_bytes())
local.run_local(Engine(identity, run), store, order)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_whoever_is_stopped_leaves_no_container_or_the_next_one_takes_it_away(
    scene: Scene, tmp_path: Path, number: signal.Signals
) -> None:
    (tmp_path / "smoke.zip").write_bytes(packed(__main__="import time; time.sleep(600)"))
    (tmp_path / "empty").touch()
    image = scene.images[NATIVE].digest
    words = [scene.engine.identity, scene.store.root, image, *map(tmp_path.joinpath, ("empty",))]
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, *map(str, words), str(tmp_path / "smoke.zip")],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    running: dict[str, str | list[str] | bool] = {"label": local.LABEL, "status": "running"}
    end = time.monotonic() + 60
    while not scene.docker.client.containers.list(filters=running):
        assert time.monotonic() < end, process.poll()
        time.sleep(0.05)
    # One that is at work is left alone by the others.
    assert scene.run(smoke=packed(__main__="raise SystemExit(4)")).status == 4
    assert len(scene.docker.client.containers.list(filters=running)) == 1
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    if number is signal.SIGINT:
        assert "KeyboardInterrupt" in said
        assert scene.debris() == []
    else:
        assert scene.docker.client.containers.list(filters=running)
        assert scene.run(smoke=packed(__main__="raise SystemExit(4)")).status == 4


def test_a_local_pass_is_marked_and_no_device_for_anybody(digits: Project, tmp_path: Path) -> None:
    # Others read that store, and what is said in it.
    store = tmp_path / "store"
    shutil.copytree(digits.store.root, store)
    ref, own = f"{digits.name}:1.0.0", ("--store", store)
    target = "amd64" if NATIVE == "amd64" else "pi5"
    quick = ("--profile", "quick", *own)
    page = tmp_path / "page.html"
    words = ("--local", "--target", target, *quick)

    # The engine that the recipe pins, then one that runs.
    done = digits.cli("smoke", digits.recipe, *words, "--html", page)
    assert done.stdout.endswith(f"{ref}: PASS (local: on no device)\n")
    assert "mark       local: ran in this machine's engine, on no device" in done.stdout
    assert "LOCAL: it ran in an engine of the host" in page.read_text()
    (trial,) = json.loads(digits.cli("smoke", ref, *words, "--json").stdout)["trials"]
    assert (trial["outcome"], trial["local"], trial["device"]) == ("PASS", True, "local")

    # Two runs, each said once, and of its own.
    said = digits.cli("evidence", ref, *own, "--kind", "test-result", status=2)
    (bundle, *_) = re.findall(r"sha256:[0-9a-f]{64}", said.stderr)
    one = digits.cli("evidence", ref, *own, "--kind", "test-result", "--about", bundle)
    assert json.loads(one.stdout)["run"]["local"] is True

    assert "runs on no device" in digits.cli("gate", ref, *quick, status=2).stdout
    assert digits.cli("gate", ref, *quick, "--device", "local").stdout.endswith(
        f"{ref}: PASS (local: on no device)\n"
    )
    digits.cli("verify", ref, *own)
    policy = tmp_path / "policy.toml"
    policy.write_text(
        f'schema = 1\n[smoke]\ntargets = ["{target}"]\ndevices = 1\nstandins = true\n'
    )
    refused = digits.cli("verify", ref, *own, "--policy", policy, status=1)
    assert "it ran on no device" in refused.stdout + refused.stderr
