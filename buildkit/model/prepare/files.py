"""Files in and out: whole or not at all, mode 0644, canonical JSON."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

from .errors import BadInputError

if TYPE_CHECKING:
    from pathlib import Path

_MODE = 0o644


def write(path: Path, data: bytes) -> None:
    """Write `data` so that a reader sees the old file or the new one, whatever the umask."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("wb") as stream:
            stream.write(data)
            os.fchmod(stream.fileno(), _MODE)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def dump(value: Any) -> bytes:
    """`value` as JSON: keys sorted, two spaces, a final newline.

    Raises:
        ValueError: `value` holds NaN or an infinity.
    """
    text = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()


def write_json(path: Path, value: Any) -> None:
    """Write `value` as `dump` gives it."""
    write(path, dump(value))


def read(path: Path, what: str) -> bytes:
    """The content of the file that is meant to be `what` (``the model``).

    Raises:
        BadInputError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        msg = f"{what} cannot be read: {path.name}: {error.strerror}"
        raise BadInputError(msg, "check the path") from error


def read_json(path: Path, what: str) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        BadInputError: no such file, not JSON, or not an object.
    """
    try:
        document = json.loads(read(path, what))
    except ValueError as error:
        msg = f"{what} is not JSON: {path.name}: {error}"
        raise BadInputError(msg) from error
    if not isinstance(document, dict):
        msg = f"{what} is not a JSON object: {path.name}"
        raise BadInputError(msg)
    return document


def sha256(data: bytes) -> str:
    """64 hex digits."""
    return hashlib.sha256(data).hexdigest()
