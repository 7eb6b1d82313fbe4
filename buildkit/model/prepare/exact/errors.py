"""The one way in which running a graph exactly can fail."""

from __future__ import annotations


class UnsupportedError(Exception):
    """An operator has no exact form here, or not this form of it.

    Never seen by users: the calibrate stage turns to ONNX Runtime and records the reason.
    """
