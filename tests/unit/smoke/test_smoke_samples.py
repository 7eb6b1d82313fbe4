from __future__ import annotations

import base64
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smoke.samples import pack, unpack
from smoke.unknown import Unknown, settle

NUMBERS = st.lists(st.one_of(st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 64) - 1)))


@given(NUMBERS)
def test_unpack_is_the_inverse(values: list[int]) -> None:
    packed = pack(values)
    assert unpack(packed) == values
    assert packed["dtype"] == ("<u8" if values and max(values) >= 1 << 32 else "<u4")


def test_the_form_is_the_documented_one() -> None:
    planes = zlib.decompress(base64.b64decode(pack([0x04030201, 0x14131211])["data"]))
    assert planes == bytes([0x01, 0x11, 0x02, 0x12, 0x03, 0x13, 0x04, 0x14])


@pytest.mark.parametrize("values", [[-1], [1 << 64]])
def test_numbers_that_do_not_fit(values: list[int]) -> None:
    with pytest.raises(ValueError, match="samples must be"):
        pack(values)


@pytest.mark.parametrize(
    "change",
    [
        {"encoding": "other"},
        {"dtype": "<u2"},
        {"count": 2},
        {"count": 4},
        {"count": 1 << 40},
        {"count": -1},
        {"data": "%"},
        {"data": base64.b64encode(b"no zlib").decode()},
        {"data": base64.b64encode(zlib.compress(bytes(12)) + b"more").decode()},
        {"data": base64.b64encode(zlib.compress(bytes(12))[:-2]).decode()},
    ],
)
def test_what_is_not_ours_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="samples"):
        unpack({**pack([0, 0, 0]), **change})


def test_settle_names_each_unknown() -> None:
    tree = {"a": Unknown("why"), "b": [1, Unknown("how")], "c/d~": {"e": Unknown("x")}, "f": 0}
    assert settle(tree) == (
        {"a": None, "b": [1, None], "c/d~": {"e": None}, "f": 0},
        {"/a": "why", "/b/1": "how", "/c~1d~0/e": "x"},
    )


def test_settle_refuses_null_without_a_reason() -> None:
    with pytest.raises(ValueError, match=r"^/a/0: "):
        settle({"a": [None]})
