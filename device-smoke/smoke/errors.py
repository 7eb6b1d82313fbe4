"""The one way in which a smoke test ends without a report."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """Whose fault the lack of a report looks like."""

    USAGE = "usage"
    """The caller's."""
    MODEL = "model"
    """The model's: it cannot be loaded, fails, never ends, or answers in another form."""
    GOLDEN = "golden"
    """The golden data's: unreadable, or for another model."""
    MEMORY = "memory"
    """The model's or the limit's: it needs more memory than it may have."""
    DEVICE = "device"
    """The board's: a full or broken disk, no process to be had."""
    RUNTIME = "runtime"
    """This program's or ONNX Runtime's."""


class SmokeError(Exception):
    """There is no report.

    Attributes:
        kind: whose fault it looks like.
        message: one line.
    """

    def __init__(self, kind: Kind, message: str) -> None:
        self.kind = kind
        self.message = " ".join(message.split())
        super().__init__(f"{kind}: {self.message}")


class Interrupted(BaseException):
    """A signal asked us to stop. Not an `Exception`, so that nothing swallows it.

    Attributes:
        signal: its number.
    """

    def __init__(self, signal: int) -> None:
        self.signal = signal
        super().__init__(f"signal {signal}")
