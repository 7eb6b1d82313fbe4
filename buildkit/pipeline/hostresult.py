"""What a run in this machine's engine comes to: the statement that a device would have made. Pure.

Source: docs/device-protocol.md, "The statement"; docs/smoke-report.md. On a device the agent writes
it (device-smoke/agent/outcome.py), in a Python that has nothing of ours; both must say the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from buildkit import canonical, digests
from buildkit.device import signed
from buildkit.engine.local import NOT_STARTED
from buildkit.errors import EngineError, EvidenceError
from buildkit.evidence import kinds, smoke, statement, strict
from buildkit.evidence.reasons import Reason
from buildkit.evidence.statement import Statement, Subject

if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildkit.device.types import Order
    from buildkit.engine.local import LocalRun

CPU: Final = "CPUExecutionProvider"
# As on a device, so that what runs here runs there.
LARGEST_REPORT: Final = 16 << 20

_BLAME: Final = {"device": "device", "usage": "host"}
_LONGEST: Final = 600
_KILLED: Final = 128 + 9
_OF_THE_IMAGE: Final = re.compile(
    r"not found|no such file|exec format error"
    r"|Fatal Python error|ModuleNotFoundError|error while loading shared libraries",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """One run, and when.

    Attributes:
        order: what was to run.
        model: digest of ``model.onnx``.
        found: what the engine gave back.
        began: seconds since 1970.
        ended: the same.
    """

    order: Order
    model: str
    found: LocalRun
    began: int
    ended: int


def result(seen: Seen) -> Statement:
    """The test result, for this host to sign.

    Raises:
        EngineError: nothing ran, and it is not the image's fault.
    """
    found = seen.found
    if found.report is None:
        return _failed(seen, *_failure(found))
    try:
        report = _report(found.report, seen)
        said = _statement(seen, tests(report), report=report)
        # Whoever reads it later has the same limits.
        statement.parse(said.payload(), "the report")
        smoke.read_result(said, "the report")
    except EvidenceError as error:
        return _failed(seen, "runtime", error.message)
    return said


def tests(report: Mapping[str, Any]) -> dict[str, bool]:
    """Which tests of docs/device-protocol.md hold.

    Raises:
        EvidenceError: the report does not have the fields that it must have.
    """
    try:
        return _held(report)
    except (KeyError, TypeError, AttributeError) as error:
        msg = f"the report lacks a field: {error}"
        raise EvidenceError(Reason.PREDICATE, msg) from error


def _held(report: Mapping[str, Any]) -> dict[str, bool]:
    accuracy, throttling = report["accuracy"], report["sensors"]["throttling"]
    golden, providers = accuracy["golden"], report["runtime"]["providers"]
    accelerators = [name for name in providers["asked"] if name != CPU]
    ran = report["placement"]["providers"]
    clocks = [report["clock"], *(each["clock"] for each in report["processes"])]
    return {
        "load": report["latency"]["samples"] > 0,
        "golden": 0 < golden["samples"] == golden["answered"] and accuracy["not_finite"] == 0,
        "steady": accuracy["differing"] == 0,
        # The CPU is the last resort of all others; it has to run nodes only where it is alone.
        "provider": not providers["missing"]
        and all(ran.get(name, {"nodes": 0})["nodes"] > 0 for name in accelerators or [CPU]),
        # Unknown is not the same as none.
        "conditions": throttling["live"] == []
        and throttling["new"] == []
        and not any(clock["jumps"] for clock in clocks)
        and report["latency"]["incomplete_windows"] == 0,
    }


def _failure(found: LocalRun) -> tuple[str, str]:
    if found.status == NOT_STARTED and not found.late and not _OF_THE_IMAGE.search(found.stderr):
        msg = f"the engine started no program of the image: {_line(found.stderr)}"
        raise EngineError(msg, "`python -m buildkit engine logs` may say why")
    kind, message = found.failure or ("runtime", "there is no report")
    if (kind, found.status) == ("runtime", _KILLED):
        return "device", "killed from outside: its own memory had not run out"
    return kind, message


def _report(data: bytes, seen: Seen) -> dict[str, Any]:
    report = strict.load(data, "the report", largest=LARGEST_REPORT)
    if not isinstance(report, dict):
        msg = "the report is not an object"
        raise EvidenceError(Reason.PREDICATE, msg)
    wanted = {
        "schema": signed.REPORT_SCHEMA,
        "nonce": seen.order.nonce,
        "model": digests.hex_of(seen.model),
        "golden": digests.hex_of(seen.order.golden),
    }
    for name, value in wanted.items():
        found = report.get(name)
        if name in ("model", "golden"):
            found = found.get("sha256") if isinstance(found, dict) else None
        if found != value:
            msg = f"the report is about another {name}"
            raise EvidenceError(Reason.SUBJECT, msg)
    return report


def _failed(seen: Seen, kind: str, message: str) -> Statement:
    test = "golden" if kind == "golden" else "load"
    failure = {
        "kind": kind,
        "blame": _BLAME.get(kind, "artifact"),
        "message": _line(message),
    }
    return _statement(seen, {test: False}, failure=failure)


def _line(text: str) -> str:
    return " ".join(text.split())[:_LONGEST]


def _statement(
    seen: Seen,
    held: Mapping[str, bool],
    *,
    report: dict[str, Any] | None = None,
    failure: dict[str, str] | None = None,
) -> Statement:
    order, asked = seen.order, signed.request(seen.order)
    wrong = [name for name in smoke.TESTS if not held.get(name, True)]
    failed = [name for name in wrong if name != "conditions"]
    warned = [name for name in wrong if name == "conditions"]
    return Statement(
        subjects=(
            Subject(name="image", digest=order.image_manifest),
            Subject(name="model", digest=order.model_manifest),
        ),
        predicate_type=kinds.TEST_RESULT.predicate_type,
        predicate={
            "result": "FAILED" if failed else "WARNED" if warned else "PASSED",
            "configuration": [
                {"name": name, "digest": {"sha256": digests.hex_of(digest)}}
                for name, digest in (("golden", order.golden), ("smoke", order.smoke))
            ],
            "passedTests": [name for name in smoke.TESTS if held.get(name)],
            "warnedTests": warned,
            "failedTests": failed,
            "run": {
                "schema": smoke.RUN_SCHEMA,
                "nonce": order.nonce,
                "target": order.target,
                "local": True,
                "began": canonical.timestamp(seen.began),
                "ended": canonical.timestamp(seen.ended),
                "image": asked["image"],
                "model": asked["model"],
                "agent": None,
                "runtime": {"name": "docker", "version": seen.found.runtime},
                "limits": asked["limits"],
                "settings": asked["settings"],
                "governor": None,
                "failure": failure,
                "report": report,
            },
        },
    )
