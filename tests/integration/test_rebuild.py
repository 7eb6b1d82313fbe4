"""Making an artifact again from what the store kept, sharing nothing with the first time."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
from real_project import Project

from buildkit.engine import Engine
from buildkit.run import run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.nix, pytest.mark.engine]


def test_it_is_identical_and_says_who_made_it(digits: Project, tmp_path: Path) -> None:
    engines = {engine.identity for engine in Engine.known(run)}
    # Nothing but the store is there: no recipe, no lock, no repository.
    alone = Project(tmp_path / "auditor", "digits")
    shutil.copytree(digits.store.root, alone.root / ".buildkit/store")
    model = digits.build()["models"][0]["digest"]
    done = alone.cli("rebuild", model, "--json")
    answer = json.loads(done.stdout)
    assert answer["identical"] is True
    assert answer["compared"] >= 30
    record = alone.store.read_json(answer["record"])
    said = alone.store.read_json(record["layers"][0]["digest"])["predicate"]
    assert record["subject"]["digest"] == digits.build()["image"]["digest"]
    assert said["by"]["machine"]
    assert said["by"]["cpu"]
    assert said["identical"] is True
    assert {engine.identity for engine in Engine.known(run)} == engines


def test_a_build_that_rolls_dice_is_found_out(project: Project) -> None:
    dockerfile = project.folder / "app/Dockerfile"
    text = dockerfile.read_text().replace("FROM scratch", "FROM base")
    program = "import os; open('/dice', 'wb').write(os.urandom(8))"
    dockerfile.write_text(f'{text}\nUSER 0:0\nRUN ["/usr/bin/python3.11", "-c", "{program}"]\n')
    project.build()
    done = project.cli("rebuild", "digits:1.0.0", status=1)
    assert "linux/arm64 layer" in done.stdout
    assert "different" in done.stdout
    assert "model" not in done.stdout


def test_what_no_build_made_cannot_be_rebuilt(digits: Project) -> None:
    record = next(entry for entry in digits.store.entries() if entry.artifact_type)
    done = digits.cli("rebuild", record.digest, status=2)
    assert "no build in this store made it" in done.stderr
