from __future__ import annotations

import json
import os
import stat
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from store_samples import files_below, image

from buildkit.errors import StoreError
from buildkit.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def no_rights(tmp_path: Path) -> Iterator[None]:  # noqa: ARG001  (made before, with rights)
    before = os.umask(0o777)
    yield
    os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_constructor_does_no_io(tmp_path: Path) -> None:
    Store(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_create_makes_an_empty_layout(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "a" / "store")
    assert json.loads((store.root / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    assert json.loads((store.root / "index.json").read_bytes()) == {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [],
    }
    assert (store.root / "blobs" / "sha256").is_dir()
    assert store.entries() == ()
    assert store.check() == ()


def test_create_again_changes_nothing(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "store")
    store.tag(image(store), "a:1")
    before = files_below(store.root)
    assert len(Store.create(store.root).entries()) == 1
    assert files_below(store.root) == before


def test_create_completes_what_a_killed_one_began(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "store")
    (store.root / "index.json").unlink()
    with pytest.raises(StoreError, match=r"no index\.json"):
        Store.open(store.root)
    assert Store.create(store.root).entries() == ()


@pytest.mark.usefixtures("no_rights")
def test_umask_does_not_matter(tmp_path: Path) -> None:
    store = Store.create(tmp_path / ".buildkit" / "store")
    found = image(store)
    store.tag(found, "a:1")
    for folder in (store.root.parent, store.root, store.root / "blobs" / "sha256"):
        assert mode_of(folder) == 0o755
    assert mode_of(store.path(found.digest)) == 0o444
    assert mode_of(store.root / "index.json") == 0o644
    assert mode_of(store.root.parent / ".gitignore") == 0o644
    assert mode_of(store.root / ".lease") == 0o644


def test_gitignore_only_in_a_folder_of_ours(tmp_path: Path) -> None:
    Store.create(tmp_path / "plain" / "store")
    assert not (tmp_path / "plain" / ".gitignore").exists()
    Store.create(tmp_path / ".buildkit" / "store")
    ignored = tmp_path / ".buildkit" / ".gitignore"
    assert ignored.read_text() == "*\n"
    ignored.write_text("mine\n")
    Store.create(tmp_path / ".buildkit" / "store")
    assert ignored.read_text() == "mine\n"


def test_refuses_a_folder_with_other_files(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"holds other files \(notes\.txt\)") as caught:
        Store.create(tmp_path)
    assert "--store" in caught.value.remedy
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_refuses_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    with pytest.raises(StoreError, match="Not a directory"):
        Store.create(tmp_path / "store")
    with pytest.raises(StoreError, match="no store here"):
        Store.open(tmp_path / "store")


def test_open_needs_a_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store here"):
        Store.open(tmp_path / "nowhere")
    with pytest.raises(StoreError, match="not a store"):
        Store.open(tmp_path)
    with pytest.raises(StoreError, match="no store here"):
        Store(tmp_path / "nowhere").put_bytes(b"x", "text/plain")
    with pytest.raises(StoreError, match="no store here"):
        Store(tmp_path / "nowhere").entries()


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ('{"imageLayoutVersion":"1.1.0"}', "newer than 1.0.0"),
        ('{"imageLayoutVersion":"2.0.0"}', "newer than 1.0.0"),
        ('{"imageLayoutVersion":"one"}', "no image layout version"),
        ('{"imageLayoutVersion":1}', "no image layout version"),
        ('{"imageLayoutVersion":"1.0.0","imageLayoutVersion":"1.0.0"}', "no image layout version"),
        ("[]", "no image layout version"),
        ("", "no image layout version"),
    ],
)
def test_refuses_other_layout_versions(tmp_path: Path, marker: str, message: str) -> None:
    Store.create(tmp_path / "store")
    (tmp_path / "store" / "oci-layout").write_text(marker)
    for way in (Store.open, Store.create):
        with pytest.raises(StoreError, match=message):
            way(tmp_path / "store")


def test_accepts_further_fields_beside_the_version(tmp_path: Path) -> None:
    Store.create(tmp_path / "store")
    marker = tmp_path / "store" / "oci-layout"
    marker.write_text('{"imageLayoutVersion":"1.0.0","by":"another tool"}\n')
    assert Store.open(tmp_path / "store").entries() == ()


def test_refuses_blobs_behind_a_link(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "store")
    (store.root / "blobs").rename(tmp_path / "elsewhere")
    (store.root / "blobs").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="symbolic link"):
        Store.open(store.root)


def test_many_may_create_at_once(tmp_path: Path) -> None:
    barrier = threading.Barrier(8)
    faults: list[BaseException] = []

    def create(root: Path, number: int) -> None:
        barrier.wait()
        try:
            store = Store.create(root)
            store.tag(store.put_bytes(b"%d" % number, "text/plain"), f"n:{number}")
        except BaseException as error:  # noqa: BLE001  (handed to the main thread)
            faults.append(error)

    for attempt in range(5):
        root = tmp_path / str(attempt) / "store"
        threads = [threading.Thread(target=create, args=(root, number)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert faults == []
        assert len(Store.open(root).entries()) == 8


@pytest.fixture
def someone_else() -> Iterator[Path]:
    """A folder that this test's user may read but not write; as root, by becoming another user."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        store = Store.create(folder / "store")
        store.tag(image(store), "a:1")
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        else:
            for path in (folder, *folder.rglob("*")):
                path.chmod(mode_of(path) & 0o555)
        yield folder
        if user == 0:
            os.seteuid(0)
        else:
            for path in (folder, *folder.rglob("*")):
                path.chmod(mode_of(path) | 0o200)


def test_a_store_of_someone_else_can_be_read(someone_else: Path) -> None:
    store = Store.open(someone_else / "store")
    found = store.resolve("a:1")
    assert store.read_json(found.digest)["schemaVersion"] == 2
    assert store.check() == ()
    assert store.gc(dry_run=True).blobs == 0
    with pytest.raises(StoreError, match="no permission") as caught:
        store.put_bytes(b"new", "text/plain")
    assert "--store" in caught.value.remedy
    with pytest.raises(StoreError, match="no permission"):
        store.tag(found, "b:1")
    with pytest.raises(StoreError, match="no permission"):
        Store.create(someone_else / "another" / "store")
    assert store.check() == ()
