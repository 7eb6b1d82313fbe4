"""The shorter commands: fetch, init, engine, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from buildkit import assets
from buildkit.doctor import examine
from buildkit.engine import Engine
from buildkit.errors import InputError
from buildkit.lock import cache, codec
from buildkit.pipeline import project as projects
from buildkit.pipeline.engines import Engines
from buildkit.pipeline.nixstage import NixStage
from buildkit.pipeline.progress import Progress, Silent
from buildkit.recipe import load, template
from buildkit.run import run

if TYPE_CHECKING:
    from buildkit.doctor import Check
    from buildkit.engine import Status
    from buildkit.run import Runner

_EXAMPLE = "recipes/digits"
_NOT_COPIED = ("recipe.toml", "recipe.lock", "README.md", "__pycache__")


def _stage(recipe_file: Path, progress: Progress, runner: Runner) -> NixStage:
    recipe = load(recipe_file)
    work = projects.root_of(recipe.file) / ".buildkit"
    lock = codec.load(recipe.lock_file)
    return NixStage(recipe, lock, work=work, runner=runner, progress=progress)


def fetch(recipe_file: Path, *, progress: Progress | None = None, runner: Runner = run) -> int:
    """Bring every input of a lock, so that a build needs no network; how many were brought."""
    projects.sweep(recipe_file)
    return _stage(recipe_file, progress or Silent(), runner).fetch()


def init(folder: Path, name: str) -> tuple[Path, ...]:
    """Write a commented recipe that builds, with its app and its training script.

    Args:
        folder: made when absent; none of the files may be there yet.
        name: of the recipe.

    Returns:
        The files written, sorted.

    Raises:
        InputError: a file is there already.
    """
    example = assets.asset(_EXAMPLE)
    files = {folder / "recipe.toml": template(name).encode()}
    for source in sorted(example.rglob("*")):
        path = source.relative_to(example)
        hidden = any(part.startswith(".") for part in path.parts)
        if source.is_file() and not hidden and not set(path.parts) & set(_NOT_COPIED):
            files[folder / path] = source.read_bytes()
    there = [file for file in files if file.exists()]
    if there:
        msg = f"{there[0]}: there already"
        raise InputError(msg, "name an empty folder: python -m buildkit init FOLDER")
    for file, data in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return tuple(sorted(files))


def start_engine(
    recipe_file: Path, *, progress: Progress | None = None, runner: Runner = run
) -> Status:
    """Start the engine that a recipe's lock pins."""
    progress = progress or Silent()
    stage = _stage(recipe_file, progress, runner)
    stage.fetch()
    return Engines(runner).start(stage, progress).status()


def engines(runner: Runner = run) -> tuple[Engine, ...]:
    """Every engine that this machine knows of."""
    return Engine.known(runner)


def doctor(*, online: bool, here: Path, runner: Runner = run) -> tuple[Check, ...]:
    """What this machine has and lacks, seen from a folder."""
    return examine(
        runner,
        folders={
            "store": projects.root_of(here / "recipe.toml") / ".buildkit/store",
            "cache": cache.home(),
            "Nix store": Path("/nix/store"),
        },
        engine=lambda: _running(runner),
        online=online,
    )


def _running(runner: Runner) -> str:
    found = [engine.status() for engine in Engine.known(runner)]
    return ", ".join(f"{one.identity} (emulation: {one.binfmt})" for one in found if one.running)
