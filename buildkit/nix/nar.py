"""Nix archives and fixed-output store paths, computed without Nix.

Follows the Nix manual: "Nix Archive (NAR) format" and "Complete store path calculation". With
them the lock can say which store path an input will have before any Nix is installed.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from typing import TYPE_CHECKING, Literal, Protocol

from buildkit.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

STORE_DIR = "/nix/store"
# Nix's own base 32: no e, o, t, u, so that no word appears by chance.
_ALPHABET = "0123456789abcdfghijklmnpqrsvwxyz"
_PIECE = 1 << 20
_NAME = re.compile(r"[0-9A-Za-z+_?=-][0-9A-Za-z+._?=-]{0,210}")


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...


def nar_sha256(path: Path) -> str:
    """Hex digits of the SHA-256 of the Nix archive of a file, a link or a folder.

    Only names, contents, link targets and the executable bit count.

    Raises:
        InputError: a device, socket or pipe is inside.
        OSError: something cannot be read.
    """
    state = hashlib.sha256()
    _string(state, b"nix-archive-1")
    _node(state, os.fsencode(path))
    return state.hexdigest()


def _string(state: _Hash, data: bytes) -> None:
    state.update(len(data).to_bytes(8, "little") + data + bytes(-len(data) % 8))


def _node(state: _Hash, path: bytes) -> None:
    _string(state, b"(")
    _string(state, b"type")
    found = os.lstat(path)
    if stat.S_ISREG(found.st_mode):
        _string(state, b"regular")
        if found.st_mode & stat.S_IXUSR:
            _string(state, b"executable")
            _string(state, b"")
        _string(state, b"contents")
        _contents(state, path, found.st_size)
    elif stat.S_ISLNK(found.st_mode):
        _string(state, b"symlink")
        _string(state, b"target")
        _string(state, os.readlink(path))  # noqa: PTH115 - as `open` below
    elif stat.S_ISDIR(found.st_mode):
        _string(state, b"directory")
        for name in sorted(os.listdir(path)):  # noqa: PTH208 - as `open` below
            _string(state, b"entry")
            _string(state, b"(")
            _string(state, b"name")
            _string(state, name)
            _string(state, b"node")
            _node(state, path + b"/" + name)
            _string(state, b")")
    else:
        msg = f"{os.fsdecode(path)}: neither file, link nor folder"
        raise InputError(msg, "remove it")
    _string(state, b")")


def _contents(state: _Hash, path: bytes, size: int) -> None:
    state.update(size.to_bytes(8, "little"))
    left = size
    with open(path, "rb") as stream:  # noqa: PTH123 - names in a tree need not be text
        while left and (piece := stream.read(min(left, _PIECE))):
            state.update(piece)
            left -= len(piece)
        grown = stream.read(1)
    if left or grown:
        msg = f"{os.fsdecode(path)}: changed while it was read"
        raise InputError(msg, "run the command again")
    state.update(bytes(-size % 8))


def base32(data: bytes) -> str:
    """Bytes in Nix's base 32, least significant digit last."""
    number = int.from_bytes(data, "little")
    count = (len(data) * 8 + 4) // 5
    return "".join(_ALPHABET[(number >> (5 * place)) & 31] for place in reversed(range(count)))


def compress(digest: bytes, size: int = 20) -> bytes:
    """Fold a digest to `size` bytes by exclusive or, as Nix does for store paths."""
    folded = bytearray(size)
    for place, byte in enumerate(digest):
        folded[place % size] ^= byte
    return bytes(folded)


def store_path(name: str, sha256: str, kind: Literal["flat", "recursive"]) -> str:
    """The store path of a fixed-output derivation with no references.

    Args:
        name: of the output.
        sha256: hex digits: of the file's bytes when `flat`, of its Nix archive when `recursive`.
        kind: ``outputHashMode``.

    Raises:
        InputError: `name` may not name a store path, or `sha256` is not 64 hex digits.
    """
    if _NAME.fullmatch(name) is None or re.fullmatch(r"[0-9a-f]{64}", sha256) is None:
        msg = f"{name!r} with hash {sha256!r} cannot name a store path"
        raise InputError(msg, "use letters, digits and + - . _ ? =, not starting with a dot")
    if kind == "recursive":
        said = f"source:sha256:{sha256}:{STORE_DIR}:{name}"
    else:
        inner = hashlib.sha256(f"fixed:out:sha256:{sha256}:".encode()).hexdigest()
        said = f"output:out:sha256:{inner}:{STORE_DIR}:{name}"
    folded = compress(hashlib.sha256(said.encode()).digest())
    return f"{STORE_DIR}/{base32(folded)}-{name}"
