"""The whole run, and its one document."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import SCHEMA, VERSION, accelerator, board, children, stats
from .clock import Watch
from .errors import Kind, SmokeError
from .host import Host
from .samples import unpack
from .sensors import Sensors, one, throttling
from .unknown import Unknown, below, settle

if TYPE_CHECKING:
    from .engine import Settings
    from .profiles import Profile


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What to run.

    Attributes:
        model: the ONNX file.
        golden: the ``.npz`` file.
        profile: how long and how often.
        settings: for ONNX Runtime.
        folder: can be written into.
        nonce: of the caller, to know the report again by; may be empty.
        deadline_s: seconds after which a worker is killed.
        root: of the machine that is looked at; for tests.
    """

    model: Path
    golden: Path
    profile: Profile
    settings: Settings
    folder: Path
    nonce: str = ""
    deadline_s: int = 3600
    root: Path = Path("/")


def make(order: Order) -> dict[str, Any]:
    """Run all; the document, in which nothing but what `unknown` names is null.

    Raises:
        SmokeError: there is nothing to report.
    """
    origin = time.monotonic_ns()
    started = datetime.now(UTC)
    watch = Watch(origin)
    files = {"model": _file(order.model, Kind.MODEL), "golden": _file(order.golden, Kind.GOLDEN)}
    host = Host(root=order.root)
    sensors = Sensors(host)
    about = {"board": board.fingerprint(host), "accelerator": accelerator.fingerprint(host)}
    before = sensors.read(watch.look())
    job = {
        "model": str(order.model.resolve()),
        "golden": str(order.golden.resolve()),
        "profile": order.profile.document(),
        "settings": order.settings.document(),
        "origin_ns": origin,
        "root": str(order.root),
        "folder": str(order.folder.resolve()),
    }
    deadline = origin + order.deadline_s * 1_000_000_000
    unknown: dict[str, str] = {}
    processes = []
    for number in range(order.profile.processes):
        result, reasons = children.run({**job, "task": "time"}, deadline)
        processes.append(result)
        unknown |= below(f"/processes/{number}", reasons)
    after = sensors.read(watch.look())
    placed, placed_reasons = children.run({**job, "task": "place"}, deadline)
    if (_file(order.model, Kind.MODEL), _file(order.golden, Kind.GOLDEN)) != (
        files["model"],
        files["golden"],
    ):
        message = "the model or the golden data changed during the run"
        raise SmokeError(Kind.DEVICE, message)
    duration_ns = watch.look()
    latency, latency_reasons = settle(_latency(processes))
    bits = [before.throttled, *_throttled(processes, unknown), after.throttled]
    document: dict[str, Any]
    document, reasons = settle(
        {
            "schema": SCHEMA,
            "tool": {"name": "edge-smoke", "version": VERSION},
            "nonce": order.nonce or Unknown("the caller gave none"),
            "started": started.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "profile": order.profile.document(),
            **about,
            "model": files["model"] | placed.pop("model"),
            "golden": files["golden"],
            "accuracy": _accuracy(processes),
            "sensors": {
                "before": one(before),
                "after": one(after),
                "throttling": throttling(bits),
            },
            "clock": {"jumps": watch.jumps, "drift_ns": watch.drift_ns()},
            "duration_ns": duration_ns,
        }
    )
    document |= {"latency": latency, "processes": processes, **placed}
    unknown |= reasons | below("/latency", latency_reasons) | placed_reasons
    document["unknown"] = dict(sorted(unknown.items()))
    return document


def write(document: bytes, out: Path) -> None:
    """Put `document` at `out`, whole or not at all; refuses to replace a file.

    Raises:
        SmokeError: it cannot be written.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=".smoke-", dir=out.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(document)
                file.flush()
                os.fchmod(file.fileno(), 0o644)
                os.fsync(file.fileno())
            if out.exists():
                raise FileExistsError(out)
            Path(name).rename(out)
        finally:
            with suppress(FileNotFoundError):
                Path(name).unlink()
        folder = os.open(out.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except FileExistsError as error:
        raise SmokeError(Kind.USAGE, f"{out} is there already; remove it") from error
    except OSError as error:
        raise SmokeError(Kind.DEVICE, f"{out} cannot be written: {error.strerror}") from error


def _file(path: Path, kind: Kind) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise SmokeError(kind, f"{path} cannot be read: {error.strerror}") from error
    return {"file": path.name, "bytes": size, "sha256": digest}


def _latency(processes: list[dict[str, Any]]) -> dict[str, Any]:
    """Summaries of every window, and of all samples together."""
    windows, everything, busy, incomplete = [], [], 0, 0
    for number, process in enumerate(processes):
        for place, window in enumerate(process["windows"]):
            samples = unpack(window["latency"])
            everything += samples
            busy += window["busy_ns"]
            incomplete += not window["complete"]
            summary = {"process": number, "window": place, **stats.summary(samples)}
            windows.append({**summary, **_throughput(len(samples), window["busy_ns"])})
    repeated = {
        f"{kind}_p50_ns": stats.summary(
            [sample for process in processes for sample in unpack(process["repeated"][kind])]
        )["p50_ns"]
        for kind in ("same", "varied")
    }
    return {
        **stats.summary(everything),
        **_throughput(len(everything), busy),
        "incomplete_windows": incomplete,
        "windows": windows,
        "repeated": repeated,
    }


def _throughput(count: int, busy_ns: int) -> dict[str, int | Unknown]:
    speed = count * 10**12 // busy_ns if busy_ns else Unknown("no samples")
    return {"busy_ns": busy_ns, "inferences_per_1000_s": speed}


def _accuracy(processes: list[dict[str, Any]]) -> dict[str, Any]:
    """Of all processes together; the golden set as the first one answered it."""
    parts = [process["accuracy"] for process in processes]
    digests = {part["answers_sha256"] for part in parts}
    digest = digests.pop()
    return {
        "timed": {key: sum(part["timed"][key] for part in parts) for key in ("samples", "correct")},
        "golden": parts[0]["golden"],
        "differing": sum(part["differing"] for part in parts),
        "not_finite": sum(part["not_finite"] for part in parts),
        "answers_sha256": (
            Unknown("the processes did not all give the same answers, or not all of them")
            if digests or digest is None
            else digest
        ),
    }


def _throttled(processes: list[dict[str, Any]], unknown: dict[str, str]) -> list[int | Unknown]:
    found: list[int | Unknown] = []
    for number, process in enumerate(processes):
        column = process["sensors"]["throttled"]
        if column is None:
            found.append(Unknown(unknown[f"/processes/{number}/sensors/throttled"]))
        else:
            found += [
                Unknown("a reading failed during the run") if bits is None else bits
                for bits in column
            ]
    return found
