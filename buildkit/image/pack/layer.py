"""A layer as canonical bytes: sorted entries, one time, numeric owners, one gzip header.

Formats: POSIX.1-2001 pax archives (as the OCI image-spec's layer.md asks for) and
RFC 1952 gzip with no name and no time.
"""

from __future__ import annotations

import fnmatch
import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# The layers of inputs do not carry the recipe's time: a new commit must not change them.
# 1980-01-01 is the first moment that zip files, which Python reads, can say.
INPUT_EPOCH = 315532800
COMPRESSION_LEVEL = 9


class PackError(Exception):
    """The input cannot be packed; `remedy` says what to do."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a layer: its header and, for a regular file, its bytes."""

    info: tarfile.TarInfo
    data: bytes = b""


@dataclass
class Content:
    """What goes into a layer, and what was left out of it.

    Attributes:
        entries: path without leading ``./`` → entry.
        omitted: glob → [number of files, bytes] that it left out.
        notes: anything else that the layer's record should say.
    """

    prune: list[str]
    entries: dict[str, Entry] = field(default_factory=dict)
    omitted: dict[str, list[int]] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    def add(self, info: tarfile.TarInfo, data: bytes = b"", *, origin: str = "") -> None:
        """Take one entry, unless a glob leaves it out.

        Raises:
            PackError: two origins bring different files for one path.
        """
        if not info.isdir():
            for glob in self.prune:
                if fnmatch.fnmatchcase(info.name, glob):
                    count = self.omitted.setdefault(glob, [0, 0])
                    count[0] += 1
                    count[1] += len(data)
                    return
        info.mtime = INPUT_EPOCH
        info.uname = info.gname = ""
        info.pax_headers = {}
        before = self.entries.get(info.name)
        if before is not None and not (info.isdir() and before.info.isdir()):
            same = (before.data, before.info.type, before.info.linkname) == (
                data,
                info.type,
                info.linkname,
            )
            if not same:
                msg = f"{info.name}: {origin} brings it, and so does another package"
                raise PackError(msg, "exclude one of the two, or prune the path")
            return
        self.entries[info.name] = Entry(info, data)

    def directory(self, path: str, mode: int = 0o755) -> None:
        """Take a folder and those above it, where they are not there yet."""
        parts = path.split("/")
        for depth in range(1, len(parts) + 1):
            name = "/".join(parts[:depth])
            if name not in self.entries:
                info = tarfile.TarInfo(name)
                info.type = tarfile.DIRTYPE
                info.mode = mode if depth == len(parts) else 0o755
                self.add(info)

    def file(self, path: str, data: bytes, mode: int = 0o644, *, origin: str = "") -> None:
        """Take a regular file, owned by root, with the folders above it."""
        if "/" in path:
            self.directory(path.rpartition("/")[0])
        info = tarfile.TarInfo(path)
        info.size = len(data)
        info.mode = mode
        self.add(info, data, origin=origin)

    def link(self, path: str, target: str) -> None:
        """Take a symbolic link."""
        info = tarfile.TarInfo(path)
        info.type = tarfile.SYMTYPE
        info.linkname = target
        info.mode = 0o777
        self.add(info)

    def drop_empty_folders(self) -> None:
        """Leave out folders that pruning emptied."""
        used: set[str] = set()
        for name, entry in self.entries.items():
            if not entry.info.isdir():
                parts = name.split("/")
                used.update("/".join(parts[:depth]) for depth in range(1, len(parts)))
        pruned_roots = {glob.split("*")[0].rstrip("/") for glob in self.omitted}
        for name in sorted(self.entries, reverse=True):
            below = any(name.startswith(root) for root in pruned_roots if root)
            if self.entries[name].info.isdir() and name not in used and below:
                del self.entries[name]


class Tee:
    """A writer that counts and hashes what goes through it."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.size = 0
        self.state = hashlib.sha256()

    def write(self, data: bytes) -> int:
        """Write `data` through."""
        self.size += len(data)
        self.state.update(data)
        return self.stream.write(data)

    def flush(self) -> None:
        """Flush the stream below."""
        self.stream.flush()

    @property
    def digest(self) -> str:
        """``sha256:`` of everything written."""
        return "sha256:" + self.state.hexdigest()


def compress(entries: Iterable[Entry], stream: BinaryIO) -> tuple[str, str, int]:
    """Write entries as a gzipped tar; returns (digest, diff_id, compressed size)."""
    outer = Tee(stream)
    with gzip.GzipFile(
        filename="", mode="wb", compresslevel=COMPRESSION_LEVEL, fileobj=outer, mtime=0
    ) as zipped:
        inner = Tee(zipped)  # type: ignore[arg-type]  # GzipFile writes bytes
        with tarfile.open(fileobj=inner, mode="w|", format=tarfile.PAX_FORMAT) as archive:  # type: ignore[call-overload]
            for entry in entries:
                archive.addfile(entry.info, io.BytesIO(entry.data) if entry.info.isreg() else None)
    return outer.digest, inner.digest, outer.size


def write_layer(folder: Path, content: Content) -> None:
    """Write ``layer.tar.gz`` and ``layer.json`` (digest, diff_id, size, omitted, notes)."""
    content.drop_empty_folders()
    folder.mkdir()
    # Hard links come after every file, so that what they name is there.
    order = sorted(content.entries, key=lambda name: (content.entries[name].info.islnk(), name))
    with (folder / "layer.tar.gz").open("wb") as stream:
        digest, diff_id, size = compress((content.entries[name] for name in order), stream)
    record = {
        "digest": digest,
        "diff_id": diff_id,
        "size": size,
        "unpacked": sum(len(entry.data) for entry in content.entries.values()),
        "omitted": {
            glob: {"files": files, "bytes": size}
            for glob, (files, size) in sorted(content.omitted.items())
        },
        **content.notes,
    }
    (folder / "layer.json").write_text(json.dumps(record, sort_keys=True, indent=1) + "\n")
