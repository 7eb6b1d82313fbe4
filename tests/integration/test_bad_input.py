"""Bad input: each with its own message and remedy, the right exit status, nothing half-written."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import uuid
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema
import pytest
import tiny_project
from tiny_project import Tiny

from buildkit import digests
from buildkit.lock import codec
from buildkit.lock.types import WheelPin
from buildkit.pipeline.made import BUILD_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.nix, pytest.mark.engine, pytest.mark.network]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return tiny_project.locked(tmp_path_factory.mktemp)


@pytest.fixture
def tiny(made: Tiny, tmp_path: Path) -> Tiny:
    """A project that is locked and built, for one test to spoil."""
    return tiny_project.copy(made, tmp_path)


@pytest.fixture
def disk() -> Iterator[Callable[..., Path]]:
    """Mounts small disks, and takes them away again."""
    mounted: list[Path] = []

    def mount(folder: Path, options: str) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder], check=True)
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", folder], check=True)


# --- the recipe ---


@pytest.mark.parametrize(
    ("change", "says", "remedy"),
    [
        (('name = "tiny"', 'name = "tiny'), "recipe.toml", "closing quote"),
        (("[image.debian]", "[image.debain]"), "debain", "debian"),
        (("max_drop = 5.0", "max_drop = 5.0\nmax_drops = 1"), "max_drops", "max_drop"),
        (('dockerfile = "app/Dockerfile"', 'dockerfile = "app/Nofile"'), "app/Nofile", ""),
        (('context = "app"', 'context = ".."'), "image.context", "into the recipe's folder"),
        (('data = "calibration.npz"', 'data = "nothing.npz"'), "nothing.npz", ""),
        (('path = "model.onnx"', 'path = "nothing.onnx"'), "nothing.onnx", ""),
        (('sha256 = "', 'sha256 = "00'), "model.file.sha256", "sha256sum"),
    ],
)
@pytest.mark.parametrize("command", ["build", "lock", "fetch"])
def test_a_recipe_with_a_mistake(
    tiny: Tiny, command: str, change: tuple[str, str], says: str, remedy: str
) -> None:
    tiny.edit(*change)
    with tiny.untouched():
        said = tiny.cli(command, tiny.recipe, "--json").refusal(2, says, remedy=remedy)
    assert said["kind"] == "RecipeError"
    assert all(problem["line"] > 0 for problem in said["problems"])


def test_a_recipe_that_is_not_there(tiny: Tiny) -> None:
    with tiny.untouched():
        answer = tiny.cli("build", tiny.root / "none/recipe.toml", "--json")
    assert answer.refusal(2, "none/recipe.toml", remedy="init")["kind"] == "InputError"


def test_a_model_file_with_another_hash(tiny: Tiny) -> None:
    with (tiny.root / "model.onnx").open("ab") as stream:
        stream.write(b"more")
    with tiny.untouched():
        for command in ("build", "lock"):
            answer = tiny.cli(command, tiny.recipe, "--json")
            answer.refusal(2, "model.file.sha256", "has the hash", remedy="bring back")


def test_for_people_every_mistake_has_its_line_and_remedy(tiny: Tiny) -> None:
    tiny.edit("max_drop = 5.0", "max_drop = 500.0")
    tiny.edit('targets = ["amd64"]', 'targets = ["amd46"]')
    answer = tiny.cli("build", tiny.recipe)
    assert (answer.status, answer.stdout) == (2, "")
    for line, key in ((5, "targets"), (32, "model.golden.max_drop")):
        assert f"recipe.toml:{line}: {key}" in answer.stderr
    assert answer.stderr.count("    → ") == 2
    assert "recipe.toml: 2 mistakes" in answer.stderr


@pytest.mark.parametrize(
    "words", [["build"], ["build", "a", "b"], ["nothing"], [], ["lock", "a", "--check", "--update"]]
)
def test_a_command_line_with_a_mistake(tiny: Tiny, words: list[str]) -> None:
    with tiny.untouched():
        tiny.cli(*words, "--json").refusal(2, "", remedy="--help")


# --- the lock ---


def test_no_lock(tiny: Tiny) -> None:
    tiny.lock.unlink()
    with tiny.untouched():
        for command in (["build"], ["fetch"], ["lock", "--check"]):
            answer = tiny.cli(*command, tiny.recipe, "--json")
            assert answer.refusal(2, "there is no lock yet", remedy="`lock`")["kind"] == "LockError"


@pytest.mark.parametrize(
    ("before", "after", "says", "remedy"),
    [
        ('"schema": "buildkit/lock/v1"', '"schema": "buildkit/lock/v2"', "newer version", "newer"),
        ('"onnxruntime": "', '"onnxruntime": "9', "edited by hand", "git checkout"),
        ('\n  "schema"', '\n  "schem"', "not a lock", "git checkout"),
        ('{\n  "hosts"', '{{\n  "hosts"', "not a lock", "git checkout"),
        ('{\n  "hosts"', "\0", "not a lock", "git checkout"),
    ],
)
def test_a_lock_that_was_edited(
    tiny: Tiny, before: str, after: str, says: str, remedy: str
) -> None:
    text = tiny.lock.read_text()
    assert before in text
    tiny.lock.write_text(text.replace(before, after, 1))
    with tiny.untouched():
        for command in (["build"], ["fetch"], ["lock"]):
            answer = tiny.cli(*command, tiny.recipe, "--json")
            assert answer.refusal(2, says, remedy=remedy)["kind"] == "LockError"


@pytest.mark.parametrize(
    ("before", "after", "key"),
    [
        ('packages = ["python3.11-minimal"]', 'packages = ["adduser"]', "image.debian.packages"),
        ("max_drop = 5.0", "max_drop = 6.0", "model.golden.max_drop"),
        ('targets = ["amd64"]', 'targets = ["pi5"]\nlicense = "MIT"', "license"),
    ],
)
def test_a_recipe_that_was_changed_after_the_lock(
    tiny: Tiny, before: str, after: str, key: str
) -> None:
    tiny.edit(before, after)
    if "pi5" in after:
        tiny.edit('platforms = ["linux/amd64"]', 'platforms = ["linux/arm64"]')
    with tiny.untouched():
        answer = tiny.cli("build", tiny.recipe, "--json")
        assert answer.refusal(1, key, remedy="buildkit lock")["kind"] == "DriftError"
        answer = tiny.cli("lock", tiny.recipe, "--check", "--json")
    assert answer.status == 1
    assert answer.stderr == ""
    assert any(key in drift["message"] for drift in answer.json["drift"])


def test_data_that_was_changed_after_the_lock(tiny: Tiny) -> None:
    with (tiny.root / "golden.npz").open("ab") as stream:
        stream.write(b"more")
    with tiny.untouched():
        answer = tiny.cli("build", tiny.recipe, "--json")
    answer.refusal(1, "golden.npz was changed after the lock", remedy="buildkit lock")


# --- packages ---


@pytest.mark.parametrize(
    ("before", "after", "says", "remedy"),
    [
        (
            'packages = ["python3.11-minimal"]',
            'packages = ["python3.11-minimal", "no-such-package-anywhere"]',
            ("no-such-package-anywhere", "does not exist"),
            "name",
        ),
        (
            'packages = ["python3.11-minimal"]',
            'packages = ["python3.11-minimal", "cpuid"]',
            ("cpuid", "arm64"),
            "image.debian",
        ),
        (
            "requirements = []",
            'requirements = ["intel-openmp==2024.2.1"]',
            ("intel-openmp", "no wheel for aarch64"),
            "exclude it",
        ),
        (
            "requirements = []",
            'requirements = ["numpy==0.0.1"]',
            ("numpy==0.0.1",),
            "choose",
        ),
    ],
)
def test_a_package_that_is_not_to_be_had(
    tiny: Tiny, before: str, after: str, says: tuple[str, ...], remedy: str
) -> None:
    tiny.edit(before, after)
    tiny.edit('platforms = ["linux/amd64"]', 'platforms = ["linux/amd64", "linux/arm64"]')
    with tiny.untouched():
        answer = tiny.cli("lock", tiny.recipe, "--json")
    assert answer.refusal(2, *says, remedy=remedy)["kind"] == "ResolveError"


# --- the model ---


@pytest.mark.parametrize(
    ("data", "says", "remedy"),
    [
        (b"hello", "is not an ONNX model", "export"),
        (b"", "is not an ONNX model", "export"),
        (tiny_project.model()[:-40], "ONNX", "export"),
        (tiny_project.model(opset=99), "opset 99", "opset"),
        (tiny_project.model(scale=float("nan")), "not a number", "check the model"),
    ],
    ids=["text", "empty", "cut-short", "opset", "nan"],
)
def test_a_model_that_cannot_be_used(tiny: Tiny, data: bytes, says: str, remedy: str) -> None:
    tiny.use_model(data)
    with tiny.untouched():
        tiny.cli("lock", tiny.recipe, "--json").refusal(2, says, remedy=remedy)
        tiny.cli("build", tiny.recipe, "--json").refusal(1, "model.onnx", remedy="buildkit lock")


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("raise RuntimeError('out of clay')", "RuntimeError: out of clay"),
        ("import sys; sys.exit(7)", "7"),
        ("pass", "model.onnx"),
        ("def broken(:", "SyntaxError"),
        ("import socket; socket.create_connection(('192.0.2.1', 80), 5)", "OSError"),
        ("import nothing_of_the_kind", "nothing_of_the_kind"),
    ],
    ids=["raises", "exits", "writes-nothing", "syntax", "network", "import"],
)
def test_a_training_script_that_fails(tiny: Tiny, script: str, says: str) -> None:
    tiny.use_training(script)
    with tiny.untouched():
        tiny.cli("lock", tiny.recipe, "--json").refusal(2, says, remedy="")


def test_a_training_script_that_writes_a_model_of_nan(tiny: Tiny) -> None:
    (tiny.root / "model.onnx").write_bytes(tiny_project.model(scale=float("nan")))
    tiny.use_training("import os, shutil; shutil.copy('model.onnx', os.environ['OUT'])")
    tiny.edit('script = "train.py"', 'script = "train.py"\ninputs = ["model.onnx"]')
    with tiny.untouched():
        answer = tiny.cli("lock", tiny.recipe, "--json")
    answer.refusal(2, "not a number", remedy="check the model")


def test_accuracy_below_the_limit(tiny: Tiny) -> None:
    import numpy as np

    file = tiny.root / "golden.npz"
    with np.load(file) as golden:
        data = dict(golden)
    # Too small for the steps of the quantised input, and the labels stay.
    np.savez(file, **{**data, "x": data["x"] * np.float32(1e-3)})
    assert tiny.cli("lock", tiny.recipe, "--json").status == 0
    with tiny.untouched():
        answer = tiny.cli("build", tiny.recipe, "--json")
    said = answer.refusal(1, "100.0 %", "on 64 golden inputs", "5.0 are allowed", remedy="max_drop")
    assert said["kind"] == "AccuracyError"


# --- the Dockerfile ---

BASE = 'FROM base\nRUN ["/usr/bin/python3.11", "-c", "{}"]\nENTRYPOINT ["/usr/bin/python3.11"]\n'


@pytest.mark.parametrize(
    ("dockerfile", "says", "remedy"),
    [
        ("FORM scratch\n", "did you mean FROM", "correct the Dockerfile"),
        ("FROM scratch\nCOPPY main.py /\n", "COPPY", "correct the Dockerfile"),
        ('FROM scratch\nCOPY nothing.py /\nENTRYPOINT ["/x"]\n', "nothing.py", ""),
        ('FROM scratch\nCOPY ../recipe.toml /\nENTRYPOINT ["/x"]\n', "recipe.toml", ""),
        (BASE.format("raise SystemExit(3)"), "exit code: 3", ""),
        (
            BASE.format("import socket; socket.create_connection(('192.0.2.1', 80), 5)"),
            "Network is unreachable",
            "no network",
        ),
        ("FROM scratch\nCOPY main.py /main.py\n", "ENTRYPOINT", "add ENTRYPOINT"),
        ('FROM nothing-of-the-kind\nENTRYPOINT ["/x"]\n', "nothing-of-the-kind", ""),
        ("", "cannot be empty", "Dockerfile"),
    ],
    ids=["form", "syntax", "no-file", "outside", "fails", "network", "no-entry", "image", "empty"],
)
def test_a_dockerfile_that_cannot_be_built(
    tiny: Tiny, dockerfile: str, says: str, remedy: str
) -> None:
    tiny.dockerfile.write_text(dockerfile)
    with tiny.untouched():
        tiny.cli("build", tiny.recipe, "--json").refusal(2, says, remedy=remedy)


def test_links_out_of_the_context_are_not_followed(tiny: Tiny) -> None:
    (tiny.root / "secret").write_text("secret")
    (tiny.root / "app/main.py").unlink()
    (tiny.root / "app/main.py").symlink_to("../secret")
    with tiny.untouched():
        tiny.cli("build", tiny.recipe, "--json").refusal(2, "main.py", remedy="")


def test_a_pipe_in_the_context(tiny: Tiny) -> None:
    os.mkfifo(tiny.root / "app/pipe")
    tiny.cli("build", tiny.recipe, "--json").refusal(2, "app/pipe", remedy="out of the build")


# --- builders ---


def test_a_builder_without_a_docker_client(tiny: Tiny, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("nix", "nix-store", "git"):
        found = shutil.which(name)
        assert found
        (programs / name).symlink_to(found)
    with tiny.untouched():
        answer = tiny.cli(
            "build", tiny.recipe, "--builder", "nope", "--json", environment={"PATH": str(programs)}
        )
    answer.refusal(2, "nope", "no docker client", remedy="install the docker CLI")


def test_a_builder_that_does_not_exist(tiny: Tiny) -> None:
    engines = tiny.cli("engine", "status", "--json").json["engines"]
    client = next(
        Path(engine["socket"]).parents[1] / "client" for engine in engines if engine["running"]
    )
    with tiny.untouched():
        answer = tiny.cli(
            "build",
            tiny.recipe,
            *("--builder", "nope", "--json"),
            environment={
                "PATH": f"{client}:{os.environ['PATH']}",
                "DOCKER_CONFIG": str(client),
            },
        )
    answer.refusal(2, "nope", remedy="docker buildx ls")


# --- the disk ---


def test_a_store_that_is_a_file(tiny: Tiny) -> None:
    with tiny.untouched():
        answer = tiny.cli("build", tiny.recipe, "--store", tiny.dockerfile, "--json")
    assert answer.refusal(2, "Dockerfile", remedy="--store")["kind"] == "StoreError"


@pytest.mark.parametrize("size", ["64k", "1m", "8m"])
def test_a_full_disk_under_the_store(
    tiny: Tiny, disk: Callable[..., Path], tmp_path: Path, size: str
) -> None:
    store = disk(tmp_path / "disk", f"size={size}") / "store"
    with tiny.untouched():
        answer = tiny.cli("build", tiny.recipe, "--store", store, "--json")
    assert answer.refusal(2, "no space left", remedy="make room")["kind"] == "StoreError"
    assert tiny.cli("show", "--store", store, "--verify").status == 0
    assert tiny.cli("show", "--store", store, "--json").json == {"entries": []}
    assert list((store / ".ingest").iterdir()) == []


@pytest.mark.parametrize("options", ["size=64k", "size=1m,nr_inodes=4"])
def test_a_full_disk_under_the_work_folder(
    tiny: Tiny, disk: Callable[..., Path], options: str
) -> None:
    shutil.rmtree(tiny.root / ".buildkit")
    disk(tiny.root / ".buildkit", options)
    answer = tiny.cli("build", tiny.recipe, "--json")
    answer.refusal(2, "space", remedy="room")


def test_a_full_disk_for_temporary_files(tiny: Tiny, disk: Callable[..., Path]) -> None:
    disk(tiny.temporary, "size=64k")
    (tiny.root / "app/large").write_bytes(os.urandom(1 << 20))
    with tiny.untouched():
        answer = tiny.cli("build", tiny.recipe, "--json")
    answer.refusal(2, "No space left on device", remedy="TMPDIR")


def test_a_full_disk_under_the_cache(tiny: Tiny, disk: Callable[..., Path], tmp_path: Path) -> None:
    cache = disk(tmp_path / "cache", "size=64k")
    offline = pin_wheel(tiny, tmp_path, os.urandom(1 << 20))
    with tiny.untouched():
        answer = tiny.cli(
            *("fetch", tiny.recipe, "--json"),
            environment={
                "XDG_CACHE_HOME": str(cache),
                "EDGE_BUILDKIT_INPUTS": str(offline),
            },
        )
    assert answer.refusal(2, "No space left", remedy="make room")["kind"] == "FetchError"
    assert [path for path in cache.rglob("*") if path.is_file()] == []


def test_a_full_disk_under_the_project(
    tiny: Tiny, disk: Callable[..., Path], tmp_path: Path
) -> None:
    root = disk(tmp_path / "small", "size=600k")
    shutil.copytree(tiny.root, root, ignore=shutil.ignore_patterns(".buildkit"), dirs_exist_ok=True)
    small = Tiny(root=root, home=tmp_path)
    small.edit("max_drop = 5.0", "max_drop = 6.0")
    with (root / "filler").open("wb", buffering=0) as stream, suppress(OSError):
        while True:
            stream.write(bytes(4096))
    with small.untouched():
        answer = small.cli("lock", small.recipe, "--json")
    answer.refusal(2, "No space left", remedy="make room")


@pytest.fixture
def read_only(tiny: Tiny) -> Iterator[Tiny]:
    subprocess.run(["mount", "--bind", tiny.root, tiny.root], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", tiny.root], check=True)
    yield tiny
    subprocess.run(["umount", tiny.root], check=True)


def test_a_project_that_cannot_be_written(read_only: Tiny, tmp_path: Path) -> None:
    assert read_only.cli("build", read_only.recipe, "--json").json["cached"]
    assert read_only.cli("lock", read_only.recipe, "--check").status == 0
    store = tmp_path / "store"
    assert not read_only.cli("build", read_only.recipe, "--store", store, "--json").json["cached"]
    with read_only.untouched():
        answer = read_only.cli("lock", read_only.recipe, "--update", "--json")
        answer.refusal(2, "is read-only", remedy="writable")


def test_a_first_build_in_a_project_that_cannot_be_written(tiny: Tiny) -> None:
    shutil.rmtree(tiny.root / ".buildkit")
    subprocess.run(["mount", "--bind", tiny.root, tiny.root], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", tiny.root], check=True)
        with tiny.untouched():
            tiny.cli("build", tiny.recipe, "--json").refusal(2, "read-only", remedy="--store")
    finally:
        subprocess.run(["umount", tiny.root], check=True)


# --- inputs that are not what the lock says ---


def pin_wheel(tiny: Tiny, folder: Path, content: bytes) -> Path:
    """Pin one more wheel of the image, which nobody else has; a folder that holds it."""
    offline = folder / "offline"
    offline.mkdir()
    name = f"tiny_{uuid.uuid4().hex}"
    file = offline / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"{name}.py", content)
        archive.writestr(f"{name}-1.0.dist-info/METADATA", f"Name: {name}\nVersion: 1.0\n")
        archive.writestr(f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{name}-1.0.dist-info/RECORD", "")
    sha256 = digests.hex_of(digests.of_file(file))
    pin = WheelPin(name=name.replace("_", "-"), version="1.0", file=file.name, sha256=sha256)
    lock = codec.load(tiny.lock)
    platforms = {
        platform: dataclasses.replace(pins, wheels=(*pins.wheels, pin))
        for platform, pins in lock.platforms.items()
    }
    tiny.lock.write_bytes(codec.dump(dataclasses.replace(lock, platforms=platforms)))
    return offline


def nobody(folder: Path) -> dict[str, str]:
    """Variables that send pip to an index without anything in it."""
    (folder / "index").mkdir()
    return {
        "XDG_CACHE_HOME": str(folder / "cache"),
        "PIP_INDEX_URL": (folder / "index").as_uri(),
        "PIP_EXTRA_INDEX_URL": "",
        "PIP_FIND_LINKS": "",
        "PIP_CONFIG_FILE": "/dev/null",
    }


def entries(cache: Path) -> list[str]:
    folder = cache / "edge-buildkit/inputs/sha256"
    assert list((cache / "edge-buildkit").glob("partial/*")) == []
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_an_offline_folder_with_other_bytes(tiny: Tiny, tmp_path: Path) -> None:
    offline = pin_wheel(tiny, tmp_path, b"")
    (wheel,) = offline.iterdir()
    with wheel.open("ab") as stream:
        stream.write(b"more")
    for command in ("fetch", "build"):
        with tiny.untouched():
            answer = tiny.cli(
                *(command, tiny.recipe, "--json"),
                environment={
                    "XDG_CACHE_HOME": str(tmp_path / "cache"),
                    "EDGE_BUILDKIT_INPUTS": str(offline),
                },
            )
        said = answer.refusal(1, str(wheel), "expected sha256:", remedy="other bytes than the lock")
        assert said["kind"] == "DigestError"
    assert entries(tmp_path / "cache") == []


def test_a_mirror_with_other_bytes(tiny: Tiny, tmp_path: Path) -> None:
    offline = pin_wheel(tiny, tmp_path, b"")
    (wheel,) = offline.iterdir()
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("more.py", "")
    with tiny.untouched():
        answer = tiny.cli(
            *("fetch", tiny.recipe, "--json"),
            environment={
                **nobody(tmp_path),
                "PIP_FIND_LINKS": str(offline),
            },
        )
    said = answer.refusal(1, "other bytes than the lock", remedy="another index")
    assert said["kind"] == "DigestError"
    assert entries(tmp_path / "cache") == []


def test_an_input_that_is_nowhere(tiny: Tiny, tmp_path: Path) -> None:
    (wheel,) = pin_wheel(tiny, tmp_path, b"").iterdir()
    with tiny.untouched():
        answer = tiny.cli(
            *("fetch", tiny.recipe, "--json"),
            environment=nobody(tmp_path),
        )
    name = wheel.name.split("-")[0].replace("_", "-")
    said = answer.refusal(2, name, remedy=f"lock --update {name}")
    assert said["kind"] == "FetchError"
    assert entries(tmp_path / "cache") == []


def test_a_damaged_file_in_the_cache_is_brought_again(tiny: Tiny, tmp_path: Path) -> None:
    (wheel,) = pin_wheel(tiny, tmp_path, b"").iterdir()
    cached = tmp_path / "cache/edge-buildkit/inputs/sha256" / digests.hex_of(digests.of_file(wheel))
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"damaged")
    with tiny.untouched():
        answer = tiny.cli(
            *("fetch", tiny.recipe, "--json"),
            environment=nobody(tmp_path),
        )
        answer.refusal(2, "no wheel", remedy="lock --update")
        assert entries(tmp_path / "cache") == []
        cached.write_bytes(b"damaged")
        answer = tiny.cli(
            *("fetch", tiny.recipe, "--json"),
            environment={
                "XDG_CACHE_HOME": str(tmp_path / "cache"),
                "EDGE_BUILDKIT_INPUTS": str(wheel.parent),
            },
        )
    assert answer.json == {"fetched": 1}
    assert cached.read_bytes() == wheel.read_bytes()


# --- a damaged store ---


def flip(file: Path) -> None:
    """Change one byte, as a bad disk or another program would."""
    file.chmod(0o644)
    with file.open("r+b") as stream:
        stream.seek(file.stat().st_size // 2)
        byte = stream.read(1)
        stream.seek(-1, os.SEEK_CUR)
        stream.write(bytes([byte[0] ^ 1]))


def parts(tiny: Tiny) -> dict[str, str]:
    """Role → digest, of one thing of each kind that a build publishes."""
    found = {}
    for name in ("tiny:1.0.0", "tiny-model:1.0.0"):
        kind = name.split(":")[0]
        top = tiny.store.resolve(name)
        found[f"{kind} index"] = top.digest
        manifest = tiny.store.read_json(top.digest)["manifests"][0]["digest"]
        found[f"{kind} manifest"] = manifest
        document = tiny.store.read_json(manifest)
        found[f"{kind} config"] = document["config"]["digest"]
        found[f"{kind} first layer"] = document["layers"][0]["digest"]
        found[f"{kind} last layer"] = document["layers"][-1]["digest"]
    record = next(
        entry for entry in reversed(tiny.store.entries()) if BUILD_KEY in entry.annotations
    )
    found["record"] = record.digest
    found["record's layer"] = tiny.store.read_json(record.digest)["layers"][0]["digest"]
    return found


def healed(tiny: Tiny, damaged: dict[str, bytes]) -> None:
    """The damage is found, the next build writes right bytes, and says the same digests."""
    answer = tiny.cli("show", "--verify", "--json")
    assert answer.status == 1
    for digest in damaged:
        findings = [item for item in answer.json["findings"] if digest in item["where"]]
        # What hangs on a damaged manifest cannot be found from it.
        assert findings or len(damaged) > 1
        assert all(item["remedy"] for item in findings)
    answer = tiny.cli("build", tiny.recipe, "--json")
    assert answer.status == 0, answer.stderr
    assert not answer.json["cached"]
    for digest, right in damaged.items():
        assert tiny.store.path(digest).read_bytes() == right
    assert tiny.store.check() == ()


def test_any_damaged_blob_is_found_and_healed(tiny: Tiny) -> None:
    first = tiny.cli("build", tiny.recipe, "--json").json
    for digest in parts(tiny).values():
        right = tiny.store.path(digest).read_bytes()
        flip(tiny.store.path(digest))
        healed(tiny, {digest: right})
    again = tiny.cli("build", tiny.recipe, "--json").json
    assert again["cached"]
    assert (again["image"], again["models"]) == (first["image"], first["models"])


@pytest.mark.parametrize("cut", [True, False])
def test_blobs_that_were_cut_or_removed_are_found_and_healed(tiny: Tiny, *, cut: bool) -> None:
    damaged = {digest: tiny.store.path(digest).read_bytes() for digest in parts(tiny).values()}
    for digest, right in damaged.items():
        tiny.store.path(digest).unlink()
        if cut:
            tiny.store.path(digest).write_bytes(right[:-1])
    healed(tiny, damaged)


def test_a_name_that_went_to_another_build_comes_back(tiny: Tiny) -> None:
    first = tiny.cli("build", tiny.recipe, "--json").json["image"]["digest"]
    program = tiny.root / "app/main.py"
    text = program.read_text()
    program.write_text("print('another')\n")
    second = tiny.cli("build", tiny.recipe, "--json").json["image"]["digest"]
    assert tiny.store.resolve("tiny:1.0.0").digest == second != first
    program.write_text(text)
    assert tiny.cli("build", tiny.recipe, "--json").json["image"]["digest"] == first
    assert tiny.store.resolve("tiny:1.0.0").digest == first


def test_nothing_is_published_over_damage_that_an_earlier_build_left(tiny: Tiny) -> None:
    layer = parts(tiny)["tiny first layer"]
    state = tiny.store.path(layer).stat()
    flip(tiny.store.path(layer))
    # As a bad disk does it: no time of the file tells.
    os.utime(tiny.store.path(layer), ns=(state.st_atime_ns, state.st_mtime_ns))
    (tiny.root / "app/main.py").write_text("print('another')\n")
    assert not tiny.cli("build", tiny.recipe, "--json").json["cached"]
    assert tiny.store.check() == ()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schemaVersion": 2, "schemaVersion": 2}'])
def test_a_damaged_index_is_refused_and_kept(tiny: Tiny, content: str) -> None:
    file = tiny.root / ".buildkit/store/index.json"
    file.write_text(content)
    for words in (["build", tiny.recipe], ["show"], ["gc"]):
        tiny.cli(*words, "--json").refusal(2, "index.json", remedy="")
    assert tiny.cli("show", "--verify", "--json").status == 1
    assert file.read_text() == content


# --- the result ---


def test_the_result_is_one_object_of_the_documented_form(tiny: Tiny) -> None:
    sha256 = {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}
    hexadecimal = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
    text = {"type": "string", "minLength": 1}
    size = {"type": "integer", "minimum": 1}

    def table(**keys: object) -> dict[str, object]:
        return {
            "type": "object",
            "required": sorted(keys),
            "properties": keys,
            "additionalProperties": False,
        }

    accuracy = {"type": "number", "minimum": 0, "maximum": 100}
    counts = {"type": "object", "additionalProperties": size}
    schema = table(
        schema={"const": "buildkit/build-result/v1"},
        recipe=table(name=text, version=text, digest=sha256),
        lock=table(digest=sha256),
        image=table(
            digest=sha256,
            platforms={
                "type": "array",
                "minItems": 1,
                "items": table(platform=text, digest=sha256, size=size),
            },
        ),
        model_index=sha256,
        models={
            "type": "array",
            "minItems": 1,
            "items": table(
                target=text,
                digest=sha256,
                file_sha256=hexadecimal,
                size=size,
                accuracy=table(float=accuracy, quantised=accuracy),
                answers=table(
                    same_on_every_cpu={"type": "boolean"},
                    float_operators=counts,
                    saturating_operators=counts,
                    reason=text,
                    # Where they are the same.
                    sha256=hexadecimal,
                ),
            ),
        },
        statements={
            "type": "array",
            "minItems": 1,
            "items": table(kind=text, about=text, digest=sha256),
        },
        findings={"type": "array", "items": text},
        store={"type": "string", "pattern": "^/"},
        cached={"type": "boolean"},
        seconds={"type": "object", "additionalProperties": {"type": "number", "minimum": 0}},
    )
    shutil.rmtree(tiny.root / ".buildkit/store")
    stages = []
    for cached in (False, True):
        answer = tiny.cli("build", "recipe.toml", "--json")
        assert (answer.status, answer.stderr) == (0, "")
        jsonschema.validate(answer.json, schema)
        assert answer.json["cached"] is cached
        stages.append(list(answer.json["seconds"]))
    assert set(stages[0]) >= {"check", "fetch", "nix", "model", "image", "evidence", "store"}
    assert stages[1] == ["check"]
    assert answer.json["lock"]["digest"] == digests.of_file(tiny.lock)
    for platform in answer.json["image"]["platforms"]:
        document = tiny.store.read_json(platform["digest"])
        size_of_all = sum(item["size"] for item in [document["config"], *document["layers"]])
        assert platform["size"] == size_of_all + tiny.store.size(platform["digest"])
    for model in answer.json["models"]:
        assert tiny.store.size(f"sha256:{model['file_sha256']}") == model["size"]


def test_quiet_says_nothing_but_the_result(tiny: Tiny) -> None:
    (tiny.root / "app/main.py").write_text("print('another')\n")
    answer = tiny.cli("build", tiny.recipe, "--quiet")
    assert (answer.status, answer.stderr) == (0, "")
    assert "sha256:" in answer.stdout
