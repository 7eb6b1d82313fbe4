"""Wheels as one layer, where Debian's Python looks for locally installed packages.

Format: the binary distribution format of the Python packaging user guide (PEP 427, 491).
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import posixpath
import zipfile
from typing import TYPE_CHECKING

from installer import install
from installer.destinations import WheelDestination
from installer.records import Hash, RecordEntry
from installer.sources import WheelFile
from installer.utils import Scheme

from .layer import Content, PackError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable
    from pathlib import Path
    from typing import BinaryIO


class LayerDestination(WheelDestination):
    """Takes what `installer` would write to disk into a layer."""

    def __init__(self, content: Content, python: str, origin: str) -> None:
        site = f"usr/local/lib/python{python}/dist-packages"
        self.content = content
        self.python = python
        self.origin = origin
        self.roots = {
            "purelib": site,
            "platlib": site,
            "scripts": "usr/local/bin",
            "headers": f"usr/local/include/python{python}",
            "data": "usr/local",
        }

    def _put(self, scheme: Scheme, path: str, data: bytes, mode: int) -> RecordEntry:
        if path.startswith("/") or ".." in path.split("/"):
            msg = f"{self.origin}: the path {path!r} leads out of its folder"
            raise PackError(msg)
        self.content.file(f"{self.roots[scheme]}/{path}", data, mode, origin=self.origin)
        value = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        return RecordEntry(path, Hash("sha256", value), len(data))

    def write_file(
        self,
        scheme: Scheme,
        path: str | os.PathLike[str],
        stream: BinaryIO,
        is_executable: bool,  # noqa: FBT001 - installer's interface
    ) -> RecordEntry:
        """Take one file of the wheel."""
        return self._put(scheme, str(path), stream.read(), 0o755 if is_executable else 0o644)

    def write_script(self, name: str, module: str, attr: str, section: str) -> RecordEntry:
        """Write the launcher of an entry point, for the image's own Python."""
        del section
        text = (
            f"#!/usr/bin/python{self.python}\n"
            f"import sys\nfrom {module} import {attr.split('.', maxsplit=1)[0]}\n"
            f"sys.exit({attr}())\n"
        )
        return self._put(Scheme("scripts"), name, text.encode(), 0o755)

    def finalize_installation(
        self,
        scheme: Scheme,
        record_file_path: str,
        records: Iterable[tuple[Scheme, RecordEntry]],
    ) -> None:
        """Write RECORD: sorted, and without the files that pruning left out."""
        site = self.roots[scheme]
        rows = [(record_file_path, "", "")]
        for where, record in records:
            path = f"{self.roots[where]}/{record.path}"
            if path in self.content.entries:
                rows.append((posixpath.relpath(path, site), *record.to_row()[1:]))
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(sorted(rows))
        self._put(scheme, record_file_path, text.getvalue().encode(), 0o644)


def collect(wheels: list[Path], python: str, prune: list[str]) -> Content:
    """All files of `wheels` under ``/usr/local``.

    Args:
        wheels: wheel files, any order.
        python: ``3.11``.
        prune: globs of files to leave out.
    """
    content = Content(prune)
    for wheel in sorted(wheels, key=lambda wheel: wheel.name):
        # Nix puts the hash before the name; a wheel's name says what it is.
        named = wheel.name.partition("-")[2] if wheel.parent.name == "store" else wheel.name
        with zipfile.ZipFile(wheel) as archive:
            archive.filename = named
            destination = LayerDestination(content, python, named)
            install(WheelFile(archive), destination, {"INSTALLER": b"edge-buildkit"})
    return content
