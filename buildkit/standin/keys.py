"""SSH keys of one board: its own, and the one that lets its user in. Made here, never in Nix."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from buildkit import disk

if TYPE_CHECKING:
    from pathlib import Path

_LOGIN, _HOST = "id_ed25519", "host_ed25519"


@dataclass(frozen=True, kw_only=True, slots=True)
class Keys:
    """Of one board.

    Attributes:
        identity: file of the private key that logs in.
        login: its public half, ``ssh-ed25519 AAAA…``.
        host: the board's public host key.
        host_private: the board's private host key, in OpenSSH's form.
    """

    identity: Path
    login: str
    host: str
    host_private: str


def of(folder: Path) -> Keys:
    """The keys in a folder, made when they are not there."""
    login = _pair(folder, _LOGIN)
    host = _pair(folder, _HOST)
    private = (folder / _HOST).read_text(encoding="ascii")
    return Keys(identity=folder / _LOGIN, login=login, host=host, host_private=private)


def _pair(folder: Path, name: str) -> str:
    """The public half of a pair of Ed25519 keys (RFC 8709)."""
    public = folder / f"{name}.pub"
    if not public.is_file():
        _make(folder, name, public)
    return public.read_text(encoding="ascii").strip()


def _make(folder: Path, name: str, public: Path) -> None:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - costs 0.1 s
    from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415 - as above

    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    handle = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as stream:
        stream.write(private)
    # Last: a public half means that the other is whole.
    said = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    disk.replace(public, said + b"\n")
