from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_samples import files_below, names_in, overwrite

from buildkit import canonical, digests
from buildkit.errors import DigestError, StoreError
from buildkit.store import Store
from buildkit.store import blobs as module

if TYPE_CHECKING:
    from pathlib import Path

TEXT = "text/plain"
NOBODY = "sha256:" + "0" * 64


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store")


def stamp(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_ino, state.st_mtime_ns


def test_put_bytes_gives_a_descriptor(store: Store) -> None:
    found = store.put_bytes(
        b"abc", TEXT, annotations={"k": "v"}, artifact_type="a/b", platform="linux/arm64"
    )
    assert found.to_json() == {
        "mediaType": TEXT,
        "digest": "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "size": 3,
        "annotations": {"k": "v"},
        "artifactType": "a/b",
        "platform": {"os": "linux", "architecture": "arm64"},
    }
    assert store.path(found.digest).read_bytes() == b"abc"
    assert store.read(found.digest) == b"abc"
    assert store.has(found.digest)
    assert store.size(found.digest) == 3


def test_put_json_is_canonical(store: Store) -> None:
    first = store.put_json({"b": 1, "a": "ü"}, "application/json")
    assert store.read(first.digest) == '{"a":"ü","b":1}'.encode()
    assert store.put_json({"a": "ü", "b": 1}, "application/json") == first
    assert store.read_json(first.digest) == {"a": "ü", "b": 1}


def test_putting_again_does_not_write(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"abc")
    found = store.put_bytes(b"abc", TEXT)
    before = stamp(store.path(found.digest)), stamp(store.root / "blobs" / "sha256")
    ingest = stamp(store.root / ".ingest")
    store.put_bytes(b"abc", TEXT)
    store.put_file(source, TEXT)
    store.put_file(source, TEXT, digest=found.digest)
    assert (stamp(store.path(found.digest)), stamp(store.root / "blobs" / "sha256")) == before
    assert stamp(store.root / ".ingest") == ingest


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (5 << 20) + 7])
@pytest.mark.parametrize("known", [False, True])
def test_put_file_of_any_size(store: Store, tmp_path: Path, size: int, *, known: bool) -> None:
    data = os.urandom(size)
    source = tmp_path / "source"
    source.write_bytes(data)
    digest = digests.of_bytes(data)
    found = store.put_file(source, TEXT, digest=digest if known else None)
    assert (found.digest, found.size) == (digest, size)
    assert store.read(digest) == data
    assert store.path(digest).stat().st_nlink == 1
    source.write_bytes(b"changed later")
    assert store.read(digest) == data


def test_put_file_with_a_wrong_digest_keeps_nothing(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"abc")
    before = files_below(store.root)
    with pytest.raises(DigestError, match=f"expected {NOBODY}, found sha256:ba7816bf"):
        store.put_file(source, TEXT, digest=NOBODY)
    assert files_below(store.root).keys() - before.keys() <= {".lease"}
    assert store.check() == ()


def test_put_file_with_a_wrong_digest_that_is_there(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"xyz")
    there = store.put_bytes(b"abc", TEXT)
    with pytest.raises(DigestError):
        store.put_file(source, TEXT, digest=there.digest)
    assert store.read(there.digest) == b"abc"


def test_put_file_refuses_what_is_no_file(store: Store, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, message in [("absent", "No such file"), (".", "not a reg"), ("pipe", "not a reg")]:
        with pytest.raises(StoreError, match=message):
            store.put_file(tmp_path / name, TEXT)
    with pytest.raises(StoreError, match="not a SHA-256 digest"):
        store.put_file(tmp_path / "absent", TEXT, digest="md5:1")


def test_put_file_follows_a_link_to_the_source(store: Store, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("source")
    found = store.put_file(tmp_path / "link", TEXT)
    assert not store.path(found.digest).is_symlink()
    assert store.read(found.digest) == b"abc"


@pytest.mark.parametrize(
    "digest",
    ["", "abc", "sha256:", "sha256:../../etc", "sha256:" + "A" * 64, "sha512:" + "0" * 128,
     "sha256:" + "0" * 63 + "\n", "sha256:" + "0" * 65],
)  # fmt: skip
def test_malformed_digests_are_refused(store: Store, digest: str) -> None:
    for ask in (store.path, store.has, store.read, store.read_json, store.size):
        with pytest.raises(StoreError, match="not a SHA-256 digest"):
            ask(digest)


def test_missing_blob(store: Store) -> None:
    assert not store.has(NOBODY)
    with pytest.raises(StoreError, match=f"blob {NOBODY} is missing") as caught:
        store.read(NOBODY)
    assert "build" in caught.value.remedy


def test_corrupt_blob_is_found_when_read(store: Store) -> None:
    found = store.put_bytes(b"abc", TEXT)
    overwrite(store, found.digest, b"abX")
    with pytest.raises(DigestError, match="expected") as caught:
        store.read(found.digest)
    assert caught.value.exit_code == 1
    assert str(store.path(found.digest)) in caught.value.message
    with pytest.raises(DigestError):
        store.read_json(found.digest)


@pytest.mark.parametrize("damage", [b"", b"ab", b"abcd", b"abX"])
def test_a_damaged_small_blob_is_written_anew(store: Store, damage: bytes) -> None:
    found = store.put_bytes(b"abc", TEXT)
    overwrite(store, found.digest, damage)
    store.put_bytes(b"abc", TEXT)
    assert store.read(found.digest) == b"abc"
    assert store.path(found.digest).stat().st_mode & 0o777 == 0o444


def test_a_large_blob_of_the_wrong_size_is_written_anew(store: Store, tmp_path: Path) -> None:
    data = bytes(module.DOCUMENT_LIMIT + 1)
    found = store.put_bytes(data, TEXT)
    overwrite(store, found.digest, data[:-1])
    store.put_bytes(data, TEXT)
    assert store.read(found.digest) == data
    overwrite(store, found.digest, data[:-1])
    (tmp_path / "source").write_bytes(data)
    store.put_file(tmp_path / "source", TEXT)
    assert store.read(found.digest) == data


def test_a_link_in_place_of_a_blob_is_not_followed(store: Store, tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"abc")
    digest = digests.of_bytes(b"abc")
    store.path(digest).symlink_to(tmp_path / "outside")
    assert not store.has(digest)
    with pytest.raises(StoreError, match="symbolic link"):
        store.read(digest)
    store.put_bytes(b"abc", TEXT)
    assert not store.path(digest).is_symlink()
    assert store.read(digest) == b"abc"


def test_other_things_in_place_of_a_blob(store: Store) -> None:
    pipe, folder = digests.of_bytes(b"pipe"), digests.of_bytes(b"folder")
    os.mkfifo(store.path(pipe))
    store.path(folder).mkdir()
    for digest in (pipe, folder):
        assert not store.has(digest)
        with pytest.raises(StoreError, match="not a regular file"):
            store.read(digest)
    store.put_bytes(b"pipe", TEXT)
    assert store.read(pipe) == b"pipe"
    with pytest.raises(StoreError, match="Is a directory"):
        store.put_bytes(b"folder", TEXT)


def test_limits(store: Store) -> None:
    found = store.put_bytes(b"12345", TEXT)
    assert store.read(found.digest, limit=5) == b"12345"
    with pytest.raises(StoreError, match="5 bytes, more than the 4 allowed"):
        store.read(found.digest, limit=4)
    long = store.put_bytes(b" " * module.DOCUMENT_LIMIT + b"1", "application/json")
    with pytest.raises(StoreError, match="more than the"):
        store.read_json(long.digest)


@pytest.mark.parametrize("data", [b"{", b'{"a":1,"a":2}', b"NaN", b"\xff", b"[" * 100_000])
def test_json_is_strict(store: Store, data: bytes) -> None:
    found = store.put_bytes(data, "application/json")
    with pytest.raises(StoreError, match="not strict JSON"):
        store.read_json(found.digest)


def test_blob_in_a_layout_without_that_folder(store: Store) -> None:
    (store.root / "blobs" / "sha256").rmdir()
    (store.root / ".ingest").rmdir()
    other = Store.open(store.root)
    assert other.read(other.put_bytes(b"abc", TEXT).digest) == b"abc"


def test_no_temporary_file_is_left(store: Store) -> None:
    store.put_bytes(b"abc", TEXT)
    assert list((store.root / ".ingest").iterdir()) == []


@given(st.lists(st.binary(max_size=64), max_size=8))
def test_what_is_put_can_be_read(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]
) -> None:
    store = Store.create(tmp_path_factory.mktemp("any") / "store")
    found = [store.put_bytes(data, TEXT) for data in contents]
    assert [store.read(each.digest) for each in found] == contents
    assert names_in(store) == {digests.of_bytes(data) for data in contents}


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(_json)
def test_json_comes_back(tmp_path_factory: pytest.TempPathFactory, document: object) -> None:
    store = Store.create(tmp_path_factory.getbasetemp() / "json" / "store")
    found = store.put_json(document, "application/json")
    assert store.read_json(found.digest) == document
    assert store.read(found.digest) == canonical.dump(document)
