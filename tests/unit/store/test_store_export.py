from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from store_samples import (
    SBOM_TYPE,
    files_below,
    image,
    index,
    layer_of,
    multi_arch,
    names_in,
    overwrite,
)

from buildkit import digests, media
from buildkit.errors import DigestError, StoreError
from buildkit.store import REF_NAME, Store, archive, view

if TYPE_CHECKING:
    from buildkit.records import Descriptor

EXPECTED = "sha256:6f0c5f6dce16cc20541be0b11dd306cdc56744e708451b2d8d1a88d4beadf20f"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store")


def skopeo(*words: str) -> Any:
    """What skopeo says; a machine without it fails the test."""
    done = subprocess.run(["skopeo", *words], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout) if done.stdout.startswith(b"{") else done.stdout


def archived(store: Store, descriptor: Descriptor, ref: str | None = None) -> bytes:
    stream = io.BytesIO()
    archive(store, descriptor, stream, ref)
    return stream.getvalue()


def unpacked(data: bytes, folder: Path) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            path = folder / member.name
            if member.isdir():
                path.mkdir(parents=True)
            else:
                content = tar.extractfile(member)
                assert content is not None
                path.write_bytes(content.read())
    return files_below(folder)


def test_skopeo_reads_the_store(store: Store) -> None:
    top = multi_arch(store)
    store.tag(top, "digits:1.0.0")
    store.attach(top, SBOM_TYPE, [(b"sbom", SBOM_TYPE)])
    said = skopeo("inspect", "--raw", f"oci:{store.root}:digits:1.0.0")
    assert said == store.read_json(top.digest)


def test_skopeo_copies_the_store(store: Store, tmp_path: Path) -> None:
    store.tag(multi_arch(store), "digits:1.0.0")
    skopeo("copy", "--all", f"oci:{store.root}:digits:1.0.0", f"oci:{tmp_path}/copy:d:1")
    copy = Store.open(tmp_path / "copy")
    assert copy.check() == ()
    assert names_in(copy) == names_in(store)
    assert copy.resolve("d:1").digest == store.resolve("digits:1.0.0").digest


def test_a_layout_that_skopeo_wrote_is_a_store(store: Store, tmp_path: Path) -> None:
    store.tag(image(store), "a:1")
    skopeo("copy", f"oci:{store.root}:a:1", f"oci:{tmp_path}/copy:b:1")
    copy = Store.create(tmp_path / "copy")
    before = json.loads((copy.root / "index.json").read_bytes())
    sbom = copy.attach(copy.resolve("b:1"), SBOM_TYPE, [(b"sbom", SBOM_TYPE)])
    after = json.loads((copy.root / "index.json").read_bytes())
    assert after["manifests"][0] == before["manifests"][0]
    assert [each.digest for each in copy.referrers(copy.resolve("b:1").digest)] == [sbom.digest]
    assert copy.gc(untagged=True).blobs == 0
    skopeo("copy", f"oci:{store.root}:a:1", f"oci:{tmp_path}/copy:c:1")
    assert {"b:1", "c:1"} <= {each.annotations.get(REF_NAME) for each in copy.entries()}
    assert copy.check() == ()


def test_view_holds_one_manifest(store: Store, tmp_path: Path) -> None:
    top = multi_arch(store)
    store.tag(top, "x:1", {"k": "v"})
    store.tag(image(store, b"another"), "y:1")
    _, child = store.links(top).children[0]
    folder = view(store, child.digest, tmp_path / "deep" / "view")
    found = Store.open(folder)
    assert [each.digest for each in found.entries()] == [child.digest]
    assert found.entries()[0].annotations == {}
    assert found.check() == ()
    assert len(names_in(found)) == 3
    assert skopeo("inspect", f"oci:{folder}")["Architecture"] == "arm64"


def test_view_of_an_index(store: Store, tmp_path: Path) -> None:
    top = multi_arch(store)
    store.tag(top, "x:1")
    (tmp_path / "view").mkdir()
    found = Store.open(view(store, top.digest, tmp_path / "view"))
    assert found.resolve(top.digest).digest == top.digest
    assert names_in(found) == names_in(store)


def test_view_outlives_a_collection(store: Store, tmp_path: Path) -> None:
    one = image(store)
    folder = view(store, one.digest, tmp_path / "view")
    assert store.gc().blobs == 3
    assert Store.open(folder).check() == ()


@pytest.mark.skipif(
    not Path("/dev/shm").is_dir()  # noqa: S108
    or Path("/dev/shm").stat().st_dev == Path("/tmp").stat().st_dev,  # noqa: S108
    reason="needs a second file system",
)
def test_view_on_another_file_system(store: Store, tmp_path: Path) -> None:
    one = image(store)
    folder = Path("/dev/shm") / f"view-{os.getpid()}-{tmp_path.name}"  # noqa: S108
    try:
        view(store, one.digest, folder)
        blob = folder / "blobs" / "sha256" / digests.hex_of(one.digest)
        assert blob.is_symlink() == (folder.stat().st_dev != store.root.stat().st_dev)
        assert skopeo("inspect", f"oci:{folder}")["Architecture"] == "amd64"
    finally:
        for path in sorted(folder.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        folder.rmdir()


def test_view_refuses_a_folder_with_files(store: Store, tmp_path: Path) -> None:
    one = image(store)
    (tmp_path / "view").mkdir()
    (tmp_path / "view" / "notes").write_text("mine")
    with pytest.raises(StoreError, match="not empty"):
        view(store, one.digest, tmp_path / "view")
    assert list(files_below(tmp_path / "view")) == ["notes"]


def test_view_of_something_incomplete_leaves_no_files(store: Store, tmp_path: Path) -> None:
    top = multi_arch(store)
    _, child = store.links(top).children[1]
    _, layer = store.links(child).children[1]
    store.path(layer.digest).unlink()
    with pytest.raises(StoreError, match=f"blob {layer.digest} is missing"):
        view(store, top.digest, tmp_path / "view")
    assert files_below(tmp_path / "view") == {}


def test_archive_is_a_layout(store: Store, tmp_path: Path) -> None:
    one = image(store)
    store.tag(one, "digits:1.0.0", {"k": "v"})
    data = archived(store, store.resolve("digits:1.0.0"), "digits:1.0.0")
    files = unpacked(data, tmp_path / "out")
    found = Store.open(tmp_path / "out")
    assert found.check() == ()
    (entry,) = found.entries()
    assert entry.digest == one.digest
    assert entry.annotations == {
        REF_NAME: "localhost/digits:1.0.0",
        "io.containerd.image.name": "localhost/digits:1.0.0",
    }
    (config, layer) = (each for _, each in store.links(one).children)
    assert json.loads(files["manifest.json"]) == [
        {
            "Config": "blobs/sha256/" + digests.hex_of(config.digest),
            "Layers": ["blobs/sha256/" + digests.hex_of(layer.digest)],
            "RepoTags": ["localhost/digits:1.0.0"],
        }
    ]


def test_archive_is_canonical(store: Store, tmp_path: Path) -> None:
    one = image(store)
    other = Store.create(tmp_path / "other")
    other.put_bytes(b"something else", "text/plain")
    data = archived(store, one, "a:1")
    assert archived(other, image(other), "a:1") == data
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = tar.getmembers()
    names = [member.name for member in members]
    assert names == sorted(names)
    assert {(member.mtime, member.uid, member.gid, member.uname) for member in members} == {
        (0, 0, 0, "")
    }


def test_archive_has_known_bytes(store: Store) -> None:
    """A change of these bytes is a change of every archive that users made."""
    layer = store.put_bytes(b"not unpacked here", "application/vnd.oci.image.layer.v1.tar")
    config = store.put_json({"os": "linux", "architecture": "arm64"}, media.CONFIG)
    document = {
        "schemaVersion": 2,
        "mediaType": media.MANIFEST,
        "config": config.to_json(),
        "layers": [layer.to_json(), layer.to_json()],
    }
    data = archived(store, store.put_json(document, media.MANIFEST), "digits:1.0.0")
    assert len(data) % 512 == 0
    assert digests.of_bytes(data) == EXPECTED


def test_archive_needs_no_seekable_stream(store: Store) -> None:
    one = image(store)
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as source, os.fdopen(writer, "wb") as target:
        archive(store, one, target)
        target.close()
        assert source.read() == archived(store, one)


def test_skopeo_reads_the_archive_both_ways(store: Store, tmp_path: Path) -> None:
    one = image(store)
    path = tmp_path / "image.tar"
    path.write_bytes(archived(store, one, "registry.example:5000/team/digits:1.0.0"))
    assert skopeo("inspect", f"oci-archive:{path}")["Digest"] == one.digest
    said = skopeo("inspect", "--config", f"docker-archive:{path}")
    assert said["rootfs"]["diff_ids"] == [layer_of(b"hi")[1]]


def test_archive_without_a_name(store: Store, tmp_path: Path) -> None:
    files = unpacked(archived(store, image(store)), tmp_path / "out")
    assert json.loads(files["manifest.json"])[0]["RepoTags"] is None
    assert "annotations" not in json.loads(files["index.json"])["manifests"][0]


@pytest.mark.parametrize(
    "ref",
    ["", "digits", "Digits:1", "digits:", "digits:1 2", "a//b:1", ":1", "a:1\n", "../a:1",
     "digits@sha256:" + "0" * 64],
)  # fmt: skip
def test_archive_refuses_names_that_engines_refuse(store: Store, ref: str) -> None:
    stream = io.BytesIO()
    with pytest.raises(StoreError, match="no name for an image"):
        archive(store, image(store), stream, ref)
    assert stream.getvalue() == b""


@pytest.mark.parametrize(
    ("ref", "full"),
    [
        ("digits:1.0.0", "localhost/digits:1.0.0"),
        ("team/digits:1", "localhost/team/digits:1"),
        ("localhost/digits:1", "localhost/digits:1"),
        ("localhost:5000/digits:1", "localhost:5000/digits:1"),
        ("registry:5000/a/b:1", "registry:5000/a/b:1"),
        ("registry.example/a_b/c--d:1", "registry.example/a_b/c--d:1"),
    ],
)
def test_archive_names(store: Store, tmp_path: Path, ref: str, full: str) -> None:
    files = unpacked(archived(store, image(store), ref), tmp_path / "out")
    assert json.loads(files["manifest.json"])[0]["RepoTags"] == [full]


def test_archive_is_for_one_platform(store: Store) -> None:
    top = multi_arch(store)
    with pytest.raises(StoreError, match="an index, not the image of one platform") as caught:
        archive(store, top, io.BytesIO())
    assert "linux/arm64 sha256:" in caught.value.remedy
    sbom = store.attach(top, SBOM_TYPE, [(b"sbom", SBOM_TYPE)])
    for other in (sbom, store.put_bytes(b"x", "text/plain"), index(store)):
        with pytest.raises(StoreError, match="not"):
            archive(store, other, io.BytesIO())


def test_archive_notices_damage(store: Store) -> None:
    one = image(store)
    _, layer = store.links(one).children[1]
    overwrite(store, layer.digest, bytes(layer.size))
    with pytest.raises(DigestError, match=layer.digest):
        archive(store, one, io.BytesIO())
    store.path(layer.digest).unlink()
    stream = io.BytesIO()
    with pytest.raises(StoreError, match="is missing"):
        archive(store, one, stream)
    assert stream.getvalue() == b""
