"""What a device saw (test result), and what a gate made of it (verdict): form of both. Pure.

Source: in-toto Attestation Framework, spec/predicates/test-result.md (v0.1), with the field ``run``
of ``docs/device-protocol.md``; SLSA verification summary v1.0, with the field ``gate``.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from buildkit import canonical
from buildkit.errors import EvidenceError
from buildkit.evidence import kinds, shapes
from buildkit.evidence.reasons import Reason
from buildkit.evidence.statement import Statement

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from buildkit.evidence.statement import Subject

RUN_SCHEMA = "edge-smoke/run/v1"
RESULTS = ("PASSED", "WARNED", "FAILED")
TESTS = ("load", "golden", "steady", "provider", "conditions")
# Kinds of failure of a run without a report, and whose fault one can be.
FAILURES = (
    *("model", "golden", "memory", "device", "runtime", "usage"),
    *("deadline", "architecture"),
)
BLAMES = ("artifact", "device", "host")
OUTCOMES = ("PASS", "FAIL", "INCONCLUSIVE")
# SLSA lets users name levels of their own; this one says that a gate let it pass.
LEVEL = "EDGE_BUILDKIT_SMOKE"
# Whoever asks for the level above must not be content with a run on no device.
LEVEL_LOCAL = "EDGE_BUILDKIT_SMOKE_LOCAL"

_RESULT = {
    *("result", "configuration", "passedTests", "warnedTests", "failedTests"),
    *("run", "url"),
}
_RUN = {
    *("schema", "nonce", "target", "local", "began", "ended", "image", "model", "agent"),
    *("runtime", "limits", "settings", "governor", "failure", "report"),
}
_PAIR = {"index", "manifest"}
_VERDICT = {"verifier", "timeVerified", "resourceUri", "policy", "verificationResult", "gate"}
_KEY = re.compile(r"(?:[0-9a-f]{16})?")


@dataclass(frozen=True, kw_only=True, slots=True)
class TestResult:
    """What a device, or an engine of the host, saw in one run.

    Attributes:
        result: one of `RESULTS`.
        target: kind of device that it was run as.
        local: whether it ran in the host's engine, on no device.
        standin: whether what it ran on is marked as a stand-in, or does not say that it is none.
        nonce: of the order.
        ended: when the run ended, by the device's clock, which may be wrong.
        image_index: and the platform's manifest.
        image: the platform's manifest.
        model_index: and the variant's manifest.
        model: the variant's manifest.
        golden: digest of the golden data.
        model_sha256: of ``model.onnx`` as the report names it; empty when it does not.
    """

    # Else pytest takes it for a class of tests.
    __test__ = False

    result: str
    target: str
    local: bool
    standin: bool
    nonce: str
    ended: datetime
    image_index: str
    image: str
    model_index: str
    model: str
    golden: str
    model_sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """A device that a verdict is about.

    Attributes:
        name: as the host calls it.
        target: kind of device.
        key: id of its key; empty for a run on no device.
    """

    name: str
    target: str
    key: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What a gate decided.

    Attributes:
        outcome: one of `OUTCOMES`.
        at: when it was decided.
        inputs: `payload_digest` of each test result that it was made from.
        devices: that it is about.
        subjects: digests of the platform's manifest and of the variant's.
    """

    outcome: str
    at: datetime
    inputs: frozenset[str]
    devices: tuple[Judged, ...]
    subjects: frozenset[str]


def payload_digest(payload: bytes) -> str:
    """By which a verdict names a test result: hex SHA-256 of the bytes that the device signed.

    Args:
        payload: of the DSSE envelope: the bytes of the in-toto statement.
    """
    return hashlib.sha256(payload).hexdigest()


def verdict(
    *,
    image: Subject,
    model: Subject,
    verifier: str,
    at: int,
    resource: str,
    inputs: Iterable[bytes],
    gate: Mapping[str, Any],
) -> Statement:
    """The statement of a gate's decision, for a host to sign.

    Args:
        image: the platform's manifest.
        model: the variant's manifest.
        verifier: URI of who decided.
        at: when, seconds since 1970.
        resource: URI of what was asked for.
        inputs: payloads of the test results that it was made from.
        gate: ``outcome`` (one of `OUTCOMES`), ``findings`` (none exactly when it is PASS),
            ``rules``, ``devices`` (each ``name``, ``target``, ``key``); more is let pass.

    Raises:
        EvidenceError: what was given makes no verdict.
    """
    passed = gate.get("outcome") == "PASS"
    found = Statement(
        subjects=(image, model),
        predicate_type=kinds.VERDICT.predicate_type,
        predicate={
            "verifier": {"id": verifier},
            "timeVerified": canonical.timestamp(at),
            "resourceUri": resource,
            # The policy of a gate are its rules.
            "policy": {"digest": {"sha256": payload_digest(canonical.dump(gate.get("rules")))}},
            "inputAttestations": [
                {"digest": {"sha256": each}} for each in sorted(set(map(payload_digest, inputs)))
            ],
            "verificationResult": "PASSED" if passed else "FAILED",
            "verifiedLevels": [_level(gate) if passed else "FAILED"],
            "gate": dict(gate),
        },
    )
    read_verdict(found, "a verdict")
    return found


def read_result(said: Statement, what: str) -> TestResult:
    """Read a test result, strictly; what a report holds is the gate's to read.

    Args:
        said: the statement.
        what: for the message.

    Raises:
        EvidenceError: it is not what ``docs/device-protocol.md`` says, or its subjects are not
            the manifests that ran.
    """
    body = shapes.object(said.predicate, what, needed=_RESULT - {"url"}, most=_RESULT)
    run = _run(body["run"], f"{what}: run")
    image_index, image = _pair(run["image"], f"{what}: run.image")
    model_index, model = _pair(run["model"], f"{what}: run.model")
    if len(said.subjects) != 2 or {each.digest for each in said.subjects} != {image, model}:
        msg = f"{what}: about something else than the image and the model that ran"
        raise EvidenceError(Reason.SUBJECT, msg)
    configuration = _configuration(body["configuration"], f"{what}: configuration")
    needed = {"golden", "smoke"} | ({"agent"} if run["agent"] is not None else set())
    if absent := sorted(needed - configuration.keys()):
        shapes.refuse(what, f"`configuration` does not name {absent[0]}")
    if run["agent"] != configuration.get("agent"):
        shapes.refuse(what, "`configuration` and `run` name different agents")
    _check_result(body, run, what)
    return TestResult(
        result=body["result"],
        target=run["target"],
        local=run["local"],
        nonce=run["nonce"],
        ended=shapes.time(run["ended"], f"{what}: run.ended"),
        image_index=image_index,
        image=image,
        model_index=model_index,
        model=model,
        golden=configuration["golden"],
        **_of_report(run, f"{what}: run"),
    )


def read_verdict(said: Statement, what: str) -> Verdict:
    """Read a verdict; keys that SLSA does not know are passed over, as it asks for.

    Args:
        said: the statement.
        what: for the message.

    Raises:
        EvidenceError: it is no verification summary with a ``gate``, contradicts itself, or is
            not about one image and one model.
    """
    if len(said.subjects) != 2:
        msg = f"{what}: not about one image and one model"
        raise EvidenceError(Reason.SUBJECT, msg)
    body = shapes.object(said.predicate, what, needed=_VERDICT)
    verifier = shapes.object(body["verifier"], f"{what}: verifier", needed={"id"})
    shapes.uri(verifier["id"], f"{what}: verifier.id")
    shapes.uri(body["resourceUri"], f"{what}: resourceUri")
    policy = shapes.object(body["policy"], f"{what}: policy", needed={"digest"})
    shapes.sha256(policy["digest"], f"{what}: policy.digest")
    inputs = [
        shapes.sha256(
            shapes.object(each, f"{what}: inputAttestations", needed={"digest"})["digest"],
            f"{what}: inputAttestations",
        )
        for each in shapes.array(body.get("inputAttestations", []), f"{what}: inputAttestations")
    ]
    for each in shapes.array(body.get("verifiedLevels", []), f"{what}: verifiedLevels"):
        shapes.text(each, f"{what}: verifiedLevels")
    outcome, devices = _gate(body["gate"], f"{what}: gate")
    if body["verificationResult"] != ("PASSED" if outcome == "PASS" else "FAILED"):
        result = body["verificationResult"]
        shapes.refuse(what, f"`verificationResult` is {result!r}, and the gate says {outcome}")
    return Verdict(
        outcome=outcome,
        at=shapes.time(body["timeVerified"], f"{what}: timeVerified"),
        inputs=frozenset(inputs),
        devices=devices,
        subjects=frozenset(each.digest for each in said.subjects),
    )


def _level(gate: Mapping[str, Any]) -> str:
    devices = gate.get("devices")
    rows = devices if isinstance(devices, list) else []
    is_local = any(isinstance(each, dict) and each.get("local") is True for each in rows)
    return LEVEL_LOCAL if is_local else LEVEL


def _run(value: Any, where: str) -> Mapping[str, Any]:
    """The field ``run``, but for what it says of image, model and report."""
    run = shapes.object(value, where, needed=_RUN, most=_RUN)
    if run["schema"] != RUN_SCHEMA:
        shapes.refuse(where, f"schema {run['schema']!r}, not {RUN_SCHEMA}")
    local = run["local"]
    if not isinstance(local, bool):
        shapes.refuse(where, "`local` is neither true nor false")
    for key in ("nonce", "target"):
        shapes.text(run[key], f"{where}.{key}")
    for key in ("began", "ended"):
        shapes.time(run[key], f"{where}.{key}")
    for key in ("limits", "settings"):
        shapes.object(run[key], f"{where}.{key}")
    # Where there is no device, there need be no agent.
    if not (local and run["agent"] is None):
        shapes.digest(run["agent"], f"{where}.agent")
    if not (local and run["runtime"] is None):
        runtime = shapes.object(run["runtime"], f"{where}.runtime", needed={"name", "version"})
        for key in ("name", "version"):
            shapes.text(runtime[key], f"{where}.runtime.{key}")
    if run["governor"] is not None:
        shapes.object(run["governor"], f"{where}.governor")
    return run


def _gate(value: Any, where: str) -> tuple[str, tuple[Judged, ...]]:
    gate = shapes.object(value, where, needed={"outcome", "findings", "rules", "devices"})
    outcome = gate["outcome"]
    if outcome not in OUTCOMES:
        shapes.refuse(where, f"outcome {outcome!r}")
    findings = shapes.array(gate["findings"], f"{where}.findings")
    for each in findings:
        shapes.object(each, f"{where}.findings")
    if (outcome == "PASS") != (not findings):
        shapes.refuse(where, f"{outcome} with {len(findings)} findings")
    shapes.object(gate["rules"], f"{where}.rules")
    devices = []
    for each in shapes.array(gate["devices"], f"{where}.devices"):
        row = shapes.object(each, f"{where}.devices", needed={"name", "target", "key"})
        if not isinstance(row["key"], str) or _KEY.fullmatch(row["key"]) is None:
            shapes.refuse(f"{where}.devices", "`key` is not the id of a key")
        name = shapes.text(row["name"], f"{where}.devices")
        target = shapes.text(row["target"], f"{where}.devices")
        devices.append(Judged(name=name, target=target, key=row["key"]))
    return outcome, tuple(devices)


def _check_result(body: Mapping[str, Any], run: Mapping[str, Any], what: str) -> None:
    """Whether result, tests and failure say one thing."""
    result = body["result"]
    if result not in RESULTS:
        shapes.refuse(what, f"result {result!r}")
    groups = [
        shapes.array(body[key], f"{what}: {key}")
        for key in ("passedTests", "warnedTests", "failedTests")
    ]
    tests = [shapes.text(each, f"{what}: a test") for group in groups for each in group]
    if unknown := sorted(set(tests) - set(TESTS)):
        shapes.refuse(what, f"unknown test {unknown[0]!r}")
    if len(set(tests)) != len(tests):
        shapes.refuse(what, "one test stands in it twice")
    _, warned, failed = groups
    seen = "FAILED" if failed else "WARNED" if warned else "PASSED"
    # A run without a report may have failed before its first test.
    silent = run["report"] is None and not failed and result == "FAILED"
    if result != seen and not silent:
        shapes.refuse(what, f"result {result}, and its tests say {seen}")
    if (run["report"] is None) == (run["failure"] is None):
        shapes.refuse(what, "a run has either a report or a failure")
    if run["failure"] is None:
        return
    where = f"{what}: run.failure"
    failure = shapes.object(run["failure"], where, needed={"kind", "blame", "message"})
    if failure["kind"] not in FAILURES or failure["blame"] not in BLAMES:
        shapes.refuse(where, f"of kind {failure['kind']!r}, the fault of {failure['blame']!r}")
    if not isinstance(failure["message"], str):
        shapes.refuse(where, "`message` is not a text")
    if result != "FAILED":
        shapes.refuse(what, f"result {result} of a run without a report")


def _of_report(run: Mapping[str, Any], where: str) -> dict[str, Any]:
    if run["report"] is None:
        # It counts for nothing, and what failed is no stand-in unless it says so.
        return {"standin": False, "model_sha256": ""}
    report = shapes.object(run["report"], f"{where}.report")
    if report.get("nonce") not in (None, run["nonce"]):
        shapes.refuse(where, "its report is that of another run")
    board, model = report.get("board"), report.get("model")
    sha256 = model.get("sha256") if isinstance(model, dict) else None
    return {
        "standin": not isinstance(board, dict) or board.get("standin") is not False,
        "model_sha256": sha256 if isinstance(sha256, str) else "",
    }


def _configuration(value: Any, where: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in shapes.array(value, where):
        row = shapes.object(each, where, needed={"name", "digest"})
        name = shapes.text(row["name"], where)
        if name in found:
            shapes.refuse(where, f"{name!r} stands in it twice")
        found[name] = f"sha256:{shapes.sha256(row['digest'], where)}"
    return found


def _pair(value: Any, where: str) -> tuple[str, str]:
    pair = shapes.object(value, where, needed=_PAIR, most=_PAIR)
    return shapes.digest(pair["index"], where), shapes.digest(pair["manifest"], where)
