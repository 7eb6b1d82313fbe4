"""The seed: the one program that enters the Nix sandbox as it is, a static busybox.

Everything else is built with it. It comes out of a Debian package, unpacked here in Python, so
that a machine needs no tool for it.
"""

from __future__ import annotations

import io
import lzma
import tarfile
from typing import TYPE_CHECKING

from buildkit import scratch
from buildkit.errors import InputError
from buildkit.nix import nar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NAMES = """
ar basename cat chgrp chmod chown chroot cmp cp cut date dd df dirname du echo env expr false find
grep gunzip gzip head hostname id ip kill ln ls mkdir mknod mktemp mount mv nproc od printf ps pwd
readlink realpath rm rmdir sed seq sh sha256sum sleep sort stat sync tail tar tee test touch tr
true umount uname uniq unshare unxz unzip wc xargs xz xzcat zcat
"""
# The links in ``bin``: what the Nix expressions call. Another list is another seed: its hash is
# in every lock.
APPLETS = tuple(_NAMES.split())

_AR_MAGIC = b"!<arch>\n"
_AR_HEADER = 60
_LIMIT = 64 << 20
_BUSYBOX = frozenset({"bin/busybox", "usr/bin/busybox"})


def unpack(deb: Path, folder: Path) -> None:
    """Make the seed's folder: ``bin/busybox`` and a link to it for each of `APPLETS`.

    Args:
        deb: the package ``busybox-static`` (deb(5)).
        folder: must not exist yet.

    Raises:
        InputError: not such a package.
        OSError: the folder cannot be written.
    """
    program = _busybox(deb)
    tools = folder / "bin"
    tools.mkdir(parents=True)
    (tools / "busybox").write_bytes(program)
    (tools / "busybox").chmod(0o755)
    for applet in APPLETS:
        (tools / applet).symlink_to("busybox")


def seed_hash(deb: Path) -> str:
    """Hex digits of the Nix archive of the folder that `unpack` makes.

    Raises:
        InputError: not such a package.
    """
    with scratch.folder() as home:
        folder = home / "seed"
        unpack(deb, folder)
        return nar.nar_sha256(folder)


def _busybox(deb: Path) -> bytes:
    try:
        for name, content in _members(deb.read_bytes()):
            if name != "data.tar.xz":
                continue
            unpacked = lzma.LZMADecompressor().decompress(content, max_length=_LIMIT)
            with tarfile.open(fileobj=io.BytesIO(unpacked), mode="r:") as archive:
                for member in archive:
                    if member.name.removeprefix("./") in _BUSYBOX and member.isfile():
                        stream = archive.extractfile(member)
                        if stream is not None:
                            return stream.read()
    except (ValueError, EOFError, lzma.LZMAError, tarfile.TarError) as error:
        msg = f"{deb.name}: not a Debian package: {error}"
        raise InputError(msg, "run `fetch` again, or `lock --update busybox-static`") from error
    msg = f"{deb.name}: no busybox inside (a data.tar.xz with bin/busybox)"
    raise InputError(msg, "the seed must be the package busybox-static")


def _members(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Names and contents of an ``ar`` archive (deb(5), ar(5) common format)."""
    if not data.startswith(_AR_MAGIC):
        msg = "no ar archive"
        raise ValueError(msg)
    at = len(_AR_MAGIC)
    while at < len(data):
        header = data[at : at + _AR_HEADER]
        if len(header) < _AR_HEADER or header[58:] != b"`\n":
            msg = "broken ar header"
            raise ValueError(msg)
        size = int(header[48:58])
        at += _AR_HEADER
        if size < 0 or at + size > len(data):
            msg = "ar archive cut short"
            raise ValueError(msg)
        name = header[:16].decode("ascii", errors="replace").rstrip().removesuffix("/")
        yield name, data[at : at + size]
        at += size + size % 2
