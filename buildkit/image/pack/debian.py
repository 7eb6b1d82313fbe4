"""Debian packages as one layer, without running their maintainer scripts.

Formats: deb(5), ar(5), deb-control(5). The record of what is installed is written as
``/var/lib/dpkg/status.d/``, one file a package, which scanners of small images read.
"""

from __future__ import annotations

import copy
import io
import tarfile
from typing import TYPE_CHECKING

from .layer import Content, PackError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_AR_MAGIC = b"!<arch>\n"
# Merged /usr (Debian 12 and later): these names of the root are links into /usr.
_MERGED = ("bin", "sbin", "lib", "lib64")
_PASSWD = (
    b"root:x:0:0:root:/root:/usr/sbin/nologin\n"
    b"nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    b"nonroot:x:65532:65532:nonroot:/nonexistent:/usr/sbin/nologin\n"
)
_GROUP = b"root:x:0:\nnogroup:x:65534:\nnonroot:x:65532:\n"


def members(deb: Path) -> Iterator[tuple[str, bytes]]:
    """The members of a package's outer ar archive: (name, bytes)."""
    data = deb.read_bytes()
    if not data.startswith(_AR_MAGIC):
        msg = f"{deb.name}: not a Debian package"
        raise PackError(msg)
    at = len(_AR_MAGIC)
    while at + 60 <= len(data):
        header = data[at : at + 60]
        size = int(header[48:58])
        yield header[:16].decode().strip().rstrip("/"), data[at + 60 : at + 60 + size]
        at += 60 + size + size % 2


def archives(deb: Path) -> tuple[tarfile.TarFile, tarfile.TarFile]:
    """The control and the data archive of a package."""
    found: dict[str, tarfile.TarFile] = {}
    for name, data in members(deb):
        stem = name.split(".")[0]
        if stem in ("control", "data"):
            try:
                # Read later; its stream is memory, so nothing is left open.
                found[stem] = tarfile.open(fileobj=io.BytesIO(data))  # noqa: SIM115
            except tarfile.ReadError as error:
                msg = f"{deb.name}: {name} is packed in a way that the builder cannot read"
                raise PackError(msg, "pin a version that is packed with xz or gzip") from error
    if set(found) != {"control", "data"}:
        msg = f"{deb.name}: it lacks its control or its data archive"
        raise PackError(msg)
    return found["control"], found["data"]


def merged(name: str) -> str:
    """A path as a merged /usr has it, without ``./``: ``./lib/x`` → ``usr/lib/x``."""
    path = name.removeprefix("./").strip("/")
    head, _, rest = path.partition("/")
    if head in _MERGED:
        return f"usr/{head}/{rest}".rstrip("/")
    return path


def collect(debs: list[Path], architecture: str, prune: list[str]) -> Content:
    """All files of `debs` with the links, folders and accounts that a root needs.

    Args:
        debs: package files, any order.
        architecture: Debian architecture of the image; only amd64 has ``/lib64``.
        prune: globs of files to leave out.
    """
    content = Content(prune)
    for name in _MERGED:
        if name != "lib64" or architecture == "amd64":
            content.link(name, f"usr/{name}")
    for path, mode in (("tmp", 0o1777), ("var/tmp", 0o1777), ("run", 0o755), ("root", 0o700)):
        content.directory(path, mode)
    for path in ("dev", "proc", "sys", "etc", "var/lib/dpkg/status.d"):
        content.directory(path)
    for deb in sorted(debs, key=lambda deb: deb.name):
        control, data = archives(deb)
        _files(content, data, deb.name)
        _record(content, control, deb.name)
    # base-passwd would make these in its maintainer script.
    for path, accounts in (("etc/passwd", _PASSWD), ("etc/group", _GROUP)):
        if path not in content.entries:
            content.file(path, accounts)
    return content


def _files(content: Content, data: tarfile.TarFile, origin: str) -> None:
    for member in data:
        name = merged(member.name)
        if name in ("", ".") or name in _MERGED:
            continue
        info = copy.copy(member)
        info.name = name
        if member.islnk():
            info.linkname = merged(member.linkname)
        stream = data.extractfile(member) if member.isreg() else None
        if "/" in name:
            content.directory(name.rpartition("/")[0])
        content.add(info, stream.read() if stream else b"", origin=origin)


def _record(content: Content, control: tarfile.TarFile, origin: str) -> None:
    texts: dict[str, bytes] = {}
    for member in control:
        stream = control.extractfile(member) if member.isreg() else None
        if stream is not None:
            texts[member.name.removeprefix("./")] = stream.read()
    if "control" not in texts:
        msg = f"{origin}: it has no control file"
        raise PackError(msg)
    fields = dict(
        line.split(b":", 1) for line in texts["control"].splitlines() if line[:1] not in (b" ", b"")
    )
    package = fields[b"Package"].strip().decode()
    status = texts["control"].rstrip(b"\n").split(b"\n", 1)
    status.insert(1, b"Status: install ok installed")
    content.file(f"var/lib/dpkg/status.d/{package}", b"\n".join(status) + b"\n")
    content.file(f"var/lib/dpkg/status.d/{package}.md5sums", texts.get("md5sums", b""))
