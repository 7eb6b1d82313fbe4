"""How many devices it passed on, as a policy asks for it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from smoke_world import AMD, ARM, DAY, judged, local, now, passed, ran, saw, silent
from tamper import Group
from tamper_smoke import _DROP, ASKED, _asked, _forget, _judge, _setter
from tamper_trust import _all, _policy, _ring

if TYPE_CHECKING:
    from collections.abc import Callable

    from signed_world import World

TWO = '[smoke]\ntargets = ["pi5"]\ndevices = 2\n'

tests = Group("Test results and verdicts")
good = Group("Controls")
undecided = Group("Cannot be decided")

# What a policy asks for -------------------------------------------------------------------------


def _twice(world: World) -> None:
    """One device, two runs, two verdicts."""
    passed(world, nonce="1")
    passed(world, nonce="2", at=now() - 5)


def _swapped(world: World) -> None:
    _judge(world, saw(world, keys=("board2", "good")), devices=("board",))


def _elsewhere(world: World) -> None:
    found = judged(world.made, [saw(world)])
    found.predicate["gate"]["devices"][0]["target"] = "amd64"
    world.say(found)


def _failed(found: dict[str, Any]) -> None:
    found.update(result="FAILED", passedTests=["load"], failedTests=["golden"])


def _on_standin(found: dict[str, Any]) -> None:
    found["run"]["report"]["board"]["standin"] = "QEMU"


def _other_pair(world: World) -> None:
    """A verdict about this platform that names a test result about the other platform."""
    payload = saw(world, platform=AMD)
    _judge(world, payload)


def _then(outcome: str, *, after: int = 60, **how: Any) -> Callable[[World], None]:
    """A PASS, and another verdict some seconds later, of another device."""

    def attack(world: World) -> None:
        at = now() - DAY
        passed(world, at=at)
        passed(world, "board2", outcome=outcome, at=at + after, **how)

    return attack


SMOKE: dict[str, tuple[str, Callable[[World], None]]] = {
    "never": ("one device asked for, and it never ran", _asked(lambda _: None)),
    "no-verdict": ("one device asked for, it ran, and nobody decided", _asked(saw)),
    "no-test-result": (
        "a verdict without the test result that it names",
        _asked(lambda world: _judge(world, ran(world.made).payload())),
    ),
    "no-inputs": (
        "a verdict that names no test result",
        _asked(_all(saw, lambda world: world.say(judged(world.made, [])))),
    ),
    "only-failed": (
        "a verdict FAIL alone",
        _asked(lambda world: passed(world, outcome="FAIL")),
    ),
    "only-inconclusive": (
        "a verdict INCONCLUSIVE alone",
        _asked(lambda world: passed(world, outcome="INCONCLUSIVE")),
    ),
    "expired": (
        "a verdict older than the policy allows",
        _asked(lambda world: passed(world, at=now() - 31 * DAY)),
    ),
    "expired-days": (
        "a verdict of three days ago, where two are allowed",
        _asked(lambda world: passed(world, at=now() - 3 * DAY), ASKED + "days = 2\n"),
    ),
    "future": (
        "a verdict of the day after tomorrow",
        _asked(lambda world: passed(world, at=now() + 2 * DAY)),
    ),
    "ancient": (
        "a verdict of the year 1",
        _asked(lambda world: _retimed(world, "0001-01-01T00:00:00Z")),
    ),
    "standin": (
        "a device asked for, and it ran on a stand-in",
        _asked(lambda world: passed(world, change=_on_standin)),
    ),
    "standin-silent": (
        "a report that does not say whether it was a stand-in",
        _asked(lambda world: passed(world, change=_setter("run.report.board.standin", _DROP))),
    ),
    "standin-null": (
        "a report that does not know whether it was a stand-in",
        _asked(lambda world: passed(world, change=_setter("run.report.board.standin", None))),
    ),
    "local": (
        "a device asked for, and it ran in the host's engine",
        _asked(lambda world: passed(world, change=local), ASKED + "standins = true\n"),
    ),
    "no-countersignature": (
        "a test result that no trusted signer signed too",
        _asked(lambda world: passed(world, host=())),
    ),
    "newer-fail": ("a FAIL after the PASS, by another device", _asked(_then("FAIL"))),
    "newer-fail-silent": (
        "a FAIL after the PASS, of a run without a report",
        _asked(_then("FAIL", change=silent)),
    ),
    "same-second-fail": ("a FAIL in the second of the PASS", _asked(_then("FAIL", after=0))),
    "newer-fail-bare": (
        "a FAIL after the PASS, whose test result was taken away",
        _asked(
            _all(
                passed,
                lambda world: _judge(world, b"gone", outcome="FAIL", at=now() - 9),
            )
        ),
    ),
    "newer-fail-of-nothing": (
        "a FAIL after the PASS that names no test result",
        _asked(
            _all(
                passed,
                lambda world: world.say(judged(world.made, [], outcome="FAIL", at=now() - 9)),
            )
        ),
    ),
    "device-failed": (
        "a verdict PASS about a run that the device saw fail",
        _asked(lambda world: passed(world, change=_failed)),
    ),
    "swapped-device": (
        "a verdict that names another device than the one that signed",
        _asked(_swapped),
    ),
    "device-other-target": (
        "a verdict that names the device as one of another target",
        _asked(_elsewhere),
    ),
    "unnamed-device": (
        "a verdict that names no device",
        _asked(lambda world: _judge(world, saw(world), devices=())),
    ),
    "other-platform": (
        "a verdict that names the test result of another platform",
        _asked(_other_pair),
    ),
    "one-of-two": ("two devices asked for, one passed", _asked(passed, TWO)),
    "one-twice": ("two devices asked for, one passed twice", _asked(_twice, TWO)),
    "one-by-two-verdicts": (
        "two devices asked for, one run named by two verdicts",
        _asked(
            lambda world: _judge(world, passed(world), devices=("board2", "board"), at=now() - 9),
            TWO,
        ),
    ),
    "one-of-two-targets": (
        "two targets asked for, one passed",
        _asked(passed, '[smoke]\ntargets = ["pi5", "amd64"]\ndevices = 1\n'),
    ),
    "other-target-passed": (
        "another target asked for than the one that passed",
        _asked(passed, '[smoke]\ntargets = ["amd64"]\ndevices = 1\n'),
    ),
    "one-platform": (
        "a platform asked for alone, and the other one passed",
        _asked(_all(passed, lambda world: setattr(world, "ref", world.made.platforms[AMD])), ASKED),
    ),
    "one-variant": (
        "a model asked for alone, and the other one passed",
        _asked(
            _all(passed, lambda world: setattr(world, "ref", world.made.variants["amd64"])), ASKED
        ),
    ),
}


def _retimed(world: World, when: str) -> None:
    found = judged(world.made, [saw(world)])
    world.say(replace(found, predicate={**found.predicate, "timeVerified": when}))


for _name, (_what, _attack) in SMOKE.items():
    tests.add(f"smoke-{_name}", _what, "smoke", _attack)


# Controls ---------------------------------------------------------------------------------------


def _asking(ref: Callable[[World], str]) -> Callable[[World], None]:
    return _asked(_all(passed, lambda world: setattr(world, "ref", ref(world))))


CONTROLLED: dict[str, tuple[str, Callable[[World], Any]]] = {
    "passed": ("one device asked for, and one passed", _asked(passed)),
    "passed-built-in": ("a device that passed, where none is asked for", passed),
    "failed-built-in": (
        "a verdict FAIL, where no device is asked for",
        lambda world: passed(world, outcome="FAIL", change=_failed),
    ),
    "no-report": (
        "a test result without a report, where no device is asked for",
        lambda world: saw(world, change=silent),
    ),
    "local": (
        "a run in the host's engine, where no device is asked for",
        lambda world: saw(world, keys=("good",), change=local),
    ),
    "no-host": (
        "a test result that only the device signed, where no device is asked for",
        lambda world: saw(world, keys=("board",)),
    ),
    "two": (
        "two devices asked for, and two passed",
        _asked(_all(passed, lambda world: passed(world, "board2")), TWO),
    ),
    "two-targets": (
        "two targets asked for, and both passed",
        _asked(
            _all(passed, lambda world: passed(world, "board2", target="amd64", platform=AMD)),
            '[smoke]\ntargets = ["pi5", "amd64"]\ndevices = 1\n',
        ),
    ),
    "one-verdict": (
        "two devices asked for, and one verdict about both",
        _asked(
            lambda world: world.say(
                judged(
                    world.made,
                    [saw(world), saw(world, keys=("board2", "friend"), nonce="2")],
                    devices=("board", "board2"),
                )
            ),
            TWO,
        ),
    ),
    "flashed-again": (
        "a board that was flashed again: its former key counts",
        _asked(
            _all(
                passed,
                lambda world: _ring(
                    world, lambda key: key["name"] == "board2" and key.update(name="board")
                ),
            )
        ),
    ),
    "named": (
        "a policy that names the device, and nobody's key ring does",
        _asked(
            _all(passed, lambda world: _forget(world, "board")), ASKED + 'keys = ["board.pub"]\n'
        ),
    ),
    "older-fail": ("a FAIL before the PASS", _asked(_then("FAIL", after=-60))),
    "newer-inconclusive": (
        "an INCONCLUSIVE after the PASS",
        _asked(_then("INCONCLUSIVE")),
    ),
    "newer-fail-allowed": (
        "a FAIL after the PASS, where that does not matter",
        _asked(_then("FAIL"), ASKED + "fail_blocks = false\n"),
    ),
    "newer-fail-standin": (
        "a FAIL after the PASS, on a stand-in that would not count",
        _asked(_then("FAIL", change=_on_standin)),
    ),
    "newer-fail-elsewhere": (
        "a FAIL after the PASS, about another platform and model",
        _asked(_then("FAIL", target="amd64", platform=AMD)),
    ),
    "standin": (
        "a stand-in, where they count",
        _asked(lambda world: passed(world, change=_on_standin), ASKED + "standins = true\n"),
    ),
    "no-countersignature": (
        "a test result that only the device signed, where that is enough",
        _asked(lambda world: passed(world, host=()), ASKED + "countersigned = false\n"),
    ),
    "warned": (
        "a PASS about a run with a warning",
        _asked(
            lambda world: passed(
                world,
                change=lambda found: found.update(
                    result="WARNED", passedTests=["load"], warnedTests=["conditions"]
                ),
            )
        ),
    ),
    "clock": (
        "a verdict by a host whose clock is a little fast",
        _asked(lambda world: passed(world, at=now() + 300)),
    ),
    "by-platform": (
        "one device asked for, and one platform verified",
        _asking(lambda world: world.made.platforms[ARM]),
    ),
    "by-models": (
        "one device asked for, and the index of models verified",
        _asking(lambda _: "tiny-model:1.0.0"),
    ),
    "by-variant": (
        "one device asked for, and its model verified",
        _asking(lambda world: world.made.variants["pi5"]),
    ),
    "required": (
        "test results asked for as evidence of everything",
        _policy(
            '[require]\nevidence = ["test-result", "verdict"]\n',
            _all(passed, lambda world: passed(world, "board2", target="amd64", platform=AMD)),
        ),
    ),
    "ignored-device": (
        "a device's provenance beside the good one, where strangers are passed over",
        _policy(
            '[accept]\nothers = "ignore"\n',
            lambda world: world.say(
                world.statement("provenance"), on=world.made.image, key="board"
            ),
        ),
    ),
}
for _name, (_what, _attack) in CONTROLLED.items():
    good.add(f"control-smoke-{_name}", _what, "=", _attack)

UNREADABLE: dict[str, tuple[str, str]] = {
    "device-trusted": (
        "a policy that trusts a key which the key ring has as a device's",
        '[trust]\nkeys = ["board.pub"]\n',
    ),
    "device-rebuilds": (
        "a policy that lets a device rebuild",
        '[rebuilders]\nneeded = 1\nkeys = ["board.pub"]\n',
    ),
    "signer-device": (
        "a policy that names a signer's key as a device's",
        ASKED + 'keys = ["second.pub"]\n[trust]\nkeys = ["second.pub"]\n',
    ),
    "own-device": (
        "a policy that names one's own key as a device's",
        ASKED + 'keys = ["good.pub"]\n[trust]\nkeys = ["second.pub"]\n',
    ),
    "no-targets": ("a policy that asks for devices of no target", "[smoke]\ndevices = 1\n"),
}
for _name, (_what, _text) in UNREADABLE.items():
    undecided.add(f"undecided-smoke-{_name}", _what, "?", _policy(_text))
