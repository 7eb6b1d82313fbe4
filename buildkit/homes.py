"""The user's folders, one for each kind of file.

Source: XDG Base Directory Specification 0.8.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from buildkit.errors import MachineError

if TYPE_CHECKING:
    from collections.abc import Mapping

_BELOW_HOME = {"cache": ".cache", "config": ".config", "state": ".local/state"}


def home(
    kind: Literal["cache", "config", "state"], environ: Mapping[str, str] = os.environ
) -> Path:
    """Our folder below ``$XDG_CACHE_HOME``, ``$XDG_CONFIG_HOME`` or ``$XDG_STATE_HOME``.

    A relative path there is passed over, as the specification says; then it is below the home.

    Args:
        kind: ``cache``: can be made or fetched again; ``config``: what the user chose, keys
            included; ``state``: is missed when it is gone, and by nobody else.
        environ: environment variables.

    Raises:
        MachineError: no variable names it, and this user has no home.
    """
    variable = f"XDG_{kind.upper()}_HOME"
    base = Path(environ.get(variable, ""))
    if not base.is_absolute():
        try:
            base = Path(environ.get("HOME") or Path.home()) / _BELOW_HOME[kind]
        except RuntimeError as error:
            msg = "this user has no home folder"
            raise MachineError(msg, f"set HOME or {variable}") from error
    return base / "edge-buildkit"
