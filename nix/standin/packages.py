# ruff: noqa: INP001 - for programs of the sandbox, not a package
"""Debian packages and archives, for the programs beside this one; all runs in the sandbox."""

import io
import lzma
import tarfile
from collections.abc import Iterator
from pathlib import Path

# Everything has this time: 2026-01-01. A board starts from its own clock, never from before it.
EPOCH = 1767225600
_MERGED = ("bin", "sbin", "lib")


def data(deb: Path) -> io.BufferedIOBase:
    """The data archive of a package (deb(5)), unpacked while it is read."""
    whole = deb.read_bytes()
    at = 8
    while at < len(whole):
        header = whole[at : at + 60]
        name = header[:16].decode().strip().removesuffix("/")
        size = int(header[48:58])
        content = whole[at + 60 : at + 60 + size]
        if name == "data.tar.xz":
            return lzma.open(io.BytesIO(content))
        if name == "data.tar":
            return io.BytesIO(content)
        at += 60 + size + size % 2
    msg = f"{deb.name}: no data archive that can be read here"
    raise SystemExit(msg)


def members(deb: Path) -> Iterator[tuple[str, tarfile.TarInfo, bytes]]:
    """Path, description and content of all that a package holds, in a root with a merged /usr."""
    with data(deb) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            path = merged(member.name)
            if not path or path in _MERGED:
                continue
            if member.islnk():
                member.linkname = merged(member.linkname)
            file = archive.extractfile(member) if member.isreg() else None
            yield path, member, file.read() if file else b""


def merged(name: str) -> str:
    """``./lib/x`` → ``usr/lib/x``."""
    path = name.removeprefix("./").strip("/")
    return f"usr/{path}" if path.split("/")[0] in _MERGED and "/" in path else path
