"""Evidence in and out: a device's test result as a `Run`, a verdict as a SLSA summary. Pure.

Forms: docs/device-protocol.md ("The statement"), and `buildkit.evidence.smoke`, which holds both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from buildkit.errors import DeviceError, DeviceRefused, EvidenceError
from buildkit.evidence import kinds, smoke
from buildkit.evidence.statement import Statement, Subject
from buildkit.gate import report as reports
from buildkit.gate import settings
from buildkit.gate.reading import MalformedError
from buildkit.gate.types import Blame, Failure, Outcome, Run
from buildkit.markup import shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from buildkit.errors import BuildkitError
    from buildkit.gate.types import Rules, Verdict

VERIFIER: Final = "urn:edge-buildkit:gate"

_BLAMES: Final = {blame.value: blame for blame in Blame}


def run_of(
    predicate: Mapping[str, Any],
    *,
    device: str,
    target: str = "",
    nonce: str = "",
    evidence: Sequence[str] = (),
) -> Run:
    """What a device signed, as a run; signature and subjects were checked before.

    Whatever is wrong with the statement is the device's fault, and makes a run without a report.

    Args:
        predicate: of the test result.
        device: name of the device whose key signed it.
        target: that this device is enrolled for; not compared when empty.
        nonce: of the order; not compared when empty.
        evidence: digests of the bundles that hold it.
    """
    said = Statement(
        subjects=_subjects(predicate),
        predicate_type=kinds.TEST_RESULT.predicate_type,
        predicate=predicate,
    )
    try:
        result = smoke.read_result(said, "the test result")
    except EvidenceError as error:
        return _broken(device, target, error.message, evidence)
    body = predicate["run"]
    if nonce and result.nonce != nonce:
        return _broken(device, target, "it answers another order", evidence)
    if target and result.target != target:
        why = f"it ran as {shown(result.target)}, and the device is a {target}"
        return _broken(device, target, why, evidence)
    report, failure = body["report"], body["failure"]
    if report is not None and (why := _another(report, result.nonce, result.golden)):
        return _broken(device, target, why, evidence)
    return Run(
        device=device,
        target=result.target,
        report=report,
        failure=(
            None
            if failure is None
            else Failure(
                kind=failure["kind"],
                blame=_BLAMES[failure["blame"]],
                message=failure["message"],
            )
        ),
        local=result.local,
        evidence=tuple(evidence),
    )


def unrun(error: BuildkitError, *, device: str, target: str) -> Run:
    """A run that was not made, or did not come to its end: what the host saw of it.

    Args:
        error: what `buildkit.device` raised.
        device: name of the device.
        target: that it is enrolled for.
    """
    match error:
        case DeviceRefused():
            kind, blame = "refused", Blame.ARTIFACT
        case DeviceError():
            kind, blame = error.kind, _BLAMES.get(error.blame, Blame.HOST)
        case _:
            kind, blame = "host", Blame.HOST
    failure = Failure(kind=kind, blame=blame, message=error.message)
    return Run(device=device, target=target, failure=failure)


def extension(
    verdict: Verdict,
    rules: Rules,
    *,
    runs: Sequence[Run],
    keys: Mapping[str, str],
    baseline: Sequence[Run] = (),
) -> dict[str, Any]:
    """The object ``gate`` beside the fields that SLSA knows.

    Args:
        verdict: what was decided.
        rules: by which.
        runs: of the candidate.
        keys: name of a device → id of its key; none for a run on no device.
        baseline: runs that it was compared with.
    """
    return {
        "outcome": verdict.outcome.value,
        "findings": [
            {
                "rule": finding.rule,
                "outcome": finding.outcome.value,
                "blame": finding.blame.value,
                "message": finding.message,
            }
            for finding in verdict.findings
        ],
        "rules": settings.document(rules),
        "devices": list(_devices([*runs, *baseline], keys).values()),
        "runs": len(runs),
        "baseline_runs": len(baseline),
    }


def statement(
    verdict: Verdict,
    rules: Rules,
    *,
    image: Subject,
    model: Subject,
    runs: Sequence[Run],
    keys: Mapping[str, str],
    inputs: Sequence[bytes],
    resource: str,
    at: int,
    baseline: Sequence[Run] = (),
) -> Statement | None:
    """A SLSA verification summary of a verdict; ``None`` when nothing was decided.

    Args:
        verdict: PASS or FAIL; an INCONCLUSIVE one says nothing about the artifact.
        rules: by which; its digest is that of the summary's policy.
        image: the platform's manifest.
        model: the variant's manifest.
        runs: of the candidate.
        keys: name of a device → id of its key.
        inputs: payloads of the test results.
        resource: URI of what was judged.
        at: when, seconds since 1970.
        baseline: runs that it was compared with.
    """
    if verdict.outcome is Outcome.INCONCLUSIVE:
        return None
    return smoke.verdict(
        image=image,
        model=model,
        verifier=VERIFIER,
        at=at,
        resource=resource,
        inputs=inputs,
        gate=extension(verdict, rules, runs=runs, keys=keys, baseline=baseline),
    )


def _subjects(predicate: Mapping[str, Any]) -> tuple[Subject, ...]:
    """The manifests that it says ran; whether they are those of the statement was checked."""
    found = predicate.get("run")
    pairs = [found.get(name) for name in ("image", "model")] if isinstance(found, dict) else []
    digests = [pair.get("manifest") for pair in pairs if isinstance(pair, dict)]
    return tuple(Subject(name="", digest=each) for each in digests if isinstance(each, str))


def _broken(device: str, target: str, why: str, evidence: Sequence[str]) -> Run:
    failure = Failure(kind="report", blame=Blame.DEVICE, message=shown(why))
    return Run(device=device, target=target, failure=failure, evidence=tuple(evidence))


def _another(report: Mapping[str, Any], nonce: str, golden: str) -> str:
    """Why a report is not the one of its statement; empty when it is."""
    if report.get("nonce") != nonce:
        return "its report is of another run"
    said = report.get("golden")
    if not isinstance(said, dict) or f"sha256:{said.get('sha256')}" != golden:
        return "its report is about other golden data"
    return ""


def _devices(runs: Sequence[Run], keys: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for each in runs:
        row = found.setdefault(
            each.device,
            {
                "name": each.device,
                "target": each.target,
                "key": "" if each.local else keys.get(each.device, ""),
                "local": each.local,
                "standin": "",
                "board": "",
            },
        )
        if each.report is not None:
            row |= _board(each.report)
    return found


def _board(report: Mapping[str, Any]) -> dict[str, str]:
    try:
        board = reports.board(report)
    except MalformedError:
        return {}
    return {"standin": shown(board.standin), "board": shown(board.model or "")}
