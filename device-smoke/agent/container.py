"""What runs in the container, and what every container runtime can do. Pure data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Protocol

    from agent.order import Order
    from agent.programs import Ended
    from agent.verify import Plan

PREFIX = "edge-smoke-"
LABEL = "io.edge-buildkit.run"
HOME = "/opt/edge-smoke"
SCRATCH = "/tmp"  # noqa: S108 - of the container: empty, and its own
SCRATCH_BYTES = 256 << 20
BEGAN = b"began\n"
LARGEST_REPORT = 16 << 20

# The report leaves by standard output: so nothing of the device can be written to, whatever user
# the image has, and a killed run leaves no file behind. Standard output is ours alone: what
# libraries print goes to standard error.
_CODE = """\
import os, runpy, sys
out = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)
out.write(b"began\\n")
out.flush()
code = 0
try:
    runpy.run_module("smoke", run_name="__main__", alter_sys=True)
except SystemExit as end:
    code = end.code
if not code:
    with open("/tmp/report.json", "rb") as file:
        out.write(file.read())
    out.flush()
sys.exit(code)
"""
_PYTHON = re.compile(r"(/[A-Za-z0-9_./-]+/)?python3(\.\d+)?")
_USUAL = ("python3", "python3.11", "python3.13", "python3.12")


class Mount(NamedTuple):
    """A file or folder of the device that the container may read."""

    source: str
    target: str


class Node(NamedTuple):
    """A device node that the container may use."""

    path: str
    major: int
    minor: int
    gid: int


@dataclass(frozen=True)
class Job:
    """One container.

    Attributes:
        name: of the container.
        folder: of the run, for what the runtime wants to have in a file.
        plan: what was checked.
        arguments: of Python.
        variables: added to the image's environment.
        mounts: read-only.
        nodes: device nodes.
        memory_bytes: limit, swap included.
        cpus: 0: all.
        pids: limit.
        seconds: after which it is killed.
    """

    name: str
    folder: Path
    plan: Plan
    arguments: tuple[str, ...]
    variables: Mapping[str, str]
    mounts: tuple[Mount, ...]
    nodes: tuple[Node, ...]
    memory_bytes: int
    cpus: int
    pids: int
    seconds: int


@dataclass(frozen=True)
class Found:
    """A runtime, as this device has it.

    Attributes:
        name: ``docker``.
        version: empty when it is not known.
        argv: how it is called; empty when it is not there.
        why: it cannot be used; empty when it can.
    """

    name: str
    version: str
    argv: tuple[str, ...]
    why: str

    def document(self) -> dict[str, Any]:
        """As ``facts`` says it."""
        usable = not self.why
        return {"name": self.name, "version": self.version, "usable": usable, "why": self.why}


if TYPE_CHECKING:

    class Runtime(Protocol):
        """Docker, Podman, or crun."""

        found: Found

        def prepare(self, plan: Plan) -> None:
            """Make the image ready to run, from checked blobs; quick when it is already.

            Raises:
                AgentError: it cannot be.
            """

        def run(self, job: Job) -> tuple[Ended, bool | None]:
            """Run to the end; how it ended, and whether memory ran out, if that is known."""

        def remove(self, name: str) -> bool:
            """End and remove a container; whether it is certainly gone."""

        def clean(self) -> int:
            """Remove what `prepare` made; how many images."""


def arguments(order: Order) -> tuple[str, ...]:
    """What Python is started with."""
    options = {
        "--model": f"{HOME}/model.onnx",
        "--golden": f"{HOME}/golden.npz",
        "--out": f"{SCRATCH}/report.json",
        "--profile": order.profile,
        "--nonce": order.nonce,
        "--threads": str(order.threads),
        "--optimization": order.optimization,
        "--deadline": str(order.deadline_s),
    }
    # With `=`, so that no value can be taken for an option.
    given = [f"{name}={value}" for name, value in options.items()]
    return ("-c", _CODE, *given, *(f"--provider={name}" for name in order.providers))


def variables(settings: Mapping[str, Any]) -> dict[str, str]:
    """Added to the image's environment; its own Python path stays behind ours."""
    before = environment(settings).get("PYTHONPATH", "")
    ours = f"{HOME}/smoke.zip"
    return {
        "PYTHONPATH": f"{ours}:{before}" if before else ours,
        "PYTHONDONTWRITEBYTECODE": "1",
        "ORT_DISABLE_TELEMETRY": "1",
        "TMPDIR": SCRATCH,
    }


def environment(settings: Mapping[str, Any]) -> dict[str, str]:
    """The image's environment."""
    found = {}
    for line in settings.get("Env") or ():
        name, equals, value = str(line).partition("=")
        if equals:
            found[name] = value
    return found


def pythons(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Names under which the image may have Python, the likeliest first."""
    words = [*(settings.get("Entrypoint") or ()), *(settings.get("Cmd") or ())]
    named = [word for word in words if isinstance(word, str) and _PYTHON.fullmatch(word)]
    return tuple(dict.fromkeys([*named, *_USUAL]))


def no_python(ended: Ended) -> bool:
    """Whether the runtime found no program of that name in the image."""
    text = ended.err.lower()
    missing = "not found" in text or "no such file" in text
    return not ended.out and ended.code != 0 and missing and "exec" in text and "python" in text
