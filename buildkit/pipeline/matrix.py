"""Which jobs a CI needs: one for each recipe and platform, or runner; of all, or of changed ones.

`jobs` is pure. What a recipe is made from comes from the recipe alone, what of that differs from
`buildkit.pipeline.changes`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from buildkit import records
from buildkit.errors import InputError, RecipeError
from buildkit.nix.flakes import Reference
from buildkit.pipeline import changes
from buildkit.recipe import load

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from buildkit.pipeline.changes import Changes
    from buildkit.recipe import Recipe
    from buildkit.run import Runner

By = Literal["platform", "runner"]

RUNNERS: Mapping[str, str] = {"linux/amd64": "ubuntu-24.04", "linux/arm64": "ubuntu-24.04-arm"}
"""GitHub's own native runners."""

MOST = 256
"""Jobs that GitHub makes of one matrix."""

RECIPE = "recipe.toml"
# What GitHub gives for a branch that was not there before, and where nothing was pushed.
_NOTHING = re.compile(r"|0{40}|0{64}")
# Whoever may add a folder must not write a step of a workflow with its name.
_UNSAFE = re.compile(r"""[\u0000-\u001f\u007f"'`$\\;&|<>\ud800-\udfff]""")
_LINKS = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One entry of a matrix.

    Attributes:
        recipe: path of ``recipe.toml`` as a command takes it.
        name: of the recipe.
        version: of the recipe.
        platform: ``linux/arm64``; of a job for a runner, the runner's own.
        architecture: ``arm64``.
        runner: label of a machine that is of this platform.
    """

    recipe: str
    name: str
    version: str
    platform: str
    architecture: str
    runner: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A recipe that may need jobs.

    Attributes:
        path: of ``recipe.toml`` as a command takes it.
        name: of the recipe.
        version: of the recipe.
        platforms: of the recipe.
        inputs: absolute paths of all that it is made from; of a folder, everything below it.
    """

    path: str
    name: str
    version: str
    platforms: tuple[str, ...]
    inputs: frozenset[Path]


def matrix(
    folder: Path,
    *,
    runner: Runner,
    by: By = "platform",
    since: str | None = None,
    also: Sequence[Path] = (),
    runners: Mapping[str, str] = RUNNERS,
) -> tuple[Job, ...]:
    """The jobs for the recipes in a folder.

    Args:
        folder: which one, or a recipe's file.
        runner: starts git, if there is a revision.
        by: a job for each platform of a recipe, or for each runner of these platforms.
        since: only recipes that changed after the last common commit with this revision; empty or
            all zeros: every recipe.
        also: paths that every recipe depends on.
        runners: platform → label of its runner.

    Raises:
        RecipeError: a recipe has mistakes.
        InputError: there is no recipe, several have mistakes, there are too many jobs, or `since`
            or `also` names nothing.
        ToolError: git failed.
    """
    found = tuple(map(_candidate, find(folder)))
    if not found:
        msg = f"no {RECIPE} in {folder}, or below it"
        raise InputError(msg, "name the folder that holds your recipes")
    candidates = _loaded(found)
    if since is not None and not _NOTHING.fullmatch(since):
        changed = changes.since(folder if folder.is_dir() else folder.parent, since, runner)
        if not _any_below(changed, also):
            candidates = tuple(
                each for each in candidates if changes.is_changed(each.inputs, changed)
            )
    return jobs(candidates, by=by, runners=runners)


def document(made: Iterable[Job]) -> str:
    """The jobs as GitHub wants them in ``strategy.matrix``: one line of ASCII, keys sorted."""
    include = [dataclasses.asdict(job) for job in made]
    return json.dumps({"include": include}, sort_keys=True, separators=(",", ":"))


def jobs(candidates: Iterable[Candidate], *, by: By, runners: Mapping[str, str]) -> tuple[Job, ...]:
    """The jobs for these recipes, in their order, then in that of the platforms' names.

    A runner that two platforms share is the first one's.

    Raises:
        InputError: there are more than GitHub makes of one matrix.
    """
    made = []
    for each in candidates:
        seen = set()
        for platform in sorted(each.platforms):
            label = runners[platform]
            if by == "runner" and label in seen:
                continue
            seen.add(label)
            made.append(
                Job(
                    recipe=each.path,
                    name=each.name,
                    version=each.version,
                    platform=platform,
                    architecture=records.architecture(platform),
                    runner=label,
                )
            )
    if len(made) > MOST:
        msg = f"{len(made)} jobs, and GitHub makes at most {MOST} of one matrix"
        raise InputError(msg, "name a folder with fewer recipes, or only changed ones with --since")
    return tuple(made)


def find(folder: Path) -> tuple[Path, ...]:
    """Every ``recipe.toml`` in a folder and below, sorted; each once, whatever links lead to it.

    Hidden folders are not looked into.

    Raises:
        InputError: there is no such folder, or it cannot be read.
    """
    if folder.is_file():
        return (folder,)
    seen = set()

    def walk(at: Path) -> Iterator[Path]:
        real = at.resolve()
        if real in seen:
            return
        seen.add(real)
        if (at / RECIPE).is_file() or (at / RECIPE).is_symlink():
            yield at / RECIPE
        below = [each for each in at.iterdir() if each.is_dir() and each.name[0] != "."]
        # The folder itself gives the name, rather than a link to it.
        for each in sorted(below, key=lambda each: (each.is_symlink(), each.name)):
            yield from walk(each)

    try:
        return tuple(sorted(walk(folder)))
    except OSError as error:
        msg = f"{error.filename or folder} cannot be read: {error.strerror}"
        raise InputError(msg, "name the folder that holds your recipes") from error


def places(path: Path) -> frozenset[Path]:
    """Where a path ends, and each symbolic link on the way there; none of them leads elsewhere."""
    found, steps = set(), 0
    at, rest = Path("/"), [*reversed(path.absolute().parts[1:])]
    while rest:
        part = rest.pop()
        step = at.parent if part == ".." else at / part
        if steps < _LINKS and step.is_symlink():
            steps += 1
            found.add(step)
            target = step.readlink()
            at = Path("/") if target.is_absolute() else at
            rest += [word for word in reversed(target.parts) if word != "/"]
        else:
            at = step
    return frozenset({*found, at})


def _loaded(found: Iterable[Candidate | InputError]) -> tuple[Candidate, ...]:
    """All of them, or their mistakes together."""
    candidates, wrong = [], []
    for each in found:
        if isinstance(each, Candidate):
            candidates.append(each)
        else:
            wrong.append(each)
    if len(wrong) == 1:
        raise wrong[0]
    if wrong:
        msg = f"{len(wrong)} recipes cannot be used:\n  " + "\n  ".join(map(_first, wrong))
        raise InputError(msg, "python -m buildkit lock --check RECIPE says all of one's mistakes")
    return tuple(candidates)


def _first(error: InputError) -> str:
    if not isinstance(error, RecipeError):
        return error.message
    first = error.problems[0]
    where = f"{error.file}:{first.line}" if first.line else error.file
    return ": ".join(filter(None, (where, first.path, first.message)))


def _candidate(file: Path) -> Candidate | InputError:
    path = _named(file)
    if _UNSAFE.search(path):
        msg = f"{path!r}: a workflow's step could not name this path safely"
        return InputError(msg, "rename it without quotes, $, `, \\, ;, &, |, <, > and line breaks")
    try:
        recipe = load(file)
    except InputError as error:
        return error
    return Candidate(
        path=path,
        name=recipe.name,
        version=recipe.version,
        platforms=recipe.platforms,
        inputs=_inputs(file, recipe),
    )


def _named(file: Path) -> str:
    """Relative to the current folder where it is below it, so that it is right in any clone."""
    here = Path.cwd()
    path = Path(os.path.normpath(file)) if ".." not in file.parts else file
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _inputs(file: Path, recipe: Recipe) -> frozenset[Path]:
    """All that a recipe names lies in its folder, but for a builder of its own."""
    paths = [file, file.with_suffix(".lock"), recipe.folder]
    if recipe.builder is not None:
        flake = Reference.parse(recipe.builder)
        if flake.is_local:
            paths.append(recipe.folder / flake.place.removeprefix("path:"))
    return frozenset().union(*map(places, paths))


def _any_below(changed: Changes, also: Iterable[Path]) -> bool:
    """Whether something changed at or below one of these paths.

    Raises:
        InputError: one is neither here nor was before, or is outside of the work tree.
    """
    answers = []
    for path in also:
        ends = places(path)
        answers.append(changes.is_changed(ends, changed))
        if not all(end.is_relative_to(changed.root) for end in ends):
            msg = f"--also {path} is not in {changed.root}"
            raise InputError(msg, "name a path of the repository that holds the recipes")
        if not answers[-1] and not os.path.lexists(path):
            msg = f"--also {path}: no such path"
            raise InputError(msg, "correct it: nothing would ever change there")
    return any(answers)
