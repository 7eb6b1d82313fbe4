from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sbom_samples import ARM, image, lock, model

from buildkit.errors import EvidenceError
from buildkit.evidence import kinds, sbom
from buildkit.evidence.reasons import Reason
from buildkit.lock.types import DebianPin, FilePin, WheelPin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from buildkit.evidence.kinds import Kind

PINS: tuple[DebianPin | WheelPin, ...] = (
    *lock().platforms[ARM].debian,
    *lock().platforms[ARM].wheels,
)
FILES = lock().model.files
IMAGE, MODEL = image(), model()
DOCUMENTS = [(IMAGE.cyclonedx, kinds.CYCLONEDX), (IMAGE.spdx, kinds.SPDX)]
BOTH = pytest.mark.parametrize(("document", "kind"), DOCUMENTS, ids=["cyclonedx", "spdx"])


@BOTH
def test_an_honest_document(document: dict[str, Any], kind: Kind) -> None:
    assert sbom.about(document, kind) == "sha256:" + "a" * 64
    assert sbom.missing(document, kind, PINS) == ()


def test_an_honest_document_of_a_model() -> None:
    for document, kind in ((MODEL.cyclonedx, kinds.CYCLONEDX), (MODEL.spdx, kinds.SPDX)):
        assert sbom.about(document, kind) == "sha256:" + "a" * 64
        assert sbom.missing(document, kind, FILES) == ()
        other = FilePin(path="train.py", sha256="0" * 64, size=1)
        assert sbom.missing(document, kind, [other]) == ("train.py",)


@BOTH
def test_the_source_package_is_more_than_a_lock_knows(document: dict[str, Any], kind: Kind) -> None:
    told = copy.deepcopy(document)
    found = entry(told, "zlib1g")
    more = "&upstream=zlib%401.0"
    if kind == kinds.CYCLONEDX:
        found["purl"] += more
    else:
        for each in found["externalRefs"]:
            if each["referenceType"] == "purl":
                each["referenceLocator"] += more
    assert told != document
    assert sbom.missing(told, kind, PINS) == ()


def entry(document: dict[str, Any], name: str) -> dict[str, Any]:
    listed = document.get("components") or document["packages"]
    found = next(each for each in listed if each["name"] == name)
    assert isinstance(found, dict)
    return found


def numpy() -> str:
    return next(f"{pin.name} {pin.version}" for pin in PINS if pin.name == "numpy")


def flipped(text: str) -> str:
    return text[:-1] + ("0" if text[-1] != "0" else "1")


def remove(document: dict[str, Any]) -> None:
    listed = document.get("components") or document["packages"]
    listed.remove(entry(document, "numpy"))


def rename(document: dict[str, Any]) -> None:
    entry(document, "numpy")["name"] = "numpyy"


def reversion(document: dict[str, Any]) -> None:
    found = entry(document, "numpy")
    key = "version" if "version" in found else "versionInfo"
    found[key] = flipped(found[key])


def rehash(document: dict[str, Any]) -> None:
    found = entry(document, "numpy")
    if "hashes" in found:
        found["hashes"][0]["content"] = flipped(found["hashes"][0]["content"])
    else:
        found["checksums"][0]["checksumValue"] = flipped(found["checksums"][0]["checksumValue"])


def unhash(document: dict[str, Any]) -> None:
    found = entry(document, "numpy")
    found.pop("hashes", None)
    found.pop("checksums", None)


def repoint(document: dict[str, Any]) -> None:
    found = entry(document, "numpy")
    if "purl" in found:
        found["purl"] = flipped(found["purl"])
    else:
        del found["externalRefs"]


@BOTH
@pytest.mark.parametrize("tamper", [remove, rename, reversion, rehash, unhash, repoint])
def test_a_tampered_package(
    document: dict[str, Any], kind: Kind, tamper: Callable[[dict[str, Any]], None]
) -> None:
    changed = copy.deepcopy(document)
    tamper(changed)
    assert sbom.missing(changed, kind, PINS) == (numpy(),)


@pytest.mark.parametrize("tampered", PINS, ids=[pin.name for pin in PINS])
@BOTH
def test_each_package_is_missed(document: dict[str, Any], kind: Kind, tampered: Any) -> None:
    changed = copy.deepcopy(document)
    listed = changed.get("components") or changed["packages"]
    listed.remove(entry(changed, tampered.name))
    assert sbom.missing(changed, kind, PINS) == (f"{tampered.name} {tampered.version}",)


@BOTH
def test_two_hashes_for_one_thing_are_refused(document: dict[str, Any], kind: Kind) -> None:
    changed = copy.deepcopy(document)
    found = entry(changed, "numpy")
    key = "hashes" if "hashes" in found else "checksums"
    found[key].append(found[key][0])
    with pytest.raises(EvidenceError) as caught:
        sbom.missing(changed, kind, PINS)
    assert caught.value.reason == Reason.PREDICATE


def test_two_things_described_are_refused() -> None:
    changed = copy.deepcopy(IMAGE.spdx)
    changed["documentDescribes"] = [entry(changed, "numpy")["SPDXID"]]
    with pytest.raises(EvidenceError, match="2 things"):
        sbom.about(changed, kinds.SPDX)
    changed["documentDescribes"] = ["SPDXRef-Image"]
    assert sbom.about(changed, kinds.SPDX) == "sha256:" + "a" * 64


@BOTH
def test_another_version_of_the_format(document: dict[str, Any], kind: Kind) -> None:
    key = "specVersion" if kind == kinds.CYCLONEDX else "spdxVersion"
    for version in ("1.5", "SPDX-2.2", None, 16, {"a" * 10_000: 1}):
        with pytest.raises(EvidenceError) as caught:
            sbom.about({**document, key: version}, kind)
        assert len(caught.value.message) < 200


@BOTH
def test_one_kind_as_the_other(document: dict[str, Any], kind: Kind) -> None:
    other = kinds.SPDX if kind == kinds.CYCLONEDX else kinds.CYCLONEDX
    with pytest.raises(EvidenceError):
        sbom.about(document, other)
    assert len(sbom.missing(document, other, PINS)) == len(PINS)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inside: Any = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        inside = enumerate(value[:3])
    for key, inner in inside:
        yield (*above, key)
        yield from places(inner, (*above, key))


PLACES = [(at, place) for at, (document, _) in enumerate(DOCUMENTS) for place in places(document)]


@given(st.sampled_from(PLACES), JSON)
def test_a_document_with_anything_anywhere(where: tuple[int, tuple[Any, ...]], value: Any) -> None:
    document, kind = DOCUMENTS[where[0]]
    changed: Any = copy.deepcopy(document)
    *way, last = where[1]
    inner = changed
    for key in way:
        inner = inner[key]
    inner[last] = value
    _ask(changed, kind)


@given(JSON, st.sampled_from([kinds.CYCLONEDX, kinds.SPDX]))
def test_anything_at_all(value: Any, kind: Kind) -> None:
    _ask(value, kind)


def _ask(document: Any, kind: Kind) -> None:
    for ask in (lambda: sbom.about(document, kind), lambda: sbom.missing(document, kind, PINS)):
        try:
            ask()
        except EvidenceError as error:
            assert error.reason == Reason.PREDICATE  # noqa: PT017 - either answer is right
