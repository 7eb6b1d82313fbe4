"""What a check sees, and what it says."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from buildkit.run import Runner

Status = Literal["ok", "warn", "fail"]

_ORDER: tuple[Status, ...] = ("ok", "warn", "fail")


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One thing looked at.

    Attributes:
        name: short and stable, for scripts (``nix-sandbox``).
        status: ``fail`` when a build cannot work, ``warn`` when it may not.
        found: what is there, for people.
        remedy: what to type or change; empty when the status is ``ok``.
    """

    name: str
    status: Status
    found: str
    remedy: str = ""

    def to_json(self) -> dict[str, str]:
        """The four attributes."""
        return {
            "name": self.name,
            "status": self.status,
            "found": self.found,
            "remedy": self.remedy,
        }


def _importable(name: str) -> bool:
    return find_spec(name) is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """Everything that a check may look at, so that a test can hand in another machine.

    Attributes:
        runner: starts programs.
        root: where ``/proc``, ``/sys`` and ``/etc`` are; ``/`` but in tests.
        environ: environment variables.
        path: folders with programs, as in ``PATH``.
        user: effective user id.
        release: the kernel's release (``6.8.0-1-amd64``).
        processor: as ``uname -m`` says.
        python: version of this interpreter.
        folders: what grows there → the folder, which need not exist yet.
        free: free bytes of the file system that holds a folder.
        modules: whether this interpreter can import a module.
        engine: the pinned BuildKit engine that runs, for people; empty when none does. Its room
            is not ours to ask.
        online: whether registries may be asked.
    """

    runner: Runner
    root: Path = Path("/")
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    path: str | None = None
    user: int = field(default_factory=os.geteuid)
    release: str = field(default_factory=platform.release)
    processor: str = field(default_factory=platform.machine)
    python: tuple[int, ...] = field(default_factory=lambda: tuple(sys.version_info[:3]))
    folders: Mapping[str, Path] = field(default_factory=dict)
    free: Callable[[Path], int] = field(default=lambda folder: shutil.disk_usage(folder).free)
    modules: Callable[[str], bool] = field(default=_importable)
    engine: Callable[[], str] = field(default=lambda: "")
    online: bool = False

    def text(self, name: str) -> str:
        """A small file's text, stripped (``proc/sys/user/max_user_namespaces``).

        Empty when it is not there or cannot be read.
        """
        try:
            return (self.root / name).read_text(errors="replace").strip()
        except OSError:
            return ""

    def has(self, name: str) -> bool:
        """Whether a file or folder below `root` exists."""
        return os.path.lexists(self.root / name)

    @property
    def kernel(self) -> tuple[int, int]:
        """Major and minor number of the kernel; zeros when the release says none."""
        parts = self.release.replace("-", ".").split(".")
        numbers = [int(part) for part in parts[:2] if part.isdigit()]
        return (numbers[0], numbers[1]) if len(numbers) == 2 else (0, 0)


def worst(checks: Iterable[Check]) -> Status:
    """The worst status among `checks`; ``ok`` when there are none."""
    return max((check.status for check in checks), key=_ORDER.index, default="ok")
