"""What strangers write is read, or refused with a reason; nothing else happens."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from agent import blobs, dsse, order, strict
from agent.errors import AgentError, Kind
from agent_parts import Artifacts, p256, provenance
from hypothesis import given
from hypothesis import strategies as st

from buildkit import canonical
from buildkit.errors import EvidenceError
from buildkit.evidence import bundle as bundles

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text() | st.floats(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
DIGEST = "sha256:" + "0" * 64


def finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(map(finite, value.values()))
    return all(map(finite, value)) if isinstance(value, list) else True


@given(VALUES.filter(finite))
def test_json_is_the_hosts_own(value: Any) -> None:
    written = canonical.dump(value)
    assert strict.dump(value) == written
    assert strict.load(written) == canonical.load(written)


@given(st.binary() | VALUES.map(lambda value: json.dumps(value).encode()))
def test_whatever_is_read_as_json_the_host_reads_alike(data: bytes) -> None:
    try:
        found = strict.load(data)
    except ValueError:
        return
    assert found == canonical.load(data)


@pytest.mark.parametrize(
    "data",
    [
        b'{"a": 1, "a": 2}',
        b"NaN",
        b"1e999",
        b'"\\ud800"',
        b"\xff",
        "\ufeff{}".encode(),
        "{}".encode("utf-16"),
        b"[" * 100 + b"]" * 100,
        b"[" * 100_000,
        b"1" * 5000,
        b"",
        b"{} {}",
    ],
)
def test_json_with_two_meanings_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        strict.load(data)
    with pytest.raises(ValueError, match="allowed"):
        strict.load(b'"' + b"x" * 100 + b'"', largest=50)


def test_a_bundle_of_the_hosts_is_read() -> None:
    found = dsse.parse(p256().bundle(provenance(DIGEST)))
    assert found.hint == p256().hint
    assert found.subjects == {DIGEST}
    assert found.predicate_type == dsse.PROVENANCE


def changed(document: Any, path: list[Any], value: Any) -> Any:
    found = json.loads(json.dumps(document))
    inner = found
    for key in path[:-1]:
        inner = inner[key]
    if value is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return found


ENVELOPE = "dsseEnvelope"
CHANGES: list[tuple[list[Any], Any]] = [
    (["mediaType"], "application/vnd.dev.sigstore.bundle.v0.2+json"),
    (["more"], 1),
    ([ENVELOPE], None),
    ([ENVELOPE, "payload"], "?"),
    ([ENVELOPE, "payload"], ""),
    ([ENVELOPE, "payloadType"], "text/plain"),
    ([ENVELOPE, "signatures"], []),
    ([ENVELOPE, "signatures", 0, "sig"], None),
    ([ENVELOPE, "signatures", 0, "more"], 1),
    (["verificationMaterial", "publicKey"], None),
    (["verificationMaterial", "publicKey", "hint"], ""),
    (["verificationMaterial", "certificate"], {"rawBytes": "eA=="}),
]


@pytest.mark.parametrize(("path", "value"), CHANGES)
def test_a_bundle_in_another_form_is_refused_here_and_by_the_host(
    path: list[Any], value: Any
) -> None:
    document = json.loads(p256().bundle(provenance(DIGEST)))
    data = json.dumps(changed(document, path, value)).encode()
    with pytest.raises(ValueError):
        dsse.parse(data)
    with pytest.raises(EvidenceError):
        bundles.parse(data, "test")


@pytest.mark.parametrize(
    "payload",
    [
        b"[]",
        b'{"_type": "https://in-toto.io/Statement/v0.1"}',
        provenance(),
        provenance(DIGEST, DIGEST),
        provenance("sha256:short"),
        provenance(DIGEST).replace(b'"predicate":{}', b'"predicate":[]'),
        provenance(DIGEST).replace(b'"predicate":{}', b'"predicate":{},"more":1'),
    ],
)
def test_a_statement_that_does_not_hold_together_is_refused(payload: bytes) -> None:
    with pytest.raises(ValueError):
        dsse.parse(p256().bundle(payload))


@given(st.binary(max_size=200) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_no_bundle_breaks_the_parser(data: bytes) -> None:
    with pytest.raises(ValueError):
        dsse.parse(data)


def test_an_order_is_read_whole() -> None:
    wanted = Artifacts().order
    found = order.parse(wanted)
    assert found.limits == wanted["limits"]
    assert found.settings == wanted["settings"]
    assert found.image_index == wanted["image"]["index"]


@given(st.data(), VALUES)
def test_an_order_makes_sense_or_is_refused(data: st.DataObject, value: Any) -> None:
    request = Artifacts().order
    place = data.draw(st.sampled_from(sorted(request)))
    inner = request[place]
    if isinstance(inner, dict):
        request[place] = {**inner, data.draw(st.sampled_from([*sorted(inner), "more"])): value}
    else:
        request[place] = value
    try:
        found = order.parse(request)
    except AgentError as error:
        refused = error.kind
    else:
        refused = Kind.USAGE
        assert found.settings == request["settings"]
    assert refused is Kind.USAGE


@given(VALUES)
def test_blobs_of_a_request_make_sense_or_are_refused(value: Any) -> None:
    for request in (value, [value], [{"digest": DIGEST, "size": value, "offset": value}]):
        try:
            found = blobs.parse(request, "offset")
        except AgentError as error:
            refused = error.kind
        else:
            refused = Kind.USAGE
            assert all(0 <= blob.offset <= blob.size for blob in found)
        assert refused is Kind.USAGE
