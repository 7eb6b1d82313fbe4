"""Podman 3.0 or later, as root or without."""

from __future__ import annotations

from agent.engine import Engine


class Podman(Engine):
    """Turns off what Podman does of its own accord."""

    extra = ("--read-only-tmpfs=false", "--http-proxy=false")
