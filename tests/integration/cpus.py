"""Processors that this machine does not have: user-mode emulation, with the builder's own Python.

Everything comes out of the lock: the emulator from the engine's packages, the other
architecture's Python and wheels from that host's pins, unpacked here because Nix would need a
builder of that architecture. What is unpacked is kept by content under the cache's ``tests``
folder and made again whenever it is not there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import zipfile
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from real_project import ROOT, Project

from buildkit import canonical, digests
from buildkit.image.pack.debian import archives, merged
from buildkit.lock import cache, codec, fetch
from buildkit.run import run

if TYPE_CHECKING:
    import tarfile
    from collections.abc import Callable, Collection, Mapping, Sequence

    import numpy.typing as npt

    from buildkit.lock.types import DebianPin, Lock, WheelPin

EMULATORS = ("usr/bin/qemu-x86_64", "usr/bin/qemu-aarch64")
_LIBRARY = "usr/lib/aarch64-linux-gnu"

# All models and stages in one process: starting Python and its libraries is what takes long in
# emulation.
DRIVER = """
import json, os, sys
from pathlib import Path
import numpy as np
import onnxruntime
from prepare import cli
from prepare.session import LEVELS, open_session

# What a session does that is asked for nothing; no stage does.
LEVELS["all"] = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL

def stage(name, **files):
    words = [word for key, value in files.items() for word in ("--" + key, str(value))]
    if cli.main([name, *words]):
        sys.exit(f"{name} failed")

def answers(model, data, level):
    arrays = np.load(data)
    feed = {name: arrays[name] for name in arrays.files if name != "label"}
    return open_session(model, level=level).run(None, feed)[0]

jobs, home = json.loads(sys.argv[1]), sys.argv[2]
for name, job in jobs.items():
    out = Path(home, name)
    out.mkdir(parents=True)
    settings = out / "settings.json"
    settings.write_text(json.dumps({"quantization": "static-int8", **job["settings"]}))
    before = set(sys.modules), list(sys.path)
    os.environ.update(job["environment"])
    if job["made"]:
        made = Path(job["made"])
    else:
        stage("train", out=out / "train")
        made = out / "train"
    for module in set(sys.modules) - before[0]:
        if module in ("exact", "textures"):
            del sys.modules[module]  # two recipes may have modules of one name
    sys.path[:] = before[1]
    model = made / "model.onnx"
    stage("import", model=model, out=out / "float")
    stage("optimise", model=model, settings=settings, out=out / "prepared")
    ready = out / "prepared/prepared.onnx"
    stage("calibrate", model=ready, data=made / "calibration.npz", settings=settings,
          out=out / "ranges")
    stage("quantise", model=ready, settings=settings, ranges=out / "ranges/ranges.json",
          out=out / "quantised")
    stage("check", float=model, quantised=out / "quantised/model.onnx", data=made / "golden.npz",
          out=out / "check")
    for level in ("extended", "all"):
        said = answers(out / "quantised/model.onnx", made / "golden.npz", level)
        np.save(out / f"answers-{level}.npy", said)
"""

# Packs layers of an image, and makes its documents of those that the sandbox packed and these.
# What BuildKit alone can say, the configuration that the Dockerfile asks for, is given.
PACKER = """
import json, sys
from pathlib import Path
from pack import app, debian, wheels
from pack.layer import write_layer
from buildkit import media
from buildkit.image import assemble, graft
from buildkit.records import Descriptor
from buildkit.store import Store

job, out = json.loads(sys.argv[1]), Path(sys.argv[2])
out.mkdir()
folders = {name: {kind: Path(at) for kind, at in kinds.items()}
           for name, kinds in job["folders"].items()}
for platform, kind, files in job["pack"]:
    files, folder = list(map(Path, files)), out / f"{kind}-{platform.replace('/', '-')}"
    if kind == "debian":
        content = debian.collect(files, platform.split("/")[1], job["prune"])
    else:
        content = wheels.collect(files, job["python"], job["prune"])
    write_layer(folder, content)
    folders[platform][kind] = folder
apps = {}
for platform, built in job["apps"].items():
    packed = out / f"app-{platform.replace('/', '-')}"
    packed.mkdir()
    app.normalise({"epoch": job["epoch"], "out": str(packed), "layers": built["layers"]})
    layers = []
    for number, found in enumerate(json.loads((packed / "layers.json").read_text())):
        blob = Descriptor(media_type=media.LAYER, digest=found["digest"], size=found["size"])
        layer = graft.Layer(descriptor=blob, diff_id=found["diff_id"], created_by="")
        layers.append((packed / f"{number}.tar.gz", layer))
    apps[platform] = assemble.App(config=built["config"], layers=tuple(layers))
store = Store.create(out / "store")
base = assemble.put_base(store, folders)
image = assemble.put_image(store, base, apps, labels=job["labels"], epoch=job["epoch"])
print(image.index.digest)
"""


@dataclass(frozen=True)
class Job:
    """A model to make.

    Attributes:
        script: that trains it; Python files beside it come along.
        environment: what makes it small enough.
        made: a folder where it stands trained already.
        settings: of the preparation, besides static-int8.
    """

    script: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    made: Path | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        beside = {file.name: str(file) for file in sorted(self.script.parent.glob("*.py"))}
        needed = {"SEED": "1", "script": self.script.name, "files": json.dumps(beside)}
        return {
            "environment": {**needed, **self.environment},
            "made": None if self.made is None else str(self.made),
            "settings": dict(self.settings),
        }


@dataclass(frozen=True)
class Made:
    """What came out for one model.

    Attributes:
        files: digest of each file that every processor must make alike.
        ranges: ``ranges.json``.
        logits: digest of the ``float`` and of the ``quantised`` model's answers.
        answers: of the quantised model, (N, classes).
        on_device: the same as a device does it, with all optimisations for its processor.
        claim: what ``accuracy.json`` says of them.
    """

    files: Mapping[str, str]
    ranges: Mapping[str, Any]
    logits: Mapping[str, str]
    answers: npt.NDArray[np.float32]
    on_device: npt.NDArray[np.float32]
    claim: Mapping[str, Any]


@dataclass(frozen=True)
class Python:
    """A builder's Python: how it is started, and where it finds what."""

    command: tuple[str, ...]
    home: str
    path: tuple[str, ...]

    def under(self, *words: str | Path) -> Python:
        """Started by an emulator."""
        return Python((*map(str, words), *self.command), self.home, self.path)


class Lab:
    """The Pythons of all processors.

    Args:
        project: a built project; its lock says what is unpacked.
    """

    def __init__(self, project: Project) -> None:
        self.lock = codec.load(project.lock)
        (link,) = project.root.glob(f".buildkit/nix/{project.name}-build-*")
        packer = json.loads(link.read_bytes())["packer"]
        # The first folder is the code that packs layers.
        self.native = Python(tuple(packer["command"]), packer["home"], tuple(packer["path"][1:]))
        emulators = _kept("emulators", _emulator_pins(self.lock), _unpack_emulators)
        arm = self.lock.hosts["arm64"]
        tree = _kept("builder", (*arm.builder_debian, *arm.builder_wheels), _unpack_builder)
        library = tree / _LIBRARY
        command = (
            str(library / "ld-linux-aarch64.so.1"),
            *("--library-path", str(library)),
            str(tree / "usr/bin/python3.11"),
        )
        self._arm = Python(command, str(tree / "usr"), (str(tree / "site"),))
        self._x86_64, self._aarch64 = (emulators / Path(name).name for name in EMULATORS)

    def python(self, processor: str) -> Python:
        """For ``host``, or an emulated ``x86-64 MODEL`` or ``aarch64 MODEL``."""
        kind, _, model = processor.partition(" ")
        if kind == "host":
            return self.native
        if kind == "x86-64":
            return self.native.under(self._x86_64, "-cpu", model)
        return self._arm.under(self._aarch64, "-cpu", model)

    def run(
        self, processor: str, jobs: Mapping[str, Job], out: Path, **environment: str
    ) -> Mapping[str, Made]:
        """All stages for all jobs on one processor."""
        documents = {name: job.to_json() for name, job in jobs.items()}
        code = [ROOT / "buildkit/model"]
        self._start(processor, [DRIVER, json.dumps(documents), str(out)], code, environment)
        return {name: _made(out / name) for name in jobs}

    def image(
        self, processor: str, project: Project, out: Path, pack: Collection[tuple[str, str]]
    ) -> str:
        """A project's image once more, on one processor.

        Args:
            processor: which.
            project: built already.
            out: folder to make; layers and a store.
            pack: platform and ``debian`` or ``python``: what to pack there. Other layers are taken
                as the sandbox packed them; those of the app are always packed there.

        Returns:
            The digest of its index.
        """
        (link,) = project.root.glob(f".buildkit/nix/{project.name}-build-*")
        document = self.lock.recipe["image"]
        job = {
            **_apps(project),
            "folders": json.loads(link.read_bytes())["layers"],
            "pack": [(*which, self._inputs(*which, out.with_name("inputs"))) for which in pack],
            "prune": document["prune"],
            "python": document["python"]["version"],
        }
        code = [ROOT, ROOT / "buildkit/image"]
        return self._start(processor, [PACKER, json.dumps(job), str(out)], code, {}).strip()

    def _inputs(self, platform: str, kind: str, home: Path) -> list[str]:
        """The files of a layer, under the names that the lock gives them."""
        pins = self.lock.platforms[platform]
        wanted = pins.debian if kind == "debian" else pins.wheels
        files = fetch.bring(wanted, run, cache.home()).files
        folder = home / platform / kind
        folder.mkdir(parents=True, exist_ok=True)
        for pin in wanted:
            with suppress(FileExistsError):
                (folder / pin.file).symlink_to(files[pin.sha256])
        return [str(folder / pin.file) for pin in wanted]

    def _start(
        self,
        processor: str,
        words: Sequence[str],
        code: Sequence[Path],
        environment: Mapping[str, str],
    ) -> str:
        """Run a program and its words with one processor's Python; its standard output."""
        python = self.python(processor)
        done = subprocess.run(
            [*python.command, "-B", "-c", *words],
            env={
                "PYTHONHOME": python.home,
                "PYTHONPATH": os.pathsep.join([*map(str, code), *python.path]),
                "PYTHONHASHSEED": "0",
                "OMP_NUM_THREADS": "1",
                "OPENBLAS_NUM_THREADS": "1",
                "LC_ALL": "C.UTF-8",
                "TZ": "UTC",
                "HOME": "/homeless",
                **environment,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        assert done.returncode == 0, f"{processor}: {done.stderr}"
        return done.stdout


def _apps(project: Project) -> dict[str, Any]:
    """What is above the base of a built image, for every platform, and its labels and time."""
    store = project.store
    index = store.read_json(store.resolve(f"{project.name}:1.0.0").digest)
    found: dict[str, Any] = {"apps": {}, "labels": index["annotations"]}
    for entry in index["manifests"]:
        manifest = store.read_json(entry["digest"])
        config = store.read_json(manifest["config"]["digest"])
        platform = f"{entry['platform']['os']}/{entry['platform']['architecture']}"
        blobs = [str(store.path(layer["digest"])) for layer in manifest["layers"][2:]]
        found["apps"][platform] = {"config": config, "layers": blobs}
        found["epoch"] = int(datetime.fromisoformat(config["created"]).timestamp())
    return found


def _made(out: Path) -> Made:
    apart = ("check/logits.json", "answers-extended.npy", "answers-all.npy")
    return Made(
        files={
            str(file.relative_to(out)): digests.of_file(file)
            for file in sorted(out.rglob("*"))
            if file.is_file() and str(file.relative_to(out)) not in apart
        },
        ranges=json.loads((out / "ranges/ranges.json").read_bytes()),
        logits=json.loads((out / apart[0]).read_bytes())["logits_sha256"],
        answers=np.load(out / apart[1]),
        on_device=np.load(out / apart[2]),
        claim=json.loads((out / "check/accuracy.json").read_bytes())["answers"],
    )


def _emulator_pins(lock: Lock) -> tuple[DebianPin, ...]:
    # Both hosts pin the same version; this machine's package holds the emulators of all others.
    pins = lock.hosts["amd64"].engine_debian
    return tuple(pin for pin in pins if pin.name == "qemu-user")


def _kept(
    name: str,
    pins: tuple[DebianPin | WheelPin, ...],
    unpack: Callable[[Mapping[DebianPin | WheelPin, Path], Path], None],
) -> Path:
    """What `unpack` makes of the pinned files, from the cache when it is there whole."""
    key = digests.of_bytes(canonical.dump([name, *sorted(pin.sha256 for pin in pins)]))
    home = cache.home() / "tests" / f"{name}-{digests.hex_of(key)[:16]}"
    if not home.is_dir():
        files = fetch.bring(pins, run, cache.home()).files
        fresh = home.with_name(f"{home.name}.{os.getpid()}")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        unpack({pin: files[pin.sha256] for pin in pins}, fresh)
        try:
            fresh.rename(home)
        except OSError:
            shutil.rmtree(fresh)  # another test run was quicker
    return home


def _unpack_emulators(files: Mapping[Any, Path], home: Path) -> None:
    for file in files.values():
        _, data = archives(file)
        for member in data:
            if merged(member.name) in EMULATORS:
                _write(data, member, home / Path(member.name).name)
    assert len(list(home.iterdir())) == len(EMULATORS)


def _unpack_builder(files: Mapping[Any, Path], home: Path) -> None:
    for file in files.values():
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as wheel:
                wheel.extractall(home / "site")  # noqa: S202 - its hash is the lock's
        else:
            _unpack_debian(file, home)


def _unpack_debian(file: Path, home: Path) -> None:
    _, data = archives(file)
    for member in data:
        name = merged(member.name)
        if not name.startswith(("usr/lib/", "usr/bin/python3.11")) or member.isdir():
            continue
        target = home / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if member.issym():
            # Absolute links would leave the tree; none of what Python loads is one.
            if not member.linkname.startswith("/"):
                target.unlink(missing_ok=True)
                target.symlink_to(member.linkname)
        elif member.islnk():
            os.link(home / merged(member.linkname), target)
        else:
            _write(data, member, target)


def _write(data: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    stream = data.extractfile(member)
    assert stream is not None
    target.write_bytes(stream.read())
    target.chmod(0o755 if member.mode & 0o111 else 0o644)
