"""Where a recipe lives: real git where its answer matters, a fake one where it fails."""

from __future__ import annotations

import os
import subprocess
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from buildkit.errors import InputError, ToolError
from buildkit.pipeline import project
from buildkit.run import Result, run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

EPOCH = 1767225600
WHO = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (
        ("NAME", "a"),
        ("EMAIL", "a@example.org"),
        ("DATE", "2026-01-02T00:00:00Z"),
    )
}
COMMITTED = 1767312000


def git(folder: Path, *words: str) -> str:
    settings = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(
        ["git", "-C", folder, *words],
        env={**os.environ, **WHO, **settings},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def recipe(folder: Path, epoch: int | None = None) -> Any:
    """As much of a recipe as is looked at."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "recipe.toml"
    file.touch()
    return SimpleNamespace(file=file, folder=folder, source_date_epoch=epoch)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A git work tree with one commit, and a recipe in a folder of it."""
    root = tmp_path / "tree"
    recipe(root / "recipes/one")
    (root / "other").write_text("other")
    git(tmp_path, "init", "-q", "-b", "main", str(root))
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "first")
    return root


class Git:
    """A git that answers from memory, and keeps what it was asked."""

    def __init__(self, *answers: tuple[int, str, str]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, ...]] = []
        self.environments: list[Mapping[str, str] | None] = []

    def __call__(
        self,
        argv: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
        deadline: float | None = None,
        check: bool = True,
    ) -> Result:
        del cwd, stdin, deadline
        words = tuple(map(str, argv))
        self.asked.append(words)
        self.environments.append(env)
        code, stdout, stderr = self.answers.pop(0)
        assert not (check and code)
        return Result(argv=words, code=code, stdout=stdout.encode(), stderr=stderr)


def test_the_project_is_the_nearest_work_tree(tree: Path) -> None:
    assert project.root_of(tree / "recipes/one/recipe.toml") == tree
    inner = tree / "recipes/one"
    git(inner, "init", "-q", ".")
    assert project.root_of(inner / "recipe.toml") == inner


def test_a_linked_work_tree_is_one_too(tree: Path, tmp_path: Path) -> None:
    git(tree, "worktree", "add", "-q", str(tmp_path / "second"))
    linked = tmp_path / "second/recipes/one"
    assert (tmp_path / "second/.git").is_file()
    assert project.root_of(linked / "recipe.toml") == tmp_path / "second"
    assert project.examine(recipe(linked), run).revision == git(tree, "rev-parse", "HEAD")


def test_outside_git_the_recipe_has_a_project_of_its_own(tmp_path: Path) -> None:
    found = project.examine(recipe(tmp_path / "alone", EPOCH), Git())
    assert found == project.Project(root=tmp_path / "alone", revision="", epoch=EPOCH)
    assert found.work == tmp_path / "alone/.buildkit"


def test_a_clean_tree_gives_its_commit_and_time(tree: Path) -> None:
    found = project.examine(recipe(tree / "recipes/one"), run)
    assert found.root == tree
    assert found.revision == git(tree, "rev-parse", "HEAD")
    assert found.epoch == COMMITTED


def test_the_recipe_goes_before_the_commit(tree: Path) -> None:
    assert project.examine(recipe(tree / "recipes/one", EPOCH), run).epoch == EPOCH


@pytest.mark.parametrize("way", ["changed", "staged", "new", "removed"])
def test_a_change_in_the_recipes_folder_makes_it_dirty(tree: Path, way: str) -> None:
    file = tree / "recipes/one/recipe.toml"
    if way == "new":
        (file.parent / "new").write_text("new")
        # Not even when the user does not want to see new files.
        git(tree, "config", "status.showUntrackedFiles", "no")
    elif way == "removed":
        file.unlink()
    else:
        file.write_text("changed")
        if way == "staged":
            git(tree, "add", "-A")
    asked = SimpleNamespace(file=file, folder=file.parent, source_date_epoch=None)
    revision = project.examine(asked, run).revision  # type: ignore[arg-type]
    assert revision == git(tree, "rev-parse", "HEAD") + "-dirty"


def test_a_change_elsewhere_does_not_matter(tree: Path) -> None:
    (tree / "other").write_text("changed")
    (tree / "recipes/one/.gitignore").write_text("ignored\n.gitignore\n")
    (tree / "recipes/one/ignored").write_text("ignored")
    found = project.examine(recipe(tree / "recipes/one"), run)
    assert not found.revision.endswith("-dirty")


def test_looking_writes_nothing(tree: Path) -> None:
    def state() -> dict[str, bytes]:
        return {
            str(file): file.read_bytes() for file in (tree / ".git").rglob("*") if file.is_file()
        }

    os.utime(tree / "other", (1, 1))
    before = state()
    project.examine(recipe(tree / "recipes/one"), run)
    assert state() == before


def test_settings_of_the_user_do_not_matter(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "gitconfig"
    settings.write_text(
        "[log]\nshowSignature = true\ndate = relative\ndecorate = full\n"
        "[color]\nui = always\n[status]\nshort = true\nbranch = true\n[core]\npager = cat\n"
        "[format]\npretty = fuller\n"
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    found = project.examine(recipe(tree / "recipes/one"), run)
    assert found.revision == git(tree, "rev-parse", "HEAD")
    assert found.epoch == COMMITTED


def test_before_the_first_commit_the_recipe_must_give_the_time(tmp_path: Path) -> None:
    asked = recipe(tmp_path / "tree")
    git(tmp_path, "init", "-q", str(tmp_path / "tree"))
    with pytest.raises(InputError, match="neither source_date_epoch nor a commit") as caught:
        project.examine(asked, run)
    assert "source_date_epoch = " in caught.value.remedy
    assert project.examine(recipe(tmp_path / "tree", EPOCH), run).revision == ""


def test_outside_git_the_recipe_must_give_the_time(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither source_date_epoch nor a commit"):
        project.examine(recipe(tmp_path), Git())


def test_a_tree_of_somebody_else_names_the_way_out(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    said = f"fatal: detected dubious ownership in repository at '{tmp_path}'"
    answers = Git((128, "", said))
    with pytest.raises(ToolError, match="dubious ownership") as caught:
        project.examine(recipe(tmp_path, EPOCH), answers)
    assert caught.value.remedy == f"git config --global --add safe.directory {tmp_path}"
    assert answers.environments == [{"LC_ALL": "C"}]


def test_a_tree_that_is_broken_is_no_tree_of_somebody_else(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    with pytest.raises(ToolError, match="not a git repository") as caught:
        project.examine(recipe(tmp_path, EPOCH), run)
    assert "safe.directory" not in caught.value.remedy


def test_without_git_the_error_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="git: no such program"):
        project.examine(recipe(tmp_path, EPOCH), run)
