"""Statements, envelopes, bundles: what is written reads back, and nothing else is read."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit import canonical
from buildkit.errors import EvidenceError
from buildkit.evidence import bundle, strict
from buildkit.evidence.dsse import Envelope, pae
from buildkit.evidence.reasons import Reason
from buildkit.evidence.statement import (
    OLDER_TYPE,
    PAYLOAD_TYPE,
    TYPE,
    Statement,
    Subject,
    parse,
)

DIGEST = "sha256:" + "ab" * 32
SAID = Statement(
    subjects=(Subject(name="digits:1.0.0", digest=DIGEST),),
    predicate_type="https://example.test/predicate/v1",
    predicate={"zwölf": 12, "a": [1, {"b": None}]},
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def changed(**keys: Any) -> bytes:
    document = json.loads(SAID.payload()) | keys
    return canonical.dump({key: value for key, value in document.items() if value is not ...})


def test_a_statement_has_the_standards_form() -> None:
    assert json.loads(SAID.payload()) == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "digits:1.0.0", "digest": {"sha256": "ab" * 32}}],
        "predicateType": "https://example.test/predicate/v1",
        "predicate": {"zwölf": 12, "a": [1, {"b": None}]},
    }
    assert SAID.is_about(DIGEST)
    assert not SAID.is_about(DIGEST.replace("ab", "cd"))


@given(st.dictionaries(st.text(), JSON, max_size=4), st.text(max_size=9))
def test_what_is_written_reads_back(predicate: dict[str, Any], name: str) -> None:
    said = Statement(
        subjects=(Subject(name=name, digest=DIGEST),), predicate_type="a:b", predicate=predicate
    )
    try:
        payload = said.payload()
    except UnicodeEncodeError:
        return  # half a surrogate pair is no text
    assert parse(payload, "it") == said
    assert parse(payload, "it").payload() == payload


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"[]", "not an object"),
        (changed(_type=OLDER_TYPE), "not https://in-toto.io/Statement/v1"),
        (changed(_type=...), "not https://in-toto.io/Statement/v1"),
        (changed(more=1), "unknown key 'more'"),
        (changed(predicateType="words"), "not a URI"),
        (changed(predicateType=7), "not a URI"),
        (changed(predicate=[]), "`predicate` is not an object"),
        (changed(subject=[]), "not a list of 1 to 1024 subjects"),
        (changed(subject={}), "not a list of 1 to 1024 subjects"),
        (changed(subject=[{"name": "x", "digest": {"sha256": "AB" * 32}}]), "no SHA-256"),
        (changed(subject=[{"name": "x", "digest": {"sha512": "ab" * 64}}]), "no SHA-256"),
        (changed(subject=[{"name": 7, "digest": {"sha256": "ab" * 32}}]), "`name` is not a text"),
        (changed(subject=[{"digest": {"sha256": "ab" * 32}}] * 2), "stands twice"),
    ],
)
def test_what_does_not_hold_together_is_refused(payload: bytes, said: str) -> None:
    with pytest.raises(EvidenceError, match=said) as caught:
        parse(payload, "it")
    assert caught.value.reason == Reason.STATEMENT
    assert caught.value.exit_code == 1


def test_an_older_statement_is_read_where_it_is_asked_for() -> None:
    assert parse(changed(_type=OLDER_TYPE), "it", older=True).type == OLDER_TYPE
    assert parse(changed(), "it", older=True).type == TYPE


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"{", Reason.JSON),
        (b'{"a": 1, "a": 2}', Reason.JSON),
        (b'{"a": NaN}', Reason.JSON),
        (b'{"a": 1e999}', Reason.JSON),
        (b"\xff", Reason.JSON),
        (b"9" * 5000, Reason.JSON),
        (b"[" * 65 + b"]" * 65, Reason.TOO_LARGE),
        (b"[" * 100_000, Reason.TOO_LARGE),
        (b'"' + b"x" * 101, Reason.TOO_LARGE),
    ],
)
def test_hostile_json_has_a_reason(data: bytes, reason: Reason) -> None:
    with pytest.raises(EvidenceError) as caught:
        strict.load(data, "it", largest=100_000 if data[:1] != b'"' else 100)
    assert caught.value.reason == reason


def test_nested_as_deep_as_allowed() -> None:
    assert strict.load(b"[" * 64 + b"]" * 64, "it")


def test_pre_authentication_encoding_is_the_specifications() -> None:
    # The example of DSSE's protocol.md.
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def signed(**envelope: Any) -> dict[str, Any]:
    made = Envelope(payload=SAID.payload(), payload_type=PAYLOAD_TYPE, signature=b"\x00\x01")
    document: dict[str, Any] = json.loads(bundle.with_key(made, "aGludA=="))
    document["dsseEnvelope"] |= envelope
    return document


def test_a_bundle_reads_back() -> None:
    data = canonical.dump(signed())
    read = bundle.parse(data, "it")
    assert read.key_hint == "aGludA=="
    assert read.certificate == b""
    assert read.raw == data
    assert read.envelope.payload == SAID.payload()
    assert read.envelope.signature == b"\x00\x01"
    assert read.envelope.signed() == pae(PAYLOAD_TYPE, SAID.payload())


SIG = base64.b64encode(b"\x00\x01").decode()


@pytest.mark.parametrize(
    ("document", "reason", "said"),
    [
        ([], Reason.BUNDLE, "not an object"),
        (signed() | {"mediaType": "application/json"}, Reason.BUNDLE, "media type"),
        (signed() | {"messageSignature": {}}, Reason.BUNDLE, "unknown key"),
        (signed(payloadType="text/plain"), Reason.PAYLOAD_TYPE, "payload of type 'text/plain'"),
        (signed(signatures=[]), Reason.BUNDLE, "exactly one"),
        (signed(signatures=[{"sig": SIG}] * 2), Reason.BUNDLE, "exactly one"),
        (signed(signatures=[{"sig": "%"}]), Reason.BUNDLE, "not base64"),
        (signed(signatures=[{"sig": ""}]), Reason.BUNDLE, "not base64"),
        (signed(payload="ü"), Reason.BUNDLE, "not base64"),
        (signed() | {"verificationMaterial": {}}, Reason.BUNDLE, "either"),
        (
            signed()
            | {
                "verificationMaterial": {
                    "publicKey": {"hint": "x"},
                    "certificate": {"rawBytes": SIG},
                }
            },
            Reason.BUNDLE,
            "either",
        ),
        (signed() | {"verificationMaterial": {"publicKey": {}}}, Reason.BUNDLE, "no hint"),
    ],
)
def test_what_is_no_bundle_is_refused(document: Any, reason: Reason, said: str) -> None:
    with pytest.raises(EvidenceError, match=said) as caught:
        bundle.parse(canonical.dump(document), "it")
    assert caught.value.reason == reason
