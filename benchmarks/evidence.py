"""What evidence adds to a cold build: everything that Nix makes, with and without what syft sees.

Each turn has a Nix store of its own, filled with the inputs before the clock starts; only then do
both make every layer and the model. What a build does after Nix (writing and signing statements)
stands in its own ``seconds`` as ``evidence`` and ``store``, and is printed too.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paired import compare

from buildkit import assets
from buildkit.lock import codec
from buildkit.pipeline.nixstage import NixStage
from buildkit.pipeline.progress import Silent
from buildkit.recipe import load
from buildkit.run import run

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[1]
RUNS = 3
EXPRESSION = """
{{ file }}:
let made = import {nix} {{ inherit file; }};
in {{
  seen = made.build;
  unseen = made.shell "unseen.json" {{
    value = builtins.toJSON {{
      layers = builtins.mapAttrs (_: kinds: removeAttrs kinds [ "seen" ]) made.layers;
      model = removeAttrs made.model [ "ranges" ];
    }};
    passAsFile = [ "value" ];
  }} "cp $valuePath $out";
}}
"""


class _Attribute(NixStage):
    """A stage that makes an attribute of `EXPRESSION`."""

    def make(self, expression: Path, attribute: str, lock: Path) -> Any:
        link = self.nix.physical("/link") / attribute
        return self.nix.build(expression, self._arguments(lock), attribute, link)


def main() -> None:
    """Run and print."""
    recipe = load(ROOT / "recipes/digits/recipe.toml")
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        expression = home / "expression"
        expression.mkdir()
        (expression / "default.nix").write_text(EXPRESSION.format(nix=assets.asset("nix")))
        stages = []
        # One turn of each is not counted.
        for number in range(2 * (RUNS + 1)):
            stage = _Attribute(
                recipe,
                codec.load(recipe.lock_file),
                work=home / str(number),
                runner=run,
                progress=Silent(),
                apart=True,
            )
            stage.fetch()
            stages.append(stage)
        rest = itertools.cycle(stages)

        def making(attribute: str) -> Callable[[], object]:
            return lambda: next(rest).make(expression, attribute, recipe.lock_file)

        compare("cold, beside a build without SBOMs", making("seen"), making("unseen"), runs=RUNS)
    with tempfile.TemporaryDirectory() as name:
        project = Path(name) / "recipe"
        shutil.copytree(recipe.folder, project)
        done = subprocess.run(
            [sys.executable, "-m", "buildkit", "build", project / "recipe.toml", "--json"],
            env={**os.environ, "EDGE_BUILDKIT_KEYS": str(Path(name) / "keys")},
            capture_output=True,
            check=True,
        )
        seconds = json.loads(done.stdout)["seconds"]
        print(f"afterwards: evidence {seconds['evidence']} s, signing and all {seconds['store']} s")


if __name__ == "__main__":
    main()
