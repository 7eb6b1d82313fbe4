"""The sections of a report, but for the graph and the tests."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from buildkit import amounts, digests
from buildkit.audit.report.cells import code, folded, number, text, time
from buildkit.audit.report.trend import when
from buildkit.markup import Markup, foreign, join, shown, tag
from buildkit.markup.page import table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from buildkit.audit.report.types import Artifact, Card, Promotion, Report

_MOST_LICENCES = 200
_BETWEEN = re.compile(r"\s+(?:AND|OR)\s+|[()]")
_CHANNELS = 100


def what(report: Report) -> Iterator[Markup]:
    """What it is: names and digests of the whole and its parts."""
    top = report.top
    rows = [
        ("digest", tag("code", foreign(top.digest))),
        ("kind", foreign({"models": "models, one for each target"}.get(top.role, top.role))),
    ]
    if top.names:
        rows.append(("names", foreign(", ".join(top.names))))
    for build in report.builds:
        if build.revision:
            rows.append(("commit", tag("code", foreign(build.revision))))
        rows.append(("recipe", tag("code", foreign(build.recipe_digest))))
        rows.append(("lock", tag("code", foreign(build.lock))))
        rows.append(("builder", foreign(build.builder)))
        rows.append(("provenance", tag("code", foreign(", ".join(build.evidence)))))
    rows += [
        ("part of", join(foreign(f"{each.name} {each.version}"), " ", _digest(each)))
        for each in report.used_by
    ]
    yield _list(rows)
    if report.parts:
        yield table(
            ["part", "digest", "size"],
            [row_of(each) for each in report.parts],
            "Parts of it",
            numbers=["size"],
        )


def row_of(part: Artifact) -> Markup:
    """A part in the table of all."""
    head = tag("th", foreign(part.label), scope="row")
    return tag("tr", head, code(part.digest), number(amounts.size(part.size)))


def materials(report: Report) -> Iterator[Markup]:
    """What it was made from, folded."""
    if not report.materials:
        return
    total = report.total.materials
    yield tag(
        "details",
        tag("summary", f"All {total} things that it was made from"),
        table(
            ["name", "what for", "where from", "digest or commit"],
            [
                tag(
                    "tr",
                    tag("th", foreign(each.name), scope="row"),
                    text(", ".join(each.uses)),
                    text(each.uri),
                    code(each.digest or each.commit),
                )
                for each in report.materials
            ],
            "What it was made from, as the provenance says",
        ),
        *_left_out(total - len(report.materials)),
    )


def inside(report: Report) -> Iterator[Markup]:
    """Packages by type and by licence, and all of them, folded."""
    packages = report.packages
    if not packages:
        yield tag("p", "No SBOM that counts is known.")
        return
    parts = sorted({label for each in packages for label in each.inside})
    heads = [shown(each.removeprefix("platform ")) for each in parts]
    types = Counter((each.type, label) for each in packages for label in each.inside)
    all_types = sorted({kind for kind, _ in types})
    yield table(
        ["type", *heads, "different"],
        [
            tag(
                "tr",
                tag("th", foreign(kind or "unknown"), scope="row"),
                *(number(str(types[kind, label])) for label in parts),
                number(str(sum(each.type == kind for each in packages))),
            )
            for kind in all_types
        ],
        "Packages by type; of a model, those that made it",
        numbers=[*heads, "different"],
    )
    licences = Counter(licence for each in packages for licence in _licences(each.licence))
    yield from folded(
        ["licence", "packages"],
        [
            tag("tr", tag("th", foreign(licence), scope="row"), number(str(count)))
            for licence, count in licences.most_common(_MOST_LICENCES)
        ],
        "Packages by licence; one with several counts for each of them",
        len(licences),
        numbers=["packages"],
    )
    total = report.total.packages
    yield tag(
        "details",
        tag("summary", f"All {total} packages"),
        table(
            ["package", "version", "type", "licence", "inside of", "SHA-256 of its file"],
            [
                tag(
                    "tr",
                    tag("th", foreign(each.name), scope="row"),
                    text(each.version),
                    text(each.type),
                    text(each.licence or "not known"),
                    text(", ".join(each.inside)),
                    code(*filter(None, [each.sha256])),
                )
                for each in packages
            ],
            "All packages, as the SBOMs say",
        ),
        *_left_out(total - len(packages)),
    )


def model(report: Report) -> Iterator[Markup]:
    """Quantisation and accuracy, a column for each variant."""
    if not report.cards:
        yield tag("p", foreign(report.cards_unread or "No model's card is known."))
        return
    rows: list[tuple[str, Callable[[Card], str]]] = [
        ("task", lambda card: card.task),
        ("engine", lambda card: card.engine),
        ("quantisation", lambda card: card.mode),
        ("accuracy", lambda card: _percent(card.accuracy)),
        ("accuracy before quantisation", lambda card: _percent(card.float_accuracy)),
        ("lost", lambda card: "" if card.drop is None else f"{card.drop:g} points"),
        ("same answer as before", lambda card: _percent(card.agreement)),
        ("golden inputs", lambda card: _number(card.samples)),
        ("same on every CPU", _same),
        ("size of the file", lambda card: amounts.size(card.size)),
        (
            "size before quantisation",
            lambda card: "" if card.float_size is None else amounts.size(card.float_size),
        ),
        ("parameters", lambda card: _number(card.parameters)),
        ("ONNX opset", lambda card: _number(card.opset)),
        ("commit of the training", lambda card: card.commit),
        ("seed of the training", lambda card: _number(card.seed)),
        ("data", lambda card: card.data),
    ]
    names = sorted({name for card in report.cards for name, _ in card.settings})
    rows += [(f"setting: {name}", _setting(name)) for name in names]
    rows.append(("card (model.json)", lambda card: card.digest))
    yield table(
        ["what", *(shown(f"model {card.target}") for card in report.cards)],
        [
            tag(
                "tr",
                tag("th", foreign(name), scope="row"),
                *(_cell(value) for value in values),
            )
            for name, values in ((name, [of(card) for card in report.cards]) for name, of in rows)
            if any(values)
        ],
        "What each model says of itself, in a file that is part of what was signed",
    )
    if report.cards_unread:
        yield tag("p", foreign(report.cards_unread))


def channels(report: Report) -> Iterator[Markup]:
    """Which channels led here, and when."""
    if not report.promotions:
        yield tag("p", "No channel is known to lead here, or to have led here.")
        return
    yield table(
        ["channel", "of", "from", "until", "record", "moved by", "evidence"],
        [
            tag(
                "tr",
                tag("th", foreign(each.channel), scope="row"),
                text(each.place),
                time(each.at),
                _until(each),
                tag(
                    "td", f"{each.number}" + (f", back to {each.restores}" if each.restores else "")
                ),
                text(each.signer),
                code(each.evidence),
            )
            for each in report.promotions[:_CHANNELS]
        ],
        "Channels that led here, newest first",
    )
    yield from _left_out(len(report.promotions) - _CHANNELS)


def _until(each: Promotion) -> Markup:
    if each.until is not None:
        return time(each.until)
    if each.mark:
        return tag("td", foreign(f"moved without a record: {each.mark}"), class_="marked")
    return tag("td", "leads here now")


def signatures(report: Report) -> Iterator[Markup]:
    """Who signed what."""
    if not report.signed:
        yield tag("p", "Nobody whose word counts signed anything about it.")
        return
    yield from folded(
        ["kind of evidence", "signed by", "state", "about", "statements", "when", "evidence"],
        [
            tag(
                "tr",
                tag("th", foreign(each.kind), scope="row"),
                text(each.signer.text),
                text(each.signer.state),
                text(", ".join(each.about)),
                number(str(each.count)),
                tag("td", _span(each.first, each.last)),
                code(*each.evidence, *_further(each.count - len(each.evidence))),
            )
            for each in report.signed
        ],
        "Evidence that holds, by kind and signer; the digest is that of its bundle",
        len(report.signed),
        numbers=["statements"],
    )


def gaps(report: Report) -> Iterator[Markup]:
    """What is missing, and what is not believed."""
    if report.gaps:
        about = [(", ".join(each.about), each.what) for each in report.gaps]
        yield tag("ul", *(tag("li", foreign(who), ": ", foreign(what)) for who, what in about))
    else:
        yield tag("p", "Nothing that this report looks for is missing.")
    yield tag("h3", "Refused")
    if not report.refused:
        yield tag("p", "No evidence about it was refused.")
        return
    yield table(
        ["reason", "why", "it says that it is", "signed by", "hangs on", "evidence"],
        [
            tag(
                "tr",
                tag("th", tag("span", foreign(each.reason), class_="word FAIL"), scope="row"),
                tag("td", foreign(each.message), class_="wide"),
                text(each.kind or "unknown"),
                text(each.signer or "unknown"),
                text(", ".join(each.about)),
                code(each.evidence),
            )
            for each in report.refused
        ],
        "Evidence that is not believed: nothing above rests on it",
    )
    yield from _left_out(report.total.refused - len(report.refused))


def _licences(expression: str) -> set[str]:
    """Licences that an SPDX expression names."""
    found = {each.strip() for each in _BETWEEN.split(expression)} - {""}
    return found or {"not known"}


def _list(rows: list[tuple[str, Markup]]) -> Markup:
    pairs = [(tag("dt", name), tag("dd", value)) for name, value in rows]
    return tag("dl", *(each for pair in pairs for each in pair))


def _digest(artifact: Artifact) -> Markup:
    return tag("code", foreign(artifact.digest))


def _left_out(count: int) -> Iterator[Markup]:
    if count > 0:
        yield tag("p", f"{count} more are not on this page.", class_="quiet")


def _further(count: int) -> list[str]:
    return [f"and {count} more"] if count > 0 else []


def _span(first: int | None, last: int | None) -> str:
    if first is None:
        return "it names no time"
    return when(first) if first == last else f"{when(first)} to {when(last)}"


def _same(card: Card) -> str:
    if card.same_on_every_cpu is None:
        return ""
    word = "yes" if card.same_on_every_cpu else "no"
    return f"{word}: {card.why}" if card.why else word


def _cell(value: str) -> Markup:
    return code(value) if digests.is_digest(value) else text(value)


def _setting(name: str) -> Callable[[Card], str]:
    return lambda card: dict(card.settings).get(name, "")


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:g} %"


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}".replace(",", " ")
