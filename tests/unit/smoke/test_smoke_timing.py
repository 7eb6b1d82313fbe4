from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from smoke import timing
from smoke.answers import Checker
from smoke.golden import Golden
from smoke.profiles import PROFILES
from smoke.samples import unpack

if TYPE_CHECKING:
    import pytest

QUICK = replace(PROFILES["quick"], window_ms=20)
SAMPLES = 7


class Session:
    """Answers with the class that it is shown, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def get_outputs(self) -> list[Any]:
        return [SimpleNamespace(name="scores")]

    def run(self, names: list[str], feed: dict[str, Any]) -> list[Any]:
        assert names == ["scores"]
        place = int(feed["pixels"][0])
        self.asked.append(place)
        return [np.eye(SAMPLES, dtype=np.float32)[place : place + 1]]


def loop() -> tuple[timing.Loop, Session, Checker]:
    golden = Golden(
        feeds=tuple({"pixels": np.array([place])} for place in range(SAMPLES)),
        labels=np.arange(SAMPLES),
        batch=1,
    )
    session, checker = Session(), Checker(golden)
    return timing.Loop(session, golden, checker, 0), session, checker


def test_inputs_vary_and_every_timed_answer_is_checked() -> None:
    loops, session, checker = loop()
    assert loops.first() > 0
    assert loops.warm(10, 0) >= 10
    pauses: list[None] = []
    window = loops.window(QUICK, lambda: pauses.append(None))
    assert window.complete
    assert len(pauses) == len(window.stretches)
    count = len(window.latencies)
    assert checker.document()["timed"] == {"samples": count, "correct": count}
    # All after the first come in turns.
    assert all(
        one != other for one, other in zip(session.asked[1:], session.asked[2:], strict=False)
    )
    assert set(session.asked) == set(range(SAMPLES))


def test_a_very_fast_model_runs_as_long_but_is_timed_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(timing, "MOST_SAMPLES", 50)
    loops, session, checker = loop()
    loops.first()
    window = loops.window(replace(QUICK, window_samples=10), lambda: None)
    assert window.complete
    assert window.spent_ns > window.busy_ns
    assert checker.document()["timed"]["samples"] == len(window.latencies) < len(session.asked)


def test_a_window_that_takes_too_long_is_incomplete() -> None:
    loops, _, _ = loop()
    loops.first()
    profile = replace(QUICK, window_samples=10**6, window_limit_ms=0)
    window = loops.window(profile, lambda: None)
    assert not window.complete
    assert len(window.stretches) == 1
    assert window.document()["latency"]["count"] == len(window.latencies)


def test_repeated_and_varied_inputs_in_blocks() -> None:
    loops, session, checker = loop()
    loops.first()
    session.asked.clear()
    found = loops.repeated(QUICK)
    assert len(unpack(found["same"])) == len(unpack(found["varied"]))
    runs = sum(one == other for one, other in zip(session.asked, session.asked[1:], strict=False))
    assert runs >= len(unpack(found["same"])) - 2
    assert checker.document()["differing"] == 0


def test_what_was_not_reached_is_asked_while_there_is_time() -> None:
    loops, _, checker = loop()
    loops.first()
    loops.rest(0)
    assert len(checker.missing()) == SAMPLES - 1
    loops.rest(60_000)
    assert checker.missing() == []
    assert checker.document()["timed"]["samples"] == 0
