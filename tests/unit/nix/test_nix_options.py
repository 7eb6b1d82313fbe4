"""What every call of Nix is told, by who asks and what the user has configured."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from buildkit.nix import Nix
from buildkit.run import Result

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

PUBLIC = ["https://cache.example.org"]


class Configured:
    """A Nix that says which substituters are configured."""

    def __init__(self, *substituters: str) -> None:
        self.value = list(substituters)

    def __call__(
        self,
        argv: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
        deadline: float | None = None,
        check: bool = True,
    ) -> Result:
        del cwd, env, stdin, deadline, check
        setting = {"value": self.value, "defaultValue": PUBLIC}
        said = json.dumps({"substituters": setting}).encode()
        return Result(argv=tuple(map(str, argv)), code=0, stdout=said, stderr="")


def options(nix: Nix, *, substitute: bool = False) -> dict[str, str]:
    words = nix.options(substitute=substitute)
    places = [place for place, word in enumerate(words) if word == "--option"]
    return {words[place + 1]: words[place + 2] for place in places}


@pytest.mark.parametrize("configured", [PUBLIC, ["file:///cache"], [*PUBLIC, "file:///cache"]])
def test_only_caches_that_the_user_named_are_asked(configured: list[str], tmp_path: Path) -> None:
    found = options(Nix(Configured(*configured), tmp_path))
    assert found.get("substitute") == ("false" if configured == PUBLIC else None)
    assert "builders" not in found
    assert found["require-sigs"] == "true"
    assert found["sandbox"] == "true"


def test_what_is_made_anew_comes_from_no_other_machine(tmp_path: Path) -> None:
    found = options(Nix(Configured("file:///cache"), tmp_path, apart=True))
    assert (found["substitute"], found["builders"]) == ("false", "")


def test_a_flake_of_the_users_may_come_from_the_public_cache(tmp_path: Path) -> None:
    found = options(Nix(Configured(*PUBLIC), tmp_path), substitute=True)
    assert "substitute" not in found
    assert found["require-sigs"] == "true"
