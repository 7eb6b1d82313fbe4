"""Where the user's files are: by the environment, else below the home."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from buildkit import homes
from buildkit.errors import MachineError


@pytest.mark.parametrize(
    ("kind", "below"), [("cache", ".cache"), ("config", ".config"), ("state", ".local/state")]
)
def test_a_folder_for_each_kind(kind: Literal["cache", "config", "state"], below: str) -> None:
    found = {
        name: homes.home(kind, environ)
        for name, environ in {
            "named": {f"XDG_{kind.upper()}_HOME": "/x", "HOME": "/h"},
            "relative": {f"XDG_{kind.upper()}_HOME": "x", "HOME": "/h"},
            "empty": {f"XDG_{kind.upper()}_HOME": "", "HOME": "/h"},
            "no variable": {},
        }.items()
    }
    assert found == {
        "named": Path("/x/edge-buildkit"),
        "relative": Path("/h", below, "edge-buildkit"),
        "empty": Path("/h", below, "edge-buildkit"),
        "no variable": Path.home() / below / "edge-buildkit",
    }


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        why = "Could not determine home directory."
        raise RuntimeError(why)

    monkeypatch.setattr(Path, "home", nowhere)
    with pytest.raises(MachineError) as raised:
        homes.home("config", {})
    assert raised.value.remedy == "set HOME or XDG_CONFIG_HOME"
