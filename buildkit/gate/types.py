"""What a gate reads and says, as records; computes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class Outcome(StrEnum):
    """What a gate decides; also of a single rule."""

    PASS = "PASS"  # noqa: S105 - no password
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"


class Blame(StrEnum):
    """Whose fault it is when a run is no PASS."""

    ARTIFACT = "artifact"
    DEVICE = "device"
    NETWORK = "network"
    HOST = "host"


@dataclass(frozen=True, kw_only=True, slots=True)
class Expected:
    """What the build says of an artifact, from the model's ``model.json``.

    Attributes:
        samples: golden inputs.
        correct: how many of them the quantised model got right when its lock was made.
        same_answers: whether its outputs are the same on every CPU.
        answers_sha256: of its outputs for all golden inputs, 64 hex digits; empty where they need
            not be the same.
    """

    samples: int
    correct: int
    same_answers: bool
    answers_sha256: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """When a run passes. No limit where the value is ``None``; times in milliseconds.

    Attributes:
        profile: of the smoke test (``quick``, ``smoke``, ``release``).
        providers: execution providers asked for, most wanted first; empty is the CPU alone.
        threads: of one operator; 0 lets ONNX Runtime choose.
        max_load_ms: cold load.
        max_first_ms: first inference.
        max_p50_ms: warm latency, median.
        max_p95_ms: upper 99 % confidence bound of the 95th percentile.
        max_p99_ms: 99th percentile.
        min_throughput: inferences a second.
        max_memory_bytes: peak memory of the process.
        min_accuracy: percent of the golden inputs.
        max_accuracy_change: percentage points that the device may get fewer right than the build.
        min_samples: timed inferences, all windows together.
        min_on_accelerator: percent of the nodes that ran there; needs an accelerator provider.
        max_temperature_c: at any reading.
        page_bytes: memory page of the kernel; any when ``None``.
        max_slower: percent that p50 and p95 may be above the baseline's.
        max_larger: percent that peak memory may be above the baseline's.
        attempts: runs at most, until one is not INCONCLUSIVE.
        memory_limit: bytes that the container may use.
        deadline_s: of one run.
        governor: of the CPU's frequency during the run; empty leaves it alone.
        target: kind of device that it ran on; any when empty.
        machine: of that kind, as the kernel says it (``aarch64``); any when empty.
        board: what the board's model name must hold; any when empty.
        tells_throttling: such a board says whether it throttles, so it must be known.
    """

    profile: str = "smoke"
    providers: tuple[str, ...] = ()
    threads: int = 0
    max_load_ms: float | None = None
    max_first_ms: float | None = None
    max_p50_ms: float | None = None
    max_p95_ms: float | None = None
    max_p99_ms: float | None = None
    min_throughput: float | None = None
    max_memory_bytes: int | None = None
    min_accuracy: float | None = None
    max_accuracy_change: float = 0.5
    min_samples: int = 90
    min_on_accelerator: float | None = None
    max_temperature_c: float | None = None
    page_bytes: int | None = None
    max_slower: float = 5.0
    max_larger: float = 10.0
    attempts: int = 3
    memory_limit: int = 1 << 30
    deadline_s: int = 900
    governor: str = "performance"
    target: str = ""
    machine: str = ""
    board: str = ""
    tells_throttling: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A run that left no report: it was signed as failed, or it never came to its end.

    Attributes:
        kind: of docs/device-protocol.md (``model``, ``memory``, ``refused``, ``network``, …).
        blame: whose fault.
        message: for people.
    """

    kind: str
    blame: Blame
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One run on one device, as the gate sees it.

    Attributes:
        device: name of the device.
        target: that it is enrolled for.
        report: the document (docs/smoke-report.md); nothing when there is none.
        failure: why there is none.
        local: whether it ran in this machine's engine and on no device.
        evidence: digests of the bundles that say so; empty when nothing was signed.
    """

    device: str
    target: str
    report: Mapping[str, Any] | None = None
    failure: Failure | None = None
    local: bool = False
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line of the comparison: a measured quantity against baseline and limit.

    Attributes:
        name: ``latency p50``.
        value: with unit, for people; ``unknown`` when it is.
        baseline: the same of the baseline; empty without one.
        change: against the baseline, percent; ``None`` without one.
        limit: ``≤ 20 ms``; empty when there is none.
        outcome: of the rule; ``None`` when there is no rule.
    """

    name: str
    value: str
    baseline: str = ""
    change: float | None = None
    limit: str = ""
    outcome: Outcome | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Why it is no PASS.

    Attributes:
        rule: stable word for scripts (``accuracy``, ``throttled``, ``samples``).
        outcome: FAIL or INCONCLUSIVE.
        blame: whose fault it is.
        message: for people, with value and limit.
    """

    rule: str
    outcome: Outcome
    blame: Blame
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The decision about one run, or about several of one artifact on one device.

    Attributes:
        outcome: FAIL when a rule that could be decided does not hold; INCONCLUSIVE when it could
            not be decided; PASS otherwise.
        findings: why; empty exactly when it is PASS.
        rows: the comparison, in a fixed order.
    """

    outcome: Outcome
    findings: tuple[Finding, ...]
    rows: tuple[Row, ...]
