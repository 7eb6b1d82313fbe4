"""Files of the project that are not modules: beside the package, or inside an installed one."""

from __future__ import annotations

from pathlib import Path

from buildkit.errors import InputError

_PACKAGE = Path(__file__).parent


def asset(name: str) -> Path:
    """The folder `name` (``nix``, ``recipes/digits``).

    Raises:
        InputError: the installation is not complete.
    """
    for home in (_PACKAGE / "_data", _PACKAGE.parent):
        if (home / name).is_dir():
            return home / name
    msg = f"{name}: this installation of edge-buildkit lacks it"
    raise InputError(msg, "install the package again: pip install --force-reinstall edge-buildkit")


def module_folder(name: str) -> Path:
    """The folder of a sub-package, by its dotted name below ``buildkit``."""
    return _PACKAGE.joinpath(*name.split("."))
