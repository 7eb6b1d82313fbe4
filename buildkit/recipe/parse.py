"""From ``recipe.toml`` to a `Recipe`, or all its mistakes at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from buildkit import canonical, digests
from buildkit.errors import RecipeError
from buildkit.recipe.file import opened, read
from buildkit.recipe.keys import RECIPE, SCHEMA_VERSION, SOURCES
from buildkit.recipe.rules import RULES, check_files
from buildkit.recipe.table import Reader, settled
from buildkit.recipe.targets import TARGETS
from buildkit.recipe.types import (
    CalibrationSpec,
    ConsiderationsSpec,
    DebianSpec,
    GoldenSpec,
    ImageSpec,
    ModelSpec,
    PrepareSpec,
    PythonSpec,
    Recipe,
    SmokeSpec,
)

if TYPE_CHECKING:
    from pathlib import Path

_NEWER = "install a newer edge-buildkit, or go back to the recipe's earlier version"


def load(file: Path) -> Recipe:
    """Read and check a recipe.

    It looks at the files that the recipe names, and hashes the model if that is one of them; it
    writes nothing and starts nothing.

    Args:
        file: ``recipe.toml``, absolute or relative to the working folder.

    Returns:
        The recipe, with paths in their shortest form, arrays sorted whose order means nothing,
        and defaults filled in.

    Raises:
        RecipeError: the recipe has mistakes: all of them.
        InputError: there is no such file, or it is not text.
    """
    data = read(
        file,
        "recipe",
        missing="correct the path, or write a first recipe with `python -m buildkit init`",
        folder=f"name the file: {file / 'recipe.toml'}",
    )
    document, notes = opened(
        data,
        str(file),
        known=SCHEMA_VERSION,
        text="save it as UTF-8, or name a recipe.toml",
        newer=_NEWER,
    )
    # The folder is the real one; the file keeps its name, which the lock's name follows.
    folder = file.absolute().parent.resolve()
    values = Reader(RECIPE, notes).read(document)
    for rule in RULES:
        rule(values, notes)
    check_files(values, folder, notes)
    if problems := notes.problems():
        raise RecipeError(str(file), problems)
    return _recipe(folder / file.name, settled(RECIPE, values))


def limits_of(data: bytes, name: str) -> SmokeSpec:
    """The limits in a recipe that was kept, without the files that it names.

    Args:
        data: bytes of the recipe.
        name: what to call it in a message.

    Raises:
        RecipeError: it has mistakes, or is from a newer version: all of them.
        InputError: it is not text.
    """
    document, notes = opened(
        data,
        name,
        known=SCHEMA_VERSION,
        text="name the recipe's own file instead",
        newer=_NEWER,
    )
    values = Reader(RECIPE, notes).read(document)
    if problems := notes.problems():
        raise RecipeError(name, problems)
    return _smoke(settled(RECIPE, values).get("smoke", {}))


def _recipe(file: Path, values: dict[str, Any]) -> Recipe:
    """The record of a document without mistakes."""
    # Limits say what is good enough, not what to build: without them, so that a tighter one gives
    # neither another digest nor another lock.
    smoke = values.pop("smoke", {})
    image, model = values["image"], values["model"]
    name = next(name for name in SOURCES if name in model)
    calibration = model.get("calibration")
    considerations = model.get("considerations")
    # Through JSON, so that it is equal to what a reader of the canonical bytes has.
    said = canonical.dump(values)
    plain = {key: value for key, value in values.items() if key not in {"schema", "image", "model"}}
    return Recipe(
        **plain | {"targets": tuple(TARGETS[target] for target in values["targets"])},
        file=file,
        smoke=_smoke(smoke),
        digest=digests.of_bytes(said),
        document=canonical.load(said),
        image=ImageSpec(
            **image
            | {"debian": DebianSpec(**image["debian"]), "python": PythonSpec(**image["python"])}
        ),
        model=ModelSpec(
            source=SOURCES[name](**model[name]),
            prepare=PrepareSpec(**model["prepare"]),
            calibration=None if calibration is None else CalibrationSpec(**calibration),
            golden=GoldenSpec(**model["golden"]),
            task=model["task"],
            license=model["license"],
            considerations=(
                None if considerations is None else ConsiderationsSpec(**considerations)
            ),
        ),
    )


def _smoke(values: dict[str, Any]) -> SmokeSpec:
    targets = values.get("targets", {})
    plain = {key: value for key, value in values.items() if key != "targets"}
    return SmokeSpec(**plain, targets={name: SmokeSpec(**own) for name, own in targets.items()})
