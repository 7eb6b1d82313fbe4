"""Ctrl-C, SIGTERM and SIGHUP end a command the same way: it cleans up, then it goes."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(KeyboardInterrupt):
    """A signal wants an end.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextmanager
def raised() -> Iterator[None]:
    """Raise `Stopped` where the block is when a signal comes.

    What ends the block may take a while (programs are asked to end before they are made to), so a
    second signal is let pass; from the third on the system's own way holds. A signal that whoever
    started us ignores (``nohup``) stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came = 0

    def stop(number: int, _frame: FrameType | None) -> None:
        nonlocal came
        came += 1
        if came == 1:
            raise Stopped(number)
        for each in _ENDING:
            signal.signal(each, signal.SIG_DFL)

    before = {
        number: signal.signal(number, stop)
        for number in _ENDING
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
