"""A mount namespace of one's own: engines listen in it where nobody else's are seen."""

from __future__ import annotations

import ctypes
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

LIBC = ctypes.CDLL(None, use_errno=True)
_NEWNS, _REC_PRIVATE, _DETACH = 0x00020000, 16384 | 1 << 18, 2
_SOCKETS = b"/run/edge-buildkit"


def check(status: int) -> None:
    """Raise what the C library has to say.

    Raises:
        OSError: the call failed.
    """
    if status != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@contextmanager
def private_sockets() -> Iterator[None]:
    """This thread, and what it starts, see a folder of engines' sockets that is empty at first."""
    check(LIBC.unshare(_NEWNS))
    check(LIBC.mount(None, b"/", None, _REC_PRIVATE, None))
    Path(os.fsdecode(_SOCKETS)).mkdir(exist_ok=True)
    check(LIBC.mount(b"tmpfs", _SOCKETS, b"tmpfs", 0, b"mode=0755"))
    try:
        yield
    finally:
        # A process of several threads cannot go back to the namespace it came from.
        check(LIBC.umount2(_SOCKETS, _DETACH))
