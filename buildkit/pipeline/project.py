"""Where a recipe lives: its project, its commit, its working folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from buildkit.errors import InputError, ToolError

if TYPE_CHECKING:
    from pathlib import Path

    from buildkit.recipe import Recipe
    from buildkit.run import Runner


@dataclass(frozen=True, kw_only=True, slots=True)
class Project:
    """What surrounds a recipe.

    Attributes:
        root: nearest folder above the recipe that is a git work tree, else the recipe's own.
        revision: commit that is checked out, with ``-dirty`` where the recipe's folder differs
            from it; empty outside git and before the first commit.
        epoch: seconds since 1970 for every timestamp.
    """

    root: Path
    revision: str
    epoch: int

    @property
    def work(self) -> Path:
        """Folder for everything that a build keeps."""
        return self.root / ".buildkit"


def root_of(recipe_file: Path) -> Path:
    """The project of a recipe: the git work tree that it is in, or its own folder."""
    folder = recipe_file.parent
    return next((above for above in (folder, *folder.parents) if (above / ".git").exists()), folder)


def examine(recipe: Recipe, runner: Runner) -> Project:
    """Find a recipe's project and the commit that is checked out.

    Raises:
        InputError: neither the recipe nor a commit gives a time.
        ToolError: there is a git work tree, but git cannot read it.
    """
    root = root_of(recipe.file)
    revision, committed = _commit(root, recipe.folder, runner)
    epoch = recipe.source_date_epoch if recipe.source_date_epoch is not None else committed
    if epoch is None:
        msg = f"{recipe.file.name}: neither source_date_epoch nor a commit gives the time"
        raise InputError(msg, "add `source_date_epoch = 1767225600` to the recipe, or commit it")
    return Project(root=root, revision=revision, epoch=epoch)


def _commit(root: Path, folder: Path, runner: Runner) -> tuple[str, int | None]:
    if not (root / ".git").exists():
        return "", None
    head = runner(["git", "-C", root, "log", "-1", "--format=%H %ct"], check=False)
    if head.code != 0:
        if "does not have any commits" in head.stderr:
            return "", None
        msg = f"git cannot read {root}: {head.stderr.strip()}"
        raise ToolError(msg, f"git config --global --add safe.directory {root}")
    revision, committed = head.text.split()
    words = [
        "git",
        "-C",
        str(root),
        "--no-optional-locks",
        "status",
        "--porcelain",
        "--",
        str(folder),
    ]
    dirty = "-dirty" if runner(words).stdout.strip() else ""
    return revision + dirty, int(committed)
