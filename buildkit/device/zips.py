"""What is brought to a device: the agent and the smoke test, each as one zip.

The same files are always the same bytes. Stored, not compressed: what a compressor makes of
them depends on its version.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from buildkit import assets, digests
from buildkit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_HOME = "device-smoke"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
_MODE = 0o100644 << 16
_SHEBANG = b"#!/usr/bin/env python3\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    """A zip.

    Attributes:
        digest: ``sha256:<hex>`` of it.
        data: its bytes.
    """

    digest: str
    data: bytes


def agent(home: Path | None = None) -> Packed:
    """The agent, as a program for Python (PEP 441).

    Args:
        home: folder that has the package ``agent``; that of this installation when absent.

    Raises:
        InputError: the installation is not complete.
    """
    files = _sources("agent", home)
    return packed(files | {"__main__.py": files["agent/__main__.py"]}, prefix=_SHEBANG)


def smoke(home: Path | None = None) -> Packed:
    """The package ``smoke``, for ``PYTHONPATH`` in the container.

    Args:
        home: folder that has the package; that of this installation when absent.

    Raises:
        InputError: the installation is not complete.
    """
    return packed(_sources("smoke", home))


def packed(files: Mapping[str, bytes], *, prefix: bytes = b"") -> Packed:
    """A zip of `files`, path → content, after `prefix`."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system = _UNIX
            entry.external_attr = _MODE
            archive.writestr(entry, files[name])
    data = prefix + stream.getvalue()
    return Packed(digest=digests.of_bytes(data), data=data)


def _sources(package: str, home: Path | None) -> dict[str, bytes]:
    folder = (assets.asset(_HOME) if home is None else home) / package
    files = {
        f"{package}/{file.relative_to(folder).as_posix()}": file.read_bytes()
        for file in folder.rglob("*.py")
    }
    if f"{package}/__main__.py" not in files:
        msg = f"{folder}: this installation of edge-buildkit lacks it"
        raise InputError(
            msg, "install the package again: pip install --force-reinstall edge-buildkit"
        )
    return files
