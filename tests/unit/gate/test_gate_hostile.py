"""Broken reports, and such as deceive: never a crash, never a PASS for want of a number."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
from gate_parts import EXPECTED, accelerate, calm, run, strict
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkit.gate import Outcome, Run, judge
from buildkit.gate.page import html

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gate_parts import Report

NPU = "HailoExecutionProvider"
RULES = strict(
    providers=(NPU, "CPUExecutionProvider"),
    min_on_accelerator=50,
    max_temperature_c=80,
    min_samples=90,
)


def good() -> Report:
    report = calm()
    accelerate(report, NPU, nodes=2, rest=1)
    return report


GOOD = good()

# Not read by any rule: for people, or only on the page.
UNUSED = (
    "/duration_ns",
    "/accelerator/",
    "/processes/0/began_ns",
    "/processes/0/import_ns",
    "/processes/0/warmups",
    "/processes/0/cpu/",
    "/processes/0/memory/baseline/",
    "/processes/0/memory/loaded/",
    "/processes/0/memory/steady/rss_bytes",
    "/processes/0/repeated/",
    "/processes/0/clock/drift_ns",
    "/processes/0/cgroup/",
    "/clock/drift_ns",
    "/latency/repeated/",
    "/placement/assigned/",
    "/board/cooling/",
    "/board/memory/",
    "/board/uptime_ms",
    "/board/cpu/cores",
    "/board/cpu/max_khz",
    "/golden/bytes",
    "/model/bytes",
    "/model/inputs/",
    "/model/outputs/",
)
ENDS = ("/time_us", "/cpu_ns", "/spent_ns", "/gap/count", "/clock_khz", "/at_ns")
PROFILE = ("repeats", "rest_limit_ms", "sensor_ms", "warmup_ms", "warmups", "window_limit_ms")


def numbers(tree: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every number."""
    if isinstance(tree, dict | list):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        for key, value in items:
            yield from numbers(value, (*at, key))
    elif isinstance(tree, int) and not isinstance(tree, bool):
        yield at


def pointer(path: tuple[Any, ...]) -> str:
    return "".join(f"/{key}" for key in path)


def is_used(path: tuple[Any, ...]) -> bool:
    text = pointer(path)
    return (
        not text.startswith(UNUSED)
        and not text.endswith(ENDS)
        and "/clock_khz/" not in text
        and "/stretches/" not in text
        and "/operators/" not in text
        and not (text.startswith("/profile/") and path[-1] in (*PROFILE, "window_ms"))
        and text != "/profile/window_samples"
    )


USED = [path for path in numbers(GOOD) if is_used(path)]


def kinds(paths: list[tuple[Any, ...]]) -> dict[str, list[tuple[Any, ...]]]:
    """Paths by their names alone: how many samples a list holds is another with every run."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for path in paths:
        name = pointer(tuple("*" if isinstance(key, int) else key for key in path))
        found.setdefault(name, []).append(path)
    return found


def place(report: Report, path: tuple[Any, ...]) -> Any:
    found: Any = report
    for key in path[:-1]:
        found = found[key]
    return found


def test_it_is_good() -> None:
    assert judge([run(GOOD)], RULES, EXPECTED).outcome is Outcome.PASS
    assert len(USED) > 60


@pytest.mark.parametrize("kind", kinds(USED))
def test_no_pass_without_a_number(kind: str) -> None:
    others: tuple[Any, ...] = (None, "7", True, 7.5, -(1 << 70), [], {})
    for path in kinds(USED)[kind]:
        for value in others:
            report = copy.deepcopy(GOOD)
            place(report, path)[path[-1]] = value
            verdict = judge([run(report)], RULES, EXPECTED)
            assert verdict.outcome is Outcome.INCONCLUSIVE, (path, value)
        report = copy.deepcopy(GOOD)
        del place(report, path)[path[-1]]
        assert judge([run(report)], RULES, EXPECTED).outcome is Outcome.INCONCLUSIVE, path


SUMMARIES = [path for path in USED if path[0] == "latency" or "golden" in path or "timed" in path]


@pytest.mark.parametrize("kind", kinds(SUMMARIES))
def test_no_pass_with_another_number(kind: str) -> None:
    for path in kinds(SUMMARIES)[kind]:
        for by in (-1, 1):
            report = copy.deepcopy(GOOD)
            place(report, path)[path[-1]] += by
            assert judge([run(report)], RULES, EXPECTED).outcome is Outcome.INCONCLUSIVE, path


def every(tree: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    if isinstance(tree, dict | list):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        for key, value in items:
            yield from every(value, (*at, key))


EVERY = [path for path in every(GOOD) if path]
HOSTILE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["<script>", "\u202e", "\ud800", "A" * 100_000, 10**4000, -1, 1 << 62]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@settings(max_examples=400, deadline=None)
@given(
    changes=st.lists(st.tuples(st.sampled_from(EVERY), HOSTILE), min_size=1, max_size=4),
    local=st.booleans(),
)
def test_nothing_crashes_it(changes: list[tuple[tuple[Any, ...], Any]], *, local: bool) -> None:
    report = copy.deepcopy(GOOD)
    for path, value in changes:
        try:
            place(report, path)[path[-1]] = value
        except (KeyError, IndexError, TypeError):
            continue
    runs = [run(report, local=local)]
    verdict = judge(runs, RULES, EXPECTED, baseline=[run(GOOD)])
    assert (verdict.outcome is Outcome.PASS) is (not verdict.findings)
    outcomes = {finding.outcome for finding in verdict.findings}
    assert verdict.outcome is not Outcome.FAIL or Outcome.FAIL in outcomes
    if verdict.outcome is Outcome.PASS:
        assert {row.outcome for row in verdict.rows} <= {Outcome.PASS, None}
    html(verdict, RULES, title="digits", runs=runs, baseline=[run(GOOD)]).encode()


@settings(max_examples=200, deadline=None)
@given(HOSTILE)
def test_nothing_at_all(report: Any) -> None:
    runs = [Run(device="x", target="pi5", report=report)]
    assert judge(runs, RULES, EXPECTED).outcome is Outcome.INCONCLUSIVE


def test_a_bomb_is_not_unpacked() -> None:
    report = copy.deepcopy(GOOD)
    report["processes"][0]["windows"][0]["latency"]["count"] = 1 << 40
    [finding] = judge([run(report)], RULES, EXPECTED).findings
    assert finding.message.endswith("holds more than 4000000 samples")
