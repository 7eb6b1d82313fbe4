"""From ``recipe.toml`` to a `Recipe`, or all its mistakes at once."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Any

from buildkit import canonical, digests
from buildkit.errors import InputError, Problem, RecipeError
from buildkit.recipe.keys import RECIPE, SCHEMA_VERSION, SOURCES
from buildkit.recipe.locate import locate
from buildkit.recipe.notes import Notes, shown
from buildkit.recipe.rules import RULES, check_files
from buildkit.recipe.syntax import parse
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
)

if TYPE_CHECKING:
    from pathlib import Path

_LARGEST = 256 * 1024


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
    text = _text(file)
    document, problem = parse(text)
    if problem := problem or _newer(document, text):
        raise RecipeError(str(file), (problem,))
    # The folder is the real one; the file keeps its name, which the lock's name follows.
    folder = file.absolute().parent.resolve()
    notes = Notes(text, document)
    values = Reader(RECIPE, notes).read(document)
    for rule in RULES:
        rule(values, notes)
    check_files(values, folder, notes)
    if problems := notes.problems():
        raise RecipeError(str(file), problems)
    return _recipe(folder / file.name, settled(RECIPE, values))


def _text(file: Path) -> str:
    try:
        status = file.stat()
        if stat.S_ISDIR(status.st_mode):
            msg, remedy = f"{file} is a folder", f"name the file: {file / 'recipe.toml'}"
            raise InputError(msg, remedy)
        if not stat.S_ISREG(status.st_mode):
            msg = f"{file} is not a file"
            raise InputError(msg, "name a recipe.toml")
        if status.st_size > _LARGEST:
            msg = f"{file} has {status.st_size} bytes, more than a recipe can have"
            raise InputError(msg, f"name a recipe.toml of at most {_LARGEST} bytes")
        return file.read_bytes().decode()
    except FileNotFoundError as error:
        msg = f"{file}: no such file"
        remedy = "correct the path, or write a first recipe with `python -m buildkit init`"
        raise InputError(msg, remedy) from error
    except UnicodeDecodeError as error:
        msg = f"{file} is not UTF-8 text, from byte {error.start} on"
        raise InputError(msg, "save it as UTF-8, or name a recipe.toml") from error
    except OSError as error:
        msg = f"{file} cannot be read: {error.strerror}"
        raise InputError(msg, "correct the path or its permissions") from error
    except ValueError as error:
        msg = f"{str(file)!r} cannot be the name of a file: {error}"
        raise InputError(msg, "correct the path") from error


def _newer(document: dict[str, Any], text: str) -> Problem | None:
    """Whether the recipe has a newer form, whose other keys would only give false mistakes."""
    version = document.get("schema")
    if not isinstance(version, int) or version <= SCHEMA_VERSION:
        return None
    message = f"schema {shown(version)} is newer than {SCHEMA_VERSION}, the newest known here"
    remedy = "install a newer edge-buildkit, or go back to the recipe's earlier version"
    line = locate(text).of(("schema",))
    return Problem(path="schema", line=line, message=message, remedy=remedy)


def _recipe(file: Path, values: dict[str, Any]) -> Recipe:
    """The record of a document without mistakes."""
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
