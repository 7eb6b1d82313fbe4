"""Copies of a process judge what it would have judged alone."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from buildkit.audit import workers

if TYPE_CHECKING:
    from collections.abc import Mapping

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    command = [sys.executable, "-W", "error", str(HERE / "spreading.py")]
    command.append(str(tmp_path_factory.mktemp("spread")))
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=HERE.parents[2], env=_path()
    )
    assert done.returncode == 0, done.stderr
    found: Mapping[str, Any] = json.loads(done.stdout)
    return found


def _path() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": f"{HERE.parents[2]}{os.pathsep}{HERE}"}


def test_all_is_handed_back_in_order(tried: Mapping[str, Any]) -> None:
    assert tried["possible"] >= 1
    assert tried["large"] == [[number, 200_000, True] for number in range(11)]
    assert tried["alone"] == [False, False]
    assert tried["more copies than work"] == [0, 1]


def test_what_a_copy_does_not_hand_back_is_done_again(tried: Mapping[str, Any]) -> None:
    assert tried["dies"] == list(range(9))
    assert tried["fails"] == [0, 1, 2, 3, "four"]


def test_without_room_for_copies_all_is_done_here(tried: Mapping[str, Any]) -> None:
    assert tried["crowded"] == [False, False]


def test_what_is_begun_ahead_is_there_when_asked_for(tried: Mapping[str, Any]) -> None:
    is_copied = tried["possible"] > 1
    assert tried["begun"] == [str(is_copied), "4", "four", "none left"]


def test_no_copy_is_left(tried: Mapping[str, Any]) -> None:
    assert tried["closed"] == [0, 0]


def test_an_index_by_copies_is_the_same(tried: Mapping[str, Any]) -> None:
    alone, together = tried["synced"]["1"], tried["synced"]["3"]
    assert alone[0] == together[0]
    assert alone == together
    assert "blob-digest" in alone[3]


def test_a_process_with_threads_is_not_copied() -> None:
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait)
    thread.start()
    try:
        assert workers.possible() == 1
    finally:
        ended.set()
        thread.join()
