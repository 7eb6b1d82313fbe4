"""Where a recipe lives: its project, its commit, its working folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from buildkit import scratch
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


def sweep(recipe_file: Path) -> None:
    """Take away what killed commands of this user left, beside a recipe and in `TMPDIR`."""
    scratch.sweep()
    scratch.sweep(recipe_file.parent, unfinished(recipe_file.with_suffix(".lock")))


def unfinished(file: Path) -> str:
    """How the names of folders begin that a new version of `file` is written in."""
    return f".{file.name}."


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
    # The user's own settings and language must change neither what is said nor what counts.
    git = ["git", "-C", str(root), "--no-optional-locks", "-c", "log.showSignature=false"]
    here = {"LC_ALL": "C"}
    head = runner([*git, "log", "-1", "--no-color", "--format=%H %ct"], env=here, check=False)
    if head.code != 0:
        if "does not have any commits" in head.stderr:
            return "", None
        msg = f"git cannot read {root}: {head.stderr.strip()}"
        if "dubious ownership" in head.stderr:
            raise ToolError(msg, f"git config --global --add safe.directory {root}")
        raise ToolError(msg, f"git -C {root} fsck")
    revision, committed = head.text.split()
    changed = ["status", "--porcelain", "--untracked-files=normal", "--", str(folder)]
    dirty = "-dirty" if runner([*git, *changed], env=here).stdout.strip() else ""
    return revision + dirty, int(committed)
