"""Names of files in the Nix store."""

from __future__ import annotations

import re

_UNSAFE = re.compile(r"[^A-Za-z0-9+._-]+")


def store_name(path: str) -> str:
    """The store name of a recipe's file; ``nix/default.nix`` has the same rule (`storeName`)."""
    return "file-" + _UNSAFE.sub("_", path.rpartition("/")[2])
