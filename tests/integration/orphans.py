"""Processes that this one started, and those that they left behind."""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LIBC = ctypes.CDLL(None, use_errno=True)
_SUBREAPER = 36


def adopt(*, wanted: bool) -> None:
    """Become the parent of what has lost its own, or no longer (prctl(2), CHILD_SUBREAPER)."""
    _check(_LIBC.prctl(_SUBREAPER, int(wanted)))


def _check(status: int) -> None:
    if status != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def kill(pid: int) -> None:
    """For good, if it is still there."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def children(pid: int) -> list[int]:
    """Those that a process has started."""
    found: list[int] = []
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                found += map(int, (thread / "children").read_text().split())
    return found


def descendants(pid: int) -> list[int]:
    """Those, and what they have started."""
    found = children(pid)
    return found + [below for each in found for below in descendants(each)]


def commands(pids: list[int]) -> Iterator[tuple[int, str]]:
    """With their command lines, those that are still there."""
    for pid in pids:
        with suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            yield pid, words


def orphans() -> list[tuple[int, str]]:
    """Processes whose parent has gone, and that have not ended; emulators are left out.

    The smoke run itself is none of them. Nobody is waited for here: one that was just killed has no
    words any more, and its status is for who started it.
    """
    found = []
    for pid, words in commands(children(os.getpid())):
        ours = "buildkit smoke" in words or "qemu-system" in words
        with suppress(ChildProcessError):
            state = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if not ours and state is None:
                found.append((pid, words))
    return found


def is_shared(words: str) -> bool:
    """Whether it is the process of a shared SSH connection (ssh_config(5), ControlPersist)."""
    return words.startswith("ssh: ") and "[mux]" in words
