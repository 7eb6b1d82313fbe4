"""A layer read as a stream: what is in it, by header and hash; nothing is kept of the content.

Format: the image-spec's layer.md (tar in POSIX.1-2001, GNU or ustar form, plain or gzipped).
A layer may be hostile: nothing is written to disk, and headers, entries and bytes are bounded.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import tarfile
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

from buildkit.errors import DigestError, StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MOST_ENTRIES = 400_000
MOST_BYTES = 64 << 30
# What an extended header may claim; tarfile reads one into memory whole.
MOST_HEADER = 1 << 20
# A list of a package's files, which is kept.
MOST_LIST = 16 << 20
_PIECE = 1 << 20
_GZIP = b"\x1f\x8b"
_EXTENSIONS = {
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
}  # fmt: skip

# dpkg's record of a small image, and that of a wheel (Python packaging user guide, RECORD).
_MD5SUMS = re.compile(r"var/lib/dpkg/status\.d/([^/]+)\.md5sums")
_STATUS = re.compile(r"var/lib/dpkg/status\.d/([^/]+)")
_RECORD = re.compile(r"(.*/(?:dist|site)-packages)/([^/]+)-[^/-]+\.dist-info/RECORD")
_DIST_INFO = re.compile(r".*/(?:dist|site)-packages/([^/]+)-[^/-]+\.dist-info(?:/.*)?")
_DOC = re.compile(r"usr/share/(?:doc|lintian/overrides)/([^/]+)(?:/.*)?")
_MERGED = ("bin/", "sbin/", "lib/", "lib64/")

_KINDS = {
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.CONTTYPE: "file",
    tarfile.DIRTYPE: "folder",
    tarfile.SYMTYPE: "symbolic link",
    tarfile.LNKTYPE: "hard link",
    tarfile.CHRTYPE: "character device",
    tarfile.BLKTYPE: "block device",
    tarfile.FIFOTYPE: "pipe",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One entry of a layer.

    Attributes:
        kind: ``file``, ``folder``, ``symbolic link`` and so on.
        mode: permission bits.
        owner: ``uid:gid``, with names where the header has them.
        mtime: seconds since 1970, with the fraction where the header has one.
        size: bytes of a file.
        digest: of a file's content; empty for all else.
        link: target of a link, numbers of a device.
        attributes: extended attributes, name → digest of the value.
    """

    kind: str
    mode: int = 0o644
    owner: str = "0:0"
    mtime: float = 0
    size: int = 0
    digest: str = ""
    link: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """What is in a layer.

    Attributes:
        members: path without a leading ``./`` or ``/`` → entry, in the order of the archive. Of
            two entries with one path the last counts, as when it is unpacked.
        diff_id: digest of the archive without compression.
        owners: path → package that brings it, by the layer's own lists.
    """

    members: Mapping[str, Member]
    diff_id: str
    owners: Mapping[str, str] = field(default_factory=dict)

    def owner(self, path: str) -> str | None:
        """The package that brings `path`, if the layer says so."""
        found = self.owners.get(path)
        if found is not None:
            return found
        for form in (_DIST_INFO, _DOC, _STATUS):
            match = form.fullmatch(path)
            if match:
                return match[1].removesuffix(".md5sums") if form is _STATUS else match[1]
        return None


class UnreadableError(Exception):
    """It is no archive that we read; nothing can be said of its inside."""


class _Bounded(tarfile.TarInfo):
    """A header that may not claim more memory than we have."""

    # Not `frombuf`, which newer versions of tarfile (Debian's too) do not call any more.
    def _proc_member(self, archive: Any) -> Any:
        """Read what follows the block."""
        if self.type in _EXTENSIONS and self.size > MOST_HEADER:
            msg = "an extended header is longer than any real one"
            raise tarfile.ReadError(msg)
        return super()._proc_member(archive)  # type: ignore[misc]  # not in its types


class _Hashed(io.RawIOBase):
    """Reads through, and hashes and counts what it has read."""

    def __init__(self, stream: BinaryIO, most: int) -> None:
        super().__init__()
        self.stream = stream
        self.state = hashlib.sha256()
        self.left = most

    def readable(self) -> bool:
        """It is."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes."""
        data = self.stream.read(size if 0 <= size <= _PIECE else _PIECE)
        self.left -= len(data)
        if self.left < 0:
            msg = "more bytes than a layer may have"
            raise UnreadableError(msg)
        self.state.update(data)
        return data

    def drain(self) -> str:
        """Read the rest; the digest of everything."""
        while self.read(_PIECE):
            pass
        return "sha256:" + self.state.hexdigest()


def read(file: Path, digest: str) -> Listing:
    """The entries of a layer, whose bytes are checked on the way.

    Args:
        file: the blob.
        digest: what its bytes must be.

    Raises:
        DigestError: the bytes are other ones.
        StoreError: the blob cannot be read.
        UnreadableError: it is packed in a way that we do not read, or it is hostile.
    """
    try:
        with file.open("rb") as raw:
            outer = _Hashed(raw, MOST_BYTES)
            problem = None
            try:
                listing = _listing(raw, outer)
            except UnreadableError as error:
                problem = error
            found = outer.drain()
            if found != digest:
                # Whatever else is wrong with it follows from this.
                msg = f"{file}: expected {digest}, found {found}"
                raise DigestError(msg, "`python -m buildkit show --verify` checks the store")
            if problem is not None:
                raise problem
            return listing
    except OSError as error:
        msg = f"{file}: cannot be read: {error.strerror or error}"
        raise StoreError(msg, "`python -m buildkit show --verify` checks the store") from error


def _listing(raw: BinaryIO, outer: _Hashed) -> Listing:
    packed = raw.read(2) == _GZIP
    raw.seek(0)
    stream: Any = gzip.GzipFile(fileobj=outer, mode="rb") if packed else outer
    inner = _Hashed(stream, MOST_BYTES)
    try:
        members, owners = _members(inner)
        diff_id = inner.drain()
    except (tarfile.TarError, zlib.error, EOFError, gzip.BadGzipFile, ValueError) as error:
        raise UnreadableError(str(error) or type(error).__name__) from error
    except (RecursionError, OverflowError) as error:
        msg = "headers that no archiver writes"
        raise UnreadableError(msg) from error
    return Listing(members=members, diff_id=diff_id, owners=owners)


def _members(stream: _Hashed) -> tuple[dict[str, Member], dict[str, str]]:
    members: dict[str, Member] = {}
    owners: dict[str, str] = {}
    with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Bounded) as archive:
        count = size = 0
        while (info := archive.next()) is not None:
            # tarfile would keep every header.
            archive.members.clear()  # type: ignore[attr-defined]  # not in its types
            count += 1
            size += info.size
            if count > MOST_ENTRIES or size > MOST_BYTES:
                msg = "more entries, or longer ones, than a layer may have"
                raise UnreadableError(msg)
            path = _path(info.name)
            members.pop(path, None)
            members[path] = _member(archive, info, path, owners)
    return members, owners


def _path(name: str) -> str:
    return name.removeprefix("./").strip("/") or "."


def _member(
    archive: tarfile.TarFile, info: tarfile.TarInfo, path: str, owners: dict[str, str]
) -> Member:
    state, kept = hashlib.sha256(), bytearray()
    listed = _MD5SUMS.fullmatch(path) or _RECORD.fullmatch(path)
    stream = archive.extractfile(info) if info.isreg() else None
    while stream is not None and (piece := stream.read(_PIECE)):
        state.update(piece)
        if listed and len(kept) <= MOST_LIST:
            kept += piece
    if listed and len(kept) <= MOST_LIST:
        owners.update(_owned(path, kept.decode(errors="replace")))
    names = "/".join(name for name in (info.uname, info.gname) if name)
    link = info.linkname if info.issym() or info.islnk() else ""
    if info.ischr() or info.isblk():
        link = f"{info.devmajor}:{info.devminor}"
    return Member(
        kind=_KINDS.get(info.type, f"type {info.type!r}") if not info.isreg() else "file",
        mode=info.mode & 0o7777,
        owner=f"{info.uid}:{info.gid}" + (f" {names}" if names else ""),
        mtime=info.mtime,
        size=info.size if info.isreg() else 0,
        digest="sha256:" + state.hexdigest() if stream is not None else "",
        link=link,
        attributes={
            name.removeprefix("SCHILY.xattr."): hashlib.sha256(
                value.encode(errors="surrogateescape")
            ).hexdigest()
            for name, value in info.pax_headers.items()
            if name.startswith("SCHILY.xattr.")
        },
    )


def _owned(path: str, text: str) -> dict[str, str]:
    """What a package's own list says that it brings: path → package."""
    found: dict[str, str] = {}
    debian = _MD5SUMS.fullmatch(path)
    if debian:
        for line in text.splitlines():
            name = line.partition("  ")[2].removeprefix("./").strip("/")
            # The image has /usr merged, the lists of Debian 12 do not.
            found[f"usr/{name}" if name.startswith(_MERGED) else name] = debian[1]
        return found
    wheel = _RECORD.fullmatch(path)
    for line in text.splitlines() if wheel else ():
        if wheel and line.count(",") >= 2:
            name = line.rsplit(",", 2)[0].strip('"')
            found[_below(wheel[1], name)] = wheel[2]
    return found


def _below(folder: str, name: str) -> str:
    parts: list[str] = folder.split("/")
    for part in name.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in {"", "."}:
            parts.append(part)
    return "/".join(parts)
