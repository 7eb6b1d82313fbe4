"""Runs two things in turn and compares them pair by pair."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(
    name: str, ours: Callable[[], object], other: Callable[[], object], *, runs: int = 7
) -> None:
    """Print medians of both and the ratio ours/other: its median, lowest and highest pair.

    One turn of each goes uncounted, first.
    """
    seconds(ours)
    seconds(other)
    pairs = [(seconds(ours), seconds(other)) for _ in range(runs)]
    ratios = [mine / theirs for mine, theirs in pairs]
    print(
        f"{name}: {statistics.median(mine for mine, _ in pairs):.3f} s beside "
        f"{statistics.median(theirs for _, theirs in pairs):.3f} s; ratio "
        f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), {runs} pairs"
    )
