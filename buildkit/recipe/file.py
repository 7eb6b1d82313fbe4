"""TOML files that a person wrote, as far as recipe, policy and devices are alike."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Any

from buildkit.errors import InputError, Problem, RecipeError
from buildkit.recipe.locate import locate
from buildkit.recipe.notes import Notes, shown
from buildkit.recipe.syntax import parse

if TYPE_CHECKING:
    from pathlib import Path

_LARGEST = 256 * 1024


def read(file: Path, kind: str, *, missing: str, folder: str = "") -> bytes:
    """The bytes of the file.

    Args:
        file: as the user named it.
        kind: ``recipe``, ``policy`` or ``devices``, for messages.
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


def opened(
    data: bytes,
    name: str,
    *,
    known: int,
    text: str = "save it as UTF-8",
    newer: str = "install a newer edge-buildkit",
    error: type[RecipeError] = RecipeError,
) -> tuple[dict[str, Any], Notes]:
    """The document in the file's bytes, and what takes the mistakes in it.

    Args:
        data: what the file holds; anything at all.
        name: of the file, for messages.
        known: the newest version of its schema here; other keys of a newer one would only give
            false mistakes.
        text: remedy when it is no text.
        newer: remedy when its schema is newer.
        error: raised then, and when it is not TOML.

    Raises:
        InputError: it is not UTF-8.
        RecipeError: as `error`.
    """
    try:
        said = data.decode()
    except UnicodeDecodeError as cause:
        msg = f"{name} is not UTF-8 text, from byte {cause.start} on"
        raise InputError(msg, text) from cause
    document, problem = parse(said)
    version = document.get("schema")
    if isinstance(version, int) and version > known:
        problem = Problem(
            path="schema",
            line=locate(said).of(("schema",)),
            message=f"schema {shown(version)} is newer than {known}, the newest known here",
            remedy=newer,
        )
    if problem is not None:
        raise error(name, (problem,))
    return document, Notes(said, document)
