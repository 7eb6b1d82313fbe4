"""Reports for the gate's tests: one real run of the smoke test, put on a made-up Pi 5.

The times of the real run depend on the machine, so its samples are exchanged for others, with all
that follows from them; everything else is as the smoke test wrote it.
"""

from __future__ import annotations

import copy
import functools
import json
import random
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smoke.samples import pack
from smoke.sensors import names_of, throttling
from smoke.stats import summary as summarised
from smoke.unknown import Unknown

from buildkit.gate import Expected, Failure, Rules, Run, rules
from buildkit.recipe import TARGETS, SmokeSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

# The smoke test's own tests know how to run it.
sys.path.insert(0, str(Path(__file__).parents[1] / "smoke"))

from smoke_parts import SAMPLES, pi, smoke, write_golden, write_model

Report = dict[str, Any]

MARK = "qemu virt, made up as a Raspberry Pi 5"
EXPECTED = Expected(samples=SAMPLES, correct=SAMPLES, same_answers=True)
MS = 1_000_000


@functools.cache
def _real() -> bytes:
    """What the smoke test says of a linear model on a fake Raspberry Pi 5."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_model(folder / "model.onnx")
        write_golden(folder / "golden.npz")
        done = smoke(folder, "--root", str(pi(folder / "root")), "--nonce", "n-1")
        assert done.returncode == 0, done.stderr
        return (folder / "report.json").read_bytes()


def real() -> Report:
    """The report as it is."""
    document: Report = json.loads(_real())
    return document


@functools.cache
def _calm() -> Report:
    report = real()
    report["board"] |= {"machine": "aarch64", "page_bytes": 16384}
    retime(report)
    return report


def calm() -> Report:
    """A report that every rule of `strict` is content with: 5 ms, give or take 1 %."""
    return copy.deepcopy(_calm())


def times(count: int = 300, *, seed: int = 0, factor: float = 1.0) -> list[int]:
    """Latencies about 5 ms, in nanoseconds."""
    chance = random.Random(seed)  # noqa: S311 - a test's samples
    return [round(5 * MS * factor * chance.uniform(0.995, 1.005)) for _ in range(count)]


def retime(report: Report, *windows: Sequence[int]) -> None:
    """Give the windows (of one process) these samples, and the summaries what follows."""
    process = report["processes"][0]
    chosen = list(windows) or [times(seed=1), times(seed=2)]
    assert len(chosen) == len(process["windows"])
    summaries = []
    for place, (window, samples) in enumerate(zip(process["windows"], chosen, strict=True)):
        window["latency"] = pack(samples)
        window["gap"] = pack([100] * len(samples))
        window["busy_ns"] = sum(samples) + 100 * len(samples)
        summaries.append({"process": 0, "window": place, **_summary(samples, window["busy_ns"])})
    everything = [sample for samples in chosen for sample in samples]
    busy = sum(window["busy_ns"] for window in process["windows"])
    report["latency"] |= {**_summary(everything, busy), "windows": summaries}
    process["load"] |= {"load_ns": 100 * MS, "first_ns": 9 * MS}


def _summary(samples: Sequence[int], busy: int) -> dict[str, Any]:
    found = {**summarised(samples), "busy_ns": busy}
    found["inferences_per_1000_s"] = len(samples) * 10**12 // busy if busy else Unknown("")
    return {key: None if isinstance(value, Unknown) else value for key, value in found.items()}


def throttle(report: Report, bits: Sequence[int | None]) -> None:
    """Set throttle bits: before, those during (the last one stays), after."""
    before, *during, after = bits
    column = report["processes"][0]["sensors"]
    while len(during) < len(column["at_ns"]):
        during.append(during[-1])
    column["throttled"] = during[: len(column["at_ns"])]
    for key, raw in (("before", before), ("after", after)):
        report["sensors"][key]["throttled"] = None if raw is None else names_of(raw)
    readings = [Unknown("") if each is None else each for each in (before, *during, after)]
    found = throttling(readings)
    report["sensors"]["throttling"] = {
        key: None if isinstance(value, Unknown) else value for key, value in found.items()
    }


def accelerate(report: Report, provider: str, *, nodes: int, rest: int) -> None:
    """Let `nodes` nodes run on another provider, and `rest` on the CPU."""
    report["runtime"]["providers"] |= {
        "asked": [provider, "CPUExecutionProvider"],
        "available": [provider, "CPUExecutionProvider"],
    }
    ran = {provider: nodes, "CPUExecutionProvider": rest}
    report["placement"] |= {
        "nodes": nodes + rest,
        "nodes_on_accelerator": nodes,
        "accelerators_asked": [provider],
        "providers": {
            name: {"nodes": count, "operators": {"MatMul": count}, "time_us": 1}
            for name, count in ran.items()
            if count
        },
    }


def run(report: Report | None = None, **changes: Any) -> Run:
    """A run on the board ``shelf-1``."""
    chosen = calm() if report is None else report
    return Run(**{"device": "shelf-1", "target": "pi5", "report": chosen, **changes})


def silent(failure: Failure | None = None) -> Run:
    """A run without a report."""
    return Run(device="shelf-1", target="pi5", failure=failure)


def strict(**changes: Any) -> Rules:
    """Rules that ask for every number there is."""
    said = {
        "profile": "quick",
        "threads": 1,
        "max_load_ms": 500,
        "max_first_ms": 50,
        "max_p50_ms": 8,
        "max_p95_ms": 10,
        "max_p99_ms": 15,
        "min_throughput": 100,
        "max_memory_mib": 512,
        "min_accuracy": 95,
        **changes,
    }
    return rules(SmokeSpec(**said), TARGETS["pi5"])
