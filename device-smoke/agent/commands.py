"""The commands ``facts``, ``enroll`` and ``clean``."""

from __future__ import annotations

import platform
import time
from typing import TYPE_CHECKING, Any

from agent import VERSION, identity, runtimes, statement, strict
from agent import places as files
from agent.blobs import Blobs
from agent.errors import AgentError, Kind
from agent.guardian import Lock
from agent.keys import Keys
from agent.programs import Programs
from agent.tidy import sweep
from agent.undo import Undo

if TYPE_CHECKING:
    from pathlib import Path

    from agent.machine import Machine
    from agent.wire import Wire


def facts(request: dict[str, Any], machine: Machine, wire: Wire) -> dict[str, Any]:
    """What this device is, and in which state; changes nothing."""
    del wire
    _only(request, set())
    programs = Programs()
    keys = Keys(machine.places, programs)
    own = keys.own()
    leftovers = _undo(machine, programs).leftovers()
    if leftovers:
        lock = Lock(machine.places)
        if lock.take(patient=False):
            lock.free()
        else:
            # Not left over: it goes on.
            leftovers = []
    (openssl,) = programs.together([["openssl", "version"]])
    return {
        "agent": VERSION,
        **machine.board.facts(),
        "python": platform.python_version(),
        "openssl": openssl.out.decode(errors="replace").strip(),
        "free_bytes": files.free(machine.places.data),
        "wall": statement.moment(time.time()),
        "runtimes": [found.document() for found in runtimes.find(programs, machine.board.root)],
        "key": {"id": own.id, "pem": own.pem} if own else None,
        "trusted": sorted(keys.trusted()),
        "leftovers": leftovers,
    }


def enroll(request: dict[str, Any], machine: Machine, wire: Wire) -> dict[str, Any]:
    """Make the device's key, and replace the trusted keys."""
    del wire
    sweep(machine)
    return Keys(machine.places, Programs()).enroll(request)


def clean(request: dict[str, Any], machine: Machine, wire: Wire) -> dict[str, Any]:
    """Remove what runtimes made of images; with ``blobs`` everything but key and trust."""
    del wire
    everything = _only(request, {"blobs"}).get("blobs")
    if not isinstance(everything, bool):
        raise AgentError(Kind.USAGE, "blobs: neither true nor false")
    lock = Lock(machine.places)
    if not lock.take(patient=True):
        raise AgentError(Kind.BUSY, "a run holds the board", "wait until it has ended")
    try:
        programs, places = Programs(), machine.places
        _undo(machine, programs).sweep()
        images = 0
        for found in runtimes.find(programs, machine.board.root):
            if found.argv and any(
                name.startswith(f"{found.name}-") for name in files.names(places.images)
            ):
                images += runtimes.make(found, programs, Blobs(places), places).clean()
        removed = {"images": images, "blobs": 0, "partial": 0}
        if everything:
            for kind, folder in (("partial", places.partial), ("blobs", places.blobs)):
                removed[kind] = len(files.names(folder))
                files.remove(folder)
            _remove_agents(places.cache)
        return {"removed": removed}
    finally:
        lock.free()


def _remove_agents(cache: Path) -> None:
    # Our own file stays: modules that are not loaded yet are read from it.
    own = identity.archive()
    for name in files.names(cache):
        file = cache / name
        if name.startswith("agent-") and not (file.exists() and file.samefile(own)):
            files.remove(file)


def _undo(machine: Machine, programs: Programs) -> Undo:
    return Undo(machine.places, machine.board, Blobs(machine.places), programs)


def _only(request: dict[str, Any], known: set[str]) -> dict[str, Any]:
    try:
        return strict.obj(request, "request", known)
    except ValueError as error:
        raise AgentError(Kind.USAGE, str(error)) from error
