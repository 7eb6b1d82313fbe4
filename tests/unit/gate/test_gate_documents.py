from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
from gate_parts import EXPECTED, MARK, calm, retime, run, silent, strict, times

from buildkit import canonical
from buildkit.errors import DeviceError, DeviceRefused, MachineError
from buildkit.evidence import smoke
from buildkit.evidence.statement import Statement, Subject, parse
from buildkit.gate import Blame, Failure, Outcome, Run, digest, documents, judge

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit.errors import BuildkitError

IMAGE, MODEL, INDEX = ("sha256:" + letter * 64 for letter in "abc")
KEY = "0123456789abcdef"


def result(report: dict[str, Any] | None = None) -> dict[str, Any]:
    """The predicate of a run with a report."""
    document = calm() if report is None else report
    golden = document["golden"]["sha256"]
    return {
        "result": "PASSED",
        "configuration": [
            {"name": "golden", "digest": {"sha256": golden}},
            {"name": "smoke", "digest": {"sha256": "d" * 64}},
            {"name": "agent", "digest": {"sha256": "e" * 64}},
        ],
        "passedTests": ["load", "golden", "steady", "provider", "conditions"],
        "warnedTests": [],
        "failedTests": [],
        "run": {
            "schema": "edge-smoke/run/v1",
            "nonce": "n-1",
            "target": "pi5",
            "local": False,
            "began": "2026-01-01T00:00:00Z",
            "ended": "2026-01-01T00:01:00Z",
            "image": {"index": INDEX, "manifest": IMAGE},
            "model": {"index": INDEX, "manifest": MODEL},
            "agent": "sha256:" + "e" * 64,
            "runtime": {"name": "crun", "version": "1.8"},
            "limits": {},
            "settings": {},
            "governor": {"before": "ondemand", "during": "performance"},
            "failure": None,
            "report": document,
        },
    }


def read(predicate: dict[str, Any]) -> Run:
    return documents.run_of(
        predicate, device="shelf-1", target="pi5", nonce="n-1", evidence=("sha256:1",)
    )


def test_a_test_result_is_a_run() -> None:
    found = read(result())
    assert found == run(calm(), evidence=("sha256:1",))
    assert judge([found], strict(), EXPECTED).outcome is Outcome.PASS


def test_a_failure_that_a_device_signed() -> None:
    said = result()
    said |= {"result": "FAILED", "passedTests": [], "failedTests": ["load"]}
    failure = {"kind": "model", "blame": "artifact", "message": "opset 99"}
    said["run"] |= {"report": None, "failure": failure}
    found = read(said)
    assert found.failure == Failure(kind="model", blame=Blame.ARTIFACT, message="opset 99")
    verdict = judge([found], strict(), EXPECTED)
    assert (verdict.outcome, verdict.findings[0].rule) == (Outcome.FAIL, "model")


def other_report(said: dict[str, Any], **changes: Any) -> None:
    said["run"]["report"] |= changes


BROKEN: list[tuple[str, Callable[[dict[str, Any]], object], str]] = [
    ("nonce", lambda said: said["run"].update(nonce="n-2"), "another"),
    ("report's nonce", lambda said: other_report(said, nonce=None), "of another run"),
    ("target", lambda said: said["run"].update(target="amd64"), "it ran as amd64"),
    ("golden", lambda said: other_report(said, golden={"sha256": "0" * 64}), "other golden data"),
    ("golden is gone", lambda said: other_report(said, golden=None), "other golden data"),
    ("schema", lambda said: said["run"].update(schema="edge-smoke/run/v2"), "schema"),
    ("neither", lambda said: said["run"].update(report=None), "failure"),
    ("no run", lambda said: said.pop("run"), "no `run`"),
    ("result", lambda said: said.update(result="FAILED"), "its tests say PASSED"),
    ("image", lambda said: said["run"].update(image={"index": INDEX, "manifest": 1}), "SHA-256"),
    ("no image", lambda said: said["run"].pop("image"), "no `image`"),
]


@pytest.mark.parametrize(("name", "change", "why"), BROKEN, ids=[row[0] for row in BROKEN])
def test_what_does_not_hold_together(
    name: str, change: Callable[[dict[str, Any]], object], why: str
) -> None:
    said = copy.deepcopy(result())
    change(said)
    if name == "nonce":
        said["run"]["report"]["nonce"] = "n-2"
    found = read(said)
    assert found.report is None
    assert found.failure is not None
    assert (found.failure.kind, found.failure.blame) == ("report", Blame.DEVICE)
    assert why in found.failure.message
    assert judge([found], strict(), EXPECTED).outcome is Outcome.INCONCLUSIVE


ERRORS: list[tuple[BuildkitError, str, Blame, Outcome]] = [
    (DeviceRefused("layer 2 has another digest"), "refused", Blame.ARTIFACT, Outcome.FAIL),
    (DeviceError("network", "network", "cut"), "network", Blame.NETWORK, Outcome.INCONCLUSIVE),
    (DeviceError("disk", "device", "full"), "disk", Blame.DEVICE, Outcome.INCONCLUSIVE),
    (DeviceError("odd", "nobody", "?"), "odd", Blame.HOST, Outcome.INCONCLUSIVE),
    (MachineError("full"), "host", Blame.HOST, Outcome.INCONCLUSIVE),
]


@pytest.mark.parametrize(("error", "kind", "blame", "outcome"), ERRORS)
def test_what_the_host_saw(error: BuildkitError, kind: str, blame: Blame, outcome: Outcome) -> None:
    found = documents.unrun(error, device="shelf-1", target="pi5")
    verdict = judge([found], strict(), EXPECTED)
    assert [(each.rule, each.blame) for each in verdict.findings] == [(kind, blame)]
    assert verdict.outcome is outcome


def summary(runs: list[Run], **more: Any) -> Statement | None:
    rules = strict()
    return documents.statement(
        judge(runs, rules, EXPECTED, baseline=more.get("baseline", ())),
        rules,
        image=Subject(name="image", digest=IMAGE),
        model=Subject(name="model", digest=MODEL),
        runs=runs,
        keys={"shelf-1": KEY},
        inputs=[b"payload"],
        resource="urn:edge-buildkit:digits",
        at=1767225600,
        **more,
    )


@pytest.mark.parametrize("good", [True, False])
def test_a_verdict_is_a_summary(*, good: bool) -> None:
    report = calm()
    report["board"]["standin"] = MARK
    if not good:
        report["accuracy"]["golden"]["correct"] = 1
        report["processes"][0]["accuracy"]["golden"]["correct"] = 1
    made = summary([run(report)])
    assert made is not None
    said = parse(made.payload(), "the verdict")
    assert canonical.dump(said.predicate) == canonical.dump(made.predicate)
    found = smoke.read_verdict(said, "the verdict")
    assert found.outcome == ("PASS" if good else "FAIL")
    assert said.predicate["verificationResult"] == ("PASSED" if good else "FAILED")
    assert said.predicate["verifier"]["id"] == "urn:edge-buildkit:gate"
    policy = said.predicate["policy"]["digest"]["sha256"]
    assert f"sha256:{policy}" == digest(strict())
    [device] = said.predicate["gate"]["devices"]
    assert device == {
        "name": "shelf-1",
        "target": "pi5",
        "key": KEY,
        "local": False,
        "standin": MARK,
        "board": "Raspberry Pi 5 Model B Rev 1.0",
    }


def test_what_was_not_decided_is_no_summary() -> None:
    report = calm()
    report["clock"]["jumps"].append({"kind": "wall", "at_ns": 1, "by_ns": 10**10})
    assert summary([run(report)]) is None
    assert summary([silent()]) is None


def test_a_run_on_no_device_has_no_key() -> None:
    made = summary([run(local=True)])
    assert made is not None
    [device] = made.predicate["gate"]["devices"]
    assert (device["key"], device["local"]) == ("", True)


def test_a_summary_tells_of_the_baseline() -> None:
    before = calm()
    retime(before, times(seed=5), times(seed=6))
    made = summary([run(), run()], baseline=[run(before), run(before)])
    assert made is not None
    assert (made.predicate["gate"]["runs"], made.predicate["gate"]["baseline_runs"]) == (2, 2)
