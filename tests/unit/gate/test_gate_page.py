from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.append(str(Path(__file__).parents[1] / "markup"))

from gate_parts import EXPECTED, MARK, calm, retime, run, silent, strict, throttle, times
from page_parts import HOSTILE, Elements, is_harmless, is_well_formed, needs_nobody

from buildkit.gate import Blame, Failure, Outcome, Run, Verdict, digest, judge
from buildkit.gate.page import html

if TYPE_CHECKING:
    from gate_parts import Report


def page(
    reports: list[Report], baseline: list[Report] | None = None, *, title: str = "digits 1.0.0"
) -> tuple[str, Verdict]:
    runs, before = [run(each) for each in reports], [run(each) for each in baseline or []]
    verdict = judge(runs, strict(), EXPECTED, baseline=before)
    text = html(
        verdict,
        strict(),
        title=title,
        runs=runs,
        baseline=before,
        facts=[("image", "sha256:" + "a" * 64)],
    )
    return text, verdict


def other() -> Report:
    report = calm()
    retime(report, times(seed=5, factor=0.99), times(seed=6, factor=0.99))
    return report


def test_it_needs_nobody() -> None:
    text, _ = page([calm()], [other()])
    needs_nobody(text)
    assert "href" not in Elements(text).attributes


def test_it_is_well_formed() -> None:
    text, _ = page([calm(), calm()], [other(), other()])
    is_well_formed(text)


def test_it_says_what_the_verdict_says() -> None:
    text, verdict = page([calm(), calm()], [other(), other()])
    shown = Elements(text).text
    assert verdict.outcome is Outcome.PASS
    for row in verdict.rows:
        for part in (row.name, row.value, row.baseline, row.limit):
            assert part in shown
    assert digest(strict()) in shown
    assert "sha256:" + "a" * 64 in shown
    assert "Raspberry Pi 5 Model B Rev 1.0" in shown
    assert "The board was not throttled." in shown
    assert Elements(text).named("html")[0]["lang"] == "en"


def test_charts_are_told_in_words() -> None:
    text, _ = page([calm()], [other()])
    elements = Elements(text)
    charts = elements.named("svg")
    assert len(charts) == 4
    ids = {found.get("id") for name, found in elements.found if name in {"title", "desc"}}
    for chart in charts:
        assert chart["role"] == "img"
        assert set((chart["aria-labelledby"] or "").split()) <= ids
    assert "candidate: median 5.0" in elements.text
    assert "from 48.3 to 48.3 °C" in elements.text
    assert all(found.get("scope") in {"row", "col"} for found in elements.named("th"))


def test_throttling_is_marked() -> None:
    report = calm()
    throttle(report, [0, 0, 4, 0, 0x40000])
    text, verdict = page([report])
    assert verdict.outcome is Outcome.INCONCLUSIVE
    shown = Elements(text).text
    assert "throttled at 1 readings" in shown
    assert "(throttled; at fault: device)" in shown


def test_sticky_bits_that_hide_repeats_are_told() -> None:
    report = calm()
    throttle(report, [0x50000] * 3)
    text, verdict = page([report])
    assert verdict.outcome is Outcome.PASS
    assert "there had been under_voltage, throttled before the run" in Elements(text).text
    throttle(report, [0] * 3)
    assert "there had been" not in page([report])[0]


def test_a_standin_and_an_engine_are_marked() -> None:
    report = calm()
    report["board"]["standin"] = MARK
    text, _ = page([report])
    shown = Elements(text).text
    assert "STAND-IN: it ran on no real board" in shown
    assert MARK in shown
    runs = [run(local=True)]
    verdict = judge(runs, strict(), EXPECTED)
    assert "LOCAL: it ran in an engine" in html(verdict, strict(), title="x", runs=runs)
    assert "LOCAL" not in text
    assert "STAND-IN" not in page([calm()])[0]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names(text: str) -> None:
    report = calm()
    report["board"] |= {"model": text, "standin": text}
    report["board"]["kernel"]["release"] = text
    report["board"]["cpu"]["governors"] = [text]
    report["runtime"]["onnxruntime"] = text
    report["placement"] |= {"providers": {text: {"nodes": 1}}, "nodes": 1}
    report["placement"]["nodes_on_accelerator"] = 1
    failure = Failure(kind=text, blame=Blame.DEVICE, message=text)
    runs = [run(report), Run(device=text, target=text, failure=failure, evidence=(text,))]
    verdict = judge(runs, strict(), EXPECTED)
    found = html(verdict, strict(), title=text, runs=runs, facts=[(text, text)])
    good = html(judge([run()], strict(), EXPECTED), strict(), title="x", runs=[run(), silent()])
    is_harmless(found, good + "<ul><li>")
    assert len(found) < 60_000


def test_without_any_report() -> None:
    verdict = judge([silent()], strict(), EXPECTED)
    shown = Elements(html(verdict, strict(), title="x", runs=[silent()])).text
    assert "INCONCLUSIVE" in shown
    assert "no report" in shown
    assert "Temperature" not in shown


def test_sensors_that_are_not_there() -> None:
    report = calm()
    throttle(report, [None] * 3)
    for key in ("before", "after"):
        report["sensors"][key] |= {"temperature_mc": None, "clock_khz": None}
    report["processes"][0]["sensors"] |= {"temperature_mc": None, "clock_khz": None}
    shown = Elements(page([report])[0]).text
    assert "Temperature of the CPU: unknown." in shown
    assert "Whether the board was throttled is not known" in shown
