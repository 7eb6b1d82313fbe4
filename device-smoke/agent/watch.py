"""Whether somebody still wants this call: signals, and the host's heartbeat on standard input."""

from __future__ import annotations

import os
import select
import signal
import time

from agent.errors import Stopped

HEARTBEAT_S = 30.0
_STOPPERS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class Signals:
    """Signals that ask for an end raise `Stopped`; while they are held, they wait for `Watch`."""

    def __init__(self) -> None:
        self.held = False
        self.caught = ""
        self.wake, self._waker = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(self._waker, False)

    def install(self) -> None:
        """Handle them from here on."""
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        for number in _STOPPERS:
            signal.signal(number, self._handle)

    def _handle(self, number: int, _frame: object) -> None:
        first = not self.caught
        self.caught = signal.Signals(number).name
        # Once is enough: a second one must not interrupt the way out.
        if first and not self.held:
            raise Stopped(self.caught)


class Watch:
    """Asked often during a run; raises `Stopped` once nobody wants it any more.

    Args:
        source: file descriptor of standard input.
        signals: that may have come.
        seconds: without a byte from the host, after which it counts as gone.
    """

    def __init__(self, source: int, signals: Signals, seconds: float = HEARTBEAT_S) -> None:
        self._source = source
        self._signals = signals
        self._seconds = seconds
        self._last = time.monotonic()

    @property
    def descriptors(self) -> tuple[int, ...]:
        """That become readable when it is worth asking."""
        return (self._source, self._signals.wake)

    def check(self) -> None:
        """Return at once, or raise `Stopped`."""
        if self._signals.caught:
            raise Stopped(self._signals.caught)
        while select.select([self._source], [], [], 0)[0]:
            if not os.read(self._source, 1 << 12):
                why = "the host has gone: end of input"
                raise Stopped(why)
            self._last = time.monotonic()
        if time.monotonic() - self._last > self._seconds:
            why = f"no heartbeat of the host for {self._seconds:g} s"
            raise Stopped(why)
