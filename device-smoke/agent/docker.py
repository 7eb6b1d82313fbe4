"""Docker 20.10 or later."""

from __future__ import annotations

from agent.engine import Engine


class Docker(Engine):
    """Needs nothing that Podman does not."""
