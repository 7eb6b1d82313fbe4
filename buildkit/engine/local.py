"""Runs an image in the pinned engine on this machine: the smoke test's ``--local``.

The engine has namespaces of its own and sees no file of this machine, so what a container needs is
sent through the engine's API, into a volume that lives and dies with the container, and the report
comes back the same way. Native where the image is for this machine's processor, else emulated.
"""

from __future__ import annotations

import io
import os
import re
import tarfile
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from buildkit import digests, scratch
from buildkit.engine.containers import Container, Containers, Ended
from buildkit.errors import EngineError, StoreError
from buildkit.store import archive

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from buildkit.engine.control import Engine
    from buildkit.records import Descriptor
    from buildkit.store import Store

LABEL = "edge-smoke"
REPOSITORY = "localhost/edge-smoke"
# Loading an image goes again in a quarter of a second; more of them would only be in the way.
IMAGES_KEPT = 3
_PREFIX = "edge-smoke-"
_INSIDE = "/run/edge-smoke"
_REPORT = f"{_INSIDE}/out/report.json"
_REPORT_LIMIT = 256 << 20
# The harness ends itself at the deadline, and can say what it waited for; then it is ended.
GRACE_SECONDS = 5.0
NOT_STARTED = 127
_PYTHON = re.compile(r"(?:.*/)?python3(?:\.\d+)?")
_PYTHONS = ("python3", *(f"python3.{minor}" for minor in range(11, 16)))
_SAID = re.compile(r"^smoke: (usage|model|golden|memory|device|runtime): (.*)$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalOrder:
    """What to run; named as in docs/device-protocol.md.

    Attributes:
        image: the manifest of one platform.
        model: the ONNX file.
        golden: the golden data, ``.npz``.
        smoke: zip of the package `smoke`.
        nonce: comes back in the report.
        profile: of the smoke test.
        providers: execution providers, most wanted first; empty: the CPU's.
        threads: of one operator; 0 lets ONNX Runtime choose.
        optimization: of the graph.
        memory_bytes: limit of the container, emulator included; it gets no swap.
        cpus: of the container; 0: all.
        pids: processes and threads in it.
        deadline_s: for the run, without the loading of the image.
    """

    image: Descriptor
    model: Path
    golden: Path
    smoke: bytes
    nonce: str = ""
    profile: str = "smoke"
    providers: tuple[str, ...] = ()
    threads: int = 0
    optimization: str = "all"
    memory_bytes: int = 1 << 30
    cpus: int = 0
    pids: int = 256
    deadline_s: int = 900


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalRun:
    """What came of it.

    Attributes:
        report: the document of docs/smoke-report.md; nothing when there is none.
        status: exit status of the container; 127 when it could not be started.
        stderr: the end of what it said.
        late: it did not end in time, and was ended.
        oom_killed: the kernel ended something in the container for want of memory.
        emulated: the image is for another processor than this machine's.
        platform: ``linux/arm64``, of the image.
        runtime: version of the container engine.
    """

    report: bytes | None
    status: int
    stderr: str
    late: bool
    oom_killed: bool
    emulated: bool
    platform: str
    runtime: str

    @property
    def failure(self) -> tuple[str, str] | None:
        """Kind (docs/device-protocol.md) and message when there is no report."""
        if self.report is not None:
            return None
        if self.late:
            return "deadline", "it did not end in time"
        if said := _SAID.findall(self.stderr):
            kind, why = said[-1]
            return kind, why
        last = next(iter(self.stderr.strip().splitlines()[-1:]), "it said nothing")
        if self.oom_killed:
            return "memory", "it was killed for want of memory"
        if "exec format error" in self.stderr:
            return "architecture", f"this machine cannot run programs for {self.platform}"
        return "runtime", f"it ended with exit status {self.status}: {last}"


@dataclass(frozen=True, kw_only=True, slots=True)
class _About:
    """An image's configuration, and whether it is for another processor than the engine's."""

    config: Mapping[str, Any]
    emulated: bool

    @property
    def platform(self) -> str:
        return f"{self.config['os']}/{self.config['architecture']}"


def run_local(engine: Engine, store: Store, order: LocalOrder) -> LocalRun:
    """Run the smoke test once, in a container without a network, rights or a writable root.

    The container is gone afterwards, however this ends; what killed processes left is taken away
    first. The image stays in the engine, with the two that were used before it.

    Args:
        engine: runs already.
        store: has the image.
        order: what to run.

    Raises:
        EngineError: the engine does not answer, or failed before the image's program began.
        StoreError: the image is not in the store, or is none.
        DigestError: a blob of it is corrupt.
        OSError: model or golden data cannot be read.
    """
    with Containers(engine) as containers:
        return run_in(containers, engine.runtime, store, order)


def run_in(containers: Containers, runtime: Path, store: Store, order: LocalOrder) -> LocalRun:
    """`run_local` with the engine's API in the caller's hands.

    Args:
        containers: of the engine.
        runtime: its folder, where the runs that are at work have their locks.
        store: has the image.
        order: what to run.
    """
    config = _config(store, order.image)
    _sweep(containers, runtime)
    version, architecture = containers.about()
    about = _About(config=config, emulated=config["architecture"] != architecture)
    # As long as its lock is held, the container of this name is no debris.
    with scratch.folder(runtime, _PREFIX) as home:
        try:
            image = _image(containers, store, order.image)
            late, ended, report = _run(containers, home.name, image, order, about)
        finally:
            # Whatever hinders it is what ended this run, and the next one sweeps.
            with suppress(EngineError):
                containers.remove(home.name)
    return LocalRun(
        report=report,
        status=ended.status,
        stderr=ended.stderr,
        late=late,
        oom_killed=ended.oom_killed,
        emulated=about.emulated,
        platform=about.platform,
        runtime=version,
    )


def interpreters(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Where an image's Python may be, likeliest first.

    Args:
        config: OCI image configuration. One whose own program is Python says which; else it is
            looked for in the image's ``PATH``.
    """
    of = config.get("config") or {}
    words = [*(of.get("Entrypoint") or ()), *(of.get("Cmd") or ())]
    named = [word for word in words if _PYTHON.fullmatch(word)]
    return tuple(dict.fromkeys([*named[:1], *_PYTHONS]))


def arguments(order: LocalOrder) -> tuple[str, ...]:
    """What comes after the name of Python."""
    return (
        *("-m", "smoke", "--profile", order.profile, "--optimization", order.optimization),
        *("--model", f"{_INSIDE}/model.onnx", "--golden", f"{_INSIDE}/golden.npz"),
        *("--out", _REPORT, "--threads", str(order.threads), "--deadline", str(order.deadline_s)),
        # In one word: it may begin with a hyphen.
        *((f"--nonce={order.nonce}",) if order.nonce else ()),
        *(f"--provider={provider}" for provider in order.providers),
    )


def environment(config: Mapping[str, Any]) -> dict[str, str]:
    """Variables of the harness; where an image finds modules of its own stays.

    Args:
        config: OCI image configuration.
    """
    own = dict(each.partition("=")[::2] for each in (config.get("config") or {}).get("Env") or ())
    path = ":".join(filter(None, (f"{_INSIDE}/smoke.zip", own.get("PYTHONPATH"))))
    return {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def _run(
    containers: Containers, name: str, image: str, order: LocalOrder, about: _About
) -> tuple[bool, Ended, bytes | None]:
    """Whether it was late, how it ended, and the report."""
    refused = ""
    for python in interpreters(about.config):
        containers.remove(name)
        containers.create(
            Container(
                name=name,
                image=image,
                platform=about.platform,
                command=(python, *arguments(order)),
                environment=environment(about.config),
                folder=_INSIDE,
                label=LABEL,
                memory_bytes=order.memory_bytes,
                cpus=order.cpus,
                pids=order.pids,
            )
        )
        with _files(order, about) as files:
            containers.put(name, _INSIDE, files)
        refused = containers.start(name)
        if not refused:
            # From here on: how long the engine takes to start a container is not the image's doing.
            end = time.monotonic() + order.deadline_s + GRACE_SECONDS
            in_time = containers.wait(name, end)
            ended = containers.ended(name)
            good = in_time and ended.status == 0
            return not in_time, ended, _report(containers, name) if good else None
        if "not found" not in refused and "no such file" not in refused:
            break
    return False, Ended(status=NOT_STARTED, oom_killed=False, stderr=refused), None


@contextmanager
def _files(order: LocalOrder, about: _About) -> Iterator[IO[bytes]]:
    """What goes into the volume, as a tar: any user can read it, and write into ``out``."""
    small = {"smoke.zip": order.smoke}
    if about.emulated:
        # The report must say that its numbers are of no such processor.
        mark = f"the engine of this machine, which emulates {about.config['architecture']}\n"
        small["device-tree/edge-standin"] = mark.encode()
    with tempfile.TemporaryFile(dir=scratch.session()) as stream:
        with tarfile.open(fileobj=stream, mode="w") as files:
            folder = tarfile.TarInfo("out")
            folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
            files.addfile(folder)
            for name, path in (("model.onnx", order.model), ("golden.npz", order.golden)):
                with path.open("rb") as source:
                    _add(files, name, os.fstat(source.fileno()).st_size, source)
            for name, data in small.items():
                _add(files, name, len(data), io.BytesIO(data))
        stream.seek(0)
        yield stream


def _add(files: tarfile.TarFile, name: str, size: int, source: IO[bytes]) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o444
    files.addfile(info, source)


def _report(containers: Containers, name: str) -> bytes | None:
    """The report out of a container that has ended; its programs may have put anything there."""
    packed = containers.get(name, _REPORT, _REPORT_LIMIT)
    if packed is None:
        return None
    with tarfile.open(fileobj=io.BytesIO(packed)) as files:
        member = files.next()
        content = files.extractfile(member) if member is not None and member.isreg() else None
        return None if content is None else content.read()


def _config(store: Store, image: Descriptor) -> dict[str, Any]:
    for role, child in store.links(image).children:
        if role == "config":
            config = store.read_json(child.digest)
            if isinstance(config, dict) and {"os", "architecture"} <= config.keys():
                return config
    msg = f"{image.digest}: not the image of one platform"
    raise StoreError(msg, "`python -m buildkit show` says what it is")


def _image(containers: Containers, store: Store, image: Descriptor) -> str:
    """Bring an image into the engine unless it is there; its name, which proves its bytes."""
    tag = digests.hex_of(image.digest)
    if containers.image(image.digest):
        # Last used, last to go.
        containers.tag(image.digest, REPOSITORY, tag)
    else:
        # As a file, and not as it comes: the engine gets no byte of a blob that is corrupt.
        with tempfile.TemporaryFile(dir=scratch.session()) as stream:
            archive(store, image, stream, f"{REPOSITORY}:{tag}")
            stream.seek(0)
            containers.load(stream)
    found = containers.image(f"{REPOSITORY}:{tag}")
    if found != image.digest:
        msg = f"the BuildKit engine keeps {image.digest} as {found or 'nothing'}"
        raise EngineError(msg, "`python -m buildkit engine stop`, then run it again")
    containers.forget_images(REPOSITORY, IMAGES_KEPT)
    return found


def _sweep(containers: Containers, runtime: Path) -> None:
    """Take away containers of runs whose process is gone."""
    scratch.sweep(runtime, _PREFIX)
    for name in containers.labelled(LABEL):
        if not (runtime / name).exists():
            containers.remove(name)
