"""What a long command tells while it works."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


class Progress(Protocol):
    """Where progress goes; the command line prints it, a test keeps it."""

    def stage(self, name: str, what: str) -> None:
        """A stage begins."""

    def step(self, done: int, total: int, what: str) -> None:
        """Part of the stage is done."""

    def note(self, text: str) -> None:
        """Something that a person should know."""

    def output(self, line: str) -> None:
        """A line that a tool printed, for those who watch."""

    def finished(self, name: str, seconds: float) -> None:
        """A stage has ended."""


class Silent:
    """Progress that nobody reads."""

    def stage(self, name: str, what: str) -> None:
        """Do nothing."""

    def step(self, done: int, total: int, what: str) -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Do nothing."""

    def output(self, line: str) -> None:
        """Do nothing."""

    def finished(self, name: str, seconds: float) -> None:
        """Do nothing."""


class Stopwatch:
    """Runs stages and keeps how long each took.

    Attributes:
        started: seconds since 1970 when it was made.
        seconds: stage → wall-clock seconds, in the order they ran.
    """

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.started = int(time.time())
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str, what: str) -> Iterator[None]:
        """Time one stage."""
        self.progress.stage(name, what)
        start = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - start, 3)
        self.progress.finished(name, self.seconds[name])
