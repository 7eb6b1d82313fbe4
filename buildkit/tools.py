"""Every program that the library starts: what for, the lowest version, and how to get it."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from buildkit.errors import ToolError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildkit.run import Runner

# Where Nix's own installer puts it; only login shells have these on PATH.
_NIX_FOLDERS = ("/nix/var/nix/profiles/default/bin", "~/.nix-profile/bin")
_NUMBERS = re.compile(r"\d+(?:\.\d+)+")
_DEADLINE = 30.0

Version = tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tool:
    """One program.

    Attributes:
        name: as it is started.
        package: Debian package that has it.
        reason: what we need it for.
        lowest: lowest version that works; empty when any does.
    """

    name: str
    package: str
    reason: str
    lowest: Version = ()

    @property
    def remedy(self) -> str:
        """How to get it."""
        at_least = f" ({written(self.lowest)} or later)" if self.lowest else ""
        return f"as root: apt-get install --no-install-recommends {self.package}{at_least}"


_ALL = (
    Tool(name="nix", package="nix-bin", lowest=(2, 8), reason="builds layers and models, sealed"),
    Tool(name="nix-store", package="nix-bin", lowest=(2, 8), reason="puts inputs into the store"),
    Tool(
        name="apt-get", package="apt", lowest=(2, 6), reason="resolves and brings Debian packages"
    ),
    Tool(name="apt-cache", package="apt", lowest=(2, 6), reason="tells a package's hash"),
    Tool(name="git", package="git", lowest=(2, 30), reason="tells commit and time for the labels"),
    Tool(name="ssh", package="openssh-client", reason="reaches devices"),
    Tool(
        name="diffoscope",
        package="diffoscope-minimal",
        reason="shows the inside of a changed file, where that is asked for",
    ),
)
TOOLS: Mapping[str, Tool] = {tool.name: tool for tool in _ALL}


def search_path(environ: Mapping[str, str] = os.environ) -> str:
    """``PATH``, and after it the folders where Nix's own installer puts its programs."""
    more = [str(Path(folder).expanduser()) for folder in _NIX_FOLDERS]
    return os.pathsep.join([environ.get("PATH") or os.defpath, *more])


def find(name: str, path: str | None = None) -> Path:
    """Where a program of the table is.

    Args:
        name: a key of `TOOLS`.
        path: folders to look in, as in ``PATH``; `search_path` when absent.

    Raises:
        ToolError: it is not there; the remedy says how to get it.
    """
    tool = TOOLS[name]
    found = shutil.which(name, path=search_path() if path is None else path)
    if found is None:
        msg = f"{name} is not on this machine: it {tool.reason}"
        raise ToolError(msg, tool.remedy)
    return Path(found)


def version(name: str, runner: Runner, path: str | None = None) -> Version:
    """The version of a program, by its own word (``--version``).

    Raises:
        ToolError: it is missing, does not start, or says no version.
    """
    said = runner([find(name, path), "--version"], deadline=_DEADLINE).text
    match = _NUMBERS.search(said)
    if match is None:
        msg = f"{name} --version gives no version: {said.strip()[:80]!r}"
        raise ToolError(msg, TOOLS[name].remedy)
    return tuple(int(part) for part in match.group().split("."))


def require(name: str, runner: Runner, path: str | None = None) -> Version:
    """The version of a program that is new enough.

    Raises:
        ToolError: it is missing or too old.
    """
    tool, found = TOOLS[name], version(name, runner, path)
    if found < tool.lowest:
        msg = f"{name} {written(found)} is too old: {written(tool.lowest)} or later is needed"
        raise ToolError(msg, tool.remedy)
    return found


def written(number: Version) -> str:
    """A version as people write it: ``2.8.0``."""
    return ".".join(map(str, number))
