from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit import digests

if TYPE_CHECKING:
    from pathlib import Path

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@given(st.binary())
def test_bytes_stream_and_digits_agree(data: bytes) -> None:
    digest = digests.of_bytes(data)
    assert digests.is_digest(digest)
    assert digests.of_stream(io.BytesIO(data)) == digest
    assert digests.hex_of(digest) == hashlib.sha256(data).hexdigest()


def test_nothing_has_a_digest_too() -> None:
    assert digests.of_bytes(b"") == EMPTY


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20])
def test_files_of_any_size(tmp_path: Path, size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    (tmp_path / "file").write_bytes(data[:size])
    assert digests.of_file(tmp_path / "file") == digests.of_bytes(data[:size])


def test_a_stream_is_read_from_where_it_is() -> None:
    stream = io.BytesIO(b"headbody")
    stream.read(4)
    assert digests.of_stream(stream) == digests.of_bytes(b"body")


def test_a_missing_file_is_an_operating_system_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        digests.of_file(tmp_path / "none")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256:",
        EMPTY[:-1],
        EMPTY + "0",
        EMPTY + "\n",
        " " + EMPTY,
        EMPTY.upper(),
        EMPTY.replace("sha256", "sha512"),
        digests.hex_of(EMPTY),
        "sha256:" + "g" * 64,
        "sha256:" + "\N{FULLWIDTH DIGIT ZERO}" * 64,
        "sha256:../" + "0" * 61,
        None,
        7,
        EMPTY.encode(),
    ],
)
def test_what_is_no_digest(text: object) -> None:
    assert not digests.is_digest(text)


@given(st.text())
def test_any_text_is_a_digest_or_not(text: str) -> None:
    assert not digests.is_digest(text) or digests.hex_of(text) == text[len("sha256:") :]
