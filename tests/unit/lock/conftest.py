from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment whose APT sources are a file of the test's own, with a keyring."""
    from lock_fakes import SOURCES

    keyring = tmp_path / "keyring.gpg"
    keyring.write_bytes(b"key")
    file = tmp_path / "mirrors.sources"
    file.write_text(SOURCES.replace("/usr/share/keyrings/debian-archive-keyring.gpg", str(keyring)))
    return {"EDGE_BUILDKIT_APT_SOURCES": str(file), "XDG_CACHE_HOME": str(tmp_path / "cache")}
