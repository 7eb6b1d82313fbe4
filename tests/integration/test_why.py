"""`why` names what was changed, first, for real builds of real inputs."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import zipfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from real_project import Project, make_project
from test_models import write_model, write_recipe

from buildkit import digests
from buildkit.lock import cache, codec
from buildkit.lock.types import DebianPin, Lock, WheelPin
from buildkit.nix import Nix, nar
from buildkit.run import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.nix, pytest.mark.engine, pytest.mark.network]

ARM = "linux/arm64"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The digits recipe, built once; each test changes one thing and takes it back."""
    project = make_project(tmp_path_factory.mktemp("why") / "project", "digits")
    project.build()
    return project


@pytest.fixture(scope="module")
def before(scene: Project) -> dict[str, Any]:
    return scene.build()


@pytest.fixture(autouse=True)
def _back(scene: Project) -> Any:
    """Put every file of the recipe back afterwards."""
    kept = {file: file.read_bytes() for file in scene.folder.rglob("*") if file.is_file()}
    yield
    for file, data in kept.items():
        file.write_bytes(data)


def why(project: Project, a: Any, b: Any) -> dict[str, Any]:
    """``why --json`` of two images; they differ."""
    names = [each if isinstance(each, str) else each["image"]["digest"] for each in (a, b)]
    done = project.cli("why", *names, "--json", status=1)
    found: dict[str, Any] = json.loads(done.stdout)
    # For people too, and the first cause is named in it.
    text = project.cli("why", *names, status=1).stdout
    assert not found["causes"] or f"{found['causes'][0]['subject']}" in text
    return found


def named(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Causes, without the commit's state, which every change moves."""
    return [
        (each["kind"], each["subject"]) for each in found["causes"] if each["kind"] != "revision"
    ]


def kinds(cause: dict[str, Any]) -> set[str]:
    return {each["kind"] for each in cause["explains"]}


def test_the_same_twice(scene: Project, before: dict[str, Any]) -> None:
    digest = before["image"]["digest"]
    assert "identical" in scene.cli("why", digest, "digits:1.0.0").stdout


def test_a_line_of_the_dockerfile(scene: Project, before: dict[str, Any]) -> None:
    file = scene.folder / "app/Dockerfile"
    file.write_text(file.read_text().replace("PORT=8080", "PORT=8081"))
    found = why(scene, before, scene.build())
    assert named(found) == [("dockerfile", "app/Dockerfile")]
    assert found["causes"][0]["explains"][0]["before"] == "PORT=8080"
    assert found["unexplained"] == []


def test_a_byte_of_an_app_file(scene: Project, before: dict[str, Any]) -> None:
    file = scene.folder / "app/infer.py"
    file.write_bytes(file.read_bytes() + b"# one more\n")
    after = scene.build()
    found = why(scene, before, after)
    assert named(found) == [("app-file", "app/infer.py")]
    layer, inside = found["causes"][0]["explains"]
    assert (layer["kind"], inside["kind"], inside["subject"]) == ("layer", "file", "app/infer.py")
    assert inside["sure"]
    assert found["unexplained"] == []
    names = [each["image"]["digest"] for each in (before, after)]
    said = scene.cli("why", *names, "--diffoscope", status=1).stdout
    title, _, shown = said.partition("inside app/infer.py, as diffoscope shows it:\n")
    assert "app file app/infer.py" in title
    assert shown.splitlines()[:2] == ["--- a/infer.py", "+++ b/infer.py"]
    assert "+# one more" in shown


def test_a_byte_of_the_training_script(scene: Project, before: dict[str, Any]) -> None:
    file = scene.folder / "train.py"
    file.write_bytes(file.read_bytes() + b"#\n")
    scene.cli("lock", scene.recipe)
    found = why(scene, before, scene.build())
    assert named(found) == [("training-script", "train.py")]
    assert found["unexplained"] == []


def test_another_seed_down_to_the_tensors(scene: Project, before: dict[str, Any]) -> None:
    scene.recipe.write_text(scene.recipe.read_text().replace("seed = 1\n", "seed = 2\n"))
    scene.cli("lock", scene.recipe)
    after = scene.build()
    found = why(scene, before, after)
    assert named(found)[0] == ("training-seed", "seed")
    expected = {"same-in-recipe", "float-model", "range", "quantised-model", "initialiser"}
    assert kinds(found["causes"][0]) >= expected
    weights = [each for each in found["causes"][0]["explains"] if each["kind"] == "initialiser"]
    assert any("values differ, by at most" in each["detail"] for each in weights)
    assert found["unexplained"] == []
    # The model alone: the same cause, and nothing of the image.
    models = [each["models"][0]["digest"] for each in (before, after)]
    alone = why(scene, *models)
    assert named(alone)[0] == ("training-seed", "seed")
    assert "image-config" not in kinds(alone["causes"][0])
    assert alone["unexplained"] == []


def test_a_sample_of_the_calibration_data(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", "digits")
    sha256 = write_model(project.folder)
    source = f'[model.file]\npath = "model.onnx"\nsha256 = "{sha256}"'
    write_recipe(project, source, "static-int8")
    project.cli("lock", project.recipe)
    first = project.build()
    file = project.folder / "calibration.npz"
    inputs = np.load(file)["input"]
    inputs[0, 0] = 3
    np.savez(file, input=inputs)
    project.cli("lock", project.recipe)
    found = why(project, first, project.build())
    assert named(found) == [("calibration-data", "calibration.npz")]
    assert kinds(found["causes"][0]) >= {"range", "quantised-model"}
    assert "float-model" not in kinds(found["causes"][0])
    assert found["unexplained"] == []


def source_file(project: Project, pin: DebianPin | WheelPin) -> Path:
    """The bytes of an input, from the cache or from the Nix store."""
    cached = cache.entry(cache.home(), pin.sha256)
    if cached.is_file():
        return cached
    nix = Nix(run, project.root / ".buildkit/nix-store")
    return nix.physical(nar.store_path(pin.file, pin.sha256, "flat"))


def change_wheel(source: Path, target: Path) -> None:
    """One byte more in one file, and no checksum of it corrected."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for info in old.infolist():
            data = old.read(info)
            if info.filename == "numpy/version.py":
                data += b"\n"
            new.writestr(info, data, zipfile.ZIP_STORED)


def change_deb(source: Path, target: Path) -> None:
    """One byte more in the first library; ar(5) and deb(5)."""
    data, at, members = source.read_bytes(), 8, []
    while at + 60 <= len(data):
        name, size = data[at : at + 16].decode().strip().rstrip("/"), int(data[at + 48 : at + 58])
        body = data[at + 60 : at + 60 + size]
        if name.startswith("data.tar"):
            name, body = "data.tar", _changed_tar(body)
        members.append((name, body))
        at += 60 + size + size % 2
    out = bytearray(data[:8])
    for name, body in members:
        out += f"{name:16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(body):<10}`\n".encode() + body
        out += b"\n" * (len(body) % 2)
    target.write_bytes(bytes(out))


def _changed_tar(data: bytes) -> bytes:
    stream, done = io.BytesIO(), False
    with (
        tarfile.open(fileobj=io.BytesIO(data)) as old,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as new,
    ):
        for info in old:
            body = b""
            if info.isreg() and (member := old.extractfile(info)) is not None:
                body = member.read()
                if ".so" in info.name and not done:
                    body, done = body + b"\0", True
            info.size = len(body)
            new.addfile(info, io.BytesIO(body))
    assert done
    return stream.getvalue()


def with_pin(lock: Lock, old: DebianPin | WheelPin, new: DebianPin | WheelPin) -> Lock:
    pins = lock.platforms[ARM]
    if isinstance(new, DebianPin):
        debian = tuple(new if pin == old else pin for pin in pins.debian)
        changed = replace(pins, debian=debian)
    else:
        wheels = tuple(new if pin == old else pin for pin in pins.wheels)
        changed = replace(pins, wheels=wheels)
    return replace(lock, platforms={**lock.platforms, ARM: changed})


@dataclass(frozen=True, kw_only=True)
class Package:
    """One to be changed, how, and the file of it that then differs."""

    name: str
    kind: str
    change: Callable[[Path, Path], None]
    owned: str


NUMPY = Package(name="numpy", kind="wheel", change=change_wheel, owned="numpy/version.py")
LIBBZ2 = Package(name="libbz2-1.0", kind="debian", change=change_deb, owned="libbz2.so")


@pytest.mark.parametrize("package", [NUMPY, LIBBZ2], ids=["wheel", "debian"])
def test_a_byte_of_a_package(
    package: Package, scene: Project, before: dict[str, Any], tmp_path: Path
) -> None:
    lock = codec.load(scene.lock)
    pins: list[DebianPin | WheelPin] = [*lock.platforms[ARM].debian, *lock.platforms[ARM].wheels]
    (old,) = (pin for pin in pins if pin.name == package.name)
    target = tmp_path / old.file
    package.change(source_file(scene, old), target)
    sha256 = digests.hex_of(digests.of_file(target))
    new: DebianPin | WheelPin
    if isinstance(old, DebianPin):
        new = replace(old, sha256=sha256, size=target.stat().st_size)
    else:
        new = replace(old, sha256=sha256)
    scene.lock.write_bytes(codec.dump(with_pin(lock, old, new)))
    after = scene.build(env={"EDGE_BUILDKIT_INPUTS": str(tmp_path)})
    found = why(scene, before, after)
    assert named(found) == [(package.kind, package.name)]
    cause = found["causes"][0]
    assert cause["places"] == [ARM]
    files = [each for each in cause["explains"] if each["kind"] == "file"]
    assert any(package.owned in each["subject"] for each in files)
    assert all(each["sure"] and each["where"].startswith(f"{ARM}: ") for each in files)
    assert found["unexplained"] == []


def test_another_version_of_onnx_runtime(scene: Project, tmp_path: Path) -> None:
    def moved(pins: tuple[WheelPin, ...]) -> tuple[WheelPin, ...]:
        return tuple(
            replace(pin, version="9.9.9", sha256="0" * 64) if pin.name == "onnxruntime" else pin
            for pin in pins
        )

    old = codec.load(scene.lock)
    new = replace(
        old,
        hosts={
            arch: replace(pins, builder_wheels=moved(pins.builder_wheels))
            for arch, pins in old.hosts.items()
        },
        platforms={
            name: replace(pins, wheels=moved(pins.wheels)) for name, pins in old.platforms.items()
        },
        model=replace(old.model, onnxruntime="9.9.9", quantized_sha256="1" * 64),
    )
    shutil.copy(scene.lock, tmp_path / "before.lock")
    (tmp_path / "after.lock").write_bytes(codec.dump(new))
    found = why(scene, str(tmp_path / "before.lock"), str(tmp_path / "after.lock"))
    assert named(found) == [("wheel", "onnxruntime")]
    assert found["causes"][0]["after"] == "9.9.9"
    assert kinds(found["causes"][0]) == {"quantised-model"}
