"""Signals that ask us to stop raise `Interrupted`, except where that would do harm.

Blocking them would not do: Python runs a handler in the main thread also when the signal reached
a thread of a library, which has a mask of its own.
"""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .errors import Interrupted

if TYPE_CHECKING:
    from collections.abc import Iterator

STOPPERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Stopping:
    """Whether a signal may interrupt now, and which one has to wait."""

    def __init__(self) -> None:
        self._held = False
        self._waiting = 0

    def handle(self, number: int, _frame: object) -> None:
        """Handler of the signals."""
        if self._held:
            self._waiting = number
            return
        # Once is enough: a second signal must not interrupt the way out.
        self._held = True
        raise Interrupted(number)

    def hold(self) -> None:
        """From here on signals wait."""
        self._held = True

    def release(self) -> None:
        """From here on they interrupt again, and one that waited does at once."""
        self._held = False
        if self._waiting:
            self.handle(self._waiting, None)

    @contextmanager
    def armed(self) -> Iterator[None]:
        """Handle the signals; afterwards all is as before, and what still waits is dropped."""
        self._held, self._waiting = False, 0
        before = {number: signal.signal(number, self.handle) for number in STOPPERS}
        try:
            yield
        finally:
            self._held = True
            for number, handler in before.items():
                signal.signal(number, handler)
            self._held, self._waiting = False, 0


stopping = Stopping()
