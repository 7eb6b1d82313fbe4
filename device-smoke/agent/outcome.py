"""What a run's end means: a report, a failure to be signed, or no run at all. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent import strict
from agent.container import BEGAN, LARGEST_REPORT
from agent.errors import AgentError, Kind

if TYPE_CHECKING:
    from agent.order import Order
    from agent.programs import Ended

SCHEMA = "edge-smoke/report/v1"
TESTS = ("load", "golden", "steady", "provider", "conditions")
CPU = "CPUExecutionProvider"
_BLAME = {"device": "device", "usage": "host"}
_SAID = re.compile(r"^smoke: (model|golden|memory|device|runtime|usage): (.*)$", re.MULTILINE)
_EXEC_FORMAT = re.compile(r"exec format error", re.IGNORECASE)
_NO_PYTHON = re.compile(r"exec[^\n]*python[^\n]*(not found|no such file)", re.IGNORECASE)
_BROKEN_PYTHON = re.compile(
    r"Fatal Python error|ModuleNotFoundError|error while loading shared libraries"
)


@dataclass(frozen=True)
class Failure:
    """Why there is no report."""

    kind: str
    message: str

    def document(self) -> dict[str, str]:
        """As the statement says it."""
        blame = _BLAME.get(self.kind, "artifact")
        return {"kind": self.kind, "blame": blame, "message": " ".join(self.message.split())[:600]}


@dataclass(frozen=True)
class Results:
    """The tests, by how they went."""

    passed: tuple[str, ...]
    warned: tuple[str, ...]
    failed: tuple[str, ...]

    @property
    def result(self) -> str:
        """All of them in one word."""
        if self.failed:
            return "FAILED"
        return "WARNED" if self.warned else "PASSED"


@dataclass(frozen=True)
class Outcome:
    """How a run ended: a report or a failure, never both."""

    report: dict[str, Any] | None
    failure: Failure | None
    results: Results


def judge(ended: Ended, order: Order, model: str, *, oom: bool | None) -> Outcome:
    """Read what the container left.

    Args:
        ended: how its program ended.
        order: what was ordered.
        model: digest of ``model.onnx``.
        oom: whether its memory ran out, if the runtime knows.

    Raises:
        AgentError: our program never began, and it is not the image's fault.
    """
    try:
        report = _report(ended, order, model, oom=oom)
        return Outcome(report=report, failure=None, results=tests(report))
    except _Failed as failed:
        test = "golden" if failed.failure.kind == "golden" else "load"
        return Outcome(report=None, failure=failed.failure, results=Results((), (), (test,)))


def tests(report: dict[str, Any]) -> Results:
    """What the report says of each test.

    Raises:
        _Failed: it does not have the fields that it must have.
    """
    try:
        held = _held(report)
    except (KeyError, TypeError, AttributeError) as error:
        raise _Failed(Failure("runtime", f"the report lacks a field: {error}")) from error
    return Results(
        passed=tuple(name for name in TESTS if held[name]),
        warned=tuple(name for name in TESTS if not held[name] and name == "conditions"),
        failed=tuple(name for name in TESTS if not held[name] and name != "conditions"),
    )


class _Failed(Exception):
    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        super().__init__(failure.message)


def _report(ended: Ended, order: Order, model: str, *, oom: bool | None) -> dict[str, Any]:
    began = ended.out.startswith(BEGAN)
    if ended.late and began:
        raise _Failed(Failure("deadline", f"it did not end within {order.deadline_s} s"))
    if ended.over:
        raise _Failed(Failure("runtime", f"a report of more than {LARGEST_REPORT} bytes"))
    if not began:
        raise _not_begun(ended, oom=oom)
    said = _SAID.findall(ended.err)
    if ended.code == 2 and said:
        raise _Failed(Failure(*said[-1]))
    if oom or (ended.code == 137 and oom is None):
        raise _Failed(
            Failure("memory", f"killed: it needs more memory than {order.memory_bytes} bytes")
        )
    if ended.code == 137:
        text = "killed from outside: its own memory had not run out"
        raise _Failed(Failure("device", text))
    if ended.code:
        how = f"signal {ended.code - 128}" if ended.code > 128 else f"exit status {ended.code}"
        raise _Failed(Failure("runtime", f"it ended with {how}: {ended.said}"))
    return _sound(ended.out[len(BEGAN) :], order, model)


def _not_begun(ended: Ended, *, oom: bool | None) -> Exception:
    if _EXEC_FORMAT.search(ended.err):
        text = "the kernel cannot run the image's programs: they are for another architecture"
        return _Failed(Failure("architecture", text))
    if _NO_PYTHON.search(ended.err):
        return _Failed(Failure("runtime", "the image has no Python 3"))
    if _BROKEN_PYTHON.search(ended.err):
        return _Failed(Failure("runtime", f"Python does not start: {ended.said}"))
    if oom:
        return _Failed(Failure("memory", "memory ran out before the program began"))
    what = "the container did not start in time" if ended.late else ended.said
    return AgentError(Kind.RUNTIME, f"nothing ran: {what}")


def _sound(data: bytes, order: Order, model: str) -> dict[str, Any]:
    try:
        report = strict.obj(strict.load(data, LARGEST_REPORT), "report")
    except ValueError as error:
        raise _Failed(Failure("runtime", f"the report: {error}")) from error
    wanted = {
        "schema": SCHEMA,
        "nonce": order.nonce,
        "model": model.partition(":")[2],
        "golden": order.golden.partition(":")[2],
    }
    for name, value in wanted.items():
        found = report.get(name)
        if name in {"model", "golden"}:
            found = found.get("sha256") if isinstance(found, dict) else None
        if found != value:
            raise _Failed(
                Failure("runtime", f"the report is about another {name}: {str(found)[:80]}")
            )
    return report


def _held(report: dict[str, Any]) -> dict[str, bool]:
    accuracy, placement = report["accuracy"], report["placement"]
    golden = accuracy["golden"]
    providers = report["runtime"]["providers"]
    accelerators = [name for name in providers["asked"] if name != CPU]
    # The CPU is the last resort of all others; it has to run nodes only where it is alone.
    ran = [
        placement["providers"].get(name, {"nodes": 0})["nodes"] for name in accelerators or [CPU]
    ]
    throttling = report["sensors"]["throttling"]
    jumps = [*report["clock"]["jumps"]]
    for process in report["processes"]:
        jumps += process["clock"]["jumps"]
    return {
        "load": report["latency"]["samples"] > 0,
        "golden": 0 < golden["samples"] == golden["answered"] and accuracy["not_finite"] == 0,
        "steady": accuracy["differing"] == 0,
        "provider": not providers["missing"] and all(nodes > 0 for nodes in ran),
        # Unknown is not the same as none.
        "conditions": throttling["live"] == []
        and throttling["new"] == []
        and not jumps
        and report["latency"]["incomplete_windows"] == 0,
    }
