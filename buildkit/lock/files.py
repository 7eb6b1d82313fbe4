"""The files beside a recipe: which ones a lock pins, their hashes, their commit."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from buildkit import digests
from buildkit.errors import InputError, ToolError
from buildkit.lock.types import FilePin
from buildkit.recipe.types import MADE_BY_TRAINING, FileSource, TrainSource

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from buildkit.recipe.types import Recipe
    from buildkit.run import Runner


def recipe_files(recipe: Recipe) -> tuple[str, ...]:
    """The files beside the recipe that a lock pins, sorted; paths relative to its folder."""
    model = recipe.model
    names: set[str] = set()
    if isinstance(model.source, FileSource):
        names.add(model.source.path)
    elif isinstance(model.source, TrainSource):
        names |= {model.source.script, *model.source.inputs}
    for data in (model.calibration.data if model.calibration else "", model.golden.data):
        if data and not data.startswith(MADE_BY_TRAINING):
            names.add(data)
    return tuple(sorted(names))


def pin_files(recipe: Recipe) -> tuple[FilePin, ...]:
    """Hash what stands beside the recipe.

    Raises:
        InputError: files are missing or cannot be read; all of them are named.
    """
    pins, problems = [], []
    for name in recipe_files(recipe):
        file = recipe.folder / name
        try:
            sha256 = digests.hex_of(digests.of_file(file))
            pins.append(FilePin(path=name, sha256=sha256, size=file.stat().st_size))
        except OSError as error:
            problems.append(f"{name}: {error.strerror}")
    if problems:
        raise InputError("\n  ".join(problems), "put the files beside the recipe, or correct it")
    return tuple(pins)


def commit_of(runner: Runner, folder: Path, files: Sequence[str]) -> str:
    """The last commit that touched `files` when git has all of them unchanged, else empty."""
    if not files:
        return ""

    def git(*words: str) -> str:
        result = runner(["git", *words, "--", *files], cwd=folder, deadline=60.0, check=False)
        if result.code != 0:
            msg = "no answer"
            raise ToolError(msg)
        return result.text.strip()

    try:
        git("ls-files", "--error-unmatch")
        if git("status", "--porcelain", "--untracked-files=all"):
            return ""
        commit = git("log", "-1", "--format=%H")
    except ToolError:
        return ""
    return commit if re.fullmatch(r"[0-9a-f]{40,64}", commit) else ""
