"""The build context, as every machine would have it: no umask, no clock, no left-overs."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from typing import TYPE_CHECKING

from buildkit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# What running or building beside the sources leaves behind; a clean clone has none of it.
_LEFT_OVERS = frozenset({"__pycache__", ".git", ".buildkit", ".DS_Store"})
_USES_BASE = re.compile(
    rb"^\s*(?:FROM\b.*\s|(?:COPY|ADD)\s.*--from=|RUN\s.*from=)base\b", re.MULTILINE | re.IGNORECASE
)
_FINAL_STAGE = re.compile(rb"^\s*FROM\s+(?:--\S+\s+)*(\S+)", re.MULTILINE | re.IGNORECASE)


def files(folder: Path) -> Iterator[tuple[str, Path]]:
    """(relative path, file) of everything in a context, sorted; folders are implied.

    Raises:
        InputError: something is neither file, folder nor symbolic link.
    """

    def walk(at: Path, prefix: str) -> Iterator[tuple[str, Path]]:
        for item in sorted(at.iterdir(), key=lambda item: item.name):
            if item.name in _LEFT_OVERS or item.suffix == ".pyc":
                continue
            name = prefix + item.name
            if item.is_symlink() or item.is_file():
                yield name, item
            elif item.is_dir():
                yield from walk(item, name + "/")
            else:
                msg = f"{item}: neither a file, a folder nor a symbolic link"
                raise InputError(msg, "take it out of the build context")

    yield from walk(folder, "")


def digest(folder: Path, dockerfile: Path) -> str:
    """``sha256:`` over paths, kinds, executable bits and bytes of a context and its Dockerfile."""
    state = hashlib.sha256()
    for name, file in [*files(folder), ("//Dockerfile", dockerfile)]:
        if file.is_symlink():
            kind, data = "l", os.fsencode(file.readlink())
        else:
            kind, data = ("x" if _executable(file) else "f"), file.read_bytes()
        state.update(f"{kind} {len(os.fsencode(name))} {len(data)}\n".encode())
        state.update(os.fsencode(name) + data)
    return "sha256:" + state.hexdigest()


def stage(folder: Path, target: Path, epoch: int) -> None:
    """Copy a context to `target` with modes 0644 or 0755 and one time for everything."""
    target.mkdir(mode=0o755)
    target.chmod(0o755)
    for name, file in files(folder):
        copy = target / name
        for parent in reversed(copy.relative_to(target).parents):
            above = target / parent
            if not above.exists():
                above.mkdir()
                above.chmod(0o755)
        if file.is_symlink():
            copy.symlink_to(file.readlink())
        else:
            shutil.copyfile(file, copy)
            copy.chmod(0o755 if _executable(file) else 0o644)
        os.utime(copy, (epoch, epoch), follow_symlinks=False)
    for folder_name, _, _ in os.walk(target, topdown=False):
        os.utime(folder_name, (epoch, epoch))


def uses_base(dockerfile: bytes) -> bool:
    """Whether a Dockerfile names the context ``base``."""
    return _USES_BASE.search(dockerfile) is not None


def final_stage(dockerfile: bytes) -> str:
    """What the last FROM names (``scratch``, ``base`` or an earlier stage).

    Raises:
        InputError: there is no FROM.
    """
    found = _FINAL_STAGE.findall(dockerfile)
    if not found:
        msg = "the Dockerfile has no FROM"
        raise InputError(msg, "end it with a stage `FROM scratch`, or `FROM base`")
    return str(found[-1].decode(errors="replace"))


def _executable(file: Path) -> bool:
    return bool(file.stat().st_mode & 0o100)
