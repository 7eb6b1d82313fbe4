from __future__ import annotations

import fnmatch
import json
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import signed_world
from hypothesis import given
from hypothesis import strategies as st
from smoke_world import key_id, local, now, passed

from buildkit.cli import main
from buildkit.errors import EvidenceError, StoreError
from buildkit.evidence.keys import KeyRing
from buildkit.evidence.reasons import Reason
from buildkit.evidence.verify import Report, StoreSource, verify_ref
from buildkit.evidence.verify.report import Notebook
from buildkit.evidence.verify.signatures import matches
from buildkit.run import run

if TYPE_CHECKING:
    from signed_world import World

ROOT = Path(__file__).parents[4]
PIECES = st.lists(st.sampled_from(["a", "b", "ab", "*", "/", "é"]), max_size=8).map("".join)


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> World:
    return signed_world.build(tmp_path_factory.mktemp("answer") / "world")


@pytest.fixture
def world(honest: World, tmp_path: Path) -> World:
    return honest.copied(tmp_path / "world")


def _verify(world: World, ref: str = "tiny:1.0.0") -> Report:
    ring = KeyRing.load(world.root / "keys")
    return verify_ref(world.store, ref, ring=ring, now=datetime.now(UTC))


def _text(world: World, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    command = [word for word in world.command() if word != "--json"]
    status = main([*command, *words])
    said = capsys.readouterr()
    assert said.err == ""
    return status, said.out


def test_the_answer_says_what_was_checked(honest: World) -> None:
    found = _verify(honest)
    assert found.holds
    assert found.name == "tiny:1.0.0"
    assert found.artifact == honest.made.image
    assert [each.role for each in found.artifacts] == [
        *("image", "platform", "platform"),
        *("models", "model", "model"),
    ]
    assert {each.digest for each in found.artifacts} == {*honest.made.everything()} - {
        honest.made.weight
    }
    for each in found.artifacts:
        all_kinds = {"provenance", "run"}
        if each.role in ("platform", "model"):
            all_kinds |= {"cyclonedx", "spdx"}
        assert each.evidence.keys() == all_kinds
        assert len({who for signers in each.evidence.values() for who in signers}) == 1
    # Two configurations and six layers, one model file, two cards, two configurations of models,
    # and the empty configuration of all referrers.
    assert found.blobs[0] == 14
    assert found.signatures == 10
    assert found.materials == 11


def test_people_see_it_as_a_table(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    status, text = _text(world, capsys)
    assert status == 0
    assert "platform linux/arm64" in text
    assert text.endswith("tiny:1.0.0 holds\n")
    world.drop(world.made.platforms["linux/arm64"], "spdx")
    world.say(world.statement("provenance"), on=world.made.image, key="stranger")
    status, text = _text(world, capsys)
    assert status == 1
    assert re.search(
        r"^evidence-missing: sha256:\w+: platform linux/arm64 has no spdx$", text, re.MULTILINE
    )
    assert text.endswith("refused: 2 findings\n")


def test_people_see_what_was_tested(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    passed(world)
    passed(world, "board2", outcome="FAIL", at=now() - 9)
    world.use_policy('[smoke]\ntargets = ["pi5"]\ndevices = 1\nfail_blocks = false\n')
    status, text = _text(world, capsys)
    assert status == 0
    board = key_id("board")
    assert re.search(
        rf"^test-result  pi5     PASSED  \S+  device key {board}, key \w", text, re.MULTILINE
    )
    assert re.search(r"^verdict      pi5     FAIL    \S+  key \w{16}$", text, re.MULTILINE)
    assert f"passed on 1 device of target pi5 {board}\n" in text
    assert f"signed by device key {board}\n" in text
    world.use_policy('[smoke]\ntargets = ["pi5"]\ndevices = 2\n')
    status, text = _text(world, capsys)
    assert status == 1
    assert "0 of 2 devices of target pi5 passed in 30 days: the verdict of " in text
    assert " is FAIL; the verdict of " in text
    assert " does not count: FAIL on " in text


def test_tests_in_the_json(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    passed(world, change=local)
    assert main(world.command()) == 0
    checked = json.loads(capsys.readouterr().out)["checked"]
    test, verdict = sorted(checked["tests"], key=lambda each: str(each["kind"]))
    pair = sorted({world.made.platforms["linux/arm64"], world.made.variants["pi5"]})
    assert test["subjects"] == verdict["subjects"] == pair
    assert (test["result"], test["mark"], verdict["result"]) == ("PASSED", "local", "PASS")
    assert checked["devices"] == {}
    for part in checked["artifacts"]:
        assert ("test-result" in part["evidence"]) == (part["digest"] in pair)


def test_the_list_of_evidence_names_tests(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    passed(world)
    words = ["tiny:1.0.0", "--store", str(world.root / "store")]
    assert main(["evidence", *words]) == 0
    listed = capsys.readouterr().out
    assert re.search(r"^linux/arm64 +test-result ", listed, re.MULTILINE)
    assert re.search(r"^linux/arm64 +verdict ", listed, re.MULTILINE)
    assert main(["evidence", *words, "--kind", "verdict"]) == 0
    assert json.loads(capsys.readouterr().out)["gate"]["outcome"] == "PASS"


def test_hostile_text_is_shown_harmless(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b[2Jtiny:1.0.0 holds\n"
    world.remake(
        world.made.image,
        lambda document: document["annotations"].update({"org.opencontainers.image.title": evil}),
    )
    status, text = _text(world, capsys)
    assert status == 1
    assert "\x1b" not in text
    assert "tiny:1.0.0 holds" not in text.splitlines()


def test_what_is_passed_over_is_told(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.say(world.statement("run"), on=world.made.image, key="stranger")
    world.use_policy('[accept]\nothers = "ignore"\n')
    status, text = _text(world, capsys)
    assert status == 0
    assert "ignored: signer-unknown: " in text


def test_the_json_is_the_documented_one(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.flip(world.made.weight)
    assert main(world.command()) == 1
    document: Any = json.loads(capsys.readouterr().out)
    assert document["schema"] == "buildkit/verify/v1"
    assert document["ref"] == "tiny:1.0.0"
    (finding,) = document["findings"]
    assert finding["reason"] == "blob-digest"
    assert finding["digest"] == world.made.variants["pi5"]
    text = (ROOT / "docs/verify.md").read_text()
    for key in (*document, *document["checked"]):
        assert re.search(rf"`(?:checked\.)?{key}(?:\[\])?[`.]", text), key


def test_what_cannot_be_read_is_not_decided(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    store = world.store

    class Closed:
        def lstat(self) -> None:
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(store, "path", lambda _: Closed())
    with pytest.raises(StoreError, match="Permission denied"):
        StoreSource(store).measure(world.made.weight)


def test_a_blob_that_is_longer_than_allowed_is_not_read(honest: World) -> None:
    with pytest.raises(EvidenceError) as caught:
        StoreSource(honest.store).read(honest.made.lock_digest, 10)
    assert caught.value.reason == Reason.TOO_LARGE


def test_findings_are_told_once_and_not_without_end() -> None:
    notebook = Notebook()
    for _ in range(3):
        notebook.add(Reason.SUBJECT, "sha256:a", "x" * 5000)
    (finding,) = notebook.findings()
    assert len(finding.message) < 1000
    for at in range(5000):
        notebook.add(Reason.SUBJECT, "sha256:a", str(at))
    assert len(notebook.findings()) < 1000


@given(pattern=PIECES, text=PIECES)
def test_stars_stand_for_any_characters(pattern: str, text: str) -> None:
    # `*` alone is special there too, and nothing else of what is drawn.
    assert matches(pattern, text) == fnmatch.fnmatchcase(text, pattern)


def test_a_pattern_takes_no_time_to_speak_of() -> None:
    assert not matches("*a" * 2000 + "b", "a" * 20_000)


def test_sigstore_is_loaded_for_certificates_alone(honest: World) -> None:
    program = (
        "import json, sys\n"
        "from buildkit.cli import main\n"
        f"assert main({honest.command()!r}) == 0\n"
        "print(json.dumps(sorted(sys.modules)), file=sys.stderr)\n"
    )
    done = run([sys.executable, "-c", program], cwd=ROOT)
    loaded = set(json.loads(done.stderr.splitlines()[-1]))
    assert "cryptography" in loaded
    assert not loaded & {"sigstore", "pydantic", "requests", "onnx", "numpy"}
