"""A report as one HTML page, for a person."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from buildkit.audit.report import sections
from buildkit.audit.report.drawing import drawing
from buildkit.audit.report.graph import graph
from buildkit.audit.report.style import STYLE
from buildkit.audit.report.tests import tests
from buildkit.audit.report.trend import when
from buildkit.markup import Markup, foreign, join, shown, tag
from buildkit.markup.page import document, figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildkit.audit.report.types import Report

_PARTS = (
    ("what", "What it is"),
    ("origin", "Where it came from"),
    ("inside", "What is inside"),
    ("model", "Quantisation and accuracy"),
    ("tests", "Test results"),
    ("channels", "Channels"),
    ("signatures", "Signatures"),
    ("gaps", "Gaps and refused evidence"),
)


def html(report: Report, *, at: int) -> str:
    """The page.

    Args:
        report: all that is known.
        at: when the index was asked, seconds since 1970.
    """
    shows = {
        "what": sections.what(report),
        "origin": _origin(report),
        "inside": sections.inside(report),
        "model": sections.model(report),
        "tests": tests(report),
        "channels": sections.channels(report),
        "signatures": sections.signatures(report),
        "gaps": sections.gaps(report),
    }
    return document(
        f"Audit of {shown(report.title)}",
        tag("h1", "Audit of ", foreign(report.title)),
        tag(
            "p",
            f"As the index knew it at {when(at)}. Only what was verified is shown as true; ",
            "what was not stands at the end, with the reason. Whose word counts: as ",
            *_policy(report),
            " says.",
            class_="quiet",
        ),
        *_marks(report),
        tag("ul", *_chips(report), class_="chips"),
        tag(
            "nav",
            tag("ul", *(tag("li", tag("a", name, href=f"#{id_}")) for id_, name in _PARTS)),
            aria_label="Sections",
        ),
        *(
            tag(
                "section",
                tag("h2", name, id=f"{id_}-title"),
                *shows[id_],
                id=id_,
                aria_labelledby=f"{id_}-title",
            )
            for id_, name in _PARTS
        ),
        style=STYLE,
    )


def _policy(report: Report) -> Iterator[Markup]:
    if report.policy:
        yield join("policy ", tag("code", foreign(report.policy)))
    else:
        yield join("the built-in policy")


def _marks(report: Report) -> Iterator[Markup]:
    """What must not be overlooked: that it never ran on a board."""
    marks = {run.mark for run in report.runs} - {""}
    if report.runs and not any(run.mark == "" for run in report.runs):
        said = f"No real board ran this: only {shown(' and '.join(sorted(marks)))} runs are known. "
        yield tag("p", said, "Their times mean nothing.", class_="marked", role="note")


def _chips(report: Report) -> Iterator[Markup]:
    statements = sum(each.count for each in report.signed)
    signers = {each.signer for each in report.signed}
    yield _chip(str(statements), f"statements that hold, by {_number(len(signers), 'signer')}")
    runs = Counter(run.result for run in report.runs)
    devices = {run.key for run in report.runs if run.key}
    if report.runs:
        passed = runs["PASSED"] + runs["WARNED"]
        said = f"of {len(report.runs)} runs passed, on {_number(len(devices), 'device')}"
        yield _chip(str(passed), said)
    leads = [each for each in report.promotions if each.leads_here]
    if leads:
        yield tag("li", tag("b", foreign(leads[0].channel)), "leads here" + _also(len(leads)))
    yield _chip(str(len(report.gaps)), "gaps" if len(report.gaps) != 1 else "gap")
    yield _chip(str(report.total.refused), "refused: not believed")


def _chip(value: str, what: str) -> Markup:
    return tag("li", tag("b", value), what)


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _also(count: int) -> str:
    return f", and {_number(count - 1, 'more channel')}" if count > 1 else ""


def _origin(report: Report) -> Iterator[Markup]:
    found = graph(report)
    if not report.builds:
        yield tag("p", "Nobody whose word counts says what it was made from.")
    yield figure(
        "What it was made from, the build, what was made, on what it ran, "
        "and which channels lead to it.",
        join(drawing(found, upright=False), drawing(found, upright=True)),
    )
    names = {each.id: each for each in found.things}
    yield tag(
        "details",
        tag("summary", "The same in words"),
        tag(
            "ul",
            *(
                tag(
                    "li",
                    f"{names[one].title} ",
                    foreign(names[one].name),
                    " → ",
                    f"{names[other].title} ",
                    foreign(names[other].name),
                )
                for one, other in found.arrows
            ),
        ),
    )
    yield from sections.materials(report)
