"""The commands ``missing``, ``receive`` and ``pull``: how blobs come to the device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent import blobs, strict
from agent.blobs import Blobs
from agent.errors import AgentError, Kind
from agent.tidy import sweep

if TYPE_CHECKING:
    from agent.machine import Machine
    from agent.wire import Wire


def missing(request: dict[str, Any], machine: Machine, wire: Wire) -> dict[str, Any]:
    """Which blobs have to be brought."""
    del wire
    wanted = blobs.parse(_only(request, {"blobs"}).get("blobs"))
    sweep(machine)
    return {"missing": Blobs(machine.places).missing(wanted)}


def receive(request: dict[str, Any], machine: Machine, wire: Wire) -> dict[str, Any]:
    """Take blobs from the line."""
    wanted = blobs.parse(_only(request, {"blobs"}).get("blobs"), "offset")
    sweep(machine)
    store = Blobs(machine.places)
    store.room(wanted)
    received = []
    for blob in wanted:
        with store.writer(blob, blob.offset) as writer:
            while writer.left:
                writer.write(wire.read(writer.left))
                wire.progress(digest=blob.digest, bytes=writer.size)
            writer.finish()
        wire.progress(now=True, digest=blob.digest, bytes=blob.size)
        received.append(blob.digest)
    return {"received": received}


def pull(request: dict[str, Any], machine: Machine, wire: Wire) -> dict[str, Any]:
    """Take blobs from a registry."""
    from agent.registry import Registry

    wanted = blobs.parse(request.get("blobs"), "media_type")
    registry = Registry.parse(request)
    sweep(machine)
    store = Blobs(machine.places)
    store.room(wanted)
    pulled = []
    for blob in wanted:
        if not store.there(blob):
            registry.pull(blob, store, wire)
        wire.progress(now=True, digest=blob.digest, bytes=blob.size)
        pulled.append(blob.digest)
    return {"pulled": pulled}


def _only(request: dict[str, Any], known: set[str]) -> dict[str, Any]:
    try:
        return strict.obj(request, "request", known)
    except ValueError as error:
        raise AgentError(Kind.USAGE, str(error)) from error
