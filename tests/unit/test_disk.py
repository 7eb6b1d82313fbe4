"""Turns, and contents that change at once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from buildkit import disk

if TYPE_CHECKING:
    from pathlib import Path


def test_one_at_a_time(tmp_path: Path) -> None:
    order: list[str] = []
    inside = threading.Event()

    def second() -> None:
        inside.wait()
        with disk.exclusive(tmp_path):
            order.append("second")

    other = threading.Thread(target=second)
    other.start()
    with disk.exclusive(tmp_path):
        inside.set()
        other.join(0.05)
        order.append("first")
    other.join()
    assert order == ["first", "second"]


def test_a_file_is_replaced_at_once_and_only_when_it_says_something_else(tmp_path: Path) -> None:
    file = tmp_path / "file"
    assert disk.replace(file, b"one")
    before = file.stat().st_ino
    assert not disk.replace(file, b"one")
    assert file.stat().st_ino == before
    with file.open("rb") as reader:
        assert disk.replace(file, b"another")
        assert (reader.read(), file.read_bytes()) == (b"one", b"another")
    assert list(tmp_path.iterdir()) == [file]


def test_a_name_may_be_another_files_by_now(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    with file.open("rb") as held:
        assert disk.is_named(held.fileno(), file)
        disk.replace(file, b"another")
        assert not disk.is_named(held.fileno(), file)
        file.unlink()
        assert not disk.is_named(held.fileno(), file)
