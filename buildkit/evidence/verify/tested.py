"""Whether it passed on enough devices: verdicts, and the test results that they name. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from buildkit import canonical
from buildkit.errors import EvidenceError
from buildkit.evidence import kinds, smoke
from buildkit.evidence.reasons import Reason
from buildkit.evidence.verify.report import Tested

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from buildkit.evidence.policytypes import Smoke
    from buildkit.evidence.smoke import TestResult, Verdict
    from buildkit.evidence.verify.belong import Scene
    from buildkit.evidence.verify.report import Notebook
    from buildkit.evidence.verify.signatures import Said

# How far the clocks of host and verifier may be apart.
_SLACK = timedelta(minutes=10)
_FEW = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Tests:
    """What was found.

    Attributes:
        found: test results and verdicts, in the order of their time.
        devices: target that the policy asks for → ids of the device keys that count.
    """

    # Else pytest takes it for a class of tests.
    __test__ = False

    found: tuple[Tested, ...] = ()
    devices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Run:
    """One test result, and who signed these bytes.

    Attributes:
        saw: what it says.
        devices: ids of the device keys.
        trusted: whether a trusted signer did.
    """

    saw: TestResult
    devices: frozenset[str]
    trusted: bool


def check(
    scene: Scene,
    said: Mapping[str, Mapping[str, Sequence[Said]]],
    now: datetime,
    notebook: Notebook,
) -> Tests:
    """Hold verdicts and test results against what the policy asks for.

    Args:
        scene: image and model, and the policy.
        said: digest of a part → kind → what is said about it, by signers that count.
        now: with a time zone.
        notebook: takes the findings; what does not hold together is in it already.
    """
    by_payload = _gathered(scene, said)
    runs: dict[str, _Run] = {}
    verdicts: list[Verdict] = []
    found: list[tuple[datetime, Tested]] = []
    for all_said in by_payload.values():
        one = all_said[0]
        try:
            if one.kind == kinds.TEST_RESULT:
                saw = smoke.read_result(one.statement, "")
                runs[smoke.payload_digest(one.payload)] = _Run(
                    saw=saw,
                    devices=frozenset(each.device for each in all_said if each.device),
                    trusted=any(each.trusted for each in all_said),
                )
                found.append((saw.ended, _result(saw, all_said)))
            else:
                verdict = smoke.read_verdict(one.statement, "")
                verdicts.append(verdict)
                found.append((verdict.at, _verdict(verdict, all_said)))
        except EvidenceError:
            continue
    rules = scene.policy.smoke
    devices = {}
    for target in rules.targets if rules.devices else ():
        counting = _Count(rules=rules, target=target, runs=runs, verdicts=verdicts, now=now)
        keys, why_not = counting.count()
        devices[target] = tuple(sorted(keys))
        if len(keys) < rules.devices:
            msg = (
                f"{len(keys)} of {rules.devices} devices of target {target} passed in "
                f"{rules.days} days: {_some(why_not)}"
            )
            notebook.add(Reason.SMOKE, scene.top.digest, msg)
    order = sorted(found, key=lambda each: (each[0], each[1].kind, each[1].result))
    return Tests(found=tuple(each for _, each in order), devices=devices)


def _gathered(
    scene: Scene, said: Mapping[str, Mapping[str, Sequence[Said]]]
) -> dict[bytes, list[Said]]:
    """What is about one model and one platform of the scene, by its bytes.

    What hangs here and is about another platform says nothing of this one.
    """
    roles = {part.digest: part.role for part in scene.parts}
    wanted = {"platform", "model"} & set(roles.values())
    found: dict[bytes, dict[str, Said]] = {}
    for by_kind in said.values():
        for kind in (kinds.TEST_RESULT, kinds.VERDICT):
            for each in by_kind.get(kind.name, ()):
                about = {roles.get(subject.digest) for subject in each.statement.subjects}
                if wanted <= about:
                    found.setdefault(each.payload, {})[each.signer] = each
    return {payload: list(each.values()) for payload, each in found.items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Count:
    """Counts the devices of one target."""

    rules: Smoke
    target: str
    runs: Mapping[str, _Run]
    verdicts: Sequence[Verdict]
    now: datetime

    def count(self) -> tuple[set[str], list[str]]:
        """Keys of devices that passed, and why others did not count."""
        keys: set[str] = set()
        why_not: dict[str, None] = {}
        for verdict in sorted(self.verdicts, key=lambda each: each.at, reverse=True):
            if not self._is_about_target(verdict):
                continue
            when = f"the verdict of {_time(verdict.at)}"
            if why := self._refused(verdict):
                why_not.setdefault(f"{when} {why}")
                continue
            for digest in sorted(verdict.inputs):
                key, why = self._device(verdict, digest)
                if why:
                    why_not.setdefault(f"{when} does not count: {why}")
                elif key:
                    keys.add(key)
        return keys, list(why_not)

    def _is_about_target(self, verdict: Verdict) -> bool:
        named = {each.target for each in verdict.devices}
        named |= {self.runs[each].saw.target for each in verdict.inputs if each in self.runs}
        return self.target in named

    def _refused(self, verdict: Verdict) -> str:
        """Why nothing in a verdict counts; empty when it may."""
        if verdict.outcome != "PASS":
            return f"is {verdict.outcome}"
        if verdict.at > self.now + _SLACK:
            return "lies in the future"
        if verdict.at < self.now - timedelta(days=self.rules.days):
            return f"is older than {self.rules.days} days"
        if not verdict.inputs:
            return "names no test result"
        if self.rules.fail_blocks:
            # In one and the same second nobody knows which of them was last.
            fails = [
                each.at
                for each in self.verdicts
                if each.outcome == "FAIL"
                and each.subjects == verdict.subjects
                and each.at >= verdict.at
                and not self._is_idle(each)
            ]
            if fails:
                return f"does not count: FAIL on {_time(max(fails))}, after it"
        return ""

    def _is_idle(self, verdict: Verdict) -> bool:
        """Whether all that it was made from are runs of which none would count for a PASS."""
        runs = [self.runs.get(each) for each in verdict.inputs]
        return bool(runs) and all(run is not None and self._mark(run.saw) for run in runs)

    def _mark(self, saw: TestResult) -> str:
        if saw.local:
            return "it ran on no device"
        return "it ran on a stand-in" if saw.standin and not self.rules.standins else ""

    def _device(self, verdict: Verdict, digest: str) -> tuple[str, str]:
        """The device of a test result that counts, or why it does not."""
        run = self.runs.get(digest)
        if run is None:
            return "", f"its test result {digest[:12]} is not here"
        saw = run.saw
        if saw.target != self.target:
            return "", ""
        named = {each.key for each in verdict.devices if each.target == self.target}
        keys = sorted(run.devices & named)
        wrong = {
            "its test result is about something else": {saw.image, saw.model} != verdict.subjects,
            self._mark(saw): bool(self._mark(saw)),
            "the device saw it fail": saw.result == "FAILED",
            "no device signed its test result": not run.devices,
            "no trusted signer signed its test result too": self.rules.countersigned
            and not run.trusted,
            "it names another device than the one that signed": not keys,
        }
        why = next((why for why, is_so in wrong.items() if is_so), "")
        return ("", why) if why else (keys[0], "")


def _result(saw: TestResult, all_said: Iterable[Said]) -> Tested:
    return Tested(
        kind=kinds.TEST_RESULT.name,
        subjects=tuple(sorted({saw.image, saw.model})),
        target=saw.target,
        result=saw.result,
        mark="local" if saw.local else "stand-in" if saw.standin else "",
        time=_time(saw.ended),
        signers=tuple(sorted({each.signer for each in all_said})),
    )


def _verdict(found: Verdict, all_said: Iterable[Said]) -> Tested:
    return Tested(
        kind=kinds.VERDICT.name,
        subjects=tuple(sorted(found.subjects)),
        target=", ".join(sorted({each.target for each in found.devices})),
        result=found.outcome,
        mark="",
        time=_time(found.at),
        signers=tuple(sorted({each.signer for each in all_said})),
    )


def _some(why_not: Sequence[str]) -> str:
    more = f"; and {len(why_not) - _FEW} more" if len(why_not) > _FEW else ""
    return ("; ".join(why_not[:_FEW]) or "no verdict about it is here") + more


def _time(when: datetime) -> str:
    return canonical.timestamp(int(when.timestamp()))
