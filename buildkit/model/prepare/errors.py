"""The two ways in which a stage ends on purpose."""

from __future__ import annotations


class PrepareError(Exception):
    """A stage cannot go on (exit status 1).

    Args:
        message: what happened and where, one sentence, no trailing full stop.
        remedy: what the user can do about it; empty when there is nothing to do.
    """

    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class BadInputError(PrepareError):
    """A model, a data file or a setting cannot be used (exit status 3)."""

    exit_code = 3
