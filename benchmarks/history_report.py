"""A test result of a Raspberry Pi 5 as `history_store` fills it in, report after report.

Texts between ``<=@`` and ``@=>`` are filled in inside their quotes; what stands between ``<@`` and
``@>`` takes the place of quotes and all.
"""

from __future__ import annotations

from typing import Any

from history import hexadecimal

from buildkit.evidence.smoke import RUN_SCHEMA

_PACKED = {"dtype": "<u4", "encoding": "planes+zlib+base64"}
_WINDOWS = 3
_LATENCY = {
    "max_ns": 30036321,
    "min_ns": 3931580,
    "p95_upper99_ns": 10649658,
    "p99_ns": 14067030,
    "inferences_per_1000_s": 130503,
}


def predicate(
    *, target: str, machine: str, image: dict[str, str], model: dict[str, str], weight: str
) -> dict[str, Any]:
    """The predicate of a test result, with places to fill in."""
    agent = hexadecimal("agent")
    return {
        "result": "<=@result@=>",
        "configuration": [
            {"name": name, "digest": {"sha256": hexadecimal(name)}}
            for name in ("golden", "smoke", "agent")
        ],
        "passedTests": "<@passed@>",
        "warnedTests": "<@warned@>",
        "failedTests": "<@failed@>",
        "run": {
            "schema": RUN_SCHEMA,
            "nonce": "<=@nonce@=>",
            "target": target,
            "local": False,
            "began": "<=@began@=>",
            "ended": "<=@ended@=>",
            "image": image,
            "model": model,
            "agent": f"sha256:{agent}",
            "runtime": {"name": "crun", "version": "1.8"},
            "limits": {"cpus": 0, "memory_bytes": 4 << 30, "pids": 256},
            "settings": {
                "deadline_s": 900,
                "optimization": "all",
                "profile": "smoke",
                "providers": [],
                "threads": 0,
            },
            "governor": {"before": "ondemand", "during": "performance"},
            "failure": None,
            "report": _report(machine, weight),
        },
    }


def _report(machine: str, weight: str) -> dict[str, Any]:
    counts = {"answered": 64, "correct": 62, "samples": 64}
    accuracy = {
        "answers_sha256": hexadecimal("answers"),
        "differing": 0,
        "golden": counts,
        "not_finite": 0,
        "timed": {"correct": 1754, "samples": 1811},
    }
    return {
        "schema": "edge-smoke/report/v1",
        "nonce": "<=@nonce@=>",
        "started": "<=@started@=>",
        "duration_ns": 9071580123,
        "tool": {"name": "edge-smoke", "version": "1.0.0"},
        "accelerator": {
            "hailo": dict.fromkeys(
                ("architecture", "board", "driver", "firmware", "identity", "library")
            )
            | {"devices": []},
            "pci": [],
        },
        "accuracy": accuracy,
        "board": _board(machine),
        "clock": {"drift_ns": -370, "jumps": []},
        "golden": {"bytes": 38536186, "file": "golden.npz", "sha256": hexadecimal("golden")},
        "latency": {
            **_LATENCY,
            "busy_ns": 6026556520,
            "incomplete_windows": 0,
            "p50_ns": "<@p50@>",
            "p95_ns": "<@p95@>",
            "repeated": {"same_p50_ns": "<@p50@>", "varied_p50_ns": "<@p95@>"},
            "samples": 1811,
            "windows": [
                {
                    **_LATENCY,
                    "busy_ns": 2000577851,
                    "p50_ns": "<@p50@>",
                    "p95_ns": "<@p95@>",
                    "process": 0,
                    "samples": 599,
                    "window": at,
                }
                for at in range(_WINDOWS)
            ],
        },
        "model": {
            "batch": 1,
            "bytes": 3798275,
            "file": "model.onnx",
            "inputs": [{"name": "input", "shape": ["batch", 3, 224, 224], "type": "tensor(float)"}],
            "outputs": [{"name": "logits", "shape": ["batch", 10], "type": "tensor(float)"}],
            "sha256": weight,
        },
        "placement": {
            "accelerators_asked": [],
            "assigned": {"CPUExecutionProvider": {"nodes": 313, "operators": {"Conv": 313}}},
            "nodes": 69,
            "nodes_on_accelerator": 0,
            "providers": {
                "CPUExecutionProvider": {
                    "nodes": 69,
                    "operators": {"QGemm": 1, "QLinearAdd": 10, "QLinearConv": 58},
                    "time_us": 37531,
                }
            },
            "session_providers": ["CPUExecutionProvider"],
        },
        "processes": [_process(accuracy)],
        "profile": {
            "name": "smoke",
            "processes": 1,
            "repeats": 50,
            "rest_limit_ms": 120000,
            "sensor_ms": 500,
            "warmup_ms": 500,
            "warmups": 10,
            "window_limit_ms": 120000,
            "window_ms": 2000,
            "window_samples": 300,
            "windows": _WINDOWS,
        },
        "runtime": {
            "build": "ORT Build Info: git-branch=HEAD, build type=Release",
            "execution_mode": "sequential",
            "inter_op_threads": 1,
            "numpy": "2.4.6",
            "onnxruntime": "1.31.1",
            "optimization": "all",
            "providers": {
                "asked": ["CPUExecutionProvider"],
                "available": ["AzureExecutionProvider", "CPUExecutionProvider"],
                "missing": [],
            },
            "python": "3.11.2",
            "telemetry": "disabled",
            "threads": 0,
        },
        "sensors": {
            "before": _reading(116473683),
            "after": _reading(8187491921),
            "throttling": {"live": [], "new": []},
        },
        "unknown": {
            f"/accelerator/hailo/{name}": "/dev/hailo* is not there"
            for name in ("architecture", "board", "driver", "firmware", "identity", "library")
        },
    }


def _reading(at: int) -> dict[str, Any]:
    return {
        "at_ns": at,
        "clock_khz": 2400000,
        "temperature_mc": 52300,
        "throttled": {"now": [], "raw": 0, "since_boot": []},
    }


def _board(machine: str) -> dict[str, Any]:
    return {
        "cooling": {
            "devices": [{"max_state": 4, "state": 1, "type": "pwm-fan"}],
            "fans": [{"name": "pwmfan", "pwm": 75, "rpm": 2880}],
        },
        "cpu": {
            "cores": 4,
            "features": ["aes", "asimd", "asimddp", "asimdhp", "asimdrdm", "atomics", "crc32"],
            "governors": ["ondemand"],
            "implementer": "0x41",
            "max_khz": 2400000,
            "name": "Cortex-A76",
            "part": "0xd0b",
            "revision": "1",
            "usable_cores": 4,
            "variant": "0x4",
        },
        "firmware": {"bootloader": "2026-02-12", "version": "<=@firmware@=>"},
        "kernel": {"release": "<=@kernel@=>", "version": "#1 SMP PREEMPT Debian 1:6.12-1+rpt1"},
        "machine": machine,
        "memory": {
            "available_bytes": 7 << 30,
            "swap_free_bytes": 0,
            "swap_total_bytes": 0,
            "total_bytes": 8 << 30,
        },
        "model": "Raspberry Pi 5 Model B Rev 1.0" if machine == "aarch64" else None,
        "os": "Debian GNU/Linux 12 (bookworm)",
        "page_bytes": 16384,
        "revision": "d04170",
        "standin": False,
        "uptime_ms": 38380520,
    }


def _process(accuracy: dict[str, Any]) -> dict[str, Any]:
    memory = {"peak_rss_bytes": 115261440, "rss_bytes": 111321088, "swap_bytes": 0}
    readings = range(0, 8_000_000_000, 500_000_000)
    return {
        "accuracy": accuracy,
        "began_ns": 357904736,
        "cgroup": {
            "cpu_max": None,
            "memory_max_bytes": 4 << 30,
            "memory_peak_bytes": 127266816,
            "oom_kills": 0,
        },
        "clock": {"drift_ns": -465, "jumps": []},
        "cpu": {
            "process_ns": 7979559582,
            "threads": [{"system_ms": 30, "user_ms": 1900 + at} for at in range(4)],
        },
        "import_ns": 20954535,
        "load": {"first_ns": 12604752, "load_ns": 118834714, "model_evicted": True},
        "memory": {"baseline": memory, "loaded": memory, "steady": memory},
        "repeated": {
            "same": {**_PACKED, "count": 100, "data": "<=@data5@=>"},
            "varied": {**_PACKED, "count": 100, "data": "<=@data5@=>"},
        },
        "sensors": {
            "at_ns": list(readings),
            "clock_khz": [2400000 for _ in readings],
            "temperature_mc": [52300 + at for at, _ in enumerate(readings)],
            "throttled": [0 for _ in readings],
        },
        "warmups": 65,
        "windows": [
            {
                "busy_ns": 2000577851,
                "complete": True,
                "cpu_ns": 2184195995,
                "gap": {**_PACKED, "count": 599, "data": "<=@data10@=>"},
                "latency": {**_PACKED, "count": 599, "data": "<=@data20@=>"},
                "spent_ns": 2000577851,
                "stretches": [0, 284, 425, 511],
            }
            for _ in range(_WINDOWS)
        ],
    }
