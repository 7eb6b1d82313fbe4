from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_world import COMMIT, card, digest

from buildkit import canonical, digests
from buildkit.audit.report.card import read
from buildkit.errors import EvidenceError

CARD: dict[str, Any] = {
    "schema": "buildkit/model/v1",
    "task": "image-classification",
    "runtime": {"target": "pi5", "engine": "onnxruntime-cpu"},
    "file": {"name": "model.onnx", "size": 14767},
    "signature": {"parameters": 9930, "opset": 17},
    "training": {"seed": 1, "commit": COMMIT, "data_digest": digest("data")},
    "quantization": {
        "mode": "static-int8",
        "per_channel": True,
        "calibration": {"method": "minmax", "way": "exact"},
    },
    "quantized": {"float": {"size": 40560}},
    "accuracy": {"samples": 500, "float": 98.4, "quantised": 98.2, "agreement": 99.8, "drop": 0.2},
    "answers": {"same_on_every_cpu": True, "reason": "every sum is one of whole numbers"},
}


def test_what_a_card_says() -> None:
    data = canonical.dump(CARD)
    found = read(data, "card")
    assert found == replace(card("pi5"), digest=digests.of_bytes(data))


def test_what_it_does_not_say_is_unknown() -> None:
    found = read(b"{}", "card")
    assert (found.accuracy, found.samples, found.same_on_every_cpu) == (None, None, None)


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"accuracy": 1}', b'{"a": 1, "a": 2}'])
def test_what_is_no_card(data: bytes) -> None:
    with pytest.raises(EvidenceError):
        read(data, "card")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(key=st.sampled_from(sorted(CARD)), value=values, inner=st.booleans())
def test_anything_else_is_refused_or_unknown(*, key: str, value: Any, inner: bool) -> None:
    table = CARD[key]
    changed = dict.fromkeys(table, value) if inner and isinstance(table, dict) else value
    try:
        found = read(json.dumps(CARD | {key: changed}).encode(), "card")
    except (EvidenceError, UnicodeEncodeError):
        return
    for number in (found.accuracy, found.drop, found.float_accuracy, found.agreement):
        assert number is None or abs(number) < 1e9
    for count in (found.samples, found.parameters, found.opset, found.seed, found.float_size):
        assert count is None or 0 <= count < 1 << 63
