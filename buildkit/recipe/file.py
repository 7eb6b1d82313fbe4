"""A TOML file that a person wrote (``recipe.toml``, ``policy.toml``), as far as both are alike."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Any

from buildkit.errors import InputError, Problem
from buildkit.recipe.locate import locate
from buildkit.recipe.notes import shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_LARGEST = 256 * 1024


def read(file: Path, kind: str, *, missing: str, folder: str = "") -> bytes:
    """The bytes of the file.

    Args:
        file: as the user named it.
        kind: ``recipe`` or ``policy``, for messages.
        missing: remedy when it is not there.
        folder: remedy when it is a folder; one like any other that is no file when empty.

    Raises:
        InputError: it is not there, not a file, too long, or cannot be read.
    """
    try:
        status = file.stat()
        if folder and stat.S_ISDIR(status.st_mode):
            msg = f"{file} is a folder"
            raise InputError(msg, folder)
        if not stat.S_ISREG(status.st_mode):
            msg = f"{file} is not a file"
            raise InputError(msg, f"name a {kind}.toml")
        if status.st_size > _LARGEST:
            msg = f"{file} has {status.st_size} bytes, more than a {kind} can have"
            raise InputError(msg, f"name a {kind}.toml of at most {_LARGEST} bytes")
        return file.read_bytes()
    except FileNotFoundError as error:
        msg = f"{file}: no such file"
        raise InputError(msg, missing) from error
    except OSError as error:
        msg = f"{file} cannot be read: {error.strerror}"
        raise InputError(msg, "correct the path or its permissions") from error
    except ValueError as error:
        msg = f"{str(file)!r} cannot be the name of a file: {error}"
        raise InputError(msg, "correct the path") from error


def text_of(data: bytes, name: object, *, remedy: str) -> str:
    """The file's text.

    Raises:
        InputError: it is not UTF-8.
    """
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        msg = f"{name} is not UTF-8 text, from byte {error.start} on"
        raise InputError(msg, remedy) from error


def newer(document: Mapping[str, Any], text: str, known: int, *, remedy: str) -> Problem | None:
    """Whether the file has a newer form, whose other keys would only give false mistakes."""
    version = document.get("schema")
    if not isinstance(version, int) or version <= known:
        return None
    return Problem(
        path="schema",
        line=locate(text).of(("schema",)),
        message=f"schema {shown(version)} is newer than {known}, the newest known here",
        remedy=remedy,
    )
