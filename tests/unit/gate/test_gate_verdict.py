"""Every reason, one row each: what is changed, what is decided, by which rule, whose fault."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from gate_parts import (
    EXPECTED,
    MARK,
    MS,
    accelerate,
    calm,
    real,
    retime,
    run,
    silent,
    strict,
    throttle,
    times,
)

from buildkit.gate import Blame, Expected, Failure, Outcome, Rules, Run, Verdict, judge, retry

if TYPE_CHECKING:
    from collections.abc import Callable

    from gate_parts import Report

NPU = "HailoExecutionProvider"
FAIL, INCONCLUSIVE, PASS = Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.PASS


@dataclass(frozen=True, kw_only=True)
class Case:
    """One change to a report that passes."""

    id: str
    change: Callable[[Report], object] = lambda report: report
    rules: dict[str, Any] = field(default_factory=dict)
    expected: Expected = EXPECTED
    outcome: Outcome = FAIL
    rule: str
    blame: Blame = Blame.ARTIFACT
    says: str = ""


def inconclusive(
    id_: str,
    rule: str,
    change: Callable[[Report], object],
    says: str = "",
    blame: Blame = Blame.DEVICE,
    **rules: Any,
) -> Case:
    return Case(
        id=id_,
        rule=rule,
        change=change,
        outcome=INCONCLUSIVE,
        blame=blame,
        says=says,
        rules=rules,
    )


def untouched(_: Report) -> None:
    pass


def process(report: Report) -> Report:
    found: Report = report["processes"][0]
    return found


def answered(report: Report, **changes: int) -> None:
    for part in (report["accuracy"], process(report)["accuracy"]):
        part["golden"] |= changes


def both(report: Report, key: str, value: int) -> None:
    report["accuracy"][key] = process(report)["accuracy"][key] = value


def incomplete(report: Report) -> None:
    process(report)["windows"][1]["complete"] = False
    report["latency"]["incomplete_windows"] = 1


def jump(kind: str) -> Callable[[Report], object]:
    found = {"kind": kind, "at_ns": 1, "by_ns": 3_600_000_000_000}
    return lambda report: report["clock"]["jumps"].append(found)


def inner_jump(report: Report) -> None:
    process(report)["clock"]["jumps"].append({"kind": "wall", "at_ns": 1, "by_ns": -5_000_000_000})


def hot(report: Report) -> None:
    process(report)["sensors"]["temperature_mc"][1] = 80_001


def fell_back(report: Report) -> None:
    accelerate(report, NPU, nodes=0, rest=2)


def half(report: Report) -> None:
    accelerate(report, NPU, nodes=1, rest=1)


def no_provider(report: Report) -> None:
    fell_back(report)
    report["runtime"]["providers"] |= {"available": ["CPUExecutionProvider"], "missing": [NPU]}


def slow(factor: float) -> Callable[[Report], object]:
    return lambda report: retime(report, times(seed=1, factor=factor), times(seed=2, factor=factor))


def tail(report: Report) -> None:
    late = [*times(297, seed=1), *[20 * MS] * 3]
    retime(report, late, [*times(296, seed=2), *[20 * MS] * 4])


def drop(*path: str) -> Callable[[Report], object]:
    def change(report: Report) -> None:
        place: Any = report
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = None

    return change


NEEDS_NPU: dict[str, Any] = {"providers": (NPU, "CPUExecutionProvider")}

CASES = [
    # The artifact is at fault.
    Case(
        id="wrong answers",
        change=lambda report: answered(report, correct=20),
        rule="accuracy",
        says="accuracy is 50 %, and must be ≥ 95 %",
    ),
    Case(
        id="fewer right than at the build",
        change=lambda report: answered(report, correct=39),
        rule="change",
        expected=replace(EXPECTED, same_answers=False),
        says="39 of 40 right, and 40 at the build: 2.5 points fewer; at most 0.5 points",
    ),
    Case(
        id="another count where answers are the same",
        change=lambda report: answered(report, correct=40),
        rule="answers",
        expected=replace(EXPECTED, correct=39),
        says="answers the same on every CPU",
    ),
    Case(id="not finite", change=lambda report: both(report, "not_finite", 3), rule="finite"),
    Case(id="not steady", change=lambda report: both(report, "differing", 1), rule="steady"),
    Case(id="too large", rules={"max_memory_mib": 10}, rule="memory", says="must be ≤ 10 MiB"),
    Case(
        id="something was killed",
        change=lambda report: process(report)["cgroup"].update(oom_kills=1),
        rule="memory",
        says="out of memory",
    ),
    Case(id="slow to load", rules={"max_load_ms": 99.9}, rule="load", says="100.0 ms"),
    Case(id="slow at first", rules={"max_first_ms": 8.9}, rule="first"),
    Case(id="slow", change=slow(1.7), rules={"max_p95_ms": 11}, rule="p50", says="≤ 8 ms"),
    Case(id="slow tail", change=tail, rules={"max_p95_ms": 30}, rule="p99", says="20.00 ms"),
    Case(id="slow bound", rules={"max_p95_ms": 4.9}, rule="p95", says="upper 99 % bound"),
    Case(id="few a second", rules={"min_throughput": 300}, rule="throughput", says="≥ 300 /s"),
    Case(
        id="part of it on the CPU",
        change=half,
        rules={**NEEDS_NPU, "min_on_accelerator": 90},
        rule="share",
        says="nodes on an accelerator is 50 %, and must be ≥ 90 %",
    ),
    # The run does not count.
    inconclusive(
        "throttled before", "throttled", lambda report: throttle(report, [1, 0, 0]), "under_voltage"
    ),
    inconclusive("throttled during", "throttled", lambda report: throttle(report, [0, 0, 4, 0, 0])),
    inconclusive("throttled after", "throttled", lambda report: throttle(report, [0, 0, 8])),
    inconclusive(
        "throttled in between",
        "throttled",
        lambda report: throttle(report, [0x40000, 0x40000, 0x50000]),
        "between two readings: under_voltage",
    ),
    inconclusive(
        "throttled, another reading failed",
        "throttled",
        lambda report: throttle(report, [0, 2, None, 0, 0]),
        "frequency_capped",
    ),
    inconclusive(
        "one reading failed", "throttling", lambda report: throttle(report, [0, 0, None, 0, 0])
    ),
    inconclusive(
        "throttling never read", "throttling", lambda report: throttle(report, [None] * 3)
    ),
    inconclusive("clock set", "clock", jump("wall"), "jumped by 3.6e+03 s"),
    inconclusive("clock set back in a process", "clock", inner_jump, "jumped by -5 s"),
    inconclusive("slept", "suspend", jump("suspend")),
    inconclusive("too few samples", "samples", untouched, min_samples=601),
    inconclusive("windows cut short", "windows", incomplete, "1 of 2 windows"),
    inconclusive("too hot", "temperature", hot, "80.0 °C, above 80 °C"),
    inconclusive(
        "no thermometer", "thermometer", drop("sensors", "before", "temperature_mc"), "unknown"
    ),
    inconclusive(
        "another page", "page", lambda report: report["board"].update(page_bytes=4096), "4096"
    ),
    inconclusive(
        "another board",
        "target",
        lambda report: report["board"].update(model="Raspberry Pi 4 Model B Rev 1.5"),
        "Raspberry Pi 4",
    ),
    inconclusive("no board", "target", drop("board", "model"), "unknown"),
    inconclusive("another CPU", "target", lambda report: report["board"].update(machine="x86_64")),
    inconclusive(
        "another governor",
        "governor",
        lambda report: report["board"]["cpu"].update(governors=["ondemand", "performance"]),
        "the governor is ondemand, performance, and not performance",
    ),
    inconclusive("no governor", "governor", drop("board", "cpu", "governors"), "unknown"),
    inconclusive("another profile", "settings", untouched, blame=Blame.HOST, profile="smoke"),
    inconclusive("other threads", "settings", untouched, blame=Blame.HOST, threads=4),
    inconclusive("other providers", "settings", half, blame=Blame.HOST),
    inconclusive("provider is missing", "provider", no_provider, **NEEDS_NPU),
    inconclusive(
        "fell back to the CPU",
        "fallback",
        fell_back,
        f"{NPU} ran no node of the model; CPUExecutionProvider did",
        **NEEDS_NPU,
    ),
    inconclusive(
        "noise",
        "noise",
        lambda report: retime(report, times(seed=1), times(seed=2, factor=1.2)),
        "20 % apart",
    ),
    inconclusive(
        "memory is not known",
        "memory",
        lambda report: process(report)["memory"]["steady"].update(peak_rss_bytes=None),
    ),
    inconclusive(
        "swap is not known",
        "memory",
        lambda report: process(report)["memory"]["steady"].update(swap_bytes=None),
    ),
    inconclusive(
        "not all were answered", "golden", lambda report: answered(report, answered=39, correct=39)
    ),
    inconclusive("other golden data", "golden", lambda report: answered(report, samples=41)),
    inconclusive(
        "another schema", "report", lambda report: report.update(schema="edge-smoke/report/v2")
    ),
    inconclusive(
        "another summary",
        "report",
        lambda report: report["latency"].update(p50_ns=1),
        "/latency/p50_ns says 1, and what it is made of gives",
    ),
    inconclusive(
        "throttling made to look well",
        "report",
        lambda report: process(report)["sensors"]["throttled"].__setitem__(0, 4),
        "/sensors/throttling/live does not follow",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_each_reason(case: Case) -> None:
    report = calm()
    case.change(report)
    verdict = judge([run(report)], strict(**case.rules), case.expected)
    assert verdict.outcome is case.outcome
    found = {finding.rule: finding for finding in verdict.findings}
    assert case.rule in found, verdict.findings
    finding = found[case.rule]
    assert (finding.outcome, finding.blame) == (case.outcome, case.blame)
    assert case.says in finding.message


def test_a_good_run() -> None:
    verdict = judge([run()], strict(), EXPECTED)
    assert verdict.findings == ()
    assert verdict.outcome is PASS
    assert [(row.name, row.value, row.limit, row.outcome) for row in verdict.rows][:2] == [
        ("cold load", "100.0 ms", "≤ 500 ms", PASS),
        ("first inference", "9.000 ms", "≤ 50 ms", PASS),
    ]
    assert {row.outcome for row in verdict.rows} == {PASS, None}


def test_the_order_of_the_rows() -> None:
    rows = judge([run()], strict(), EXPECTED, baseline=[run()]).rows
    assert [row.name for row in rows] == [
        *("cold load", "first inference", "latency p50", "latency p95"),
        *("latency p95, upper 99 % bound", "latency p99", "throughput", "peak memory"),
        *("accuracy", "nodes on an accelerator", "timed inferences", "highest temperature"),
        *("slower than the baseline", "larger than the baseline"),
    ]


FAILURES = [
    ("model", Blame.ARTIFACT, FAIL),
    ("golden", Blame.ARTIFACT, FAIL),
    ("memory", Blame.ARTIFACT, FAIL),
    ("runtime", Blame.ARTIFACT, FAIL),
    ("deadline", Blame.ARTIFACT, FAIL),
    ("architecture", Blame.ARTIFACT, FAIL),
    ("refused", Blame.ARTIFACT, FAIL),
    ("something new", Blame.ARTIFACT, INCONCLUSIVE),
    ("runtime", Blame.DEVICE, INCONCLUSIVE),
    ("device", Blame.DEVICE, INCONCLUSIVE),
    ("disk", Blame.DEVICE, INCONCLUSIVE),
    ("busy", Blame.DEVICE, INCONCLUSIVE),
    ("network", Blame.NETWORK, INCONCLUSIVE),
    ("usage", Blame.HOST, INCONCLUSIVE),
    ("interrupted", Blame.HOST, INCONCLUSIVE),
    ("report", Blame.DEVICE, INCONCLUSIVE),
]


@pytest.mark.parametrize(("kind", "blame", "outcome"), FAILURES)
def test_a_run_without_a_report(kind: str, blame: Blame, outcome: Outcome) -> None:
    failure = Failure(kind=kind, blame=blame, message="line one\n\x1b[31mline two\u202e")
    verdict = judge([silent(failure)], strict(), EXPECTED)
    [finding] = verdict.findings
    assert (verdict.outcome, finding.rule, finding.blame) == (outcome, kind, blame)
    assert finding.message == f"{kind}: line one [31mline two"
    assert verdict.rows == ()


@pytest.mark.parametrize("runs", [[], [silent()]], ids=["no run", "no report"])
def test_nothing_is_no_pass(runs: list[Run]) -> None:
    assert judge(runs, strict(), EXPECTED).outcome is INCONCLUSIVE


def outcome_of(name: str, verdict: Verdict) -> Outcome | None:
    return next(row.outcome for row in verdict.rows if row.name == name)


# What a condition reaches: (condition, does a wrong answer still fail, does a slow p95 still fail).
REACH: list[tuple[str, Callable[[Report], object], bool]] = [
    ("throttled", lambda report: throttle(report, [1, 0, 0]), True),
    ("clock", jump("wall"), True),
    ("windows", incomplete, True),
    ("temperature", hot, True),
    ("governor", drop("board", "cpu", "governors"), True),
    ("page", lambda report: report["board"].update(page_bytes=4096), False),
    ("target", lambda report: report["board"].update(model="x"), False),
    ("report", lambda report: report["latency"].update(p50_ns=1), False),
]


@pytest.mark.parametrize(("rule", "change", "fails"), REACH, ids=[row[0] for row in REACH])
def test_what_a_condition_reaches(
    rule: str, change: Callable[[Report], object], *, fails: bool
) -> None:
    report = calm()
    slow(3)(report)
    change(report)
    late = judge([run(report)], strict(), EXPECTED)
    assert late.outcome is INCONCLUSIVE
    assert {finding.outcome for finding in late.findings} == {INCONCLUSIVE}
    assert rule in {finding.rule for finding in late.findings}
    answered(report, correct=20)
    wrong = judge([run(report)], strict(), EXPECTED)
    assert wrong.outcome is (FAIL if fails else INCONCLUSIVE)
    assert ("accuracy" in {finding.rule for finding in wrong.findings}) is fails


def test_times_of_a_standin_are_shown_and_not_judged() -> None:
    report = calm()
    slow(100)(report)
    report["board"]["standin"] = MARK
    report["board"]["cpu"]["governors"] = None
    verdict = judge([run(report)], strict(), EXPECTED)
    assert verdict.outcome is PASS
    row = next(row for row in verdict.rows if row.name == "latency p50")
    assert row.limit == "≤ 8 ms (not judged: stand-in)"
    assert row.outcome is None
    assert outcome_of("accuracy", verdict) is PASS


@pytest.mark.parametrize(
    ("rule", "change"),
    [(rule, change) for rule, change, _ in REACH if rule != "governor"],
    ids=[rule for rule, *_ in REACH if rule != "governor"],
)
def test_a_standin_is_held_to_what_it_imitates(
    rule: str, change: Callable[[Report], object]
) -> None:
    report = calm()
    report["board"]["standin"] = ""
    change(report)
    verdict = judge([run(report)], strict(), EXPECTED)
    assert verdict.outcome is INCONCLUSIVE
    assert rule in {finding.rule for finding in verdict.findings}


def test_an_engine_is_no_board() -> None:
    report = calm()
    slow(100)(report)
    throttle(report, [None] * 3)
    report["board"] |= {"model": None, "page_bytes": 4096}
    report["board"]["cpu"]["governors"] = None
    report["sensors"]["before"]["temperature_mc"] = None
    there = run(report, local=True)
    verdict = judge([there], strict(), EXPECTED)
    assert verdict.outcome is PASS
    assert outcome_of("highest temperature", verdict) is None
    assert next(row for row in verdict.rows if row.name == "cold load").limit.endswith("local)")
    answered(report, correct=20)
    assert judge([there], strict(), EXPECTED).outcome is FAIL


def test_the_worst_of_several_runs_counts() -> None:
    good, late = calm(), calm()
    retime(late, [*times(280, seed=5), *[9 * MS] * 20], [*times(280, seed=6), *[9 * MS] * 20])
    for order in ([good, late], [late, good]):
        verdict = judge([run(each) for each in order], strict(max_p95_ms=8), EXPECTED)
        assert verdict.outcome is FAIL
        assert [finding.rule for finding in verdict.findings] == ["p95"]


def test_one_throttled_run_spoils_the_times_of_all() -> None:
    bad = calm()
    throttle(bad, [1, 0, 0])
    verdict = judge([run(), run(bad)], strict(max_p50_ms=1), EXPECTED)
    assert verdict.outcome is INCONCLUSIVE
    [finding] = verdict.findings
    assert finding.message == "run 2: throttled: under_voltage"
    assert outcome_of("latency p50", verdict) is INCONCLUSIVE


def test_a_line_that_was_cut_does_not_hide_a_wrong_model() -> None:
    cut = Failure(kind="network", blame=Blame.NETWORK, message="cut")
    wrong = calm()
    answered(wrong, correct=20)
    runs = [run(wrong), silent(cut)]
    verdict = judge(runs, strict(), EXPECTED)
    assert verdict.outcome is FAIL
    assert [finding.outcome for finding in verdict.findings][-1] is INCONCLUSIVE


def test_runs_of_two_models_are_no_repetitions() -> None:
    other = calm()
    other["model"]["sha256"] = "0" * 64
    verdict = judge([run(), run(other)], strict(), EXPECTED)
    assert [finding.rule for finding in verdict.findings] == ["mixed"]
    assert judge([run(), run(device="shelf-2")], strict(), EXPECTED).outcome is INCONCLUSIVE


@pytest.mark.parametrize("same", [True, False])
def test_bytes_of_answers_at_the_build(*, same: bool) -> None:
    report = calm()
    told = report["accuracy"]["answers_sha256"] if same else "0" * 64
    verdict = judge([run(report)], strict(), replace(EXPECTED, answers_sha256=told))
    assert verdict.outcome is (Outcome.PASS if same else Outcome.FAIL)
    assert [found.rule for found in verdict.findings] == ([] if same else ["answers"])


def test_bytes_of_answers_of_one_model() -> None:
    other = calm()
    other["accuracy"]["answers_sha256"] = "0" * 64
    verdict = judge([run(), run(other)], strict(), EXPECTED)
    assert [finding.rule for finding in verdict.findings] == ["answers"]
    free = replace(EXPECTED, same_answers=False)
    assert judge([run(), run(other)], strict(), free).outcome is PASS
    # The baseline is another model.
    other["model"]["sha256"] = "0" * 64
    assert judge([run()], strict(), EXPECTED, baseline=[run(other)]).outcome is PASS


def faster(factor: float, seed: int = 3) -> Run:
    report = calm()
    retime(report, times(seed=seed, factor=factor), times(seed=seed + 1, factor=factor))
    report["model"]["sha256"] = "0" * 64
    return run(report)


@pytest.mark.parametrize(
    ("factor", "outcome", "rules"),
    [
        (1.0, PASS, []),
        (1.2, PASS, []),
        (0.8, FAIL, ["slower"]),
        # 5 % slower, give or take what the samples allow.
        (1 / 1.05, INCONCLUSIVE, ["slower"]),
    ],
)
def test_against_a_baseline(factor: float, outcome: Outcome, rules: list[str]) -> None:
    runs = [run(), run()]
    before = [faster(factor), faster(factor, seed=9)]
    verdict = judge(runs, strict(), EXPECTED, baseline=before)
    assert verdict.outcome is outcome
    assert sorted({finding.rule for finding in verdict.findings}) == rules
    assert outcome_of("slower than the baseline", verdict) is outcome
    row = next(row for row in verdict.rows if row.name == "latency p50")
    assert row.change == pytest.approx((1 / factor - 1) * 100, abs=0.5)


@pytest.mark.parametrize(
    ("factor", "outcome"),
    # Above 3 times what is allowed, 1.05; `times` vary by a few percent.
    [(1.0, None), (1 / 3, None), (1 / 3.1, None), (1 / 3.3, FAIL), (1 / 50, FAIL)],
)
@pytest.mark.parametrize("local", [False, True])
def test_a_gross_difference_is_judged_on_any_machine(
    factor: float, outcome: Outcome | None, *, local: bool
) -> None:
    runs = [untimed(run(), local=local) for _ in range(2)]
    before = [untimed(faster(factor, seed=seed), local=local) for seed in (3, 9)]
    verdict = judge(runs, strict(), EXPECTED, baseline=before)
    assert outcome_of("slower than the baseline", verdict) is outcome
    assert verdict.outcome is (outcome or PASS)
    assert [finding.rule for finding in verdict.findings] == (["slower"] if outcome else [])
    (row,) = (row for row in verdict.rows if row.name == "slower than the baseline")
    where = "local" if local else "stand-in"
    said = f"≤ +215 % ({where})" if outcome else f"≤ +5 % (not judged: {where})"
    assert row.limit == said


def untimed(of: Run, *, local: bool) -> Run:
    """The same, where times are not judged."""
    if local:
        return replace(of, local=True)
    assert of.report is not None
    return replace(of, report={**of.report, "board": {**of.report["board"], "standin": MARK}})


def test_one_run_of_two_that_was_held_up_is_no_gross_difference() -> None:
    held_up = calm()
    slow(50)(held_up)
    runs = [untimed(run(), local=False), untimed(run(held_up), local=False)]
    before = [untimed(faster(1.0, seed=seed), local=False) for seed in (3, 9)]
    assert judge(runs, strict(), EXPECTED, baseline=before).outcome is PASS


def test_a_gross_difference_is_not_judged_on_a_throttled_standin_or_against_another() -> None:
    disturbed = calm()
    throttle(disturbed, [1, 0, 0])
    before = [untimed(faster(1 / 50), local=False)]
    verdict = judge([untimed(run(disturbed), local=False)], strict(), EXPECTED, baseline=before)
    assert [finding.rule for finding in verdict.findings] == ["throttled"]
    other = [faster(1 / 50)]
    verdict = judge([untimed(run(), local=False)], strict(), EXPECTED, baseline=other)
    assert [finding.rule for finding in verdict.findings] == ["comparable"]


def test_larger_than_the_baseline() -> None:
    before = calm()
    process(before)["memory"]["steady"]["peak_rss_bytes"] //= 2
    verdict = judge([run()], strict(), EXPECTED, baseline=[run(before)])
    assert [finding.rule for finding in verdict.findings] == ["larger"]
    assert outcome_of("larger than the baseline", verdict) is FAIL
    assert judge([run()], strict(max_larger=101), EXPECTED, baseline=[run(before)]).outcome is PASS


BASELINES: list[tuple[str, Callable[[Report], object], str]] = [
    ("kernel", lambda report: report["board"]["kernel"].update(release="6.6"), "comparable"),
    ("threads", lambda report: report["runtime"].update(threads=4), "comparable"),
    ("standin", lambda report: report["board"].update(standin=MARK), "comparable"),
    ("level", lambda report: report["runtime"].update(optimization="basic"), "comparable"),
    ("throttled", lambda report: throttle(report, [1, 0, 0]), "throttled"),
    ("broken", lambda report: report["latency"].update(p50_ns=1), "report"),
    ("noisy", lambda report: retime(report, times(), times(factor=1.3)), "noise"),
]


@pytest.mark.parametrize(("name", "change", "rule"), BASELINES, ids=[row[0] for row in BASELINES])
def test_a_baseline_that_does_not_count(
    name: str, change: Callable[[Report], object], rule: str
) -> None:
    before = calm()
    change(before)
    verdict = judge([run()], strict(), EXPECTED, baseline=[run(before)])
    assert verdict.outcome is INCONCLUSIVE, name
    assert rule in {finding.rule for finding in verdict.findings}
    assert all(finding.message.startswith("baseline: ") for finding in verdict.findings)
    assert outcome_of("slower than the baseline", verdict) is INCONCLUSIVE
    # What does not need the baseline is decided all the same.
    assert judge([run()], strict(max_p50_ms=1), EXPECTED, baseline=[run(before)]).outcome is FAIL


def test_a_baseline_that_does_not_load() -> None:
    failure = Failure(kind="model", blame=Blame.ARTIFACT, message="no such operator")
    before = silent(failure)
    verdict = judge([run()], strict(), EXPECTED, baseline=[before])
    [finding] = verdict.findings
    assert (finding.outcome, finding.blame) == (INCONCLUSIVE, Blame.HOST)
    assert finding.message == "baseline: model: no such operator"


@pytest.mark.parametrize(
    ("change", "again"),
    [
        (lambda report: throttle(report, [1, 0, 0]), True),
        (jump("wall"), True),
        (hot, True),
        (lambda report: throttle(report, [None] * 3), False),
        (lambda report: report["board"].update(page_bytes=4096), False),
        (lambda report: report["latency"].update(p50_ns=1), False),
        (lambda report: answered(report, correct=0), False),
        (untouched, False),
    ],
)
def test_another_attempt(change: Callable[[Report], object], *, again: bool) -> None:
    report = calm()
    change(report)
    rules: Rules = strict(attempts=2)
    verdict = judge([run(report)], rules, EXPECTED)
    assert retry(verdict, 1, rules) is again
    assert not retry(verdict, 2, rules)


def test_a_report_as_it_came() -> None:
    """Of this machine, which is no Raspberry Pi 5; its engine may be."""
    rules = replace(strict(), machine="", max_memory_bytes=None)
    verdict = judge([run(real())], rules, EXPECTED)
    assert {finding.rule for finding in verdict.findings} <= {"page", "noise"}
    assert judge([run(real(), local=True)], rules, EXPECTED).outcome is PASS
