"""Where the passphrase of a key comes from."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from buildkit.cli import render
from buildkit.errors import InputError

if TYPE_CHECKING:
    from buildkit.evidence.keys import PublicKey


def unlock(key: PublicKey | None) -> bytes | None:
    """The passphrase of a key: from the environment, else from whoever sits at the terminal.

    For a key that is about to be made (``None``) nobody is asked: a build must not stop for it.
    """
    from buildkit.evidence.keys.private import PASSPHRASE_VARIABLE  # noqa: PLC0415 - a no-op build

    if word := os.environ.get(PASSPHRASE_VARIABLE):
        return os.fsencode(word)
    if key is None or not sys.stdin.isatty():
        return None
    return _asked(f"passphrase of key {render.plain(key.name)} ({key.id}): ")


def choose(*, ask: bool) -> bytes | None:
    """The passphrase for a new key; nothing when it shall not be encrypted.

    Args:
        ask: at the terminal, twice; else the environment alone decides.

    Raises:
        InputError: there is no terminal, it is empty, or the two differ.
    """
    if not ask:
        return unlock(None)
    if not sys.stdin.isatty():
        from buildkit.evidence.keys.private import PASSPHRASE_VARIABLE  # noqa: PLC0415 - as above

        msg = "--passphrase asks at a terminal, and there is none"
        raise InputError(msg, f"set {PASSPHRASE_VARIABLE} instead")
    word = _asked("passphrase for the new key: ")
    if not word or word != _asked("again: "):
        msg = "the passphrase is empty, or the two differ"
        raise InputError(msg, "run the command again; nothing was made")
    return word


def _asked(prompt: str) -> bytes:
    import getpass  # noqa: PLC0415 - a build that asks nobody does not wait for it

    try:
        return os.fsencode(getpass.getpass(prompt))
    except EOFError:
        return b""
