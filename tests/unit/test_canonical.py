from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit import canonical

# Whole numbers beyond a double's 53 bits would be read differently by other programs; we keep them.
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
# What UTF-8 cannot say: half of a surrogate pair.
HALF = "\ud800"


@given(values)
def test_what_is_written_is_read_back(value: Any) -> None:
    assert canonical.load(canonical.dump(value)) == value
    assert canonical.load(canonical.dump_pretty(value)) == value


@given(values)
def test_writing_what_was_read_gives_the_same_bytes(value: Any) -> None:
    data = canonical.dump(value)
    assert canonical.dump(canonical.load(data)) == data
    assert canonical.dump(canonical.load(canonical.dump_pretty(value))) == data


@given(st.dictionaries(st.text(), values), st.randoms())
def test_the_order_of_keys_does_not_matter(value: dict[str, Any], random: Any) -> None:
    items = list(value.items())
    random.shuffle(items)
    assert canonical.dump(dict(items)) == canonical.dump(value)


@given(values)
def test_other_readers_agree(value: Any) -> None:
    assert json.loads(canonical.dump(value)) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_come_back_as_the_same_double(number: float) -> None:
    found = canonical.load(canonical.dump(number))
    assert math.copysign(1, found) == math.copysign(1, number)
    assert found == number


@given(st.binary() | st.text().map(str.encode))
def test_reading_anything_gives_a_value_or_a_value_error(data: bytes) -> None:
    try:
        value = canonical.load(data)
    except ValueError:
        return
    assert canonical.load(canonical.dump(value)) == value


def test_the_form() -> None:
    value = {"b": [1, True, None, 1.5], "a": "é\n\N{GRINNING FACE}"}
    data = '{"a":"é\\n\N{GRINNING FACE}","b":[1,true,null,1.5]}'
    assert canonical.dump(value) == data.encode()
    assert canonical.dump_pretty({"b": 1, "a": []}) == b'{\n  "a": [],\n  "b": 1\n}\n'


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_cannot_say_are_refused(number: float) -> None:
    for write in (canonical.dump, canonical.dump_pretty):
        with pytest.raises(ValueError, match="JSON compliant"):
            write([number])


@pytest.mark.parametrize("value", [b"bytes", {1, 2}, object(), {("a",): 1}])
def test_what_is_not_json_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        canonical.dump(value)


def test_half_a_character_is_refused() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        canonical.dump(HALF)


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":1}',
        b'{"a":1,"b":2,"a":3}',
        b'[{"x":{"a":1,"a":2}}]',
        rb'{"a":1,"\u0061":2}',
    ],
)
def test_a_key_that_stands_twice_is_refused(data: bytes) -> None:
    with pytest.raises(canonical.DuplicateKeyError, match="key 'a' stands twice"):
        canonical.load(data)


@pytest.mark.parametrize("data", ["NaN", "[Infinity]", '{"a":-Infinity}', "1e999", "-1e999"])
def test_numbers_that_are_none_are_refused(data: str) -> None:
    with pytest.raises(ValueError, match=r"is not JSON|too large"):
        canonical.load(data)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[1,]", b"{'a':1}", b"01", b"\xff", b"nul", b"1 2", b'"\n"', b"// 1"]
)
def test_what_is_not_json_is_not_read(data: bytes) -> None:
    with pytest.raises(ValueError):
        canonical.load(data)


@pytest.mark.parametrize("data", ["[" * 200_000, '{"a":' * 200_000, "[" * 200_000 + "]" * 200_000])
def test_deep_nesting_is_an_error_and_no_crash(data: str) -> None:
    with pytest.raises(ValueError):
        canonical.load(data)


def test_very_long_numbers_are_an_error_and_no_crash() -> None:
    with pytest.raises(ValueError, match="digits"):
        canonical.load("1" * 10_000)


@pytest.mark.parametrize(
    ("epoch", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1767225600, "2026-01-01T00:00:00Z"),
        (951782400, "2000-02-29T00:00:00Z"),
        (253402300799, "9999-12-31T23:59:59Z"),
    ],
)
def test_a_timestamp_is_in_utc(epoch: int, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    assert canonical.timestamp(epoch) == text
