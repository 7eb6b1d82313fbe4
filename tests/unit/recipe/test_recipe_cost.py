"""A no-op build has 250 ms in all: reading the recipe must not be seen in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
PROGRAM = """
import sys, time
from pathlib import Path
from buildkit.recipe import load
file = Path("recipes/digits/recipe.toml")
load(file)
times = []
for _ in range(20):
    start = time.perf_counter()
    load(file)
    times.append(time.perf_counter() - start)
print(min(times), *sys.modules)
"""


def test_reading_is_fast_and_loads_nothing_heavy() -> None:
    printed = subprocess.run(
        [sys.executable, "-c", PROGRAM], check=True, capture_output=True, cwd=ROOT, text=True
    )
    seconds, *modules = printed.stdout.split()
    assert float(seconds) < 0.010
    heavy = {"jsonschema", "packaging", "difflib", "numpy", "onnx", "docker", "subprocess"}
    assert not heavy & set(modules)
