"""Where things are on the device, and how a file gets its name: whole, or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "edge-buildkit"


@dataclass(frozen=True)
class Places:
    """The three roots.

    Attributes:
        cache: agents.
        data: blobs, images, runs.
        config: key and trust.
    """

    cache: Path
    data: Path
    config: Path

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Places:
        """The roots as the XDG Base Directory Specification puts them."""

        def root(variable: str, usual: str) -> Path:
            given = environment.get(variable, "")
            home = Path(environment.get("HOME") or Path.home())
            return (Path(given) if given.startswith("/") else home / usual) / NAME

        return cls(
            cache=root("XDG_CACHE_HOME", ".cache"),
            data=root("XDG_DATA_HOME", ".local/share"),
            config=root("XDG_CONFIG_HOME", ".config"),
        )

    @property
    def blobs(self) -> Path:
        """Blobs whose bytes were checked."""
        return self.data / "blobs" / "sha256"

    @property
    def partial(self) -> Path:
        """Blobs on their way."""
        return self.data / "partial"

    @property
    def images(self) -> Path:
        """What runtimes made of images."""
        return self.data / "images"

    @property
    def runs(self) -> Path:
        """One folder for each run that goes on, or that was killed."""
        return self.data / "runs"

    @property
    def lock(self) -> Path:
        """Held by the one run at a time."""
        return self.data / "lock"

    @property
    def device(self) -> Path:
        """The device's own key."""
        return self.config / "device"

    @property
    def trusted(self) -> Path:
        """Public keys whose signatures count."""
        return self.device / "trusted"


def folder(path: Path) -> Path:
    """Make a folder that nobody else can look into."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def sync(path: Path) -> None:
    """Put a folder's names, or a file's bytes, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Put `data` at `path` in one step that survives a power cut."""
    folder(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise
    sync(path.parent)


def names(path: Path) -> list[str]:
    """Names in a folder, sorted; none when it is not there."""
    try:
        return sorted(entry.name for entry in path.iterdir())
    except FileNotFoundError:
        return []


def free(path: Path) -> int:
    """Bytes that a user may still write below `path`, which need not be there yet."""
    while not path.exists():
        path = path.parent
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def remove(path: Path) -> None:
    """Remove a file or a folder with all in it; nothing happens when it is not there."""
    if path.is_dir() and not path.is_symlink():
        import shutil

        shutil.rmtree(path)
    else:
        with suppress(FileNotFoundError):
            path.unlink()
