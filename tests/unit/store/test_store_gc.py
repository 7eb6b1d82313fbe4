from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from store_samples import (
    SBOM_TYPE,
    SIGNATURE_TYPE,
    files_below,
    image,
    multi_arch,
    names_in,
    overwrite,
)

from buildkit import media
from buildkit.errors import StoreError
from buildkit.store import Store

if TYPE_CHECKING:
    from buildkit.records import Descriptor


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store")


def parts(store: Store, *roots: Descriptor) -> set[str]:
    return {node.descriptor.digest for root in roots for node in store.walk(root)}


def test_debris_goes_and_entries_stay(store: Store) -> None:
    top = multi_arch(store, b"kept")
    store.tag(top, "x:1")
    loose = store.tag(image(store, b"without a name"))
    sbom = store.attach(top, SBOM_TYPE, [(b"sbom", SBOM_TYPE)])
    debris = store.put_bytes(b"12345", "text/plain"), store.put_bytes(b"123", "text/plain")
    before = files_below(store.root)
    told = store.gc(dry_run=True)
    assert (told.blobs, told.size, told.entries, told.dry_run) == (2, 8, (), True)
    assert files_below(store.root) == before
    done = store.gc()
    assert (done.blobs, done.size, done.entries, done.dry_run) == (2, 8, (), False)
    assert names_in(store) == parts(store, top, loose, sbom)
    assert not store.has(debris[0].digest)
    assert store.check() == ()
    assert store.gc().blobs == 0


def test_untagged_entries_go_but_not_what_is_said_about_named_ones(store: Store) -> None:
    top = multi_arch(store, b"kept")
    store.tag(top, "x:1")
    _, child = store.links(top).children[0]
    sbom = store.attach(top, SBOM_TYPE, [(b"sbom", SBOM_TYPE)])
    on_sbom = store.attach(sbom, SIGNATURE_TYPE, [(b"signature", SIGNATURE_TYPE)])
    on_child = store.attach(child, SBOM_TYPE, [(b"sbom of a platform", SBOM_TYPE)])
    part = store.tag(child)
    old = store.tag(image(store, b"old"))
    on_old = store.attach(old, SBOM_TYPE, [(b"sbom of old", SBOM_TYPE)])
    on_on_old = store.attach(on_old, SIGNATURE_TYPE, [(b"of that", SIGNATURE_TYPE)])
    told = store.gc(untagged=True, dry_run=True)
    assert {each.digest for each in told.entries} == {old.digest, on_old.digest, on_on_old.digest}
    assert len(store.entries()) == 8
    done = store.gc(untagged=True)
    assert (done.entries, done.blobs, done.size) == (told.entries, told.blobs, told.size)
    kept = [each.digest for each in store.entries()]
    assert kept == [each.digest for each in (top, sbom, on_sbom, on_child, part)]
    assert names_in(store) == parts(store, top, sbom, on_sbom, on_child)
    assert store.check() == ()


def test_without_names_everything_untagged_goes(store: Store) -> None:
    store.tag(multi_arch(store), "x:1")
    store.untag("x:1")
    assert store.gc().blobs == 0
    assert len(store.gc(untagged=True).entries) == 1
    assert names_in(store) == set()


def test_stale_temporary_files_go(store: Store) -> None:
    ingest = store.root / ".ingest"
    own_start = _start_of(os.getpid())
    (ingest / "write-4194304-1-0123456789abcdef").write_bytes(b"half")
    reused = ingest / f"write-{os.getpid()}-1-0123456789abcdef"
    reused.write_bytes(b"of an earlier process with our pid")
    alive = ingest / f"write-{os.getpid()}-{own_start}-0123456789abcdef"
    alive.write_bytes(b"of this process")
    other = ingest / "oci-put-blob123"
    other.write_bytes(b"of another tool")
    assert [finding.kind for finding in store.check()] == ["temporary", "temporary"]
    assert store.gc(dry_run=True).temporary == 2
    found = store.gc()
    assert (found.temporary, found.size) == (2, 4 + 34)
    assert sorted(ingest.iterdir()) == sorted([alive, other])


def _start_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def test_files_of_other_tools_stay(store: Store) -> None:
    for name in ("blobs/sha256/notes.txt", "blobs/readme", "oci-put-blob1"):
        (store.root / name).write_text("mine")
    (store.root / "blobs" / "sha512").mkdir()
    (store.root / "blobs" / "sha512" / ("0" * 128)).write_text("x")
    before = files_below(store.root)
    store.gc(untagged=True)
    assert before.items() <= files_below(store.root).items()


def test_a_corrupt_manifest_stops_the_collection(store: Store) -> None:
    top = multi_arch(store)
    store.tag(top, "x:1")
    _, child = store.links(top).children[0]
    debris = store.put_bytes(b"debris", "text/plain")
    overwrite(store, child.digest, bytes(child.size))
    before = names_in(store)
    again = Store.open(store.root)
    for untagged in (False, True):
        with pytest.raises(StoreError, match="nothing was removed") as caught:
            again.gc(untagged=untagged)
        assert caught.value.remedy
    assert names_in(store) == before
    multi_arch(store)
    again.gc()
    assert not store.has(debris.digest)


def test_a_corrupt_manifest_without_a_name_stops_it_too(store: Store) -> None:
    loose = store.tag(image(store))
    overwrite(store, loose.digest, bytes(loose.size))
    with pytest.raises(StoreError, match="nothing was removed"):
        Store.open(store.root).gc(untagged=True)


def test_an_unknown_digest_algorithm_stops_it(store: Store) -> None:
    entry = {"mediaType": media.MANIFEST, "digest": "sha512:" + "0" * 128, "size": 7}
    (store.root / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    with pytest.raises(StoreError, match="nothing was removed"):
        store.gc()
    assert [finding.kind for finding in store.check()] == ["foreign"]


def test_a_missing_manifest_does_not_stop_it(store: Store) -> None:
    top = multi_arch(store)
    store.tag(top, "x:1")
    (_, child), (_, other) = store.links(top).children
    needed = parts(store, other) | {top.digest}
    store.path(child.digest).unlink()
    Store.open(store.root).gc()
    assert names_in(store) == needed
    assert [finding.kind for finding in store.check()] == ["missing"]


def test_not_while_this_process_writes(store: Store) -> None:
    with (
        store.lease(),
        pytest.raises(StoreError, match="this process itself is writing"),
    ):
        store.gc()
    store.gc()


def test_leases_nest_and_errors_in_them_pass(store: Store) -> None:
    def work() -> None:
        with store.lease(), store.lease():
            store.put_bytes(b"x", "text/plain")
            msg = "mine"
            raise OSError(msg)

    with pytest.raises(OSError, match="mine"):
        work()
    assert store.gc().blobs == 1
