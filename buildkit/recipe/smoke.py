"""The keys of ``[smoke]``: how the test on a device runs, and when it passes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, get_args

from buildkit.recipe import forms
from buildkit.recipe.kinds import Choice, Many, Number, Text
from buildkit.recipe.table import Table
from buildkit.recipe.targets import TARGETS
from buildkit.recipe.types import Profile, SmokeSpec

if TYPE_CHECKING:
    from buildkit.recipe.kinds import Kind

GOVERNORS: Final = ("performance", "ondemand", "schedutil", "conservative", "powersave", "")

_DAY = 24 * 3600


def _ms(about: str, example: float) -> Number:
    return Number(about=f"{about}, milliseconds", low=0, high=_DAY * 1000, example=example)


def _percent(about: str, example: float, high: int = 100) -> Number:
    return Number(about=about, low=0, high=high, example=example)


_KEYS: Final[dict[str, Kind]] = {
    "profile": Choice(about="how long the test runs", options=get_args(Profile), example="release"),
    "providers": Many(
        about="execution providers of ONNX Runtime, most wanted first; the CPU alone when absent",
        item=Text(about="a provider", form=forms.PROVIDER, example="CPUExecutionProvider"),
        least=1,
        ordered=True,
    ),
    "threads": Number(
        about="threads of one operator; 0 lets ONNX Runtime choose",
        low=0,
        high=1024,
        example=4,
        whole=True,
    ),
    "max_load_ms": _ms("cold load of the model", 500),
    "max_first_ms": _ms("first inference", 50),
    "max_p50_ms": _ms("median of the warm latency", 8),
    "max_p95_ms": _ms("upper 99 % confidence bound of the 95th percentile", 10),
    "max_p99_ms": _ms("99th percentile", 15),
    "min_throughput": Number(about="inferences a second", low=0, high=10**9, example=100),
    "max_memory_mib": Number(
        about="peak memory of the process, MiB", low=1, high=1 << 20, example=200, whole=True
    ),
    "min_accuracy": _percent("percent of the golden inputs that it must get right", 95),
    "max_accuracy_change": _percent(
        "percentage points that a device may get fewer right than the build", 0.5
    ),
    "min_samples": Number(
        about="timed inferences of one run", low=90, high=10**9, example=900, whole=True
    ),
    "min_on_accelerator": _percent("percent of the nodes that must run on an accelerator", 90),
    "max_temperature_c": Number(
        about="temperature of the CPU above which a run does not count, degrees Celsius",
        low=0,
        high=150,
        example=75,
    ),
    "page_bytes": Choice(
        about="memory page that the kernel must have", options=(4096, 16384, 65536), example=16384
    ),
    "max_slower": _percent("percent that p50 and p95 may be above the baseline's", 5, 10_000),
    "max_larger": _percent("percent that peak memory may be above the baseline's", 10, 10_000),
    "attempts": Number(
        about="runs at most, until one is not inconclusive", low=1, high=100, example=3, whole=True
    ),
    "memory_limit_mib": Number(
        about="memory that the container may use, MiB",
        low=16,
        high=1 << 20,
        example=512,
        whole=True,
    ),
    "deadline_s": Number(
        about="longest time of one run, seconds", low=1, high=_DAY, example=900, whole=True
    ),
    "governor": Choice(
        about="the CPU's frequency governor during the run; empty leaves it alone",
        options=GOVERNORS,
        example="performance",
    ),
}

SMOKE: Final = Table(
    about="how the smoke test on a device runs, and when it passes",
    record=SmokeSpec,
    absent="nothing",
    keys={
        **_KEYS,
        "targets": Table(
            about="what is otherwise for one target",
            record=SmokeSpec,
            absent="nothing",
            keys={
                name: Table(
                    about=f"what is otherwise on {target.title}",
                    record=SmokeSpec,
                    absent="nothing",
                    keys=_KEYS,
                )
                for name, target in TARGETS.items()
                if not target.vendor_tool
            },
        ),
    },
)
"""Not part of what a recipe's digest is made of."""
