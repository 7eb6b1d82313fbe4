"""What is wrong on purpose and signed as if it were right: FAIL, by the right rule."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
from trial_parts import rules
from wrong_models import (
    PI5,
    amd64_image,
    hungry,
    lying,
    newer_opset,
    shuffled,
    sleeping,
    with_image,
    with_model,
)

from buildkit.evidence import kinds, referrers
from buildkit.evidence.referrers import Found
from buildkit.pipeline import candidate

if TYPE_CHECKING:
    from trial_parts import Bench

pytestmark = [pytest.mark.nix, pytest.mark.engine]

IMAGE = "digits:1.0.0"


def failed(bench: Bench, what: str) -> set[str]:
    """Kinds of evidence on a model that failed: a FAIL is signed as a PASS is."""
    _, model = candidate.find(bench.store, what, PI5).subjects
    found = referrers.find(bench.store, model.digest)
    return {each.announced for each in found if isinstance(each, Found)}


def test_shuffled_labels_are_a_failure_of_accuracy(bench: Bench) -> None:
    name = with_model(bench.store, bench.signer, "shuffled", shuffled)
    trial = bench.smoke(bench.limits("min_accuracy = 95", name="shuffled"), status=1)
    # Fewer right than asked for, fewer than at the build, and not the build's answers.
    assert rules(trial) == {(rule, "artifact") for rule in ("accuracy", "change", "answers")}
    assert {kinds.TEST_RESULT.predicate_type, kinds.VERDICT.predicate_type} <= failed(bench, name)


def test_a_sleeping_operator_misses_the_deadline(bench: Bench) -> None:
    with_model(bench.store, bench.signer, "asleep", sleeping)
    trial = bench.smoke(bench.limits("deadline_s = 15", name="asleep"), status=1)
    assert rules(trial) == {("deadline", "artifact")}
    assert "did not end within 15 s" in trial["findings"][0]["message"]


def test_a_sleeping_operator_is_slower_than_the_baseline(bench: Bench) -> None:
    """By far, so that even an emulated board can tell."""
    name = with_model(bench.store, bench.signer, "drowsy", partial(sleeping, turns=100))
    trial = bench.smoke(name, "--baseline", IMAGE, status=1)
    assert rules(trial) == {("slower", "artifact")}
    (row,) = (each for each in trial["rows"] if each["name"] == "slower than the baseline")
    assert (row["value"], row["outcome"]) == ("yes", "FAIL")


def test_one_that_needs_too_much_memory_is_killed(bench: Bench) -> None:
    name = with_model(bench.store, bench.signer, "hungry", hungry)
    trial = bench.smoke(name, status=1)
    assert rules(trial) == {("memory", "artifact")}


def test_a_model_for_another_opset_does_not_load(bench: Bench) -> None:
    name = with_model(bench.store, bench.signer, "newer", newer_opset)
    trial = bench.smoke(name, status=1)
    assert rules(trial) == {("model", "artifact")}
    assert "opset 99" in trial["findings"][0]["message"].lower()


def test_programs_for_another_architecture_do_not_start(bench: Bench) -> None:
    """Index and configuration say arm64, and the programs in it are for amd64."""
    image = lying(bench.store, amd64_image(bench.store))
    name = with_image(bench.store, bench.signer, "lying", image)
    trial = bench.smoke(name, status=1)
    assert rules(trial) == {("architecture", "artifact")}
