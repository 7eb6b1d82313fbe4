"""Whatever a device says, it is read or refused, and never shown as it came."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from device_fakes import Board, Goods
from hypothesis import given
from hypothesis import strategies as st

from buildkit.device import answers
from buildkit.device.answers import Done, Failure, Garbled
from buildkit.device.wording import clean

if TYPE_CHECKING:
    from pathlib import Path

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
WORDS = st.sampled_from(
    [
        *("digest", "size", "have", "missing", "received", "pulled", "key", "id", "pem", "trusted"),
        *("runtimes", "name", "usable", "why", "version", "standin", "board", "leftovers"),
        *("payload", "signature", "removed", "kind", "blame", "message", "remedy"),
        *("page_bytes", "memory_bytes", "free_bytes", "progress", "done", "error"),
    ]
)
NEARLY = st.recursive(
    JSON | st.sampled_from(["sha256:" + "a" * 64, "0" * 16, "QUI=", 3, True, "network", "busy"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=8),
    max_leaves=20,
)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_line_or_refused(line: bytes) -> None:
    with suppress(Garbled):
        assert isinstance(answers.reply(line), Done | Failure | dict)


@given(st.dictionaries(WORDS, NEARLY, max_size=2))
def test_any_object_is_a_line_or_refused(value: dict[str, Any]) -> None:
    try:
        found = answers.reply(json.dumps(value).encode())
    except Garbled:
        return
    if isinstance(found, Failure):
        assert found.kind in answers.KINDS
        assert all(text == clean(text, 2000) for text in (found.message, found.remedy))
    elif isinstance(found, dict):
        for name, each in found.items():
            assert name == clean(name, 40)
            assert not isinstance(each, str) or each == clean(each, 200)


@given(st.dictionaries(WORDS, NEARLY, max_size=10))
def test_any_answer_is_read_or_refused(value: dict[str, Any]) -> None:
    goods = Goods.of(b"one")
    (digest,) = goods.contents
    for read in (
        answers.facts,
        answers.enrolled,
        answers.ran,
        answers.removed,
        lambda said: answers.missing(said, goods.blobs),
        lambda said: answers.arrived(said, "received", [digest]),
    ):
        with suppress(Garbled):
            read(value)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"[]\n",
        b'{"done": {}, "progress": {}}\n',
        b'{"done": []}\n',
        b'{"done": {"a": 1, "a": 2}}\n',
        b'{"done": {"a": NaN}}\n',
        b'{"done": {"a": "\\ud800"}}\n',
        b'{"other": {}}\n',
        b'{"error": {}}\n',
        b'{"error": {"kind": "busy", "blame": "nobody", "message": "m"}}\n',
        b'{"error": {"kind": "weather", "blame": "device", "message": "m"}}\n',
        b'{"error": {"kind": "busy", "blame": "device", "message": 1}}\n',
        b'{"done": ' + b'{"a": ' * 100 + b"1" + b"}" * 100 + b"}\n",
        b"\xff\xfe\n",
    ],
)
def test_lines_that_are_none(line: bytes) -> None:
    with pytest.raises(Garbled):
        answers.reply(line)


def test_what_a_start_up_file_prints_is_named() -> None:
    with pytest.raises(Garbled, match=r"printed 'Welcome to \[1m the board'.*start-up files"):
        answers.reply(b"Welcome to \x1b[1m the board\n")


@given(st.text(), st.integers(2, 50))
def test_cleaned_text_can_be_shown(text: str, most: int) -> None:
    found = clean(text, most)
    assert len(found) <= most
    assert found.isprintable()
    assert clean(found, most) == found


def test_facts_are_read(tmp_path: Path) -> None:
    with Board(tmp_path) as board:
        found = board.agent().facts()
    assert (found.machine, found.board, found.standin) == ("aarch64", "Raspberry Pi 5", "")
    assert (found.page_bytes, found.key, found.trusted) == (16384, None, ())
    assert [(each.name, each.usable) for each in found.runtimes] == [("crun", True)]
