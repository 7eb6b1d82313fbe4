"""A no-op build has 250 ms in all: reading the recipe must not be seen in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
PROGRAM = """
import sys
from pathlib import Path
from buildkit.recipe import load
load(Path("recipes/digits/recipe.toml"))
print(*sys.modules)
"""


def test_reading_loads_nothing_heavy() -> None:
    printed = subprocess.run(
        [sys.executable, "-c", PROGRAM], check=True, capture_output=True, cwd=ROOT, text=True
    )
    modules = printed.stdout.split()
    heavy = {"jsonschema", "packaging", "difflib", "numpy", "onnx", "docker", "subprocess"}
    assert not heavy & set(modules)
