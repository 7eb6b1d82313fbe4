"""``gate``: which test results count, which of them is judged, and by what."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "recipe"))

from recipe_project import BASE, Project
from trial_world import DAY, NOW, REF, World, build, key_id, local, publish, signed_by

from buildkit import cli, media
from buildkit.errors import InputError
from buildkit.evidence import bundle, kinds, referrers, smoke, statement
from buildkit.gate import Outcome
from buildkit.pipeline import gates, pages, trials

if TYPE_CHECKING:
    from collections.abc import Callable

LONG_AGO = 1_700_000_000
RULES = "rules      its target's alone: this store does not know its recipe; name a recipe.toml\n"
# The report of `trial_world` has 5 ms, on one thread.
STRICT = f"{BASE}\n[smoke]\nthreads = 1\nmax_p95_ms = 1\n"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return build(tmp_path)


def judged(world: World, *, sign: bool = False, ref: str = REF, **wanted: Any) -> gates.Judged:
    limits = wanted.pop("limits", {})
    return gates.judge(
        world.asked(ref, **limits),
        gates.Wanted(**wanted),
        ring=world.ring,
        now=NOW,
        shelf=world.shelf if sign else None,
    )


def outcomes(found: gates.Judged) -> dict[str, str]:
    return {each.device: str(each.verdict.outcome) for each in found.trials}


def _failed(predicate: dict[str, Any]) -> None:
    """A run that left no report: the model does not load."""
    failure = {"kind": "model", "blame": "artifact", "message": "no such operator"}
    predicate["run"] |= {"report": None, "failure": failure}
    predicate |= {"result": "FAILED", "passedTests": [], "failedTests": ["load"]}


def _failed_here(predicate: dict[str, Any]) -> None:
    local(predicate)
    _failed(predicate)


def test_what_a_device_saw_is_judged(world: World) -> None:
    world.saw()
    found = judged(world)
    (trial,) = found.trials
    assert (trial.device, trial.target, trial.local) == ("board", "pi5", False)
    assert trial.verdict.outcome is Outcome.PASS, trial.verdict.findings
    assert found.passed_over == ()
    # By device and host, on image and model.
    assert len(trial.referrers) == 4


def test_by_the_rules_of_today(world: World) -> None:
    world.saw()
    found = judged(world, limits={"max_p95_ms": 0.001})
    (finding,) = found.trials[0].verdict.findings
    assert (finding.outcome, finding.rule) == (Outcome.FAIL, "p95")


@pytest.mark.parametrize("later", [1, -1])
def test_the_newest_run_of_a_device_counts(later: int, world: World) -> None:
    world.saw(nonce="a", ended=NOW - 5 * DAY)
    world.saw(nonce="b", ended=NOW - (5 - later) * DAY, change=_failed)
    (trial,) = judged(world).trials
    assert len(trial.runs) == 1
    assert trial.verdict.outcome is (Outcome.FAIL if later > 0 else Outcome.PASS)


def test_of_one_second_all_count(world: World) -> None:
    world.saw(nonce="a")
    world.saw(nonce="b", change=_failed)
    (trial,) = judged(world).trials
    assert (len(trial.runs), trial.verdict.outcome) == (2, Outcome.FAIL)


def test_each_device_is_judged_apart(world: World) -> None:
    world.saw(keys=("board", "good"))
    world.saw(keys=("board2", "good"), nonce="2", change=_failed)
    found = judged(world)
    assert outcomes(found) == {"board": "PASS", "board2": "FAIL"}
    assert trials.outcome(found.trials) is Outcome.FAIL
    assert outcomes(judged(world, device="board")) == {"board": "PASS"}
    assert outcomes(judged(world, device=key_id("board2"))) == {"board2": "FAIL"}


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        (("stranger",), "a key that is not in the key ring"),
        (("retired",), "which was retired"),
        (("good",), "0 devices whose keys count signed it"),
        (("friend", "good"), "0 devices whose keys count signed it"),
        (("stranger", "good"), "0 devices whose keys count signed it"),
        (("board", "board2"), "2 devices whose keys count signed it"),
    ],
)
def test_who_signed(keys: tuple[str, ...], says: str, world: World) -> None:
    world.saw(keys=keys)
    found = judged(world)
    assert found.trials == ()
    assert any(says in why for why in found.passed_over), found.passed_over
    assert all(re.match(r"bundle sha256:[0-9a-f]{64}: ", why) for why in found.passed_over)
    assert trials.outcome(found.trials) is Outcome.INCONCLUSIVE


def test_a_stranger_beside_a_device_takes_nothing_away(world: World) -> None:
    world.saw(keys=("board", "stranger"))
    found = judged(world)
    assert outcomes(found) == {"board": "PASS"}
    assert len(found.passed_over) == 1


def test_a_signature_that_does_not_fit(world: World) -> None:
    world.saw(keys=("board",))
    (there, *_) = referrers.find(world.store, world.candidate().image.digest)
    assert isinstance(there, referrers.Found)
    document = json.loads(there.bundle)
    other = json.loads(signed_by("board", b'{"x":1}'))
    document["dsseEnvelope"]["signatures"] = other["dsseEnvelope"]["signatures"]
    world.hang(json.dumps(document).encode())
    world.hang(b"no bundle")
    found = judged(world)
    assert outcomes(found) == {"board": "PASS"}
    whys = " ".join(found.passed_over)
    assert "the signature is not one by key" in whys
    assert len(found.passed_over) == 2


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"ended": NOW + 3600}, "it lies in the future"),
        ({"golden": "sha256:" + "0" * 64}, "about another golden data"),
        ({"weight": "sha256:" + "0" * 64}, "about another model file"),
        ({"change": local, "keys": ("board",)}, "runs on no device"),
        ({"change": lambda predicate: predicate.pop("result")}, "bundle"),
    ],
)
def test_what_is_not_about_it(how: dict[str, Any], says: str, world: World) -> None:
    world.saw(**how)
    found = judged(world)
    assert found.trials == ()
    (why,) = found.passed_over
    assert says in why


def test_results_may_be_too_old(world: World) -> None:
    world.saw(ended=NOW - 31 * DAY)
    assert outcomes(judged(world)) == {"board": "PASS"}
    found = judged(world, days=30)
    assert found.trials == ()
    assert "older than 30 days" in found.passed_over[0]


def test_another_models_results_are_none_of_its_business(world: World) -> None:
    publish(world.store, "other:1.0.0")
    world.saw(ref="other:1.0.0", change=_failed)
    found = judged(world)
    assert (found.trials, found.passed_over) == ((), ())
    assert outcomes(judged(world, ref="other:1.0.0")) == {"board": "FAIL"}


def test_runs_on_no_device_count_when_they_are_asked_for(world: World) -> None:
    world.saw(change=local, keys=("good",))
    world.saw(change=local, keys=("good",), nonce="2")
    found = judged(world)
    assert found.trials == ()
    assert found.passed_over == ("runs on no device, which `--device local` judges",)
    found = judged(world, device="local", sign=True)
    assert outcomes(found) == {"local": "PASS"}
    assert found.trials[0].local
    (verdict,) = verdicts(world)
    assert verdict.predicate["verifiedLevels"] == [smoke.LEVEL_LOCAL]
    assert verdict.predicate["gate"]["devices"][0]["key"] == ""


def test_a_device_cannot_say_that_it_is_none(world: World) -> None:
    world.saw(change=local, keys=("board",))
    found = judged(world, device="local")
    assert found.trials == ()
    assert "only a device signed it" in found.passed_over[0]


def test_beside_a_device_runs_on_none_are_passed_over(world: World) -> None:
    world.saw(nonce="1")
    world.saw(nonce="2", change=_failed_here, keys=("good",))
    assert outcomes(judged(world)) == {"board": "PASS"}
    assert outcomes(judged(world, device="local")) == {"local": "FAIL"}


def verdicts(world: World) -> list[statement.Statement]:
    found = []
    for each in referrers.find(world.store, world.candidate().image.digest):
        assert isinstance(each, referrers.Found)
        said = statement.parse(bundle.parse(each.bundle, "x").envelope.payload, "x")
        if said.predicate_type == kinds.VERDICT.predicate_type:
            found.append(said)
    return found


def test_a_verdict_is_written_when_it_is_asked_for(world: World) -> None:
    payload = world.saw()
    judged(world)
    assert verdicts(world) == []
    found = judged(world, sign=True)
    (verdict,) = verdicts(world)
    read = smoke.read_verdict(verdict, "x")
    assert read.outcome == "PASS"
    assert read.inputs == {payload}
    assert [each.key for each in read.devices] == [key_id("board")]
    assert verdict.predicate["verifiedLevels"] == [smoke.LEVEL]
    assert len(found.trials[0].referrers) == 6


def test_what_is_not_decided_is_not_written(world: World) -> None:
    world.saw()
    found = judged(world, sign=True, limits={"threads": 2})
    assert outcomes(found) == {"board": "INCONCLUSIVE"}
    assert verdicts(world) == []


def test_names_that_nobody_has(world: World) -> None:
    with pytest.raises(InputError) as caught:
        judged(world, device="shelf")
    assert caught.value.remedy == "one of: board, board2, local"
    # One's own key is no device's.
    with pytest.raises(InputError):
        judged(world, device="good")
    with pytest.raises(InputError, match="no target"):
        judged(world, target="pi6")
    with pytest.raises(InputError, match="no image for linux/amd64"):
        judged(world, target="amd64")
    with pytest.raises(InputError, match="not an image index"):
        judged(world, ref="tiny-model:1.0.0")


def test_pages_have_names_of_their_own(world: World, tmp_path: Path) -> None:
    world.saw()
    (trial,) = judged(world).trials
    names = pages.of_trials(REF, [trial, trial, trial, trial], tmp_path / "page.html")
    assert [each.name for each in names] == [
        *("page-board.html", "page-board-pi5.html"),
        *("page-board-pi5-2.html", "page-board-pi5-3.html"),
    ]


def test_a_page_that_cannot_be_written_is_the_users_fault(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere/page\.html: cannot be written: No such file"):
        pages.write("", tmp_path / "nowhere/page.html")


@pytest.fixture
def gate(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.setenv("EDGE_BUILDKIT_KEYS", str(world.keys))

    def call(*words: str) -> tuple[int, str, str]:
        own = ["--store", str(world.store.root), "--profile", "quick"]
        status = cli.main(["gate", REF, *own, *words])
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


def test_the_command_says_what_counts_and_what_does_not(
    world: World, gate: Callable[..., tuple[int, str, str]]
) -> None:
    status, out, _ = gate()
    assert (status, out.splitlines()[1:]) == (
        2,
        [f"{REF}: INCONCLUSIVE: no test result about it counts"],
    )
    world.saw(keys=("stranger",))
    status, out, _ = gate()
    assert status == 2
    assert "not judged bundle sha256:" in out
    status, out, _ = gate("--json")
    document = json.loads(out)
    assert (status, document["outcome"], document["trials"]) == (2, "INCONCLUSIVE", [])
    assert "not in the key ring" in document["passed_over"][0]


def test_the_command_gives_the_exit_status(
    world: World, gate: Callable[..., tuple[int, str, str]]
) -> None:
    world.saw(change=_failed, ended=LONG_AGO)
    status, out, _ = gate()
    assert status == 1
    assert "FAIL: model: model: no such operator [artifact]" in out
    assert out.endswith(f"{REF}: FAIL\n")
    assert gate("--device", "nobody")[0] == 2
    # A verdict of now would make it count for a policy that asks for the last days.
    status, out, _ = gate("--sign")
    assert (status, verdicts(world)) == (2, [])
    assert "older than 30 days" in out


def test_a_local_run_is_marked_by_the_command(
    world: World, gate: Callable[..., tuple[int, str, str]]
) -> None:
    world.saw(change=local, keys=("good",), ended=LONG_AGO)
    _, out, _ = gate("--device", "local")
    assert "mark       local: ran in this machine's engine, on no device" in out
    assert "(local: on no device)" in out
    _, out, _ = gate("--device", "local", "--json")
    (trial,) = json.loads(out)["trials"]
    assert trial["local"] is True
    assert trial["marks"] == ["local: ran in this machine's engine, on no device"]


def test_the_command_says_whose_rules_count(
    world: World, tmp_path: Path, gate: Callable[..., tuple[int, str, str]]
) -> None:
    world.saw(ended=LONG_AGO)
    out = gate()[1]
    assert out.startswith(RULES)
    assert "FAIL" not in out
    assert json.loads(gate("--json")[1])["rules_from"] == "target"
    recipe = Project(tmp_path / "project").recipe(STRICT)
    status, out, _ = gate("--recipe", str(recipe))
    assert status == 1
    assert "FAIL: p95" in out
    assert "rules  " not in out
    assert json.loads(gate("--recipe", str(recipe), "--json")[1])["rules_from"] == "recipe"


def test_the_recipe_of_the_build_counts(
    world: World, gate: Callable[..., tuple[int, str, str]]
) -> None:
    world.saw(ended=LONG_AGO)
    store, image = world.store, world.store.resolve(REF)
    models = store.resolve(REF.replace(":", "-model:")).digest
    result = {"image": {"digest": image.digest, "platforms": []}, "models": []}
    recipe = store.put_bytes(STRICT.encode(), "application/toml")
    sources = {"recipe": "recipe.toml", "files": {"recipe.toml": {"digest": recipe.digest}}}
    record = [
        store.put_json({**result, "model_index": models}, media.BUILD),
        store.put_bytes(b"", media.BUILD_LOCK),
        store.put_json(sources, media.BUILD_SOURCES),
    ]
    store.attach(image, media.BUILD, record)
    status, out, _ = gate("--json")
    document = json.loads(out)
    assert (status, document["rules_from"]) == (1, "recipe")
    assert [each["rule"] for each in document["trials"][0]["findings"]] == ["p95"]


@pytest.mark.parametrize("days", ["0", "x", "-1", "1.5", "40000", "9" * 5000])
def test_days_are_days(days: str, gate: Callable[..., tuple[int, str, str]]) -> None:
    status, _, said = gate(f"--since={days}")
    assert status == 2
    assert "not a number of days" in said


def test_nobody_to_sign(gate: Callable[..., tuple[int, str, str]]) -> None:
    status, _, said = gate("--sign", "--signer", "none")
    assert status == 2
    assert "there is nobody to sign" in said
