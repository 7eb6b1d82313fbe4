from __future__ import annotations

import dataclasses
import itertools
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.append(str(Path(__file__).parents[1] / "markup"))

from page_parts import HOSTILE, Elements, is_harmless, is_well_formed, needs_nobody
from report_world import DAY, NOW, artifact, digest, hostile, report, runs

from buildkit.audit.report.drawing import drawing
from buildkit.audit.report.graph import graph
from buildkit.audit.report.page import html
from buildkit.audit.report.style import STYLE
from buildkit.audit.report.trend import trend, when
from buildkit.audit.report.types import Cut, Report

if TYPE_CHECKING:
    from collections.abc import Iterator


def texts(value: object) -> Iterator[str]:
    """Every text of a record."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple):
        for each in value:
            yield from texts(each)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from texts(getattr(value, field.name))


def page(found: Report | None = None) -> str:
    return html(found or report(), at=NOW)


def test_it_needs_nobody() -> None:
    needs_nobody(page())


def test_it_is_well_formed() -> None:
    is_well_formed(page())


def test_it_says_all_that_is_known() -> None:
    found = report()
    shown = Elements(page()).text
    silent = {
        # What they stand for has words of its own, or they are told in another form.
        *(each.purl for each in found.packages),
        *(run.key for run in found.runs),
        *(key for each in found.verdicts for _, _, key in each.devices),
        *("key", "identity", "local"),
    }
    missing = {each for each in texts(found) if each not in silent and each not in shown}
    assert missing == set()
    assert "38of 41 runs passed, on 3 devices" in shown
    assert "98.2 %" in shown
    assert "it leads here now" not in shown
    assert "leads here now" in shown


def test_what_was_refused_is_told_with_its_reason() -> None:
    shown = Elements(page()).text
    after = shown.partition("Evidence that is not believed")[2]
    assert "signature" in after
    assert "the signature does not fit what it signs" in after
    assert shown.count(digest("forged")) == 1


def test_an_artifact_of_which_nothing_is_known() -> None:
    shown = Elements(page(Report(top=artifact("image")))).text
    for said in (
        "Nobody whose word counts says what it was made from.",
        "No SBOM that counts is known.",
        "No model's card is known.",
        "No test result that counts is known.",
        "No gate decided about it.",
        "No channel is known to lead here, or to have led here.",
        "Nobody whose word counts signed anything about it.",
        "No evidence about it was refused.",
    ):
        assert said in shown


def test_what_is_not_on_the_page_is_counted() -> None:
    total = Cut(runs=5000, verdicts=300, packages=9000, materials=70, refused=2)
    shown = Elements(page(dataclasses.replace(report(), total=total))).text
    assert "4959 more are not on this page" in shown
    assert "298 more are not on this page" in shown
    assert "8988 more are not on this page" in shown


def test_runs_on_no_board_are_marked() -> None:
    local = [run for run in runs() if run.mark]
    shown = Elements(page(dataclasses.replace(report(), runs=tuple(local)))).text
    assert "No real board ran this: only local runs are known." in shown
    assert "No real board" not in Elements(page()).text


def test_everything_can_be_found_by_a_screen_reader() -> None:
    elements = Elements(page())
    ids = [found["id"] for _, found in elements.found if "id" in found]
    assert len(set(ids)) == len(ids)
    for _, found in elements.found:
        assert set((found.get("aria-labelledby") or "").split()) <= set(ids)
        assert found.get("href", "#what") in {f"#{each}" for each in ids}
    levels = [int(name[1]) for name, _ in elements.found if re.fullmatch(r"h[1-6]", name)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= level + 1 for level, later in itertools.pairwise(levels))
    assert all(found.get("scope") in {"row", "col"} for found in elements.named("th"))
    assert "<th></th>" not in re.sub(r"<(/?)th\b[^>]*>", r"<\1th>", page())
    assert len(elements.named("caption")) == len(elements.named("table"))
    drawn = [found for found in elements.named("svg") if "viewbox" in found]
    assert len(drawn) == 4
    assert all(found["role"] == "img" and found["aria-labelledby"] for found in drawn)
    assert elements.named("html") == [{"lang": "en"}]


def test_colours_are_those_that_every_page_has() -> None:
    assert not re.search(r"#[0-9a-f]{3}|rgb|hsl", STYLE)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("but", [frozenset({"role"}), frozenset()], ids=["parts", "all"])
def test_hostile_texts(text: str, but: frozenset[str]) -> None:
    found = page(hostile(text, but=but))
    is_harmless(found, page())
    assert len(found) < 600_000


def test_the_graph_goes_from_commit_to_channel() -> None:
    found = graph(report())
    names = {each.id: (each.title, each.name) for each in found.things}
    arrows = {(names[one], names[other]) for one, other in found.arrows}
    build = ("Build", "digits 1.0.0")
    assert (("Commit", "041d2313aa11"), build) in arrows
    assert (("Data or training", "digits.npz"), build) in arrows
    assert (("Lock", digest("lock")[7:19]), build) in arrows
    assert (build, ("Model", "pi5")) in arrows
    assert (("Model", "pi5"), ("pi5", "shelf-1")) in arrows
    assert (("Image", "linux/arm64"), ("pi5", "shelf-1")) in arrows
    assert (("Image", "linux/amd64"), ("pi5", "shelf-1")) not in arrows
    assert (("pi5", "shelf-1"), ("Channel", "canary")) in arrows
    assert (("pi5", "shelf-2"), ("Channel", "canary")) not in arrows
    assert ("Channel, before", "stable") in names.values()


def test_many_devices_are_one_box_for_each_target() -> None:
    many = tuple(
        dataclasses.replace(run, device=f"board-{at}", key=f"{at:016x}")
        for at, run in enumerate(runs(90))
    )
    found = graph(dataclasses.replace(report(), runs=many))
    boxes = [each for each in found.things if each.stage == 3]
    assert [(each.title, each.name) for each in boxes] == [
        ("amd64 (local)", "1 device"),
        ("pi5", "90 devices"),
    ]


@pytest.mark.parametrize("upright", [False, True])
@pytest.mark.parametrize("found", [report(), hostile("W" * 999), Report(top=artifact("models"))])
def test_no_box_lies_on_another(found: Report, *, upright: bool) -> None:
    drawn = drawing(graph(found), upright=upright)
    boxes = [
        (float(each["x"] or 0), float(each["y"] or 0))
        for each in Elements(drawn).named("svg")
        if "x" in each
    ]
    assert len(boxes) == len(graph(found).things)
    assert all(
        abs(one[0] - other[0]) >= 156 or abs(one[1] - other[1]) >= 62
        for at, one in enumerate(boxes)
        for other in boxes[:at]
    )
    [[width]] = [re.findall(r'viewBox="0 0 ([0-9.]+)', drawn)]
    assert all(left + 156 <= float(width) for left, _ in boxes)
    assert not upright or float(width) < 330


def test_a_trend_is_told_in_words_too() -> None:
    drawn = trend("t", "pi5", [run for run in runs() if run.target == "pi5"])
    assert drawn is not None
    shown = Elements(drawn).text
    assert "40 runs, 3 failed; medians from 4.8" in shown
    assert drawn.count("<circle") == 37
    assert drawn.count('class="cross"') == 3


def test_a_trend_of_very_many_runs_stays_small() -> None:
    many = trend("t", "pi5", [run for run in runs(5000) if run.target == "pi5"])
    assert many is not None
    assert many.count("<circle") <= 120
    assert many.count('class="cross"') <= 120


def test_a_trend_of_nothing_or_of_clocks_that_are_mad() -> None:
    assert trend("t", "pi5", []) is None
    one = runs(1)[0]
    for at in (-1, 1 << 62):
        assert trend("t", "pi5", [dataclasses.replace(one, at=at)]) is None
        assert when(at) == "unknown"
    untimed = dataclasses.replace(one, p50_ns=None, p95_ns=None)
    assert trend("t", "pi5", [untimed]) is None
    assert trend("t", "pi5", [dataclasses.replace(untimed, result="FAILED")]) is not None
    huge = dataclasses.replace(one, p50_ns=1 << 62, p95_ns=1 << 62, at=NOW - DAY)
    assert trend("t", "pi5", [one, huge]) is not None
    assert trend("t", "pi5", [dataclasses.replace(one, at=0)]) is not None
