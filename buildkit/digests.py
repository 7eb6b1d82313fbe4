"""Digests as the OCI image specification writes them: ``sha256:`` and 64 hex digits."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from pathlib import Path

_FORM = re.compile(r"sha256:[0-9a-f]{64}")
_CHUNK = 1 << 20


def is_digest(text: object) -> bool:
    """Whether `text` is a well-formed SHA-256 digest (``sha256:<hex>``)."""
    return isinstance(text, str) and _FORM.fullmatch(text) is not None


def of_bytes(data: bytes) -> str:
    """The digest of `data`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def of_stream(stream: BinaryIO) -> str:
    """The digest of what is left in `stream`, read in pieces of 1 MiB."""
    state = hashlib.sha256()
    while piece := stream.read(_CHUNK):
        state.update(piece)
    return "sha256:" + state.hexdigest()


def of_file(path: Path) -> str:
    """The digest of a file's content.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as stream:
        return of_stream(stream)


def hex_of(digest: str) -> str:
    """The hex digits of a digest, without the name of the algorithm."""
    return digest.removeprefix("sha256:")
