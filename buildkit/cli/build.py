"""``build``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from buildkit import amounts
from buildkit.cli import render, signer

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from buildkit.pipeline.results import BuildResult

_NOTES = """\
The lock beside the recipe is used exactly as it stands; inputs that are not here yet are
fetched first. With nothing to do, the command says so and ends at once.

examples:
  python -m buildkit build recipes/digits/recipe.toml
  python -m buildkit build recipe.toml --json | jq -r .image.digest
  python -m buildkit build recipe.toml --builder my-arm-nodes
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _NOTES
    parser.add_argument("recipe", type=Path, help="recipe.toml")
    parser.add_argument(
        "--store", type=Path, metavar="DIR", help="store to publish into (default: .buildkit/store)"
    )
    parser.add_argument(
        "--builder", metavar="NAME", help="your own buildx builder instead of the pinned engine"
    )
    signer.argument(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object, nothing else")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def run(options: argparse.Namespace) -> int:
    """Build, and show the result."""
    from buildkit.pipeline.build import build  # noqa: PLC0415 - `--help` must not wait for it

    progress = render.progress(options)
    result = build(
        options.recipe,
        store=options.store,
        builder=options.builder,
        signer=signer.chosen(options, progress),
        progress=progress,
    )
    if options.json:
        render.document(result.to_json())
    else:
        print(_table(result))
    return 0


def _table(result: BuildResult) -> str:
    rows = [("image", result.image_digest, "")]
    rows += [
        (f"  {item.platform}", item.digest, amounts.size(item.size)) for item in result.platforms
    ]
    for model in result.models:
        rows.append((f"model {model.target}", model.digest, amounts.size(model.size)))
    accuracy = [
        line
        for model in result.models[:1]
        for line in (
            f"accuracy  float {model.float_accuracy} %, quantised {model.quantised_accuracy} %",
            f"answers   {_answers(model.answers)}",
        )
    ]
    took = ", ".join(f"{name} {seconds:.2f}" for name, seconds in result.seconds.items())
    ref = f"{result.recipe['name']}:{result.recipe['version']}"
    name = f"{result.recipe['name']} {result.recipe['version']}"
    state = "nothing to do, it is built already" if result.cached else "built"
    return "\n".join(
        [
            f"{render.plain(name)}: {state}",
            render.table(rows),
            *accuracy,
            *(f"finding   {render.plain(each)}" for each in result.findings),
            f"evidence  {len(result.statements)} statements, `evidence {render.plain(ref)}`",
            f"store     {render.plain(str(result.store))}",
            f"seconds   {took}",
        ]
    )


def _answers(told: Mapping[str, Any]) -> str:
    if told["same_on_every_cpu"]:
        return "the same on every CPU"
    return f"may differ in the last bits on another CPU: {render.plain(told['reason'])}"
