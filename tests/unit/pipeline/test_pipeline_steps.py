"""The steps of a build that need neither Nix nor an engine, on a real store."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from buildkit import canonical, digests, media
from buildkit.errors import AccuracyError, DigestError, InputError, StoreError, ToolError
from buildkit.pipeline import build, inputs, locking
from buildkit.pipeline import made as before
from buildkit.pipeline.engines import Engines
from buildkit.pipeline.progress import Silent, Stopwatch
from buildkit.recipe.types import ArtifactSource
from buildkit.store import Store

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
KEY = digests.of_bytes(b"key")


# --- limits ---


def accuracy(before: float, after: float) -> Any:
    found = {"float": before, "quantised": after, "drop": before - after, "samples": 64}
    return SimpleNamespace(accuracy=found, digest=digests.of_bytes(b"quantised"))


def allowed(drop: float) -> Any:
    return SimpleNamespace(model=SimpleNamespace(golden=SimpleNamespace(max_drop=drop)))


@pytest.mark.parametrize(("after", "drop"), [(98.0, 0.5), (97.5, 0.5), (99.0, 0.0), (0.0, 100.0)])
def test_accuracy_within_the_limit(after: float, drop: float) -> None:
    build._hold_to_golden(allowed(drop), accuracy(98.0, after))


def test_accuracy_below_the_limit_says_the_numbers() -> None:
    with pytest.raises(AccuracyError) as caught:
        build._hold_to_golden(allowed(0.5), accuracy(98.0, 97.25))
    for said in ("98.0 %", "97.25 %", "64 golden inputs", "0.75 points", "0.5 are allowed"):
        assert said in caught.value.message
    assert "max_drop" in caught.value.remedy
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("changed", ["float", "quantised"])
def test_a_model_that_is_not_the_locked_one_is_refused(tmp_path: Path, changed: str) -> None:
    (tmp_path / "model.onnx").write_bytes(b"float")
    hashes = {
        kind: digests.hex_of(digests.of_bytes(kind.encode())) for kind in ("float", "quantised")
    }
    lock: Any = SimpleNamespace(
        model=SimpleNamespace(float_sha256=hashes["float"], quantized_sha256=hashes["quantised"])
    )
    build._hold_to_lock(lock, accuracy(1, 1), tmp_path)
    setattr(lock.model, f"{changed}_sha256".replace("quantised", "quantized"), "0" * 64)
    with pytest.raises(DigestError, match=f"the {changed} model is sha256:{hashes[changed]}") as no:
        build._hold_to_lock(lock, accuracy(1, 1), tmp_path)
    assert no.value.exit_code == 1
    assert "0" * 64 in no.value.message


# --- is it built already? ---


@pytest.fixture
def plan() -> Any:
    return SimpleNamespace(recipe=SimpleNamespace(name="tiny", version="1.0.0"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """What a build leaves, in small."""
    store = Store.create(tmp_path / "store")

    def manifest(what: str) -> dict[str, Any]:
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": store.put_bytes(f"{what} config".encode(), "text/plain").to_json(),
            "layers": [store.put_bytes(f"{what} layer".encode() * 999, "text/plain").to_json()],
        }
        return store.put_json(document, MANIFEST).to_json()

    def index(what: str) -> Any:
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [manifest(what)]}
        return store.put_json(document, INDEX)

    image, model = index("image"), index("model")
    record = {"image": {"digest": image.digest}, "model_index": model.digest}
    store.tag(image, "tiny:1.0.0")
    store.tag(model, "tiny-model:1.0.0")
    store.attach(
        image,
        media.BUILD,
        [(canonical.dump(record), media.BUILD)],
        annotations={before.BUILD_KEY: KEY, before.SIGNER: "key"},
    )
    return store


def made(store: Store, plan: Any, key: str = KEY, signer: str = "key") -> dict[str, Any] | None:
    return before.find(store.root, plan.recipe, key, signer)


def test_a_build_is_found_again(store: Store, plan: Any) -> None:
    record = made(store, plan)
    assert record is not None
    assert record["image"]["digest"] == store.resolve("tiny:1.0.0").digest


def test_without_a_store_nothing_is_built_yet(tmp_path: Path, plan: Any) -> None:
    assert before.find(tmp_path / "none", plan.recipe, KEY, "key") is None
    assert list(tmp_path.iterdir()) == []


def test_other_inputs_are_another_build(store: Store, plan: Any) -> None:
    assert made(store, plan, digests.of_bytes(b"other")) is None


@pytest.mark.parametrize(("signer", "found"), [("key", True), ("none", True), ("keyless", False)])
def test_who_has_signed_must_be_whom_the_user_names(
    store: Store, plan: Any, signer: str, *, found: bool
) -> None:
    assert (made(store, plan, signer=signer) is not None) == found


@pytest.mark.parametrize("name", ["tiny:1.0.0", "tiny-model:1.0.0"])
def test_a_name_that_is_gone_or_moved_is_made_anew(store: Store, plan: Any, name: str) -> None:
    other = "tiny-model:1.0.0" if name == "tiny:1.0.0" else "tiny:1.0.0"
    store.tag(store.resolve(other), name)
    assert made(store, plan) is None
    store.untag(name)
    assert made(store, plan) is None


def blobs(store: Store) -> list[Path]:
    return sorted((store.root / "blobs/sha256").iterdir())


@pytest.mark.parametrize("way", ["remove", "cut", "flip", "link"])
def test_every_blob_that_is_damaged_is_noticed(store: Store, plan: Any, way: str) -> None:
    empty = digests.hex_of(digests.of_bytes(b"{}"))
    for path in blobs(store):
        if path.name == empty:
            continue
        right = path.read_bytes()
        path.unlink()
        if way == "cut":
            path.write_bytes(right[:-1])
        elif way == "flip":
            path.write_bytes(bytes([right[0] ^ 1]) + right[1:])
        elif way == "link":
            path.symlink_to("nowhere")
        assert made(store, plan) is None, path
        path.unlink(missing_ok=True)
        path.write_bytes(right)
        assert made(store, plan) is not None


def test_blobs_are_not_hashed_again_without_need(
    store: Store, plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Path] = []

    def of_file(path: Path) -> str:
        hashed.append(path)
        return f"sha256:{path.name}"

    monkeypatch.setattr(digests, "of_file", of_file)
    assert made(store, plan) is not None
    assert hashed == []
    for path in blobs(store):
        os.utime(path)
    entry = store.find({before.BUILD_KEY: KEY})
    assert entry is not None
    os.utime(store.path(entry.digest), (1, 1))
    assert made(store, plan) is not None
    assert len(hashed) >= 4


# --- a model out of a store ---


def source(store: Store, digest: str) -> tuple[Any, ArtifactSource]:
    recipe = SimpleNamespace(folder=store.root.parent)
    return recipe, ArtifactSource(store="store", digest=digest)


def put_model(store: Store, *layers: bytes) -> str:
    document = {
        "schemaVersion": 2,
        "layers": [store.put_bytes(data, media.WEIGHT).to_json() for data in layers],
    }
    descriptor = store.put_json(document, MANIFEST)
    store.tag(descriptor)
    return descriptor.digest


def test_the_model_of_an_artifact(store: Store) -> None:
    file, sha256 = inputs.artifact_file(*source(store, put_model(store, b"weights")))
    assert file.read_bytes() == b"weights"
    assert sha256 == digests.hex_of(digests.of_bytes(b"weights"))


@pytest.mark.parametrize("layers", [(), (b"one", b"two")])
def test_an_artifact_that_is_not_one_model(store: Store, layers: tuple[bytes, ...]) -> None:
    with pytest.raises(InputError, match=f"holds {len(layers)} model files, not one"):
        inputs.artifact_file(*source(store, put_model(store, *layers)))


def test_an_artifact_that_is_not_there(store: Store) -> None:
    with pytest.raises(StoreError):
        inputs.artifact_file(*source(store, digests.of_bytes(b"nothing")))


def test_an_artifact_that_is_damaged(store: Store) -> None:
    digest = put_model(store, b"weights")
    path = store.path(digests.of_bytes(b"weights"))
    path.chmod(0o644)
    path.write_bytes(b"weighty")
    with pytest.raises(DigestError):
        inputs.artifact_file(*source(store, digest))


# --- the lock file ---


def test_a_lock_is_replaced_in_one_step(tmp_path: Path) -> None:
    file = tmp_path / "recipe.lock"
    file.write_bytes(b"old")
    before = os.umask(0o077)
    try:
        with file.open("rb") as reader:
            locking._write(file, b"new")
            assert reader.read() == b"old"
    finally:
        os.umask(before)
    assert file.read_bytes() == b"new"
    assert file.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [file]


def test_a_lock_that_cannot_be_written_stays(tmp_path: Path) -> None:
    file = tmp_path / "recipe.lock"
    file.mkdir()
    (file / "something").touch()
    with pytest.raises(StoreError, match=r"recipe\.lock cannot be written") as caught:
        locking._write(file, b"new")
    assert "writable" in caught.value.remedy
    assert list(tmp_path.iterdir()) == [file]
    with pytest.raises(StoreError):
        locking._write(tmp_path / "none/recipe.lock", b"new")


# --- the rest ---


def test_a_stage_that_fails_has_no_time() -> None:
    watch = Stopwatch(Silent())
    with watch.stage("one", "first"):
        pass

    def fail() -> None:
        with watch.stage("two", "second"):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(watch.seconds) == ["one"]


def test_a_builder_of_ones_own_needs_a_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    nix: Any = None
    engines = Engines(runner=nix)
    with pytest.raises(ToolError, match="--builder mine: there is no docker client") as caught:
        engines.builder("mine", nix, Silent())
    assert "install the docker CLI" in caught.value.remedy
    (tmp_path / "docker").write_text("#!/bin/sh\n")
    (tmp_path / "docker").chmod(0o755)
    assert engines.builder("mine", nix, Silent()).name == "mine"
