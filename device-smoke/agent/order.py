"""What the host asks this device to run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agent import strict
from agent.errors import AgentError, Kind

RUNTIMES = ("docker", "podman", "crun")
_NONCE = r"[A-Za-z0-9_.:+/=-]{1,128}"
_NAME = r"[A-Za-z0-9_.-]{1,64}"
_KEYS = {
    *("nonce", "target", "image", "model", "golden", "smoke", "bundles"),
    *("runtime", "limits", "settings", "governor"),
}


@dataclass(frozen=True)
class Order:
    """An order that makes sense.

    Attributes:
        nonce: comes back in the statement.
        target: kind of device, as the host calls it.
        image_index: digest; the next three too.
        image_manifest: of this board's platform.
        model_index: of all variants.
        model_manifest: of the variant for this target.
        golden: digest of the golden data.
        smoke: digest of the zip of the package ``smoke``.
        bundles: digests of the evidence.
        runtime: a name out of `RUNTIMES`, or ``auto``.
        memory_bytes: that the container may use.
        cpus: 0: all.
        pids: processes and threads.
        profile: of the smoke test.
        providers: execution providers, most wanted first.
        threads: of one operator.
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
    runtime: str
    memory_bytes: int
    cpus: int
    pids: int
    profile: str
    providers: tuple[str, ...]
    threads: int
    optimization: str
    deadline_s: int
    governor: str

    @property
    def limits(self) -> dict[str, int]:
        """As the order and the statement say them."""
        return {"memory_bytes": self.memory_bytes, "cpus": self.cpus, "pids": self.pids}

    @property
    def settings(self) -> dict[str, Any]:
        """As the order and the statement say them."""
        return {
            "profile": self.profile,
            "providers": list(self.providers),
            "threads": self.threads,
            "optimization": self.optimization,
            "deadline_s": self.deadline_s,
        }


def parse(request: dict[str, Any]) -> Order:
    """Read a request.

    Raises:
        AgentError: of kind ``usage``.
    """
    try:
        return _parse(strict.obj(request, "order", _KEYS))
    except ValueError as error:
        raise AgentError(Kind.USAGE, f"the order: {error}") from error


def _parse(order: dict[str, Any]) -> Order:
    image = strict.obj(order.get("image"), "image", {"index", "manifest"})
    model = strict.obj(order.get("model"), "model", {"index", "manifest"})
    limits = strict.obj(order.get("limits"), "limits", {"memory_bytes", "cpus", "pids"})
    known = {"profile", "providers", "threads", "optimization", "deadline_s"}
    settings = strict.obj(order.get("settings"), "settings", known)
    bundles = strict.array(order.get("bundles"), "bundles", 64)
    providers = strict.array(settings.get("providers"), "settings.providers", 16)
    return Order(
        nonce=strict.word(order.get("nonce"), "nonce", _NONCE),
        target=strict.word(order.get("target"), "target", _NAME),
        image_index=strict.digest(image.get("index"), "image.index"),
        image_manifest=strict.digest(image.get("manifest"), "image.manifest"),
        model_index=strict.digest(model.get("index"), "model.index"),
        model_manifest=strict.digest(model.get("manifest"), "model.manifest"),
        golden=strict.digest(order.get("golden"), "golden"),
        smoke=strict.digest(order.get("smoke"), "smoke"),
        bundles=tuple(strict.digest(each, "bundles") for each in bundles),
        runtime=strict.word(order.get("runtime"), "runtime", "|".join((*RUNTIMES, "auto"))),
        memory_bytes=strict.number(
            limits.get("memory_bytes"), "limits.memory_bytes", 16 << 20, 1 << 50
        ),
        cpus=strict.number(limits.get("cpus"), "limits.cpus", 0, 1024),
        pids=strict.number(limits.get("pids"), "limits.pids", 8, 1 << 20),
        profile=strict.word(settings.get("profile"), "settings.profile", _NAME),
        providers=tuple(strict.word(each, "settings.providers", _NAME) for each in providers),
        threads=strict.number(settings.get("threads"), "settings.threads", 0, 4096),
        optimization=strict.word(settings.get("optimization"), "settings.optimization", _NAME),
        deadline_s=strict.number(settings.get("deadline_s"), "settings.deadline_s", 1, 86400),
        governor=strict.word(order.get("governor"), "governor", r"[a-z_]{0,32}"),
    )
