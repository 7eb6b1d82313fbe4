"""What says nothing about the artifact: INCONCLUSIVE, by the right rule, and nothing is decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from trial_parts import ended, rules
from wrong_models import PI5

from buildkit.evidence import kinds, referrers
from buildkit.evidence.referrers import Found
from buildkit.pipeline import candidate

if TYPE_CHECKING:
    from trial_parts import Bench

pytestmark = [pytest.mark.nix, pytest.mark.engine]

IMAGE = "digits:1.0.0"
ONCE = "attempts = 1"


def verdicts(bench: Bench) -> set[str]:
    """Every verdict on the image."""
    image, _ = candidate.find(bench.store, IMAGE, PI5).subjects
    return {
        each.digest
        for each in referrers.find(bench.store, image.digest)
        if isinstance(each, Found) and each.announced == kinds.VERDICT.predicate_type
    }


def test_conditions_that_were_wrong_from_the_start(bench: Bench) -> None:
    """Each has a finding of its own, and nobody may take the run for a PASS."""
    said = verdicts(bench)
    table = 'min_samples = 100000\nproviders = ["XNNPACKExecutionProvider"]'
    with bench.board.faulty("throttled", "0x5"), bench.board.faulty("temperature", "85000"):
        trial = bench.smoke(bench.limits(table), status=2)
    assert rules(trial) == {
        (rule, "device") for rule in ("throttled", "temperature", "samples", "provider")
    }
    # No other attempt would bring the provider.
    assert trial["attempts"] == 1
    assert verdicts(bench) == said


def test_what_went_wrong_in_the_midst(bench: Bench) -> None:
    """A bit that stays, one that came and went, the clock; and the CPU did the work.

    Azure's provider is in every build of ONNX Runtime, and runs nothing of this model.
    """
    table = f'{ONCE}\nproviders = ["AzureExecutionProvider"]'
    with bench.running(bench.limits(table)) as process:
        bench.loading(process)
        bench.board.strike("throttled", "0x20004")
        bench.board.strike("clock", "3600")
        trial = ended(process, status=2)
    assert rules(trial) == {(rule, "device") for rule in ("throttled", "clock", "fallback")}
    messages = {each["message"] for each in trial["findings"]}
    assert "throttled: throttled" in messages
    assert "throttled between two readings: frequency_capped" in messages


@pytest.mark.parametrize(
    ("fault", "value", "rule"),
    [("runtime-missing", "", "runtime"), ("disk-full", "0", "disk")],
)
def test_a_board_that_cannot_begin(bench: Bench, fault: str, value: str, rule: str) -> None:
    with bench.board.faulty(fault, value):
        trial = bench.smoke(IMAGE, status=2)
    assert rules(trial) == {(rule, "device")}
    assert (trial["attempts"], trial["referrers"]) == (1, [])


def test_a_line_that_is_cut_and_does_not_heal(bench: Bench) -> None:
    with bench.running(bench.limits(ONCE)) as process:
        bench.loading(process)
        bench.board.strike("line", "cut")
        try:
            trial = ended(process, status=2)
        finally:
            bench.board.heal("line")
    assert rules(trial) == {("network", "network")}
    assert trial["referrers"] == []
    # Without a sign of life from the host it ends by itself, and the next run is possible.
    bench.board.idle()
