"""Puts app layers onto a base, as documents; reads and writes nothing.

Formats: OCI image-spec 1.1 (manifest.md, config.md, image-index.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from buildkit import canonical, media
from buildkit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from buildkit.records import Descriptor

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """A layer: its descriptor, the digest of its unpacked tar, and how it was made."""

    descriptor: Descriptor
    diff_id: str
    created_by: str


def base_config(platform: str, layers: Sequence[Layer]) -> dict[str, Any]:
    """The configuration of a base image made of `layers`."""
    system, architecture = platform.split("/")
    # Like the layers themselves, it belongs to the lock and not to a commit's time.
    created = canonical.timestamp(0)
    return {
        "architecture": architecture,
        "os": system,
        "created": created,
        "config": {"Env": [_PATH]},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [{"created": created, "created_by": layer.created_by} for layer in layers],
    }


def base_layers_in(built: Mapping[str, Any], base: Mapping[str, Any], *, on_base: bool) -> int:
    """How many layers of a built image are the base's own.

    Args:
        built: configuration of what BuildKit built.
        base: configuration of the base.
        on_base: whether the Dockerfile's last stage descends from the base.

    Raises:
        InputError: it should descend from the base, but does not begin with its layers.
    """
    below = base["rootfs"]["diff_ids"]
    if built["rootfs"]["diff_ids"][: len(below)] == below:
        return len(below)
    if on_base:
        msg = "the Dockerfile ends on the base, but the built image does not begin with its layers"
        raise InputError(msg, "end the Dockerfile with a stage `FROM base` or `FROM scratch`")
    return 0


def graft(
    base: Mapping[str, Any],
    built: Mapping[str, Any],
    app: Sequence[str],
    *,
    labels: Mapping[str, str],
    epoch: int,
) -> dict[str, Any]:
    """The configuration of the base with app layers on top.

    Args:
        base: configuration of the base.
        built: configuration of what BuildKit built.
        app: diff_ids of the app layers, lowest first.
        labels: set over those of the Dockerfile.
        epoch: the time of the image and of each app layer.
    """
    created = canonical.timestamp(epoch)
    config = dict(built.get("config", {}))
    # A build from scratch knows nothing of the base's variables; its own come last and win.
    own = {entry.partition("=")[0] for entry in config.get("Env", [])}
    inherited = [entry for entry in base["config"]["Env"] if entry.partition("=")[0] not in own]
    config["Env"] = [*inherited, *config.get("Env", [])]
    config["Labels"] = {**config.get("Labels", {}), **labels}
    steps = _app_steps(built.get("history", []), len(app))
    return {
        "architecture": base["architecture"],
        "os": base["os"],
        "created": created,
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [*base["rootfs"]["diff_ids"], *app]},
        "history": [*base["history"], *({**step, "created": created} for step in steps)],
    }


def _app_steps(history: Sequence[Mapping[str, Any]], layers: int) -> list[dict[str, Any]]:
    """The last steps of a history: those that made `layers` layers, and the empty ones between."""
    steps: list[dict[str, Any]] = []
    left = layers
    for step in reversed(history):
        if not step.get("empty_layer"):
            if left == 0:
                break
            left -= 1
        steps.insert(0, dict(step))
    return steps


def manifest(
    config: Descriptor, layers: Sequence[Descriptor], annotations: Mapping[str, str]
) -> dict[str, Any]:
    """An image manifest."""
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": media.MANIFEST,
        "config": config.to_json(),
        "layers": [layer.to_json() for layer in layers],
    }
    if annotations:
        document["annotations"] = dict(annotations)
    return document


def index(manifests: Sequence[Descriptor], annotations: Mapping[str, str]) -> dict[str, Any]:
    """An image index, sorted by platform."""
    order = sorted(manifests, key=lambda descriptor: (descriptor.platform or "", descriptor.digest))
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": media.INDEX,
        "manifests": [descriptor.to_json() for descriptor in order],
    }
    if annotations:
        document["annotations"] = dict(annotations)
    return document
