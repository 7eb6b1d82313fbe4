"""The form of test results and verdicts; what they are held against is in `verify/`."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit.errors import EvidenceError
from buildkit.evidence import kinds, shapes, smoke, statement
from buildkit.evidence.reasons import Reason
from buildkit.evidence.statement import Statement, Subject

sys.path.append(str(Path(__file__).parent / "verify"))

IMAGE, MODEL = (Subject(name=name, digest="sha256:" + name[0] * 64) for name in ("arm64", "b"))
GATE = {
    "outcome": "PASS",
    "findings": [],
    "rules": {"profile": "smoke", "max_p95_ms": 20.5},
    "devices": [{"name": "shelf-1", "target": "pi5", "key": "0123456789abcdef"}],
    "rows": [],
}


def _verdict(**gate: Any) -> Statement:
    return smoke.verdict(
        image=IMAGE,
        model=MODEL,
        verifier="urn:edge-buildkit:gate:v1",
        at=1767225600,
        resource="pkg:oci/digits",
        inputs=[b"two", b"one", b"one"],
        gate=GATE | gate,
    )


def test_a_verdict_comes_back() -> None:
    made = _verdict()
    assert made.predicate_type == kinds.VERDICT.predicate_type
    again = statement.parse(made.payload(), "x")
    found = smoke.read_verdict(again, "x")
    assert found.outcome == "PASS"
    assert found.at == datetime(2026, 1, 1, tzinfo=UTC)
    assert found.inputs == {hashlib.sha256(each).hexdigest() for each in (b"one", b"two")}
    assert found.subjects == {IMAGE.digest, MODEL.digest}
    assert [each.key for each in found.devices] == ["0123456789abcdef"]
    assert again.predicate["verificationResult"] == "PASSED"
    assert again.predicate["verifiedLevels"] == [smoke.LEVEL]


@pytest.mark.parametrize("outcome", ["FAIL", "INCONCLUSIVE"])
def test_what_is_no_pass_has_failed(outcome: str) -> None:
    made = _verdict(outcome=outcome, findings=[{"rule": "accuracy"}])
    assert made.predicate["verificationResult"] == "FAILED"
    assert made.predicate["verifiedLevels"] == ["FAILED"]
    assert smoke.read_verdict(made, "x").outcome == outcome


@pytest.mark.parametrize(
    "gate",
    [
        {"outcome": "pass"},
        {"outcome": "FAIL"},
        {"findings": [{"rule": "accuracy"}]},
        {"devices": [{"name": "x", "target": "pi5", "key": "0123"}]},
        {"rules": None},
    ],
)
def test_what_contradicts_itself_is_not_written(gate: dict[str, Any]) -> None:
    with pytest.raises(EvidenceError) as caught:
        _verdict(**gate)
    assert caught.value.reason == Reason.PREDICATE


def test_a_verdict_may_say_more() -> None:
    made = _verdict()
    predicate = {**made.predicate, "slsaVersion": "1.0", "later": {}}
    predicate["verifier"] = {"id": "urn:x", "version": {"gate": "1"}}
    assert smoke.read_verdict(replace(made, predicate=predicate), "x").outcome == "PASS"


def test_a_test_result_is_read() -> None:
    from signed_world import Made, make_lock
    from smoke_world import local, ran, silent

    def digest(letter: str) -> str:
        return "sha256:" + letter * 64

    made = Made(
        lock=make_lock("tiny", "1.0.0"),
        lock_digest=digest("0"),
        image=digest("1"),
        platforms={"linux/arm64": digest("2")},
        models=digest("3"),
        variants={"pi5": digest("4")},
        weight=digest("5"),
    )
    found = smoke.read_result(ran(made), "x")
    assert (found.result, found.target, found.local, found.standin) == (
        *("PASSED", "pi5"),
        *(False, False),
    )
    assert (found.image_index, found.image) == (digest("1"), digest("2"))
    assert (found.model_index, found.model) == (digest("3"), digest("4"))
    assert found.model_sha256 == "5" * 64
    assert smoke.read_result(ran(made, change=local), "x").local
    silenced = smoke.read_result(ran(made, change=silent), "x")
    assert (silenced.result, silenced.model_sha256) == ("FAILED", "")

    # A run that ended before its first test names none.
    def at_once(found: dict[str, Any]) -> None:
        silent(found)
        found["failedTests"] = []

    early = ran(made, change=at_once)
    assert smoke.read_result(early, "x").result == "FAILED"


def test_what_the_agent_writes_is_read() -> None:
    from agent import dsse
    from agent import statement as agents
    from agent.container import Found
    from agent.order import Order
    from agent.outcome import TESTS, Failure, Outcome, Results

    assert TESTS == smoke.TESTS
    assert agents.RUN == smoke.RUN_SCHEMA
    assert kinds.TEST_RESULT.predicate_type == agents.TEST_RESULT
    assert dsse.STATEMENT == statement.TYPE
    digest = {name: "sha256:" + name * 64 for name in "0123456"}
    order = Order(
        nonce="0f",
        target="pi5",
        image_index=digest["0"],
        image_manifest=digest["1"],
        model_index=digest["2"],
        model_manifest=digest["3"],
        golden=digest["4"],
        smoke=digest["5"],
        bundles=(),
        runtime="auto",
        memory_bytes=1 << 30,
        cpus=0,
        pids=256,
        profile="quick",
        providers=(),
        threads=0,
        optimization="all",
        deadline_s=600,
        governor="",
    )
    seen = agents.Circumstances(
        agent=digest["6"],
        began=1.5,
        ended=2.5,
        runtime=Found(name="crun", version="1.8", argv=("crun",), why=""),
        governor_before=None,
        governor_during=None,
    )
    report = {"nonce": "0f", "board": {"standin": "QEMU"}, "model": {"sha256": "a" * 64}}
    ended = Outcome(report=report, failure=None, results=Results(TESTS, (), ()))
    found = smoke.read_result(statement.parse(agents.payload(order, ended, seen), "x"), "x")
    assert (found.result, found.standin, found.golden) == ("PASSED", True, digest["4"])
    for kind in smoke.FAILURES:
        failed = Outcome(
            report=None, failure=Failure(kind, "why"), results=Results((), (), ("load",))
        )
        payload = agents.payload(order, failed, seen)
        assert smoke.read_result(statement.parse(payload, "x"), "x").result == "FAILED"


@pytest.mark.parametrize("kind", smoke.FAILURES)
def test_every_failure_of_the_protocol_is_known(kind: str) -> None:
    text = (Path(__file__).parents[3] / "docs/device-protocol.md").read_text()
    assert f"`{kind}`" in text


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("2026-01-01T00:00:00Z", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-01-01T02:00:00+02:00", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-01-01T00:00:00.5Z", datetime(2026, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)),
    ],
)
def test_times(text: str, when: datetime) -> None:
    assert shapes.time(text, "x") == when


@pytest.mark.parametrize(
    "text",
    [
        *("", "2026-01-01", "2026-01-01T00:00:00", "2026-01-01 00:00:00Z", "20260101T000000Z"),
        *("2026-02-30T00:00:00Z", "2026-01-01T24:00:01Z", "0001-01-01T00:00:00+23:59"),
        *("9999-12-31T23:59:59-23:59", "٢٠٢٦-01-01T00:00:00Z", "2026-01-01T00:00:00Z\n"),
        *(None, 1767225600, ["2026-01-01T00:00:00Z"]),
    ],
)
def test_what_is_no_time(text: Any) -> None:
    with pytest.raises(EvidenceError):
        shapes.time(text, "x")


@given(st.datetimes(timezones=st.just(UTC)).map(lambda when: when.replace(microsecond=0)))
def test_any_time_comes_back(when: datetime) -> None:
    assert shapes.time(when.isoformat(), "x") == when
