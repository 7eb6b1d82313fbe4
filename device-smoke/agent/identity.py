"""Which agent this is: the digest of the file that runs."""

from __future__ import annotations

import hashlib
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def archive() -> Path:
    """The zipapp that this code was read from, or the package's folder."""
    return next((up for up in (PACKAGE, *PACKAGE.parents) if up.is_file()), PACKAGE)


def digest() -> str:
    """``sha256:<hex>`` of the zipapp; of all modules together when there is none."""
    found = archive()
    state = hashlib.sha256()
    for file in [found] if found.is_file() else sorted(found.glob("*.py")):
        state.update(file.read_bytes())
    return f"sha256:{state.hexdigest()}"
