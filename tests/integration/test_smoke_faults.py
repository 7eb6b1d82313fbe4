"""Random faults during smoke runs: no wrong PASS, no half report, a clean board, a second PASS.

Every run draws the same rounds, as far as the machine's own timing lets it; another
``EDGE_BUILDKIT_FAULT_SEED`` draws others, ``EDGE_BUILDKIT_FAULTS`` is their number,
``EDGE_BUILDKIT_FAULT_FIRST`` that of the first. docs/devices.md tells what became of many.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from faults import FAULTS, PHASES, SLOW, World, drawn

from buildkit.device import inventory
from buildkit.evidence import keys
from buildkit.pipeline import standins

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from real_project import Project
    from trial_parts import Board

pytestmark = [pytest.mark.nix, pytest.mark.engine]

COUNT = int(os.environ.get("EDGE_BUILDKIT_FAULTS", "2"))
FIRST = int(os.environ.get("EDGE_BUILDKIT_FAULT_FIRST", "1"))
SEED = int(os.environ.get("EDGE_BUILDKIT_FAULT_SEED", "5"))
# From so many on, all kinds are drawn.
MANY = 20


def say(text: str) -> None:
    """Shown with a failure, or by ``pytest -s``."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


@pytest.fixture
def world(_enrolled: Board, digits: Project, tmp_path: Path) -> Iterator[World]:
    """The session's board; its device is enrolled."""
    location = inventory.location()
    world = World(
        board=standins.one(_enrolled.name),
        device=inventory.load(location)[_enrolled.name],
        devices=location,
        keys=keys.location(),
        store=digits.store.root,
        home=tmp_path,
    )
    try:
        yield world
    finally:
        world.close()
        _enrolled.idle()


def test_a_round_is_drawn_by_its_number_alone() -> None:
    assert [drawn(7, number) for number in (3, 4)] == [drawn(7, number) for number in (3, 4)]
    rounds = [drawn(7, number) for number in range(1000)]
    assert {each.fault for each in rounds} == set(FAULTS)
    assert {each.phase for each in rounds} == {*PHASES, "store"}


def test_smoke_runs_are_disturbed(world: World) -> None:
    say(f"EDGE_BUILDKIT_FAULT_SEED={SEED}")
    wanted = (
        each
        for each in (drawn(SEED, number) for number in itertools.count(FIRST))
        if COUNT >= MANY or each.fault not in SLOW
    )
    world.measure()
    seen: Counter[str] = Counter()
    wrong = []
    for asked in itertools.islice(wanted, COUNT):
        result = world.run(asked)
        say(str(result))
        seen[asked.fault] += 1
        wrong += [str(result)] if result.wrong else []
    assert wrong == []
    assert seen.total() == COUNT
