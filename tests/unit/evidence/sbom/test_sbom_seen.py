from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit.errors import EvidenceError
from buildkit.evidence.reasons import Reason
from buildkit.evidence.sbom import seen
from buildkit.evidence.sbom.seen import Seen

BASE, WHEELS = "sha256:" + "a" * 64, "sha256:" + "b" * 64

ZLIB: dict[str, Any] = {
    "id": "aad1c23de303b3c3",
    "name": "zlib1g",
    "version": "1:1.2.13.dfsg-1",
    "type": "deb",
    "foundBy": "dpkg-db-cataloger",
    "locations": [
        {"path": "/usr/share/doc/zlib1g/copyright", "layerID": WHEELS},
        {
            "path": "/var/lib/dpkg/status.d/zlib1g",
            "layerID": BASE,
            "annotations": {"evidence": "primary"},
        },
    ],
    "licenses": [
        {"value": "Zlib", "spdxExpression": "Zlib"},
        {"value": "BSD-variant", "spdxExpression": ""},
        {"value": "zlib", "spdxExpression": "Zlib"},
    ],
    "cpes": [{"cpe": "cpe:2.3:a:zlib1g:zlib1g:1", "source": "syft-generated"}],
    "purl": "",
    "metadataType": "dpkg-db-entry",
    "metadata": {"architecture": "arm64", "installedSize": 168, "source": "zlib"},
}
NUMPY: dict[str, Any] = {
    "name": "numpy",
    "version": "2.4.6",
    "type": "python",
    "purl": "pkg:pypi/numpy@2.4.6",
    "metadata": {"architecture": ["not", "Debian's"]},
}


def document(*artifacts: Any, **changes: Any) -> bytes:
    whole = {"artifacts": list(artifacts), "schema": {"version": "16.0.18"}}
    return json.dumps({**whole, **changes}).encode()


def test_every_fact_is_read() -> None:
    (found,) = seen.parse(document(ZLIB), "it")
    assert found == Seen(
        name="zlib1g",
        version="1:1.2.13.dfsg-1",
        kind="deb",
        architecture="arm64",
        purl="",
        licences=("BSD-variant", "Zlib"),
        cpes=("cpe:2.3:a:zlib1g:zlib1g:1",),
        locations=("/usr/share/doc/zlib1g/copyright", "/var/lib/dpkg/status.d/zlib1g"),
        layer=BASE,
        source="zlib",
    )


def test_the_source_package_is_told_with_its_version_where_that_differs() -> None:
    def source(**metadata: str) -> str:
        return seen.parse(document({**ZLIB, "metadata": metadata}), "it")[0].source

    assert source(source="bzip2", sourceVersion="1.0.8-5") == "bzip2@1.0.8-5"
    # A control file without the field means that both have one name.
    assert source() == "zlib1g"
    assert seen.parse(document(NUMPY), "it")[0].source == ""


def test_what_a_package_does_not_say_is_empty() -> None:
    (found,) = seen.parse(document(NUMPY), "it")
    assert (found.architecture, found.licences, found.locations, found.layer) == ("", (), (), "")


def test_packages_are_sorted_and_each_comes_once() -> None:
    found = seen.parse(document(ZLIB, NUMPY, {**ZLIB, "id": "other"}), "it")
    assert [each.name for each in found] == ["numpy", "zlib1g"]
    assert found == seen.parse(document(NUMPY, ZLIB), "it")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"[]", "not an object"),
        (document(schema={"version": "17.0.0"}), "'17.0.0'"),
        (document(schema="16"), "None"),
        (document(artifacts={}), "`artifacts`"),
        (document("zlib"), "artifacts[0]: not an object"),
        (document({**ZLIB, "name": ""}), "`name`"),
        (document({**ZLIB, "version": 1}), "`version`"),
        (document({key: ZLIB[key] for key in ZLIB if key != "type"}), "`type`"),
        (document(NUMPY, {**ZLIB, "locations": {}}), "artifacts[1]: `locations`"),
        (document({**ZLIB, "licenses": ["Zlib"]}), "`licenses`"),
        (document({**ZLIB, "cpes": [{"cpe": None}]}), "`cpe`"),
        (document({**ZLIB, "locations": [{"path": "/x", "layerID": 5}]}), "`layerID`"),
        (document({**ZLIB, "metadata": {"architecture": 64}}), "`architecture`"),
    ],
)
def test_what_is_not_syfts_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(EvidenceError) as caught:
        seen.parse(data, "packages of linux/arm64")
    assert caught.value.reason == Reason.SBOM
    assert says in caught.value.message
    assert caught.value.message.startswith("packages of linux/arm64")


def test_what_was_looked_at_is_told() -> None:
    assert seen.layers(document(layers=[BASE, WHEELS]), "it") == (BASE, WHEELS)
    assert seen.layers(document(), "it") == ()
    for wrong in (BASE, [1], {"a": BASE}):
        with pytest.raises(EvidenceError, match="`layers`"):
            seen.layers(document(layers=wrong), "it")


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(sorted(ZLIB)), ANY))
def test_a_spoilt_package_is_read_or_refused(changes: dict[str, Any]) -> None:
    with suppress(EvidenceError):
        assert len(seen.parse(document({**ZLIB, **changes}), "it")) == 1


@given(st.binary() | ANY.map(lambda value: json.dumps(value).encode()))
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(EvidenceError):
        seen.parse(data, "it")
