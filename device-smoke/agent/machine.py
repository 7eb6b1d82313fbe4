"""The machine that a call works on: the real one, or one that a test made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.board import Board
    from agent.places import Places


@dataclass(frozen=True)
class Machine:
    """Board and places."""

    board: Board
    places: Places
