"""Before every command but ``facts``: puts right what a killed run left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent import places as files

if TYPE_CHECKING:
    from agent.machine import Machine


def sweep(machine: Machine) -> None:
    """Put right what a killed run left, unless a run goes on."""
    places = machine.places
    half_made = any(name.startswith(".") for name in files.names(places.images))
    if not half_made and not files.names(places.runs):
        return
    # Seldom needed, and a slow board takes a second to read them.
    from agent.blobs import Blobs
    from agent.guardian import Lock
    from agent.programs import Programs
    from agent.undo import Undo

    lock = Lock(places)
    if lock.take(patient=True):
        try:
            Undo(places, machine.board, Blobs(places), Programs()).sweep()
        finally:
            lock.free()
