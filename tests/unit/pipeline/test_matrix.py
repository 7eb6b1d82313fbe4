"""Which jobs a CI needs: real git for what changed, plain paths for all else."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit.errors import InputError, RecipeError, ToolError
from buildkit.pipeline import matrix
from buildkit.pipeline.changes import Changes, is_changed
from buildkit.pipeline.matrix import RUNNERS, Candidate, Job
from buildkit.records import PLATFORMS
from buildkit.run import Result, run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RECIPE = """\
schema = 1
name = "@"
version = "1.0.0"
platforms = ["linux/arm64", "linux/amd64"]
targets = ["pi5"]
[image]
dockerfile = "app/Dockerfile"
context = "app"
[image.debian]
suite = "bookworm"
packages = ["python3.11-minimal"]
[image.python]
version = "3.11"
requirements = ["numpy"]
[model.train]
script = "train.py"
[model.prepare]
quantization = "none"
[model.golden]
data = "train:golden.npz"
max_drop = 1.0
"""
ZEROS = "0" * 40
WHO = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "a"), ("EMAIL", "a@example.org"))
}


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", folder, "-c", "protocol.file.allow=always", *words],
        env={
            **os.environ, **WHO, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"
        },
        check=True,
        capture_output=True,
        text=True,
    )  # fmt: skip
    return done.stdout.strip()


def commit(root: Path) -> None:
    git(root, "add", "-A")
    git(root, "commit", "-q", "--allow-empty", "-m", "a change")


def _text(name: str) -> str:
    return RECIPE.replace("@", name if name.isidentifier() else "other")


def write_recipe(folder: Path, *, more: str = "") -> Path:
    (folder / "app").mkdir(parents=True)
    (folder / "app/Dockerfile").write_text("FROM scratch\n")
    (folder / "train.py").write_text("")
    (folder / "recipe.lock").write_text("{}")
    (folder / "recipe.toml").write_text(more + _text(folder.name))
    return folder


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone with two recipes, where the tests work; `main` is the branch it began with."""
    root = tmp_path / "tree"
    git(tmp_path, "init", "-q", "-b", "main", str(root))
    for name in ("one", "two"):
        write_recipe(root / "recipes" / name)
    (root / "nix").mkdir()
    (root / "nix/default.nix").write_text("")
    (root / ".gitignore").write_text("*.tmp\n")
    commit(root)
    git(root, "checkout", "-q", "-b", "work")
    monkeypatch.chdir(root)
    return root


def changed(
    since: str = "main", folder: Path = Path("recipes"), also: Sequence[Path] = ()
) -> list[str]:
    """Names of the recipes that get jobs."""
    made = matrix.matrix(folder, runner=run, since=since, also=also)
    return sorted({job.name for job in made})


# --- the pure core ---


def candidate(name: str = "a", *platforms: str, inputs: Sequence[str] = ()) -> Candidate:
    return Candidate(
        path=f"recipes/{name}/recipe.toml",
        name=name,
        version="1.0.0",
        platforms=platforms or PLATFORMS,
        inputs=frozenset(map(Path, inputs)),
    )


def test_a_job_for_each_platform() -> None:
    made = matrix.jobs(
        [candidate("b"), candidate("a", "linux/arm64")], by="platform", runners=RUNNERS
    )
    assert [(job.name, job.platform, job.architecture, job.runner) for job in made] == [
        ("b", "linux/amd64", "amd64", "ubuntu-24.04"),
        ("b", "linux/arm64", "arm64", "ubuntu-24.04-arm"),
        ("a", "linux/arm64", "arm64", "ubuntu-24.04-arm"),
    ]


@pytest.mark.parametrize(
    ("arm", "platforms"),
    [("pi", ["linux/amd64", "linux/arm64"]), ("ubuntu-24.04", ["linux/amd64"])],
)
def test_a_job_for_each_runner(arm: str, platforms: list[str]) -> None:
    made = matrix.jobs([candidate()], by="runner", runners={**RUNNERS, "linux/arm64": arm})
    assert [job.platform for job in made] == platforms
    assert len({job.runner for job in made}) == len(made)


def test_the_form_is_one_line_with_sorted_keys() -> None:
    job = Job(
        recipe="recipes/ä/recipe.toml", name="a", version="1.0.0", platform="linux/arm64",
        architecture="arm64", runner="pi",
    )  # fmt: skip
    text = matrix.document([job])
    assert text == (
        '{"include":[{"architecture":"arm64","name":"a","platform":"linux/arm64",'
        '"recipe":"recipes/\\u00e4/recipe.toml","runner":"pi","version":"1.0.0"}]}'
    )
    assert matrix.document([]) == '{"include":[]}'


@given(st.text(), st.text())
def test_any_text_stays_one_line_of_ascii(path: str, label: str) -> None:
    made = matrix.jobs([candidate(path)], by="platform", runners=dict.fromkeys(PLATFORMS, label))
    text = matrix.document(made)
    assert text.isascii()
    assert len(text.splitlines()) == 1
    assert [each["runner"] for each in json.loads(text)["include"]] == [label, label]


def test_more_jobs_than_github_takes() -> None:
    some = [candidate(str(number)) for number in range(128)]
    assert len(matrix.jobs(some, by="platform", runners=RUNNERS)) == 256
    with pytest.raises(InputError, match="258 jobs") as caught:
        matrix.jobs([*some, candidate("x")], by="platform", runners=RUNNERS)
    assert "--since" in caught.value.remedy


@pytest.mark.parametrize(
    ("inputs", "paths", "answer"),
    [
        (["/r/recipes/a"], ["recipes/a/deep/x"], True),
        (["/r/recipes/a"], ["recipes/a"], True),
        (["/r/recipes/a"], ["recipes/ab/x", "recipes"[:-1]], False),
        # A folder that is a repository of its own, and changed somewhere.
        (["/r/sub/recipes/a"], ["sub"], True),
        (["/r/a", "/elsewhere"], [], True),
        (["/r/a"], [], False),
        (["/r"], ["x"], True),
    ],
)
def test_what_counts_as_changed(inputs: list[str], paths: list[str], answer: bool) -> None:  # noqa: FBT001 - a parameter
    changes = Changes(root=Path("/r"), paths=frozenset(map(Path, paths)))
    assert is_changed(map(Path, inputs), changes) is answer


NAMES = st.text("ab", min_size=1, max_size=2)
PLACES = st.lists(NAMES, min_size=1, max_size=4).map(lambda parts: Path(*parts))


@given(st.sets(PLACES), PLACES)
def test_a_change_is_one_at_above_or_below(paths: set[Path], place: Path) -> None:
    found = is_changed([Path("/r") / place], Changes(root=Path("/r"), paths=frozenset(paths)))
    words = [f"{path}/" for path in paths]
    assert found is any(
        word.startswith(f"{place}/") or f"{place}/".startswith(word) for word in words
    )


def test_every_link_on_the_way_counts(tmp_path: Path) -> None:
    (tmp_path / "real/deep").mkdir(parents=True)
    (tmp_path / "far").symlink_to("real")
    (tmp_path / "near").symlink_to(tmp_path / "far/deep/..")
    (tmp_path / "loop").symlink_to("loop")
    names = {"near", "far", "real"}
    assert matrix.places(tmp_path / "near") == {tmp_path / name for name in names}
    assert tmp_path / "real/x" in matrix.places(tmp_path / "far/deep/../x")
    assert tmp_path / "loop" in matrix.places(tmp_path / "loop")


# --- finding recipes ---


def test_recipes_are_found_once_each(tree: Path) -> None:
    write_recipe(tree / "recipes/team/three")
    write_recipe(tree / "recipes/.hidden/four")
    (tree / "recipes/again").symlink_to("one")
    (tree / "recipes/team/up").symlink_to("..")
    assert [str(file) for file in matrix.find(Path("recipes"))] == [
        "recipes/one/recipe.toml",
        "recipes/team/three/recipe.toml",
        "recipes/two/recipe.toml",
    ]


def test_paths_are_right_in_any_clone(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def paths(folder: Path) -> list[str]:
        return [job.recipe for job in matrix.matrix(folder, runner=run, by="runner")][::2]

    wanted = ["recipes/one/recipe.toml", "recipes/two/recipe.toml"]
    assert paths(Path("recipes")) == paths(Path("./recipes/")) == paths(tree / "recipes") == wanted
    assert paths(Path()) == wanted
    assert paths(Path("recipes/one/recipe.toml")) == wanted[:1]
    monkeypatch.chdir(tree / "nix")
    assert paths(Path("../recipes")) == [f"../{path}" for path in wanted]
    assert paths(tree / "recipes") == [str(tree / path) for path in wanted]


def test_without_a_recipe_there_is_no_matrix(tree: Path) -> None:
    with pytest.raises(InputError, match=r"no recipe\.toml in nix"):
        matrix.matrix(Path("nix"), runner=run)
    with pytest.raises(InputError, match="nowhere cannot be read: No such file"):
        matrix.matrix(Path("nowhere"), runner=run)
    (tree / "nix/recipe.toml").symlink_to("gone")
    with pytest.raises(InputError, match=r"nix/recipe\.toml: no such file"):
        matrix.matrix(Path("nix"), runner=run)


def test_a_broken_recipe_is_named(tree: Path) -> None:
    (tree / "recipes/one/recipe.toml").write_text("name = 1\n")
    with pytest.raises(RecipeError) as caught:
        changed()
    assert caught.value.file == "recipes/one/recipe.toml"
    (tree / "recipes/two/recipe.toml").write_text("= 1\n")
    with pytest.raises(InputError, match="2 recipes cannot be used") as both:
        changed(ZEROS)
    for said in ("one/recipe.toml: schema: is missing", "two/recipe.toml:1: not TOML"):
        assert f"recipes/{said}" in both.value.message


@pytest.mark.parametrize("name", ["a$(x)", "a`x`", "a'b", 'a"b', "a;b", "a\nb", "a\\b", "a\udcffb"])
def test_a_name_that_a_shell_would_run_is_refused(tree: Path, name: str) -> None:
    write_recipe(tree / "recipes" / name)
    with pytest.raises(InputError, match="could not name this path safely"):
        matrix.matrix(Path("recipes"), runner=run)


# --- what changed ---


def test_nothing_changed(tree: Path) -> None:
    assert changed() == []
    (tree / "nix/default.nix").write_text("more")
    (tree / "recipes/README.md").write_text("more")
    assert changed() == []
    # Where one stands decides nothing.
    assert changed("HEAD", tree / "recipes") == []


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("path", ["recipe.toml", "recipe.lock", "app/new.py", "README.md"])
def test_anything_in_its_folder_changes_a_recipe(tree: Path, path: str, *, committed: bool) -> None:
    with (tree / "recipes/one" / path).open("a") as file:
        file.write("# more\n")
    if committed:
        commit(tree)
    assert changed() == ["one"]


def test_an_executable_bit_and_a_deleted_file_are_changes(tree: Path) -> None:
    (tree / "recipes/one/train.py").chmod(0o755)
    (tree / "recipes/two/recipe.lock").unlink()
    assert changed() == ["one", "two"]


def test_what_building_leaves_and_what_git_ignores_are_none(tree: Path) -> None:
    for path in (".buildkit/x", "app/__pycache__/x.pyc", "x.tmp", "out/blobs/x"):
        file = tree / "recipes/one" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")
    for name in ("oci-layout", ".lease"):
        (tree / "recipes/one/out" / name).write_text("")
    assert changed() == []
    # A layout of somebody else's may well be part of the app.
    (tree / "recipes/one/out/.lease").unlink()
    assert changed() == ["one"]


def test_deleted_and_renamed_recipes(tree: Path) -> None:
    git(tree, "rm", "-q", "-r", "recipes/one")
    assert changed() == []
    git(tree, "mv", "recipes/two", "recipes/three")
    write_recipe(tree / "recipes/other")
    file = tree / "recipes/three/recipe.toml"
    file.write_text(file.read_text().replace('"two"', '"three"'))
    assert changed() == ["other", "three"]


def test_only_what_this_branch_changed_counts(tree: Path) -> None:
    (tree / "recipes/one/train.py").write_text("ours")
    commit(tree)
    git(tree, "checkout", "-q", "main")
    (tree / "recipes/two/train.py").write_text("theirs")
    commit(tree)
    git(tree, "checkout", "-q", "work")
    assert changed() == ["one"]


def test_a_builder_beside_the_recipe_belongs_to_it(tree: Path) -> None:
    write_recipe(tree / "recipes/three", more='builder = "path:../../env?dir=x#python"\n')
    commit(tree)
    since = git(tree, "rev-parse", "HEAD")
    (tree / "env").mkdir()
    (tree / "env/flake.nix").write_text("")
    assert changed(since) == ["three"]


def test_links_lead_to_what_changed(tree: Path) -> None:
    write_recipe(tree / "shared/three")
    (tree / "recipes/three").symlink_to("../shared/three")
    (tree / "locks").mkdir()
    (tree / "locks/one").write_text("{}")
    (tree / "recipes/one/recipe.lock").unlink()
    (tree / "recipes/one/recipe.lock").symlink_to("../../locks/one")
    commit(tree)
    since = git(tree, "rev-parse", "HEAD")
    assert changed(since) == []
    (tree / "shared/three/train.py").write_text("more")
    assert changed(since) == ["three"]
    (tree / "locks/one").write_text("{ }")
    assert changed(since) == ["one", "three"]
    git(tree, "checkout", "-q", ".")
    (tree / "recipes/three").unlink()
    (tree / "recipes/three").symlink_to("../shared/../shared/three")
    assert changed(since) == ["three"]


def test_what_is_outside_of_the_repository_always_counts(tree: Path, tmp_path: Path) -> None:
    write_recipe(tmp_path / "outside")
    (tree / "recipes/outside").symlink_to(tmp_path / "outside")
    commit(tree)
    assert changed("HEAD") == ["outside"]


def test_a_recipe_in_a_repository_of_its_own(tree: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    git(tmp_path, "init", "-q", "-b", "main", str(other))
    write_recipe(other / "three")
    commit(other)
    git(tree, "submodule", "--quiet", "add", str(other), "recipes/sub")
    commit(tree)
    since = git(tree, "rev-parse", "HEAD")
    assert changed(since) == []
    (tree / "recipes/sub/three/train.py").write_text("more")
    assert changed(since) == ["three"]
    # Not committed as a submodule: git names the folder alone.
    git(tree / "recipes", "init", "-q", "nested")
    write_recipe(tree / "recipes/nested/four")
    assert changed(since) == ["four", "three"]


def test_a_folder_with_spaces_and_other_letters(tree: Path) -> None:
    write_recipe(tree / "recipes/für Läden").joinpath("recipe.toml").write_text(
        RECIPE.replace("@", "shops")
    )
    commit(tree)
    assert changed() == ["shops"]
    assert changed("HEAD") == []


# --- --also ---


def test_also_changes_every_recipe(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert changed(also=[Path("nix")]) == []
    (tree / "nix/default.nix").write_text("more")
    assert changed(also=[Path("nix")]) == ["one", "two"]
    monkeypatch.chdir(tree / "nix")
    assert changed(folder=Path("../recipes"), also=[Path("default.nix")]) == ["one", "two"]


def test_also_names_something(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--also nxi: no such path"):
        changed(also=[Path("nxi")])
    with pytest.raises(InputError, match="is not in"):
        changed(also=[tmp_path])
    git(tree, "rm", "-q", "-r", "nix")
    assert changed(also=[Path("nix")]) == ["one", "two"]


# --- revisions ---


@pytest.mark.parametrize("since", ["", ZEROS, "0" * 64])
def test_no_revision_means_every_recipe(tree: Path, since: str) -> None:
    del tree
    assert changed(since) == ["one", "two"]


@pytest.mark.parametrize(
    "since", ["nothing", "main:nix", "--output=x", "0000000", "HEAD~9", "main\n"]
)
def test_a_revision_that_is_not_there(tree: Path, since: str) -> None:
    with pytest.raises(InputError, match="there is no such commit here") as caught:
        changed(since)
    assert "git fetch" in caught.value.remedy
    assert not (tree / "x").exists()


def test_a_shallow_clone_says_what_to_do(tree: Path, tmp_path: Path) -> None:
    base = git(tree, "rev-parse", "HEAD")
    commit(tree)
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{tree}", "shallow")
    with pytest.raises(InputError, match="this clone is shallow") as caught:
        changed(base, tmp_path / "shallow/recipes")
    assert "fetch-depth: 0" in caught.value.remedy
    # The commit is there, and not what lies between.
    git(tmp_path / "shallow", "fetch", "-q", "--depth", "1", "origin", base)
    with pytest.raises(InputError, match=r"no commit in common.*this clone is shallow"):
        changed(base, tmp_path / "shallow/recipes")
    git(tmp_path / "shallow", "fetch", "-q", "--unshallow")
    assert changed(base, tmp_path / "shallow/recipes") == []


def test_histories_without_a_common_commit(tree: Path) -> None:
    git(tree, "checkout", "-q", "--orphan", "other")
    with pytest.raises(InputError, match="nothing is committed yet"):
        changed()
    git(tree, "commit", "-q", "-m", "apart")
    with pytest.raises(InputError, match="no commit in common") as caught:
        changed()
    assert "same history" in caught.value.remedy


def test_outside_of_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_recipe(tmp_path / "recipes/one")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    assert len(matrix.matrix(Path("recipes"), runner=run)) == 2
    with pytest.raises(InputError, match="recipes is not in a git work tree") as caught:
        changed()
    assert "--since" in caught.value.remedy
    git(tmp_path, "init", "-q", "--bare", "bare.git")
    write_recipe(tmp_path / "bare.git/recipes/one")
    with pytest.raises(InputError, match="not in a git work tree"):
        changed(folder=Path("bare.git/recipes"))


class Failing:
    """A git that fails with these words."""

    def __init__(self, stderr: str, failing: str = "rev-parse") -> None:
        self.stderr = stderr
        self.failing = failing

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
        if self.failing in argv:
            return Result(argv=(), code=128, stdout=b"", stderr=self.stderr)
        return run(argv, cwd=cwd, env=env, stdin=stdin, deadline=deadline, check=check)


@pytest.mark.parametrize(
    ("git", "says", "remedy"),
    [
        (
            Failing(
                "fatal: detected dubious ownership in repository at '/r'\nTo add an exception:\n\n"
                "\tgit config --global --add safe.directory /r\n"
            ),
            "git does not trust recipes",
            "git config --global --add safe.directory /r",
        ),
        (Failing("fatal: bad object"), "git rev-parse failed in recipes: fatal: bad", "fsck"),
        (Failing("fatal: bad object", "merge-base"), "git merge-base failed", "fsck"),
        (Failing("fatal: bad object", "diff"), "git diff failed", "fsck"),
    ],
)
def test_a_git_that_fails_is_no_answer(tree: Path, git: Failing, says: str, remedy: str) -> None:
    del tree
    with pytest.raises(ToolError, match=says) as caught:
        matrix.matrix(Path("recipes"), runner=git, since="main")
    assert remedy in caught.value.remedy
