from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from store_samples import image, multi_arch, overwrite

from buildkit import digests
from buildkit.errors import StoreError
from buildkit.records import Descriptor
from buildkit.store import REF_NAME, Store, index

if TYPE_CHECKING:
    from pathlib import Path

TEXT = "text/plain"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store")


def blob(store: Store, text: str) -> Descriptor:
    return store.put_bytes(text.encode(), TEXT)


def shape(store: Store) -> list[tuple[bytes, dict[str, str]]]:
    return [(store.read(each.digest), dict(each.annotations)) for each in store.entries()]


def raw_index(store: Store) -> Any:
    return json.loads((store.root / "index.json").read_bytes())


def write_index(store: Store, document: object) -> None:
    text = document if isinstance(document, str) else json.dumps(document)
    (store.root / "index.json").write_text(text)


def test_tag_adds_an_entry(store: Store) -> None:
    a = blob(store, "a")
    found = store.tag(a, "x:1", {"k": "v"})
    assert found.annotations == {REF_NAME: "x:1", "k": "v"}
    assert store.entries() == (found,)
    assert store.resolve("x:1") == found


def test_tag_keeps_what_the_descriptor_says(store: Store) -> None:
    a = store.put_bytes(
        b"a", TEXT, annotations={"own": "1"}, artifact_type="t/u", platform="linux/arm64"
    )
    found = store.tag(a, annotations={"k": "v"})
    assert found.annotations == {"own": "1", "k": "v"}
    assert (found.artifact_type, found.platform) == ("t/u", "linux/arm64")


def test_tag_twice_writes_once(store: Store) -> None:
    a = blob(store, "a")
    first = store.tag(a, "x:1", {"k": "v"})
    before = (store.root / "index.json").stat().st_ino
    assert store.tag(a, "x:1", {"k": "v"}) == first
    assert store.tag(a, "x:1") == first
    assert store.tag(a) == first
    assert (store.root / "index.json").stat().st_ino == before


def test_a_name_moves_and_the_old_entry_stays(store: Store) -> None:
    a, b = blob(store, "a"), blob(store, "b")
    store.tag(a, "x:1", {"k": "v"})
    store.tag(b, "x:1")
    assert shape(store) == [(b"a", {"k": "v"}), (b"b", {REF_NAME: "x:1"})]
    store.tag(a, "x:1")
    assert shape(store) == [(b"a", {"k": "v", REF_NAME: "x:1"}), (b"b", {})]


def test_going_back_and_forth_does_not_grow_the_index(store: Store) -> None:
    a, b = blob(store, "a"), blob(store, "b")
    for _ in range(5):
        store.tag(a, "x:1", {"inputs": "a"})
        store.tag(b, "x:1", {"inputs": "b"})
    assert len(store.entries()) == 2


def test_one_blob_under_two_names(store: Store) -> None:
    a = blob(store, "a")
    store.tag(a, "x:1")
    store.tag(a, "x:2")
    assert {store.resolve("x:1").digest, store.resolve("x:2").digest} == {a.digest}
    assert len(store.entries()) == 2


def test_same_result_of_two_inputs_keeps_both(store: Store) -> None:
    a = blob(store, "a")
    store.tag(a, "x:1", {"inputs": "1"})
    store.tag(a, "x:1", {"inputs": "2"})
    for inputs in ("1", "2"):
        found = store.find({"inputs": inputs})
        assert found is not None
        assert found.digest == a.digest
    assert store.resolve("x:1").annotations["inputs"] == "2"


def test_find_gives_the_newest(store: Store) -> None:
    a, b = blob(store, "a"), blob(store, "b")
    store.tag(a, annotations={"k": "v", "n": "1"})
    store.tag(b, annotations={"k": "v", "n": "2"})
    assert store.find({"k": "v"}) == store.entries()[1]
    store.tag(a, annotations={"k": "v"})
    found = store.find({"k": "v"})
    assert found is not None
    assert found.digest == a.digest
    assert store.find({"k": "v", "n": "3"}) is None
    assert store.find({"absent": "v"}) is None


def test_find_passes_over_entries_whose_blob_is_gone(store: Store) -> None:
    a, b = blob(store, "a"), blob(store, "b")
    store.tag(a, annotations={"k": "v"})
    store.tag(b, annotations={"k": "v"})
    store.path(b.digest).unlink()
    found = store.find({"k": "v"})
    assert found is not None
    assert found.digest == a.digest
    overwrite(store, a.digest, b"longer")
    assert store.find({"k": "v"}) is None


def test_tag_needs_the_blob(store: Store) -> None:
    absent = Descriptor(media_type=TEXT, digest=digests.of_bytes(b"x"), size=1)
    with pytest.raises(StoreError, match="is missing"):
        store.tag(absent, "x:1")
    wrong = Descriptor(media_type=TEXT, digest=blob(store, "abc").digest, size=4)
    with pytest.raises(StoreError, match="3 bytes long, not 4"):
        store.tag(wrong, "x:1")
    with pytest.raises(StoreError, match="cannot be empty"):
        store.tag(blob(store, "abc"), "")
    assert store.entries() == ()


def test_untag(store: Store) -> None:
    store.tag(blob(store, "a"), "x:1", {"k": "v"})
    store.tag(blob(store, "b"), "y:1")
    store.untag("x:1")
    assert shape(store) == [(b"a", {"k": "v"}), (b"b", {REF_NAME: "y:1"})]
    with pytest.raises(StoreError, match=r"'x:1' is not in the store; there is y:1"):
        store.untag("x:1")
    with pytest.raises(StoreError, match="no name but a digest"):
        store.untag(store.entries()[0].digest)
    store.untag("y:1")
    assert "annotations" not in raw_index(store)["manifests"][1]


def test_resolve_by_digest(store: Store) -> None:
    top = multi_arch(store)
    store.tag(top, "x:1")
    hex_digits = digests.hex_of(top.digest)
    for ref in (top.digest, hex_digits, hex_digits[:7], top.digest[:20]):
        assert store.resolve(ref).digest == top.digest
    with pytest.raises(StoreError, match="is not in the store"):
        store.resolve(hex_digits[:6])
    with pytest.raises(StoreError, match="is not in the store") as caught:
        store.resolve("sha256:" + "0" * 64)
    assert "show" in caught.value.remedy


def test_resolve_finds_parts_of_an_entry(store: Store) -> None:
    top = multi_arch(store)
    store.tag(top, "x:1")
    _, child = store.links(top).children[0]
    found = store.resolve(digests.hex_of(child.digest)[:12])
    assert (found.media_type, found.digest, found.size) == (
        child.media_type,
        child.digest,
        child.size,
    )
    _, layer = store.links(child).children[1]
    with pytest.raises(StoreError, match="is not in the store"):
        store.resolve(layer.digest)


def test_resolve_says_what_could_be_meant(store: Store) -> None:
    for name in ("digits:1.0.0", "digits:1.1.0", "vision:2.0.0"):
        store.tag(blob(store, name), name)
    with pytest.raises(StoreError, match=r"there is digits:1\.1\.0, digits:1\.0\.0"):
        store.resolve("digits:1.1")
    with pytest.raises(StoreError, match=r"there is digits:1\.0\.0, .*vision"):
        store.resolve("###")


def test_resolve_refuses_what_is_ambiguous(store: Store) -> None:
    entries = [
        {"mediaType": TEXT, "digest": "sha256:abcdef0" + digit * 57, "size": 1} for digit in "12"
    ]
    for entry in entries:
        entry["annotations"] = {REF_NAME: "twice"}
    write_index(store, {"schemaVersion": 2, "manifests": entries})
    for ref in ("abcdef0", "twice"):
        with pytest.raises(StoreError, match="more than one thing") as caught:
            store.resolve(ref)
        assert "sha256:abcdef01" in caught.value.message
        assert "sha256:abcdef02" in caught.value.message
    assert store.resolve("abcdef01").digest == entries[0]["digest"]
    assert {finding.kind for finding in store.check()} == {"ambiguous", "missing"}


def test_a_name_of_hex_digits_is_a_name(store: Store) -> None:
    a = blob(store, "a")
    store.tag(a, "abcdef0")
    assert store.resolve("abcdef0").digest == a.digest


FOREIGN = {
    "schemaVersion": 2,
    "vendor": {"list": [1, 2.5, None, True], "text": "ü"},
    "annotations": {"about": "the index itself"},
    "manifests": [
        {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": "sha512:" + "0" * 128,
            "size": 7,
            "urls": ["https://example.org/blob"],
            "platform": {"os": "linux", "architecture": "arm64", "variant": "v8", "x": 1},
            "annotations": {
                "io.containerd.image.name": "example.org/a:1",
                "org.opencontainers.image.ref.name": "1",
            },
            "data": "e30=",
            "extra": {"k": [1]},
        },
        {"mediaType": "x/unknown", "digest": "sha256:" + "1" * 64, "size": 0, "annotations": None},
    ],
}


def test_a_foreign_index_is_preserved(store: Store) -> None:
    write_index(store, FOREIGN)
    first, second = store.entries()
    assert (first.platform, first.size, second.annotations) == ("linux/arm64", 7, {})
    store.tag(blob(store, "a"), "x:1")
    after = raw_index(store)
    assert after["manifests"][:2] == FOREIGN["manifests"]
    assert {key: value for key, value in after.items() if key != "manifests"} == {
        key: value for key, value in FOREIGN.items() if key != "manifests"
    }
    assert store.resolve("1").digest.startswith("sha512:")


def test_a_foreign_entry_keeps_its_fields_when_it_is_named(store: Store) -> None:
    a = blob(store, "a")
    entry = {**a.to_json(), "data": "YQ==", "annotations": {"own": "1"}}
    write_index(store, {"schemaVersion": 2, "manifests": [entry]})
    store.tag(a, "x:1")
    annotations = {"own": "1", REF_NAME: "x:1"}
    assert raw_index(store)["manifests"] == [{**entry, "annotations": annotations}]


def test_go_writes_null_for_an_empty_list(store: Store) -> None:
    write_index(store, {"schemaVersion": 2, "manifests": None})
    assert store.entries() == ()
    store.tag(blob(store, "a"), "x:1")
    assert len(store.entries()) == 1


ENTRY = {"mediaType": TEXT, "digest": "sha256:" + "0" * 64, "size": 0}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("", "index.json: Expecting value"),
        ('{"schemaVersion":2,"manifests":[],"manifests":[]}', "'manifests' stands twice"),
        ([], "not an image index"),
        ({"manifests": []}, "not an image index"),
        ({"schemaVersion": 1, "manifests": []}, "not an image index"),
        ({"schemaVersion": 2, "manifests": {}}, "`manifests` is not a list"),
        ({"schemaVersion": 2, "manifests": [7]}, r"manifests\[0\]: not an object"),
        ({"schemaVersion": 2, "manifests": [{}]}, r"manifests\[0\].mediaType"),
        ({"schemaVersion": 2, "manifests": [ENTRY, {**ENTRY, "digest": "x"}]}, r"\[1\].digest"),
        ({"schemaVersion": 2, "manifests": [{**ENTRY, "digest": "../a:b"}]}, r"\[0\].digest"),
        ({"schemaVersion": 2, "manifests": [{**ENTRY, "size": -1}]}, r"\[0\].size"),
        ({"schemaVersion": 2, "manifests": [{**ENTRY, "size": True}]}, r"\[0\].size"),
        ({"schemaVersion": 2, "manifests": [{**ENTRY, "size": 1.5}]}, r"\[0\].size"),
        ({"schemaVersion": 2, "manifests": [{**ENTRY, "annotations": {"a": 1}}]}, "annotations"),
        ({"schemaVersion": 2, "manifests": [{**ENTRY, "artifactType": 1}]}, "artifactType"),
    ],
)
def test_a_malformed_index_is_refused_and_left_alone(
    store: Store, document: object, message: str
) -> None:
    a = blob(store, "a")
    write_index(store, document)
    before = (store.root / "index.json").read_bytes()
    for ask in (store.entries, lambda: store.find({}), lambda: store.tag(a, "x:1"), store.gc):
        with pytest.raises(StoreError, match=message):
            ask()
    assert (store.root / "index.json").read_bytes() == before
    assert store.has(a.digest)
    (finding,) = store.check()
    assert finding.kind == "malformed"
    assert finding.is_damage


def test_text_that_is_not_unicode_is_not_lost(store: Store) -> None:
    write_index(store, {"schemaVersion": 2, "manifests": [], "odd": "\ud800"})
    before = (store.root / "index.json").read_bytes()
    with pytest.raises(StoreError, match="cannot be written again"):
        store.tag(blob(store, "a"), "x:1")
    assert (store.root / "index.json").read_bytes() == before


def test_platforms_that_we_cannot_express(store: Store) -> None:
    odd = [{"os": "linux"}, [], {"os": 1, "architecture": "x"}, {"os": "a/b", "architecture": "x"}]
    write_index(
        store, {"schemaVersion": 2, "manifests": [{**ENTRY, "platform": each} for each in odd]}
    )
    assert [each.platform for each in store.entries()] == [None] * 4


def test_finding_among_a_thousand_entries(store: Store) -> None:
    found = store.tag(image(store), "x:1", {"inputs": "sha256:" + "a" * 64})
    document = raw_index(store)
    document["manifests"] += [
        {
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "digest": digests.of_bytes(b"%d" % number),
            "size": number,
            "annotations": {REF_NAME: f"n:{number}", "inputs": digests.of_bytes(b"%d" % -number)},
        }
        for number in range(1000)
    ]
    write_index(store, document)
    assert Store.open(store.root).find({"inputs": "sha256:" + "a" * 64}) == found


def test_a_full_list_takes_no_more_and_stays_readable(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.tag(blob(store, "one"), "one:1")
    before = (store.root / "index.json").read_bytes()
    monkeypatch.setattr(index, "_LIMIT", len(before) + 10)
    with pytest.raises(StoreError, match="is full") as caught:
        store.tag(blob(store, "two"), "two:1")
    assert "--store" in caught.value.remedy
    assert (store.root / "index.json").read_bytes() == before
    assert shape(store) == [(b"one", {REF_NAME: "one:1"})]


def test_a_longer_list_of_somebody_else_is_not_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.tag(blob(store, "one"), "one:1")
    monkeypatch.setattr(index, "_LIMIT", 20)
    with pytest.raises(StoreError, match="more than 0 MiB"):
        store.entries()
