from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from store_samples import (
    SBOM_TYPE,
    SIGNATURE_TYPE,
    files_below,
    image,
    index,
    manifest_of,
    multi_arch,
    overwrite,
)

from buildkit import canonical, digests, media
from buildkit.errors import DigestError, StoreError
from buildkit.records import Descriptor
from buildkit.store import Finding, Store
from buildkit.store.documents import EMPTY

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store")


def kinds(findings: tuple[Finding, ...]) -> list[tuple[str, str]]:
    return [(finding.kind, finding.where) for finding in findings]


def test_attach_writes_an_artifact_as_the_specification_says(store: Store) -> None:
    top = multi_arch(store)
    store.tag(top, "x:1")
    found = store.attach(top, SBOM_TYPE, [(b"sbom", SBOM_TYPE)], annotations={"k": "v"})
    assert manifest_of(store, found) == {
        "schemaVersion": 2,
        "mediaType": media.MANIFEST,
        "artifactType": SBOM_TYPE,
        "config": {
            "mediaType": "application/vnd.oci.empty.v1+json",
            "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
            "size": 2,
        },
        "layers": [{"mediaType": SBOM_TYPE, "digest": digests.of_bytes(b"sbom"), "size": 4}],
        "subject": {"mediaType": top.media_type, "digest": top.digest, "size": top.size},
        "annotations": {"k": "v"},
    }
    assert store.entries()[-1] == found
    assert (found.artifact_type, found.annotations) == (SBOM_TYPE, {"k": "v"})
    assert store.has(EMPTY.digest)
    assert store.check() == ()


def test_attach_does_not_depend_on_how_the_subject_is_named(store: Store) -> None:
    top = multi_arch(store)
    first = store.attach(top, SBOM_TYPE, [(b"sbom", SBOM_TYPE)])
    named = store.tag(top, "x:1", {"k": "v"})
    assert store.attach(named, SBOM_TYPE, [(b"sbom", SBOM_TYPE)]).digest == first.digest
    assert len(store.entries()) == 2


def test_attach_without_blobs_has_the_empty_layer(store: Store) -> None:
    found = store.attach(image(store), SBOM_TYPE, [])
    document = manifest_of(store, found)
    assert document["layers"] == [EMPTY.to_json()]
    assert "annotations" not in document


def test_attach_needs_the_subject(store: Store) -> None:
    absent = Descriptor(media_type=media.MANIFEST, digest=digests.of_bytes(b"x"), size=1)
    with pytest.raises(StoreError, match="is missing"):
        store.attach(absent, SBOM_TYPE, [])
    assert store.entries() == ()


def test_referrers_in_stable_order(store: Store) -> None:
    top = multi_arch(store)
    signature = store.attach(top, SIGNATURE_TYPE, [(b"1", SIGNATURE_TYPE)])
    sboms = [store.attach(top, SBOM_TYPE, [(b"%d" % n, SBOM_TYPE)]) for n in range(3)]
    on_sbom = store.attach(sboms[0], SIGNATURE_TYPE, [(b"2", SIGNATURE_TYPE)])
    expected = sorted(each.digest for each in sboms)
    assert [each.digest for each in store.referrers(top.digest, SBOM_TYPE)] == expected
    everything = [each.digest for each in store.referrers(top.digest)]
    assert everything == [*expected, signature.digest]
    assert [each.digest for each in store.referrers(sboms[0].digest)] == [on_sbom.digest]
    assert store.referrers(top.digest, "text/plain") == ()
    assert store.referrers("sha256:" + "0" * 64) == ()


def test_referrers_of_other_tools(store: Store) -> None:
    """The type may be the configuration's, the entry may say nothing, and be part of an index."""
    top = image(store)
    config = store.put_bytes(b"{}", "application/vnd.example+json")
    document = {
        "schemaVersion": 2,
        "config": config.to_json(),
        "layers": [],
        "subject": top.to_json(),
        "annotations": {"k": "v"},
    }
    inner = store.put_json(document, media.MANIFEST)
    store.tag(index(store, inner))
    (found,) = store.referrers(top.digest)
    assert found.digest == inner.digest
    assert found.artifact_type == "application/vnd.example+json"
    assert found.annotations == {"k": "v"}


def test_referrers_when_a_manifest_is_missing_or_corrupt(store: Store) -> None:
    top = image(store)
    found = store.attach(top, SBOM_TYPE, [(b"sbom", SBOM_TYPE)])
    other = store.attach(top, SBOM_TYPE, [(b"another", SBOM_TYPE)])
    store.path(other.digest).unlink()
    again = Store.open(store.root)
    assert [each.digest for each in again.referrers(top.digest)] == [found.digest]
    overwrite(store, found.digest, bytes(found.size))
    with pytest.raises(DigestError, match=found.digest):
        Store.open(store.root).referrers(top.digest)


def test_walk(store: Store) -> None:
    top = multi_arch(store)
    nodes = list(store.walk(top))
    assert [node.role for node in nodes] == [
        "index", "manifest", "config", "layer", "manifest", "config", "layer",
    ]  # fmt: skip
    assert nodes[0].parent is None
    assert [nodes[1].descriptor.platform, nodes[4].descriptor.platform] == [
        "linux/arm64",
        "linux/amd64",
    ]
    assert {node.parent for node in nodes[2:4]} == {nodes[1].descriptor.digest}
    assert {node.descriptor.digest for node in nodes} == {
        f"sha256:{name}" for name in map(str.strip, files_below(store.root / "blobs" / "sha256"))
    }


def test_walk_names_each_digest_once(store: Store) -> None:
    one = image(store)
    top = index(store, one, one, index(store, one))
    found = [node.descriptor.digest for node in store.walk(top)]
    assert len(found) == len(set(found)) == 5


def test_walk_does_not_follow_the_subject(store: Store) -> None:
    top = image(store)
    found = store.attach(top, SBOM_TYPE, [(b"sbom", SBOM_TYPE)])
    assert top.digest not in {node.descriptor.digest for node in store.walk(found)}


def test_walk_has_an_end(store: Store) -> None:
    top = image(store)
    for _ in range(7):
        top = index(store, top)
    assert len(list(store.walk(top))) == 10
    with pytest.raises(StoreError, match="more than 8 deep"):
        list(store.walk(index(store, top)))


def test_walk_of_what_is_missing(store: Store) -> None:
    top = multi_arch(store)
    _, child = store.links(top).children[0]
    store.path(child.digest).unlink()
    with pytest.raises(StoreError, match=f"blob {child.digest} is missing"):
        list(Store(store.root).walk(top))


def test_a_manifest_of_another_size_than_promised(store: Store) -> None:
    one = image(store)
    wrong = Descriptor(media_type=one.media_type, digest=one.digest, size=one.size + 1)
    with pytest.raises(DigestError, match=f"{one.size} bytes, but named with {one.size + 1}"):
        store.links(wrong)


BLOB = {"mediaType": "x/y", "digest": "sha256:" + "0" * 64, "size": 0}


@pytest.mark.parametrize(
    ("media_type", "document", "message"),
    [
        (media.MANIFEST, {"config": BLOB, "layers": [], "manifests": []}, "manifest and index"),
        (media.INDEX, {"manifests": [], "layers": []}, "manifest and index"),
        (media.MANIFEST, {"mediaType": media.INDEX}, "calls itself"),
        (media.MANIFEST, {"layers": {}}, "layers: not a list"),
        (media.MANIFEST, {"layers": [{}]}, r"layers\[0\]\.mediaType"),
        (media.MANIFEST, {"config": []}, "config: not an object"),
        (media.MANIFEST, {"subject": {}}, r"subject\.mediaType"),
        (media.MANIFEST, {"annotations": []}, "annotations"),
        (media.MANIFEST, [], "not an object"),
    ],
)
def test_manifests_that_two_readers_may_read_differently(
    store: Store, media_type: str, document: Any, message: str
) -> None:
    found = store.put_json(document, media_type)
    with pytest.raises(StoreError, match=message):
        list(store.walk(found))
    store.tag(found)
    (finding,) = store.check()
    assert (finding.kind, finding.where) == ("malformed", found.digest)


def test_check_finds_every_kind_of_damage(store: Store) -> None:
    top = multi_arch(store)
    store.tag(top, "x:1")
    (_, arm), (_, amd) = store.links(top).children
    config, layer = (each for _, each in store.links(arm).children)
    store.path(config.digest).unlink()
    overwrite(store, layer.digest, bytes(layer.size))
    overwrite(store, amd.digest, bytes(amd.size))
    assert kinds(store.check()) == [
        ("missing", config.digest),
        ("corrupt", layer.digest),
        ("corrupt", amd.digest),
    ]
    overwrite(store, amd.digest, b"")
    store.path(layer.digest).unlink()
    store.path(layer.digest).symlink_to("elsewhere")
    findings = store.check()
    assert kinds(findings) == [
        ("missing", config.digest),
        ("corrupt", layer.digest),
        ("size", amd.digest),
    ]
    assert all(finding.is_damage and finding.remedy for finding in findings)
    multi_arch(store)
    assert store.check() == ()


def test_check_of_what_is_not_ours(store: Store) -> None:
    (store.root / "blobs" / "sha256" / "notes.txt").write_text("mine")
    (store.root / ".ingest" / "write-4194304-1-0123456789abcdef").write_bytes(b"half")
    findings = store.check()
    assert [finding.kind for finding in findings] == ["foreign", "temporary"]
    assert not any(finding.is_damage for finding in findings)


def test_check_does_not_complain_of_debris(store: Store) -> None:
    store.put_bytes(b"nobody needs it", "text/plain")
    assert store.check() == ()


def test_links_are_read_once(store: Store) -> None:
    top = image(store)
    before = store.links(top)
    store.path(top.digest).unlink()
    assert store.links(top) is before
    data = canonical.dump({"schemaVersion": 2})
    assert store.links(store.put_bytes(data, media.MANIFEST)).children == ()
