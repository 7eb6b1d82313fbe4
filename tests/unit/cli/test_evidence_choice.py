"""``evidence --kind``: one of several statements about one part."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "pipeline"))

from trial_world import REF, World, build

from buildkit import cli

if TYPE_CHECKING:
    from collections.abc import Callable

Shown = tuple[int, str, str]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return build(tmp_path)


@pytest.fixture
def evidence(world: World, capsys: pytest.CaptureFixture[str]) -> Callable[..., Shown]:
    def call(*words: str) -> Shown:
        status = cli.main(["evidence", REF, "--store", str(world.store.root), *words])
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


def nonce(shown: Shown) -> Any:
    status, out, err = shown
    assert (status, err) == (0, "")
    return json.loads(out)["run"]["nonce"]


def test_what_device_and_host_both_signed_is_said_once(
    world: World, evidence: Callable[..., Shown]
) -> None:
    world.saw(nonce="1", keys=("board", "good"))
    assert nonce(evidence("--kind", "test-result")) == "1"


def test_of_several_about_one_part_a_bundle_is_named(
    world: World, evidence: Callable[..., Shown]
) -> None:
    world.saw(nonce="1")
    world.saw(nonce="2")
    for about in ((), ("--about", "linux/arm64")):
        status, _, err = evidence("--kind", "test-result", *about)
        assert status == 2
        assert "2 statements of kind test-result" in err
    named = re.findall(r"(sha256:[0-9a-f]{64}) \(linux/arm64\)", err)
    assert len(named) == 2
    found = [nonce(evidence("--kind", "test-result", "--about", each)) for each in named]
    assert sorted(found) == ["1", "2"]


def test_a_bundle_alone_is_listed(world: World, evidence: Callable[..., Shown]) -> None:
    world.saw(keys=("board", "good"))
    rows = json.loads(evidence("--json")[1])["evidence"]
    assert len(rows) == 2
    assert {*rows[0]} == {"about", "digest", "kind", "signer", "bundle"}
    (row,) = json.loads(evidence("--json", "--about", rows[1]["bundle"])[1])["evidence"]
    assert row == rows[1]


def test_what_is_not_there(evidence: Callable[..., Shown]) -> None:
    status, _, err = evidence("--kind", "test-result", "--about", "sha256:" + "0" * 64)
    assert status == 2
    assert "0 statements" in err
