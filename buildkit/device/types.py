"""A device, what it says of itself, and what it is asked to run: records of the protocol."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """One board, as ``devices.toml`` names it.

    Attributes:
        name: ``shelf-1``.
        host: what OpenSSH is asked for: ``pi@192.0.2.7``, or a name of the SSH configuration.
        target: kind of device, a key of `buildkit.recipe.TARGETS`.
        host_key: its SSH host key, ``ssh-ed25519 AAAA…``; pinned.
        key: id of its own signing key (first 16 hex digits, as in the key ring).
        port: of SSH; 0 leaves it to the user's configuration.
        identity: file of the private SSH key; empty leaves it to the user's configuration.
        runtime: ``docker``, ``podman``, ``crun``, or ``auto``.
    """

    name: str
    host: str
    target: str
    host_key: str
    key: str
    port: int = 0
    identity: str = ""
    runtime: str = "auto"


@dataclass(frozen=True, kw_only=True, slots=True)
class Blob:
    """Something that a device needs.

    Attributes:
        digest: ``sha256:<hex>``.
        size: bytes.
        media_type: by which a registry is asked: manifests go another way than blobs.
    """

    digest: str
    size: int
    media_type: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What a device is to run, by digest; ``run`` of docs/device-protocol.md.

    Attributes:
        nonce: comes back in what the device signs.
        target: kind of device.
        image_index: and the platform's manifest in it.
        image_manifest: of the platform.
        model_index: and the variant's manifest in it.
        model_manifest: of the variant.
        golden: the golden data.
        smoke: zip of the package `smoke`.
        bundles: evidence, of which one must be provenance by a trusted key.
        blobs: all that must be on the device, the above among it.
        runtime: as in `Device`.
        memory_bytes: limit of the container.
        cpus: of the container; 0: all.
        pids: processes and threads in it.
        profile: of the smoke test.
        providers: execution providers, most wanted first.
        threads: of one operator; 0 lets ONNX Runtime choose.
        optimization: of the graph.
        deadline_s: for the run.
        governor: during the run; empty leaves it alone.
    """

    nonce: str
    target: str
    image_index: str
    image_manifest: str
    model_index: str
    model_manifest: str
    golden: str
    smoke: str
    bundles: tuple[str, ...]
    blobs: tuple[Blob, ...]
    runtime: str = "auto"
    memory_bytes: int = 1 << 30
    cpus: int = 0
    pids: int = 256
    profile: str = "smoke"
    providers: tuple[str, ...] = ()
    threads: int = 0
    optimization: str = "all"
    deadline_s: int = 900
    governor: str = "performance"


@dataclass(frozen=True, kw_only=True, slots=True)
class Signed:
    """What came back of a run: the device's statement, its signature checked against its key.

    Attributes:
        payload: canonical bytes of the in-toto statement.
        bundle: Sigstore bundle v0.3 around it, with the device's signature.
        predicate: of the statement.
    """

    payload: bytes
    bundle: bytes
    predicate: Mapping[str, Any] = field(default_factory=dict)
