from __future__ import annotations

from pathlib import Path

import pytest
from lock_fakes import sha256

from buildkit.errors import DigestError, FetchError
from buildkit.lock import cache

DATA = b"an input"


def test_home_follows_the_environment(tmp_path: Path) -> None:
    assert cache.home({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "edge-buildkit"
    assert cache.home({}) == Path.home() / ".cache/edge-buildkit"
    assert cache.home({"XDG_CACHE_HOME": "relative"}) == Path.home() / ".cache/edge-buildkit"


def test_right_bytes_enter_and_the_candidate_stays(tmp_path: Path) -> None:
    file = tmp_path / "candidate"
    file.write_bytes(DATA)
    path = cache.admit(file, sha256(DATA), tmp_path, what="it")
    assert path.read_bytes() == file.read_bytes() == DATA
    assert cache.holds(tmp_path, sha256(DATA))
    assert cache.holds(tmp_path, sha256(DATA), len(DATA))
    assert not cache.holds(tmp_path, sha256(DATA), 1)
    assert cache.verify(tmp_path, sha256(DATA))


def test_wrong_bytes_leave_no_trace(tmp_path: Path) -> None:
    file = tmp_path / "candidate"
    file.write_bytes(b"other")
    with pytest.raises(DigestError, match=sha256(DATA)):
        cache.admit(file, sha256(DATA), tmp_path, what="it")
    assert not cache.holds(tmp_path, sha256(DATA))
    assert not any((tmp_path / "partial").iterdir())


def test_a_corrupt_entry_is_found_and_removed(tmp_path: Path) -> None:
    path = cache.entry(tmp_path, sha256(DATA))
    path.parent.mkdir(parents=True)
    path.write_bytes(b"rotten")
    assert not cache.verify(tmp_path, sha256(DATA))
    assert not path.exists()
    assert not cache.verify(tmp_path, sha256(DATA))


def test_a_cache_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "partial").write_bytes(b"a file where the folder should be")
    file = tmp_path / "candidate"
    file.write_bytes(DATA)
    with pytest.raises(FetchError, match="cannot be used") as caught:
        cache.admit(file, sha256(DATA), tmp_path, what="it")
    assert "XDG_CACHE_HOME" in caught.value.remedy
