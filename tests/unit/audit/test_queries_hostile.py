"""Whatever stands in names, versions and annotations, is shown harmless."""

from __future__ import annotations

import argparse
import csv
import io
import json
import unicodedata
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sql

from buildkit import audit
from buildkit.audit import schema, types
from buildkit.audit.schema import number
from buildkit.cli import audit_show

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from buildkit.audit import Answer, Index

HOSTILE = (
    "<script>alert(1)</script>",
    "'; DROP TABLE artifact; --",
    '" OR 1=1 --',
    "\x1b]0;title\x07\x1b[2J\x9b31m",
    "left\u202eright\u2066\u200f\ufeff",
    "line\nfeed\r\ttab\u2028\u2029",
    '=HYPERLINK("x")',
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    "  =1+1",
    "\uff1d1+1",
    "|calc",
    "W" * 20_000,
    "Z\u0351\u036b" * 200,
    "100%",
    'a,b"c',
)
FORMS = ("table", "csv", "json")


def digest(text: str) -> str:
    return f"sha256:{number(text):064x}"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    found = audit.open(tmp_path_factory.mktemp("hostile") / "audit.sqlite")
    with found.write() as connection:
        for text in HOSTILE:
            _fill(connection, text)
    yield found
    found.close()


def _fill(connection: Any, text: str) -> None:
    """One of everything, called by one text."""

    def put(table: sql.Table, **row: Any) -> int:
        connection.execute(sql.insert(table), [row])
        found: int = row.get("id", 0)
        return found

    def statement(kind: str, reason: str = "") -> int:
        bundle = digest(f"{kind} {reason} {text}")
        return put(
            schema.STATEMENT,
            id=number(bundle),
            bundle=bundle,
            payload=digest(f"payload {bundle}"),
            kind=kind,
            signer=signer,
            time=10**17,
            reason=reason,
            message=text,
        )

    def artifact(role: str) -> int:
        return put(
            schema.ARTIFACT,
            id=number(role, text),
            digest=digest(f"{role} {text}"),
            role=role,
            name=text,
            version=text,
            variant=text,
            lock="",
            size=1,
        )

    signer = put(
        schema.SIGNER,
        id=number("signer", text),
        name=text,
        kind="device",
        subject=text,
        issuer=text,
        label=text,
        state="device",
    )
    source = put(schema.SOURCE, id=number("source", text), name=text, state="done")
    image, platform, models, model = map(artifact, ("image", "platform", "models", "model"))
    for parent, child, role in (
        (image, platform, "platform"),
        (image, models, "models"),
        (models, model, "model"),
    ):
        put(schema.PART, parent=parent, child=child, role=role)
    put(schema.PRESENCE, source=source, artifact=image, name=text)
    package = put(
        schema.PACKAGE,
        id=number("package", text),
        purl=text,
        type="",
        name="hostile",
        version=text,
        licence=text,
        sha256="",
    )
    bom = statement("cyclonedx")
    put(schema.HOLDS, package=package, artifact=platform, statement=bom)
    build = statement("provenance")
    put(
        schema.BUILD,
        statement=build,
        recipe=text,
        version=text,
        recipe_digest="",
        lock="",
        builder=text,
        revision=text,
    )
    material = put(
        schema.MATERIAL,
        id=number("material", text),
        name="hostile",
        uri=text,
        digest="",
        commit=text,
    )
    put(schema.MADE_FROM, material=material, build=build, uses=text)
    for each in (image, platform, models, model):
        put(schema.ABOUT, statement=build, artifact=each)
    run = statement("test-result")
    put(
        schema.RUN,
        statement=run,
        device=signer,
        target=text,
        image=platform,
        model=model,
        result="PASSED",
        mark="",
        began=-(10**17),
        ended=10**17,
        board=text,
        kernel=text,
        firmware=text,
        p50_ns=1,
        p95_ns=None,
        profile=text,
    )
    verdict = statement("verdict")
    put(schema.VERDICT, statement=verdict, outcome="PASS", at=10**17, image=platform, model=model)
    put(schema.JUDGED, verdict=verdict, target=text, device=text, key=text)
    refused = statement("spdx", "signature")
    put(schema.ABOUT, statement=refused, artifact=platform)
    put(
        schema.PROMOTION,
        statement=statement("promotion"),
        channel="hostile",
        place=text,
        number=1,
        image=image,
        models=models,
        at=5,
        policy=text,
        restores=0,
        previous="",
    )


def answers(index: Index, text: str) -> Iterator[tuple[str, Answer[Any]]]:
    """Every question, with the text wherever a person could type it."""
    image = digest(f"image {text}")
    yield "contains", audit.contains(index, "hostile")
    yield "from", audit.made_from(index, "hostile")
    yield "materials", audit.materials(index, image)
    yield "signed-by", audit.signed_by(index, text[:4000])
    yield "devices", audit.devices(index, image)
    yield "passed", audit.passed(index, target=text[:4000])
    yield "passed", audit.passed(index)
    yield "history", audit.history(index, "hostile")
    yield "at", audit.at(index, 10**17)
    yield "who", audit.who(index, image)
    yield "path", audit.path(index, image, digest(f"provenance  {text}"))
    yield "gaps", audit.gaps(index)


def shown(question: str, answer: Answer[Any], form: str, capsys: pytest.CaptureFixture[str]) -> str:
    options = argparse.Namespace(
        question=question, json=form == "json", csv=form == "csv", limit=types.LIMIT
    )
    audit_show.answer(answer, options)
    return capsys.readouterr().out


def is_harmless(text: str) -> bool:
    return all(
        unicodedata.category(each) not in ("Cc", "Cf", "Cs", "Zl", "Zp") or each == "\n"
        for each in text
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("at", range(len(HOSTILE)))
def test_shown_harmless(
    index: Index, at: int, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for question, answer in answers(index, HOSTILE[at]):
        if at and question in {"contains", "from", "history", "at", "gaps"}:
            # The same for every text.
            continue
        # Blanks around what a person types are no part of it.
        typed = HOSTILE[at].strip() == HOSTILE[at] and len(HOSTILE[at]) < 4000
        assert answer.rows or (question in {"passed", "signed-by"} and not typed), question
        out = shown(question, answer, form, capsys)
        assert is_harmless(out), question
        if form == "table":
            assert max(map(len, out.split("\n"))) < 1200
        elif form == "csv" and answer.rows:
            header, *rows = csv.reader(io.StringIO(out))
            assert len(rows) == len(answer.rows)
            assert all(len(row) == len(header) for row in rows)
            for row in rows:
                assert not any(cell.strip().startswith(tuple("=+-@|%\uff1d")) for cell in row)
        elif form == "json":
            assert out.isascii()
            document = json.loads(out)
            assert len(document["rows"]) == len(answer.rows)


def test_json_has_every_text_as_it_is(index: Index, capsys: pytest.CaptureFixture[str]) -> None:
    out = shown("contains", audit.contains(index, "hostile"), "json", capsys)
    found = {row["package"] for row in json.loads(out)["rows"]}
    assert found == set(HOSTILE)


def test_a_text_is_asked_for_and_not_run(index: Index) -> None:
    for text in HOSTILE:
        if len(text) < 1000:
            assert {row.target for row in audit.passed(index, target=text).rows} <= {
                text,
                text.strip(),
            }
    assert audit.status(index).rows


@pytest.mark.parametrize("form", FORMS)
def test_cells_of_sql(index: Index, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    cells = audit.sql(index, "SELECT name AS \"=head\x1b[1m\", 9e999, x'1b', NULL FROM artifact")
    options = argparse.Namespace(
        question="sql", json=form == "json", csv=form == "csv", limit=types.LIMIT
    )
    audit_show.cells(cells, options)
    out = capsys.readouterr().out
    assert is_harmless(out)
    if form == "json":
        document = json.loads(out)
        assert {row[0] for row in document["rows"]} == set(HOSTILE)
        assert document["rows"][0][1:] == ["inf", "1b", None]


def test_no_surprises_in_a_file(index: Index, tmp_path: Path) -> None:
    assert list(tmp_path.iterdir()) == []
    assert audit.contains(index, "hostile").rows
