"""Amounts for people."""

from __future__ import annotations


def size(count: int) -> str:
    """Bytes for people: ``48.1 MB`` (powers of 1000, as registries count)."""
    amount = float(count)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"
