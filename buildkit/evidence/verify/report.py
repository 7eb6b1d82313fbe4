"""What a verification answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildkit.errors import EvidenceError
    from buildkit.evidence.policytypes import Policy

SCHEMA = "buildkit/verify/v1"
# What a hostile store can make us say must stay readable.
_MOST_FINDINGS = 500
_LONGEST = 600

Role = Literal["image", "platform", "models", "model"]


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Finding:
    """One reason to refuse.

    Attributes:
        reason: a value of `buildkit.evidence.reasons.Reason`.
        digest: of the artifact that it is about.
        message: what is wrong, and where.
    """

    reason: str
    digest: str
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact:
    """One manifest or index that was looked at.

    Attributes:
        role: ``image`` (an index), ``platform``, ``models`` (an index) or ``model`` (a variant).
        name: platform of a ``platform``, target of a ``model``, else the recipe's name.
        digest: of the manifest or index.
        evidence: kind → the signers whose statements hold, sorted.
    """

    role: Role
    name: str
    digest: str
    evidence: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tested:
    """One test result, or one verdict, that counts as said.

    Attributes:
        kind: ``test-result`` or ``verdict``.
        subjects: digests of image and model, sorted.
        target: kind of device; of a verdict, those of all its devices.
        result: PASSED, WARNED or FAILED; of a verdict PASS, FAIL or INCONCLUSIVE.
        mark: ``local`` or ``stand-in``, when it was no board; else empty.
        time: RFC 3339, UTC: end of the run, or when it was decided.
        signers: who says so, sorted.
    """

    kind: str
    subjects: tuple[str, ...]
    target: str
    result: str
    mark: str
    time: str
    signers: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What was checked, and what was found.

    Attributes:
        artifact: digest of what was asked for.
        name: recipe and version, as its annotations say; empty when they do not.
        policy: name of the policy.
        policy_digest: of its file; empty when it is built in.
        artifacts: all manifests and indexes, in the order of the way to them.
        blobs: how many blobs were hashed, and their bytes.
        signatures: how many signatures held.
        packages: how many packages of the lock were found in the SBOMs.
        materials: how many entries of the lock were held against provenance and policy.
        ignored: evidence that the policy says to pass over, by digest, and why.
        findings: why it is refused; none when it holds.
        tests: test results and verdicts, in the order of their time.
        devices: target that the policy asks for → ids of the device keys that count.
    """

    artifact: str
    name: str
    policy: str
    policy_digest: str
    artifacts: tuple[Artifact, ...]
    blobs: tuple[int, int]
    signatures: int
    packages: int
    materials: int
    ignored: tuple[Finding, ...]
    findings: tuple[Finding, ...]
    tests: tuple[Tested, ...] = ()
    devices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of_nothing(cls, artifact: str, policy: Policy, finding: Finding) -> Report:
        """The answer when not even the first manifest could be looked at."""
        return cls(
            artifact=artifact,
            name="",
            policy=policy.name,
            policy_digest=policy.digest,
            artifacts=(),
            blobs=(0, 0),
            signatures=0,
            packages=0,
            materials=0,
            ignored=(),
            findings=(finding,),
        )

    @property
    def holds(self) -> bool:
        """Whether there is nothing to refuse it for."""
        return not self.findings

    def to_json(self) -> dict[str, Any]:
        """The documented object (``buildkit/verify/v1``, ``docs/verify.md``)."""
        return {
            "schema": SCHEMA,
            "holds": self.holds,
            "artifact": self.artifact,
            "name": self.name,
            "policy": {"name": self.policy, "digest": self.policy_digest},
            "checked": {
                "artifacts": [
                    {
                        "role": each.role,
                        "name": each.name,
                        "digest": each.digest,
                        "evidence": {kind: list(who) for kind, who in each.evidence.items()},
                    }
                    for each in self.artifacts
                ],
                "blobs": self.blobs[0],
                "bytes": self.blobs[1],
                "signatures": self.signatures,
                "packages": self.packages,
                "materials": self.materials,
                "tests": [
                    {
                        "kind": each.kind,
                        "subjects": list(each.subjects),
                        "target": each.target,
                        "result": each.result,
                        "mark": each.mark,
                        "time": each.time,
                        "signers": list(each.signers),
                    }
                    for each in self.tests
                ],
                "devices": {target: list(keys) for target, keys in self.devices.items()},
            },
            "ignored": [_finding(each) for each in self.ignored],
            "findings": [_finding(each) for each in self.findings],
        }


def _finding(each: Finding) -> dict[str, str]:
    return {"reason": str(each.reason), "digest": each.digest, "message": each.message}


@dataclass(slots=True)
class Notebook:
    """Takes findings down, each once."""

    _found: dict[Finding, None] = field(default_factory=dict)

    def add(self, reason: str, digest: str, message: str) -> None:
        """Note a reason to refuse."""
        if len(self._found) < _MOST_FINDINGS:
            short = message if len(message) <= _LONGEST else message[:_LONGEST] + "…"
            self._found.setdefault(Finding(reason=reason, digest=digest, message=short))

    def caught(self, error: EvidenceError, digest: str) -> None:
        """Note what an error says."""
        self.add(error.reason, digest, error.message)

    def findings(self) -> tuple[Finding, ...]:
        """All of them, in the order in which they were found."""
        return tuple(self._found)
