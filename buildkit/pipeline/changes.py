"""What differs between a revision and the files that lie here.

`is_changed` is pure; git is asked by `since` alone.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from buildkit.errors import InputError, ToolError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from buildkit.run import Runner

_DEADLINE = 120.0
# What building leaves beside the sources.
_LEFT_OVERS = frozenset({".buildkit", "__pycache__"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Changes:
    """What differs between a revision and the files that lie here.

    Attributes:
        root: of the git work tree, without symbolic links.
        paths: relative to it; files, and folders that are git repositories of their own.
    """

    root: Path
    paths: frozenset[Path]


def is_changed(inputs: Iterable[Path], changed: Changes) -> bool:
    """Whether one of these paths is, holds or lies in something that changed.

    What lies outside of the work tree counts as changed, because git cannot tell.
    """
    for path in inputs:
        if not path.is_relative_to(changed.root):
            return True
        place = path.relative_to(changed.root)
        if any(each.is_relative_to(place) or place.is_relative_to(each) for each in changed.paths):
            return True
    return False


def since(folder: Path, revision: str, runner: Runner) -> Changes:
    """What differs from the last common commit of `revision` and HEAD.

    In the work tree that `folder` is in, committed or not; new files too, unless git ignores them.
    What builds leave is left out.

    Raises:
        InputError: there is no work tree, no such revision, or no common commit.
        ToolError: git failed.
    """
    git = _Git(folder, runner)
    root = Path(os.fsdecode(git.ask("rev-parse", "--show-toplevel").removesuffix(b"\n")))
    git = _Git(root, runner)
    base = git.common(revision)
    tracked = git.paths(
        *("diff", "--name-only", "-z", "--no-renames", "--no-ext-diff", "--no-relative"),
        *("--ignore-submodules=none", base, "--"),
    )
    new = git.paths("ls-files", "-z", "--others", "--exclude-standard")
    paths = {*tracked, *(path for path in new if not _in_store(root, path))}
    return Changes(
        root=root.resolve(),
        paths=frozenset(path for path in paths if _LEFT_OVERS.isdisjoint(path.parts)),
    )


def _in_store(root: Path, path: Path) -> bool:
    """Whether a path is in a store of artifacts, as a build makes it."""
    folders = (root / above for above in path.parents)
    return any((each / "oci-layout").is_file() and (each / ".lease").exists() for each in folders)


class _Git:
    """git in one folder."""

    def __init__(self, folder: Path, runner: Runner) -> None:
        self._folder = folder
        self._runner = runner

    def ask(self, *words: str) -> bytes:
        code, stdout, stderr = self._answer(*words)
        if code == 0:
            return stdout
        if "dubious ownership" in stderr:
            msg = f"git does not trust {self._folder}, which belongs to somebody else"
            place = re.search(r"safe\.directory (.+)", stderr)
            where = place[1] if place else str(self._folder.resolve())
            raise ToolError(msg, f"git config --global --add safe.directory {where}")
        if "not a git repository" in stderr or "must be run in a work tree" in stderr:
            msg = f"{self._folder} is not in a git work tree, so nothing tells what changed"
            raise InputError(msg, "run it in a clone, or leave out --since")
        msg = f"git {words[0]} failed in {self._folder}: {stderr.strip()}"
        raise ToolError(msg, f"git -C {self._folder} fsck")

    def paths(self, *words: str) -> Iterator[Path]:
        # A repository in a folder is given as its folder, with a slash at the end.
        for name in self.ask(*words).split(b"\0"):
            if name:
                yield Path(os.fsdecode(name))

    def common(self, since: str) -> str:
        """The last common commit of a revision and HEAD."""
        # With a dash it would be an option, whatever stands before it.
        named = "" if since.startswith("-") else self._commit(since)
        if not named:
            remedy = "`git fetch` it, or name another"
            msg = f"--since {since}: there is no such commit here"
            raise InputError(*self._shallow(msg, remedy))
        if not self._commit("HEAD"):
            msg = "nothing is committed yet, so nothing changed since then"
            raise InputError(msg, "commit, or leave out --since")
        code, stdout, stderr = self._answer("merge-base", "HEAD", named)
        if code == 0:
            return stdout.decode().strip()
        if code == 1:
            msg = f"--since {since}: no commit in common with what is checked out"
            raise InputError(*self._shallow(msg, "name a revision of the same history"))
        msg = f"git merge-base failed in {self._folder}: {stderr.strip()}"
        raise ToolError(msg, f"git -C {self._folder} fsck")

    def _commit(self, revision: str) -> str:
        _, stdout, _ = self._answer("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
        return stdout.decode().strip()

    def _shallow(self, message: str, remedy: str) -> tuple[str, str]:
        if self.ask("rev-parse", "--is-shallow-repository").strip() != b"true":
            return message, remedy
        deepen = "give actions/checkout `fetch-depth: 0`, or run `git fetch --unshallow`"
        return f"{message}: this clone is shallow", deepen

    def _answer(self, *words: str) -> tuple[int, bytes, str]:
        # The user's language must not change what is said.
        git = ["git", "-C", str(self._folder), "--no-optional-locks", *words]
        done = self._runner(git, env={"LC_ALL": "C"}, deadline=_DEADLINE, check=False)
        return done.code, done.stdout, done.stderr
