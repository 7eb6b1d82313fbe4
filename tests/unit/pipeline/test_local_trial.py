"""``smoke --local`` without an engine: what is run, what is said of it, and how that is marked."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from agent import outcome as on_device
from trial_world import REF, World, build, publish

from buildkit import digests
from buildkit.engine import Engine
from buildkit.engine.local import LocalOrder, LocalRun
from buildkit.errors import (
    DeviceError,
    DeviceRefused,
    DigestError,
    EngineError,
    EvidenceError,
    InputError,
)
from buildkit.evidence import bundle, kinds, referrers, smoke, statement
from buildkit.evidence.signer import NOBODY
from buildkit.gate import Outcome, Run, documents
from buildkit.pipeline import hostresult, local, pages, trials
from buildkit.pipeline.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from buildkit.evidence.statement import Statement
    from buildkit.pipeline.candidate import Candidate
    from buildkit.pipeline.trials import Trial
    from buildkit.store import Store

ENDED = LocalRun(
    report=None,
    status=0,
    stderr="",
    late=False,
    oom_killed=False,
    emulated=True,
    platform="linux/arm64",
    runtime="26.1.5",
)


def _nothing(_: dict[str, Any]) -> None:
    pass


@dataclass
class Place:
    """An engine in which every run is calm, but for `changes`, one for each run, and then no more.

    Attributes:
        ends: instead of a report.
        raw: instead of a report, too: bytes.
    """

    world: World
    changes: list[Callable[[dict[str, Any]], Any]] = field(default_factory=list)
    ends: LocalRun | None = None
    raw: bytes | None = None
    orders: list[LocalOrder] = field(default_factory=list)
    ran: list[tuple[bytes, bytes]] = field(default_factory=list)

    def __call__(self, store: Store, order: LocalOrder) -> LocalRun:
        assert store is self.world.store
        self.orders.append(order)
        model, golden = order.model.read_bytes(), order.golden.read_bytes()
        self.ran.append((model, golden))
        if self.ends is not None:
            return self.ends
        if self.raw is not None:
            return replace(ENDED, report=self.raw)
        report = self.world.report(
            order.nonce, weight=digests.of_bytes(model), golden=digests.of_bytes(golden)
        )
        (self.changes.pop(0) if self.changes else _nothing)(report)
        return replace(ENDED, report=json.dumps(report).encode())


@pytest.fixture
def world(tmp_path: Path) -> World:
    return build(tmp_path)


def tried(world: World, place: Place, *, baseline: str = "", **limits: Any) -> Trial:
    asked = replace(world.asked(**limits), baseline=baseline)
    what = trials.pair(asked, "pi5")
    return local.tried(what, place, store=world.store, shelf=world.shelf, progress=Silent())


def said(world: World, kind: kinds.Kind) -> list[Statement]:
    """What hangs on the image."""
    found = {}
    for each in referrers.find(world.store, world.candidate().image.digest):
        assert isinstance(each, referrers.Found)
        opened = bundle.parse(each.bundle, "x")
        one = statement.parse(opened.envelope.payload, "x")
        if one.predicate_type == kind.predicate_type:
            found[opened.envelope.payload] = one
    return list(found.values())


def test_a_pass_is_one_on_no_device_wherever_it_is_told(world: World, tmp_path: Path) -> None:
    place = Place(world)
    trial = tried(world, place)
    assert (trial.device, trial.target, trial.attempts) == ("local", "pi5", 1)
    assert trial.verdict.outcome is Outcome.PASS
    assert trial.local
    assert trial.marks == ("local: ran in this machine's engine, on no device",)
    # On image and model: what was seen, and the verdict.
    assert len(trial.referrers) == 4

    (result,) = said(world, kinds.TEST_RESULT)
    saw, run = smoke.read_result(result, "x"), result.predicate["run"]
    assert (saw.local, saw.result, saw.target) == (True, "PASSED", "pi5")
    assert (run["agent"], run["governor"]) == (None, None)
    assert run["runtime"] == {"name": "docker", "version": "26.1.5"}
    assert run["settings"]["profile"] == "quick"
    assert run["limits"]["memory_bytes"] == place.orders[0].memory_bytes == 1 << 30
    assert trials.another(world.candidate(), saw) == ""

    (verdict,) = said(world, kinds.VERDICT)
    assert verdict.predicate["verifiedLevels"] == [smoke.LEVEL_LOCAL]
    assert smoke.LEVEL not in verdict.predicate["verifiedLevels"]
    (device,) = verdict.predicate["gate"]["devices"]
    assert (device["name"], device["local"], device["key"]) == ("local", True, "")
    assert smoke.read_verdict(verdict, "x").inputs == {smoke.payload_digest(result.payload())}

    (page,) = pages.of_trials(REF, [trial], tmp_path / "page.html")
    assert "LOCAL: it ran in an engine of the host, on no device" in page.read_text()


def test_what_runs_is_what_the_store_has(world: World) -> None:
    place, what = Place(world), world.candidate()
    tried(world, place)
    ((model, golden),), (order,) = place.ran, place.orders
    assert digests.of_bytes(model) == what.weight.digest
    assert digests.of_bytes(golden) == what.golden.digest
    assert order.image == what.image
    assert len(order.nonce) == 32
    # Copies of its own, gone by now.
    assert not order.model.exists()


@pytest.mark.parametrize("which", ["weight", "golden"])
def test_a_corrupt_blob_is_not_run(which: str, world: World) -> None:
    file = world.store.path(getattr(world.candidate(), which).digest)
    file.chmod(0o644)
    file.write_bytes(b"something else")
    place = Place(world)
    with pytest.raises(DigestError):
        tried(world, place)
    assert place.orders == []


def test_nobody_signs(world: World) -> None:
    asked = world.asked()
    shelf = replace(world.shelf, signer=NOBODY.ready())
    what = trials.pair(asked, "pi5")
    trial = local.tried(what, Place(world), store=world.store, shelf=shelf, progress=Silent())
    assert trial.verdict.outcome is Outcome.PASS
    assert trial.referrers == ()
    assert said(world, kinds.TEST_RESULT) == []


@pytest.mark.parametrize(
    ("ends", "outcome", "rule", "blame"),
    [
        ({"status": 2, "stderr": "smoke: model: no such operator"}, "FAIL", "model", "artifact"),
        ({"status": 2, "stderr": "smoke: golden: no input x"}, "FAIL", "golden", "artifact"),
        ({"status": 2, "stderr": "smoke: usage: --x"}, "INCONCLUSIVE", "usage", "host"),
        ({"status": 2, "stderr": "smoke: device: no /proc"}, "INCONCLUSIVE", "device", "device"),
        ({"status": 137, "oom_killed": True}, "FAIL", "memory", "artifact"),
        ({"status": 137}, "INCONCLUSIVE", "device", "device"),
        ({"status": 137, "late": True}, "FAIL", "deadline", "artifact"),
        ({"status": 139, "stderr": "boom"}, "FAIL", "runtime", "artifact"),
        ({"status": 127, "stderr": "exec format error"}, "FAIL", "architecture", "artifact"),
        ({"status": 127, "stderr": 'exec: "python3": not found'}, "FAIL", "runtime", "artifact"),
        (
            {"status": 127, "stderr": "error while loading shared libraries: libz"},
            *("FAIL", "runtime", "artifact"),
        ),
    ],
)
def test_whose_fault_it_is(
    ends: dict[str, Any], outcome: str, rule: str, blame: str, world: World
) -> None:
    trial = tried(world, Place(world, ends=replace(ENDED, **ends)), attempts=1)
    (finding,) = trial.verdict.findings
    assert (finding.outcome, finding.rule, finding.blame) == (outcome, rule, blame)
    assert trial.local
    (result,) = said(world, kinds.TEST_RESULT)
    assert smoke.read_result(result, "x").result == "FAILED"
    assert result.predicate["failedTests"] == ["golden" if rule == "golden" else "load"]
    assert len(said(world, kinds.VERDICT)) == (outcome == "FAIL")


def test_an_engine_that_starts_nothing_decides_nothing(world: World) -> None:
    ends = replace(ENDED, status=127, stderr="no space left on device")
    with pytest.raises(EngineError, match="no space left"):
        tried(world, Place(world, ends=ends))
    assert said(world, kinds.TEST_RESULT) == []


def _set(*path: str, to: Any) -> Callable[[dict[str, Any]], Any]:
    def change(report: dict[str, Any]) -> None:
        at: Any = report
        for name in path[:-1]:
            at = at[name]
        at[path[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_set("nonce", to="another"), "another nonce"),
        (_set("schema", to="edge-smoke/report/v2"), "another schema"),
        (_set("model", "sha256", to="0" * 64), "another model"),
        (_set("golden", "sha256", to="0" * 64), "another golden"),
        (_set("golden", to=None), "another golden"),
        (_set("accuracy", to={}), "lacks a field"),
        (_set("processes", to=[None]), "lacks a field"),
        (_set("placement", "providers", to=[]), "lacks a field"),
    ],
)
def test_a_report_of_something_else_is_the_images_fault(
    change: Callable[[dict[str, Any]], Any], says: str, world: World
) -> None:
    trial = tried(world, Place(world, changes=[change]))
    (finding,) = trial.verdict.findings
    assert (finding.outcome, finding.rule) == (Outcome.FAIL, "runtime")
    assert says in finding.message


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b"\xff", b'{"a":1,"a":2}', b"[" * 100_000, b'{"a":' * 70 + b"1" + b"}" * 70],
)
def test_what_is_no_report_is_the_images_fault(raw: bytes, world: World) -> None:
    trial = tried(world, Place(world, raw=raw))
    (finding,) = trial.verdict.findings
    assert (finding.outcome, finding.rule) == (Outcome.FAIL, "runtime")


def test_a_report_that_is_too_deep_for_a_statement_is_refused(world: World) -> None:
    deep: Any = 1
    for _ in range(62):
        deep = [deep]
    trial = tried(world, Place(world, changes=[_set("more", to=deep)]))
    assert [each.rule for each in trial.verdict.findings] == ["runtime"]


def test_what_may_pass_is_tried_again(world: World) -> None:
    jump = _set("clock", "jumps", to=[{"kind": "wall", "by_ns": 10**9}])
    place = Place(world, changes=[jump])
    trial = tried(world, place)
    first = said(world, kinds.TEST_RESULT)
    if trial.attempts == 1:
        pytest.fail(str(trial.verdict.findings))
    assert (trial.attempts, trial.verdict.outcome) == (2, Outcome.PASS)
    assert len({order.nonce for order in place.orders}) == len(first) == 2
    assert sorted(each.predicate["result"] for each in first) == ["PASSED", "WARNED"]


def test_candidate_and_baseline_take_turns(world: World) -> None:
    publish(world.store, "before:1.0.0")
    place = Place(world)
    trial = tried(world, place, baseline="before:1.0.0")
    mine, theirs = (f"model of {ref}".encode() for ref in (REF, "before:1.0.0"))
    assert [model for model, _ in place.ran] == [mine, theirs, theirs, mine]
    assert (len(trial.runs), len(trial.baseline)) == (2, 2)
    assert trial.verdict.outcome is Outcome.PASS
    (verdict,) = said(world, kinds.VERDICT)
    assert len(smoke.read_verdict(verdict, "x").inputs) == 4


@dataclass
class Refusing:
    """A device that refuses one of two artifacts."""

    world: World
    refused: str

    def run(self, what: Candidate) -> trials.Ran:
        where: dict[str, Any] = {"device": "shelf-1", "target": "pi5"}
        if what.name == self.refused:
            return trials.Ran(run=documents.unrun(DeviceRefused("no trusted key"), **where))
        return trials.Ran(run=Run(report=self.world.report("1", what.name), **where))

    def recover(self) -> None:
        pytest.fail("a refusal is no reason to try again")


@dataclass
class Cut:
    """A device whose line is cut before the first run ends."""

    world: World
    waited: int = 0

    def run(self, what: Candidate) -> trials.Ran:
        where: dict[str, Any] = {"device": "shelf-1", "target": "pi5"}
        if not self.waited:
            cut = DeviceError("network", "network", "the line was cut")
            return trials.Ran(run=documents.unrun(cut, **where))
        return trials.Ran(run=Run(report=self.world.report("1", what.name), **where))

    def recover(self) -> None:
        self.waited += 1


def test_another_attempt_waits_until_the_device_is_back(world: World) -> None:
    bench, what = Cut(world), trials.pair(world.asked(), "pi5")
    attempt = trials.repeat(bench, what, lambda _: None)
    assert attempt.verdict.outcome is Outcome.PASS
    assert (attempt.number, bench.waited) == (2, 1)


@pytest.mark.parametrize(
    ("refused", "outcome"), [(REF, Outcome.FAIL), ("before:1.0.0", Outcome.INCONCLUSIVE)]
)
def test_a_refused_baseline_is_not_the_candidates_fault(
    refused: str, outcome: Outcome, world: World
) -> None:
    publish(world.store, "before:1.0.0")
    what = trials.pair(replace(world.asked(), baseline="before:1.0.0"), "pi5")
    attempt = trials.repeat(Refusing(world, refused), what, lambda _: None)
    trial = trials.finished(attempt, what.rules, device="shelf-1")
    assert (trial.verdict.outcome, trial.attempts) == (outcome, 1)
    assert {each.rule for each in trial.verdict.findings} == {"refused"}


def _variants() -> list[Callable[[dict[str, Any]], Any]]:
    def both(*changes: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
        return lambda report: [change(report) for change in changes]

    throttling = ("sensors", "throttling")
    hailo = ["HailoExecutionProvider", "CPUExecutionProvider"]
    asked = _set("runtime", "providers", "asked", to=hailo)
    jumps = [{"kind": "wall", "by_ns": 1}]
    return [
        _nothing,
        _set("latency", "samples", to=0),
        _set("accuracy", "golden", "answered", to=1),
        _set("accuracy", "golden", to={"samples": 0, "answered": 0}),
        _set("accuracy", "not_finite", to=1),
        _set("accuracy", "differing", to=1),
        _set("runtime", "providers", "missing", to=hailo[:1]),
        _set("placement", "providers", to={}),
        asked,
        both(asked, _set("placement", "providers", to={hailo[0]: {"nodes": 3}})),
        *(_set(*throttling, name, to=to) for name in ("live", "new") for to in (None, ["x"], [])),
        _set("clock", "jumps", to=jumps),
        lambda report: _set("clock", "jumps", to=jumps)(report["processes"][0]),
        _set("latency", "incomplete_windows", to=1),
        _set("accuracy", to=None),
        _set("runtime", to={}),
        _set("clock", to=3),
    ]


@pytest.mark.parametrize("change", _variants())
def test_host_and_device_see_the_same_tests_hold(
    change: Callable[[dict[str, Any]], Any], world: World
) -> None:
    report = world.report("1")
    change(report)
    try:
        there = on_device.tests(copy.deepcopy(report))
    except on_device._Failed:
        with pytest.raises(EvidenceError):
            hostresult.tests(report)
        return
    here = hostresult.tests(report)
    assert tuple(here) == on_device.TESTS == smoke.TESTS
    assert tuple(name for name, holds in here.items() if holds) == there.passed
    wrong = {name for name, holds in here.items() if not holds}
    assert wrong == {*there.warned, *there.failed}


def test_where_nothing_is_said_of_an_engine_one_must_run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Engine, "known", classmethod(lambda *_: ()))
    with pytest.raises(EngineError, match="no engine runs") as caught:
        local.local(world.asked(), "pi5", signer=NOBODY)
    assert "engine start recipe.toml" in caught.value.remedy


def test_a_target_that_nobody_knows(world: World) -> None:
    with pytest.raises(InputError, match="'pi6' is no target"):
        local.local(world.asked(), "pi6", signer=NOBODY)
    with pytest.raises(InputError, match="no image for linux/amd64"):
        local.local(world.asked(), "amd64", signer=NOBODY)
