from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest
from audit_world import World, key_id
from signed_world import attach, signed
from smoke_world import judged

from buildkit import audit, digests, media
from buildkit.audit.report.facts import facts
from buildkit.cli import main
from buildkit.errors import InputError
from buildkit.pipeline import audit_report

if TYPE_CHECKING:
    from pathlib import Path

    from buildkit.audit import Index
    from buildkit.audit.report.types import Report


def ask(index: Index, ref: str) -> Report:
    with index.connect() as connection:
        return facts(connection, ref)


def test_what_is_known_of_an_image(index: Index, built: World) -> None:
    made = built.made["tiny:1.1.0"]
    found = ask(index, "tiny:1.1.0")
    assert found.title == "tiny 1.1.0"
    assert found.top.digest == made.image
    assert found.top.names == ("tiny:1.1.0 in store",)
    assert [(each.label, each.digest) for each in found.parts] == [
        ("platform linux/amd64", made.platforms["linux/amd64"]),
        ("platform linux/arm64", made.platforms["linux/arm64"]),
        ("models", made.models),
        ("model amd64", made.variants["amd64"]),
        ("model pi5", made.variants["pi5"]),
    ]
    [build] = found.builds
    assert (build.recipe, build.lock, build.revision) == ("tiny", made.lock_digest, "0" * 40)
    assert ("recipe.lock", made.lock_digest) in {
        (each.name, each.digest) for each in found.materials
    }
    assert {(each.name, each.inside) for each in found.packages if each.type == "pypi"} >= {
        ("numpy", ("platform linux/arm64",)),
    }
    assert [(run.device, run.key, run.result) for run in found.runs] == [
        ("board", key_id("board"), "PASSED"),
        ("board", key_id("board"), "WARNED"),
        ("board2", key_id("board2"), "FAILED"),
    ]
    assert [(each.outcome, each.about) for each in found.verdicts] == [
        ("PASS", ("platform linux/arm64", "model pi5")),
        ("FAIL", ("platform linux/arm64", "model pi5")),
    ]
    [move] = found.promotions
    assert (move.channel, move.place, move.number) == ("canary", "tiny", 2)
    assert move.until is not None
    assert move.until > move.at
    assert found.total.runs == 3
    assert found.total.packages == len(found.packages)


def test_channels_that_went_forth_and_back(index: Index) -> None:
    moves = ask(index, "tiny:1.0.0").promotions
    assert [(each.channel, each.number, each.restores) for each in moves] == [
        ("canary", 3, 1),
        ("stable", 1, 0),
        ("canary", 1, 0),
    ]
    assert [each.until is None for each in moves] == [True, True, False]


def test_who_signed_and_what_was_refused(index: Index) -> None:
    found = ask(index, "tiny:1.1.0")
    said = {(each.kind, each.signer.label): each for each in found.signed}
    assert said["test-result", "board"].count == 2
    assert said["test-result", "board"].signer.text == f"device board {key_id('board')}"
    assert said["provenance", "good"].signer.state == "active"
    assert said["rebuild", "good"].about == ("image",)
    [refused] = found.refused
    assert (refused.reason, refused.kind) == ("signer-unknown", "test-result")
    assert refused.about == ("model pi5", "platform linux/arm64")
    believed = {digest for each in found.signed for digest in each.evidence}
    assert refused.evidence not in believed
    assert refused.evidence not in {run.evidence for run in found.runs}


def test_gaps_are_those_of_the_query(index: Index, built: World) -> None:
    for ref, made in built.made.items():
        found = ask(index, ref)
        digest = {each.label: each.digest for each in (found.top, *found.parts)}
        ours = {digest[label] for gap in found.gaps for label in gap.about}
        theirs = {row.digest for row in audit.gaps(index).rows} & set(made.everything())
        assert ours == theirs


def test_a_part_is_shown_with_its_whole(index: Index, built: World) -> None:
    made = built.made["tiny:1.0.0"]
    whole = ask(index, "tiny:1.0.0")
    assert ask(index, made.platforms["linux/arm64"]) == whole
    models = ask(index, "tiny-model:1.0.0")
    assert ask(index, made.variants["pi5"]) == models
    assert [each.digest for each in models.used_by] == [made.image]
    assert [run.model for run in models.runs] == ["model pi5"] * 2
    assert {each.channel for each in models.promotions} == {"canary", "stable"}


def test_nothing_of_that_name(index: Index) -> None:
    with pytest.raises(InputError, match="not in the index"):
        ask(index, "tiny:9.9.9")


def test_marks_of_runs_on_no_board(index: Index) -> None:
    found = ask(index, "other:1.0.0")
    assert {run.mark for run in found.runs} == {"local", "stand-in"}
    assert "no real board ran it" in {each.what for each in found.gaps}


def test_a_forged_verdict_is_on_no_page_as_a_fact(world: World) -> None:
    made = world.made["tiny:1.1.0"]
    before = world.indexed()
    told = ask(before, "tiny:1.1.0")
    before.close()
    world.judge(made, [], key="stranger")
    # An honest signature, under a statement that nobody signed.
    forged = judged(made, [], outcome="FAIL")
    attach(world.store, made, forged, _under(forged.payload(), signed(b"something else")))
    index = world.indexed()
    found = ask(index, "tiny:1.1.0")
    index.close()
    assert (found.verdicts, found.runs, found.signed) == (told.verdicts, told.runs, told.signed)
    assert sorted(each.reason for each in found.refused) == [
        "signature",
        "signer-unknown",
        "signer-unknown",
    ]


def _under(payload: bytes, bundle: bytes) -> bytes:
    document = json.loads(bundle)
    document["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    return json.dumps(document).encode()


def test_cards_of_models(index: Index, built: World) -> None:
    found = audit_report.report(index, "tiny:1.0.0", store=built.store)
    assert [(card.target, card.mode) for card in found.cards] == [("amd64", ""), ("pi5", "")]
    assert found.cards_unread == ""
    assert digests.is_digest(found.cards[0].digest)
    unread = audit_report.report(index, "tiny:1.0.0", store=None)
    assert unread.cards == ()
    assert "none is at hand" in unread.cards_unread


def test_a_card_that_nobody_signed_is_not_shown(world: World) -> None:
    world.build("hearsay", "1.0.0", key="stranger")
    index = world.indexed()
    found = audit_report.report(index, "hearsay:1.0.0", store=world.store)
    index.close()
    assert found.cards == ()
    assert found.cards_unread == "nobody whose word counts says who made model amd64, model pi5"


@pytest.mark.parametrize(
    ("data", "said"), [(b"{}", "was changed"), (b"", "was changed"), (None, "is not in the store")]
)
def test_a_card_that_is_gone_or_changed(
    index: Index, world: World, tmp_path: Path, data: bytes | None, said: str
) -> None:
    [card] = {
        layer["digest"]
        for layer in world.store.read_json(world.made["tiny:1.0.0"].variants["pi5"])["layers"]
        if layer["mediaType"] == media.CARD
    }
    path = world.store.path(card)
    path.unlink()
    if data is not None:
        path.write_bytes(data)
    found = audit_report.report(index, "tiny:1.0.0", store=world.store)
    assert [each.target for each in found.cards] == ["amd64"]
    assert found.cards_unread.startswith(f"the card of model pi5 {said}")
    assert str(tmp_path) not in found.cards_unread


def test_the_command(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["audit", "report", "tiny:1.1.0", "--store", str(world.root / "store")]
    words += ["--keys", str(world.root / "keys")]
    assert main([*words, "--html", str(tmp_path / "page.html")]) == 0
    assert "page.html" in capsys.readouterr().out
    page = (tmp_path / "page.html").read_text()
    assert page.startswith("<!DOCTYPE html>\n<html lang=")
    assert "tiny 1.1.0" in page
    assert main([*words, "--html"]) == 0
    assert capsys.readouterr().out.startswith("<!DOCTYPE html>")
    assert main([*words, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["top"]["name"] == "tiny"
    assert said["refused"][0]["reason"] == "signer-unknown"
    assert main([*words, "--html", str(tmp_path / "none/page.html")]) == 2
    assert "name a file in a folder that is there" in capsys.readouterr().err
    assert main(words) == 2
