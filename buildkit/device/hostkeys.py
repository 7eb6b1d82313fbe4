"""SSH host keys, as OpenSSH writes them (RFC 4253, section 6.6; sshd(8), ssh_known_hosts)."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from buildkit.errors import InputError

HOST_KEY_TYPES = (
    *("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    *("ssh-rsa", "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"),
)
"""Public key algorithms of host keys (RFC 4253, 5656, 8709), the best first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HostKey:
    """An SSH host key.

    Attributes:
        text: ``ssh-ed25519 AAAA…``.
        fingerprint: ``SHA256:…``, as OpenSSH shows it.
    """

    text: str
    fingerprint: str


def host_key(text: str) -> HostKey:
    """Read a host key as a ``.pub`` file has it.

    Args:
        text: type and key, and perhaps a comment.

    Raises:
        InputError: it is none.
    """
    words = text.split()
    kind, blob = (words[0], _blob(words[1])) if len(words) > 1 else ("", b"")
    # The key itself begins with its type, after four bytes that say how long that is.
    if kind not in HOST_KEY_TYPES or not blob.startswith(
        len(kind).to_bytes(4, "big") + kind.encode()
    ):
        msg = "not an SSH host key (ssh-ed25519 AAAA…)"
        raise InputError(msg, "on the device: cat /etc/ssh/ssh_host_ed25519_key.pub")
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    return HostKey(text=f"{kind} {words[1]}", fingerprint=f"SHA256:{digest}")


def _blob(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
