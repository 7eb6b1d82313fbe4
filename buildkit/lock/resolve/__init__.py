"""Asks APT and pip which packages a recipe means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from buildkit.lock.resolve.inputs import Inputs, resolve_all

__all__ = ["Inputs", "resolve_all"]


def __getattr__(name: str) -> Any:
    """Load the resolver when it is asked for: reading a lock needs only this room's data."""
    if name in __all__:
        from buildkit.lock.resolve import inputs  # noqa: PLC0415 - see above

        return getattr(inputs, name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
