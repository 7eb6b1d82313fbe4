"""Orders, answers and endings of `buildkit.engine.local`, without an engine."""

from __future__ import annotations

import io
import json
import tarfile
import time
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any

import pytest

from buildkit import digests, media, scratch
from buildkit.engine import Engine, local
from buildkit.engine.containers import Container, Containers, Ended
from buildkit.errors import EngineError, StoreError
from buildkit.run import run
from buildkit.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from buildkit.records import Descriptor

DIGEST = "sha256:" + "0" * 64


class Kept(Containers):
    """An engine in memory: containers end as told, after saying what they are told to.

    Args:
        programs: that images have.
        ends: how the harness ends.
        report: what it leaves; a tar, as the engine gives it.
    """

    def __init__(
        self,
        *,
        programs: tuple[str, ...] = ("python3",),
        ends: Ended | None = None,
        report: bytes | None = None,
    ) -> None:
        self.images: dict[str, str] = {}
        self.loads = 0
        self.made: dict[str, Container] = {}
        self.files: dict[str, bytes] = {}
        self.removed: list[str] = []
        self.in_time = True
        self.during: Callable[[], None] = lambda: None
        self._programs = programs
        self._ends = ends or Ended(status=0, oom_killed=False, stderr="")
        self._report = report

    def about(self) -> tuple[str, str]:
        return "26.1", "amd64"

    def image(self, name: str) -> str:
        return self.images.get(name, "")

    def tag(self, image: str, repository: str, tag: str) -> None:
        self.images[f"{repository}:{tag}"] = image

    def load(self, archive: IO[bytes]) -> None:
        self.loads += 1
        with tarfile.open(fileobj=archive) as files:
            listed = files.extractfile("index.json")
            assert listed is not None
            (entry,) = json.loads(listed.read())["manifests"]
        name = entry["annotations"]["io.containerd.image.name"]
        self.images |= {name: entry["digest"], entry["digest"]: entry["digest"]}

    def forget_images(self, repository: str, keep: int) -> None:
        assert (repository, keep) == (local.REPOSITORY, local.IMAGES_KEPT)

    def create(self, container: Container) -> None:
        assert container.name not in self.made
        self.made[container.name] = container

    def put(self, name: str, folder: str, files: IO[bytes]) -> None:
        assert self.made[name].folder == folder
        with tarfile.open(fileobj=files) as archive:
            for member in archive:
                content = archive.extractfile(member)
                self.files[f"{member.name} {member.mode:o}"] = content.read() if content else b""

    def get(self, name: str, path: str, limit: int) -> bytes | None:
        assert name in self.made
        assert path in self.made[name].command
        assert limit > 1 << 20
        return self._report

    def start(self, name: str) -> str:
        program = self.made[name].command[0]
        known = program in self._programs
        return "" if known else f'exec: "{program}": executable file not found in $PATH'

    def wait(self, name: str, end: float) -> bool:
        assert name in self.made
        assert end > time.monotonic()
        self.during()
        return self.in_time

    def ended(self, name: str) -> Ended:
        assert name in self.made
        return self._ends

    def labelled(self, label: str) -> tuple[str, ...]:
        assert label == local.LABEL
        return tuple(self.made)

    def remove(self, name: str) -> None:
        if self.made.pop(name, None):
            self.removed.append(name)


def tar(content: bytes = b"{}", kind: bytes = tarfile.REGTYPE) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as files:
        info = tarfile.TarInfo("report.json")
        info.size, info.type, info.linkname = len(content), kind, "/etc/passwd"
        files.addfile(info, io.BytesIO(content))
    return stream.getvalue()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store")


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    (tmp_path / "runtime").mkdir()
    return tmp_path / "runtime"


def image(store: Store, **config: Any) -> Descriptor:
    layer = store.put_bytes(b"a layer", media.LAYER)
    document = {
        "os": "linux",
        "architecture": "amd64",
        "rootfs": {"type": "layers", "diff_ids": [digests.of_bytes(b"a layer")]},
        **config,
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": media.MANIFEST,
        "config": store.put_json(document, media.CONFIG).to_json(),
        "layers": [layer.to_json()],
    }
    return store.put_json(manifest, media.MANIFEST)


@pytest.fixture
def order(store: Store, tmp_path: Path) -> local.LocalOrder:
    for name in ("some.onnx", "some.npz"):
        (tmp_path / name).write_text(name)
    return local.LocalOrder(
        image=image(store),
        model=tmp_path / "some.onnx",
        golden=tmp_path / "some.npz",
        smoke=b"zipped",
    )


def test_the_report_comes_back_and_the_container_goes(
    store: Store, runtime: Path, order: local.LocalOrder
) -> None:
    kept = Kept(report=tar(b'{"a": 1}'))
    seen: list[str] = []

    def during() -> None:
        (container,) = kept.made.values()
        seen.append(container.name)
        assert (runtime / container.name).is_dir()
        assert container.image == order.image.digest
        assert container.platform == "linux/amd64"
        assert container.environment["PYTHONPATH"] == "/run/edge-smoke/smoke.zip"

    kept.during = during
    found = local.run_in(kept, runtime, store, order)
    assert found.report == b'{"a": 1}'
    assert found.failure is None
    assert (found.emulated, found.platform, found.runtime) == (False, "linux/amd64", "26.1")
    assert kept.files == {
        "out 1777": b"",
        "model.onnx 444": b"some.onnx",
        "golden.npz 444": b"some.npz",
        "smoke.zip 444": b"zipped",
    }
    assert kept.removed == seen
    assert not kept.made
    assert list(runtime.iterdir()) == []


def test_an_emulated_image_says_so(store: Store, runtime: Path, order: local.LocalOrder) -> None:
    kept = Kept(report=tar())
    foreign = replace(order, image=image(store, architecture="arm64"))
    found = local.run_in(kept, runtime, store, foreign)
    assert (found.emulated, found.platform) == (True, "linux/arm64")
    assert b"emulates arm64" in kept.files["device-tree/edge-standin 444"]


def test_an_image_that_is_there_is_not_loaded_again(
    store: Store, runtime: Path, order: local.LocalOrder
) -> None:
    kept = Kept(report=tar())
    for _ in range(2):
        local.run_in(kept, runtime, store, order)
    assert kept.loads == 1
    kept.images[f"{local.REPOSITORY}:{digests.hex_of(order.image.digest)}"] = DIGEST
    kept.tag = lambda *_: None  # type: ignore[method-assign]
    with pytest.raises(EngineError, match="keeps"):
        local.run_in(kept, runtime, store, order)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), EngineError("gone")])
def test_whatever_ends_the_run_ends_the_container(
    store: Store, runtime: Path, order: local.LocalOrder, error: BaseException
) -> None:
    kept = Kept()

    def during() -> None:
        raise error

    kept.during = during
    with pytest.raises(type(error)):
        local.run_in(kept, runtime, store, order)
    assert not kept.made
    assert list(runtime.iterdir()) == []


def test_only_containers_of_the_dead_are_swept(
    store: Store, runtime: Path, order: local.LocalOrder
) -> None:
    kept = Kept(report=tar())
    kept.during = lambda: None
    with scratch.folder(runtime, "edge-smoke-") as living:
        local.run_in(kept, runtime, store, order)
        mine = Container(
            name=living.name,
            image=DIGEST,
            platform="linux/amd64",
            command=("python3",),
            folder="/",
            label=local.LABEL,
            memory_bytes=1,
            cpus=0,
            pids=1,
        )
        dead = replace(mine, name="edge-smoke-dead")
        kept.made |= {mine.name: mine, dead.name: dead}
        local.run_in(kept, runtime, store, order)
        assert list(kept.made) == [mine.name]


def test_python_is_tried_under_one_name_after_the_other(
    store: Store, runtime: Path, order: local.LocalOrder
) -> None:
    kept = Kept(programs=("python3.12",), report=tar())
    assert local.run_in(kept, runtime, store, order).report == b"{}"
    assert len(kept.removed) == 3
    none = local.run_in(Kept(programs=()), runtime, store, order)
    assert (none.report, none.status) == (None, local.NOT_STARTED)
    assert none.failure is not None
    assert none.failure[0] == "runtime"


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_a_report_that_is_no_file_is_none(
    store: Store, runtime: Path, order: local.LocalOrder, kind: bytes
) -> None:
    found = local.run_in(Kept(report=tar(b"", kind)), runtime, store, order)
    assert found.report is None
    assert found.failure is not None


def test_a_report_of_a_run_that_failed_or_was_late_does_not_count(
    store: Store, runtime: Path, order: local.LocalOrder
) -> None:
    failed = Kept(report=tar(), ends=Ended(status=2, oom_killed=False, stderr="smoke: golden: no"))
    found = local.run_in(failed, runtime, store, order)
    assert (found.report, found.failure) == (None, ("golden", "no"))
    late = Kept(report=tar())
    late.in_time = False
    found = local.run_in(late, runtime, store, order)
    assert found.report is None
    assert found.failure == ("deadline", "it did not end in time")


def test_what_is_no_image_is_refused(store: Store, runtime: Path, order: local.LocalOrder) -> None:
    index = store.put_json(
        {"schemaVersion": 2, "mediaType": media.INDEX, "manifests": []}, media.INDEX
    )
    with pytest.raises(StoreError, match="not the image of one platform"):
        local.run_in(Kept(), runtime, store, replace(order, image=index))


def test_without_an_engine_the_error_says_how_to_start_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, store: Store, order: local.LocalOrder
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with pytest.raises(EngineError) as caught:
        local.run_local(Engine("ba9876543210", run), store, order)
    assert "ba9876543210 does not run" in caught.value.message
    assert "engine start" in caught.value.remedy


ALWAYS = ("python3", "python3.11", "python3.12", "python3.13", "python3.14", "python3.15")


@pytest.mark.parametrize(
    ("config", "names"),
    [
        ({}, ALWAYS),
        ({"config": None}, ALWAYS),
        ({"config": {"Entrypoint": None, "Cmd": ["serve"]}}, ALWAYS),
        (
            {"config": {"Entrypoint": ["/usr/bin/python3.11", "/app/main.py"]}},
            ("/usr/bin/python3.11", *ALWAYS),
        ),
        ({"config": {"Entrypoint": ["tini", "--"], "Cmd": ["python3.12", "-m", "a"]}},
         ("python3.12", *(name for name in ALWAYS if name != "python3.12"))),
        ({"config": {"Entrypoint": ["/opt/python3/run"], "Cmd": ["python2", "python3.x"]}}, ALWAYS),
    ],
)  # fmt: skip
def test_where_python_may_be(config: dict[str, Any], names: tuple[str, ...]) -> None:
    assert local.interpreters(config) == names


def test_the_images_own_modules_stay_found() -> None:
    config = {"config": {"Env": ["PATH=/bin", "PYTHONPATH=/app:/lib=x"]}}
    assert local.environment(config)["PYTHONPATH"] == "/run/edge-smoke/smoke.zip:/app:/lib=x"
    assert local.environment({})["PYTHONPATH"] == "/run/edge-smoke/smoke.zip"


def test_the_harness_understands_its_command_line(order: local.LocalOrder) -> None:
    from smoke.cli import _parser

    asked = replace(order, nonce="-x", providers=("A", "B"), threads=2, profile="quick")
    first, second, *words = local.arguments(asked)
    assert (first, second) == ("-m", "smoke")
    found = _parser().parse_args(words)
    assert (found.nonce, found.provider, found.threads) == ("-x", ["A", "B"], 2)
    assert (found.profile, found.deadline, found.optimization) == ("quick", 900, "all")
    assert str(found.out) == "/run/edge-smoke/out/report.json"


@pytest.mark.parametrize(
    ("status", "oom", "said", "kind", "message"),
    [
        (2, False, "x\nsmoke: model: it fails\n", "model", "it fails"),
        (2, True, "smoke: memory: too little", "memory", "too little"),
        (137, True, "", "memory", "it was killed for want of memory"),
        (137, False, "", "runtime", "it ended with exit status 137: it said nothing"),
        (1, False, "exec /p: exec format error", "architecture", "linux/s390x"),
        (1, False, "smoke: other: x", "runtime", "exit status 1: smoke: other: x"),
    ],
)
def test_how_an_end_is_told(status: int, oom: bool, said: str, kind: str, message: str) -> None:  # noqa: FBT001 - a row of the table
    found = local.LocalRun(
        report=None,
        status=status,
        stderr=said,
        late=False,
        oom_killed=oom,
        emulated=False,
        platform="linux/s390x",
        runtime="1",
    )
    assert found.failure is not None
    assert found.failure[0] == kind
    assert message in found.failure[1]
