"""One fresh process: loads the model, measures, and answers with one JSON object.

Fresh, so that the cold load is cold, and peak memory and CPU time belong to this model alone.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from . import engine, golden, placement, process
from .answers import Checker
from .clock import Watch
from .errors import Kind, SmokeError
from .host import Host
from .profiles import Profile
from .sensors import Reading, Sensors, columns
from .timing import MS, Loop
from .unknown import settle

Job = dict[str, Any]


def work(job: Job) -> dict[str, Any]:
    """Do one job.

    Raises:
        SmokeError: it cannot be done.
    """
    settings = engine.Settings(
        **{**job["settings"], "providers": tuple(job["settings"]["providers"])}
    )
    if job["task"] == "place":
        return _place(job, settings)
    return _time(job, settings)


def _place(job: Job, settings: engine.Settings) -> dict[str, Any]:
    model = Path(job["model"])
    session = engine.load(model, settings)
    data = golden.load(Path(job["golden"]), engine.inputs(session))
    return {
        "runtime": engine.describe(settings),
        "model": {
            "inputs": _signature(session.get_inputs()),
            "outputs": _signature(session.get_outputs()),
            "batch": data.batch,
        },
        "placement": placement.observe(model, settings, data.feeds, Path(job["folder"])),
    }


def _time(job: Job, settings: engine.Settings) -> dict[str, Any]:
    profile = Profile(**job["profile"])
    model, origin = Path(job["model"]), int(job["origin_ns"])
    itself = Host()
    watch = Watch(origin)
    sensors = Sensors(Host(root=Path(job["root"])))
    readings: list[Reading] = []

    def look() -> None:
        readings.append(sensors.read(watch.look()))

    def pause() -> None:
        if os.getppid() != job["parent"]:
            # Nobody reads the answer any more.
            raise SystemExit(1)
        if watch.look() - readings[-1].at_ns >= profile.sensor_ms * MS:
            look()

    began_ns = time.monotonic_ns() - origin
    import_ns = engine.import_ns()
    evicted = engine.evict(model)
    baseline = process.memory(itself)
    begin = time.monotonic_ns()
    session = engine.load(model, settings)
    load_ns = time.monotonic_ns() - begin
    loaded = process.memory(itself)
    data = golden.load(Path(job["golden"]), engine.inputs(session))
    checker = Checker(data)
    loop = Loop(session, data, checker, origin)
    first_ns = loop.first()
    warmups = loop.warm(profile.warmups, profile.warmup_ms)
    look()
    windows = [loop.window(profile, pause) for _ in range(profile.windows)]
    steady = process.memory(itself)
    look()
    repeated = loop.repeated(profile)
    loop.rest(profile.rest_limit_ms)
    spent_ns = time.process_time_ns()
    look()
    return {
        "began_ns": began_ns,
        "import_ns": import_ns,
        "load": {"model_evicted": evicted, "load_ns": load_ns, "first_ns": first_ns},
        "warmups": warmups,
        "windows": [window.document() for window in windows],
        "repeated": repeated,
        "accuracy": checker.document(),
        "memory": {"baseline": baseline, "loaded": loaded, "steady": steady},
        "cpu": {"process_ns": spent_ns, "threads": process.threads(itself)},
        "cgroup": process.limits(itself),
        "sensors": columns(readings),
        "clock": {"jumps": watch.jumps, "drift_ns": watch.drift_ns()},
    }


def _signature(values: Any) -> list[dict[str, Any]]:
    return [
        {
            "name": value.name,
            "type": value.type,
            "shape": ["?" if axis is None else axis for axis in value.shape],
        }
        for value in values
    ]


def main() -> int:
    """A job on standard input, an answer on standard output."""
    answer = os.dup(1)
    # What libraries print must not get in between.
    os.dup2(2, 1)
    try:
        result, unknown = settle(work(json.loads(sys.stdin.buffer.read())))
        document = {"result": result, "unknown": unknown}
    except SmokeError as error:
        document = {"error": {"kind": error.kind, "message": error.message}}
    except MemoryError as error:
        late = engine.out_of_memory(error)
        document = {"error": {"kind": late.kind, "message": late.message}}
    except OSError as error:
        document = {"error": {"kind": Kind.DEVICE, "message": str(error)}}
    with suppress(BrokenPipeError), os.fdopen(answer, "wb") as file:
        file.write(json.dumps(document).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
