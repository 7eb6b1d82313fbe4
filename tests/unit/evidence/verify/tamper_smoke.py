"""Test results of devices and verdicts about them: who signed, about what, in which form."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from signed_world import signed
from smoke_world import AMD, ARM, judged, passed, ran, saw
from tamper import Group
from tamper_trust import GONE, _all, _policy, _rebuild, _ring

from buildkit import canonical, digests
from buildkit.evidence.statement import Statement, Subject

if TYPE_CHECKING:
    from collections.abc import Callable

    from signed_world import World

ASKED = '[smoke]\ntargets = ["pi5"]\ndevices = 1\n'

tests = Group("Test results and verdicts")


def _asked(attack: Callable[[World], Any], policy: str = ASKED) -> Callable[[World], None]:
    return _policy(policy, attack)


# Who signed -------------------------------------------------------------------------------------


def _altered(world: World) -> None:
    """A report with better numbers under the device's old signature."""
    statement = ran(world.made)
    document = json.loads(signed(statement.payload(), "board"))
    statement.predicate["run"]["report"]["latency"]["p50_ns"] = 1
    payload = base64.b64encode(statement.payload()).decode()
    document["dsseEnvelope"]["payload"] = payload
    for subject in statement.subjects:
        world.hang(subject.digest, canonical.dump(document), statement.predicate_type)


def _of_other(world: World, *, tiny: bool = False) -> Statement:
    """The honest test result of the other recipe, about that or (rightly signed) about this."""
    found = ran(world.other)
    made = world.made if tiny else world.other
    digests_ = (made.platforms[ARM], made.variants["pi5"])
    return replace(
        found, subjects=tuple(Subject(name="part", digest=digest) for digest in digests_)
    )


def _judge(world: World, payload: bytes, *, keys: tuple[str, ...] = ("good",), **how: Any) -> None:
    for key in keys:
        world.say(judged(world.made, [payload], **how), key=key)


def _stranger_verdict(world: World) -> None:
    passed(world, key="stranger")


def _by(world: World, **how: Any) -> None:
    """A test result in some way, and a verdict PASS about it."""
    _judge(world, saw(world, **how))


SIGNERS: dict[str, tuple[str, str, Callable[[World], Any]]] = {
    "altered": ("a report altered under the device's signature", "signature", _altered),
    "altered-asked": (
        "a report altered, its digest in a verdict, and one device asked for",
        "signature smoke",
        _asked(_all(_altered, lambda world: _judge(world, ran(world.made).payload()))),
    ),
    "device-provenance": (
        "a device's key under the provenance",
        f"signer-unknown {GONE}",
        lambda world: world.resay(world.made.image, "provenance", lambda _: None, key="board"),
    ),
    "device-provenance-beside": (
        "a device's provenance beside the good one",
        "signer-unknown",
        lambda world: world.say(world.statement("provenance"), on=world.made.image, key="board"),
    ),
    "device-everything": (
        "all evidence signed by a device",
        f"signer-unknown {GONE}",
        lambda world: world.resign(key="board"),
    ),
    "device-rebuild": (
        "a rebuild asked for, a device says so",
        f"signer-unknown {GONE}",
        _policy("[rebuilders]\nneeded = 1\n", _rebuild("board")),
    ),
    "device-verdict": (
        "a verdict by the device that it is about",
        "signer-unknown smoke",
        _asked(lambda world: passed(world, key="board")),
    ),
    "device-countersigns": (
        "a test result countersigned by another device",
        "smoke",
        _asked(lambda world: passed(world, host=("board2",))),
    ),
    "host-as-device": (
        "a signer's key in the place of a device's",
        "smoke",
        _asked(lambda world: passed(world, "friend")),
    ),
    "unknown-device": (
        "a test result by a device that nobody knows",
        "signer-unknown",
        lambda world: saw(world, keys=("stranger",)),
    ),
    "unknown-device-asked": (
        "one device asked for, and nobody knows the one that passed",
        "signer-unknown smoke",
        _asked(lambda world: passed(world, "stranger")),
    ),
    "unknown-device-ignored": (
        "one device asked for, strangers passed over, and nobody knows the one that passed",
        "smoke",
        _asked(
            lambda world: passed(world, "stranger", host=()),
            ASKED + '[accept]\nothers = "ignore"\n',
        ),
    ),
    "other-devices-named": (
        "a policy that names another device than the one that passed",
        "signer-unknown smoke",
        _asked(passed, ASKED + 'keys = ["board2.pub"]\n'),
    ),
    "retired-device": (
        "a test result by a device whose key was retired",
        "signer-retired smoke",
        _asked(_all(passed, lambda world: _retire(world, "board"))),
    ),
    "retired-device-named": (
        "a policy that names a device whose key was retired",
        "signer-retired smoke",
        _asked(
            _all(passed, lambda world: _retire(world, "board")), ASKED + 'keys = ["board.pub"]\n'
        ),
    ),
    "forgotten-device": (
        "a test result by a device that was forgotten",
        "signer-unknown smoke",
        _asked(_all(passed, lambda world: _forget(world, "board"))),
    ),
    "stranger-verdict": (
        "a verdict by a stranger",
        "signer-unknown smoke",
        _asked(lambda world: passed(world, key="stranger")),
    ),
    "retired-verdict": (
        "a verdict signed with a retired key",
        "signer-retired smoke",
        _asked(lambda world: passed(world, key="retired")),
    ),
    "verdict-ignored": (
        "a verdict by a stranger, where strangers are passed over",
        "smoke",
        _asked(
            lambda world: passed(world, key="stranger"), ASKED + '[accept]\nothers = "ignore"\n'
        ),
    ),
    "stranger-countersigns": (
        "a test result countersigned by a stranger",
        "signer-unknown smoke",
        _asked(lambda world: passed(world, host=("stranger",))),
    ),
    "other-countersigned": (
        "another test result countersigned than the device's",
        "smoke",
        _asked(
            _all(
                lambda world: passed(world, host=()),
                lambda world: saw(world, keys=("good",), nonce="another"),
            )
        ),
    ),
    "rebuilder-countersigns": (
        "a test result countersigned by somebody who may only rebuild",
        f"signer-unknown smoke {GONE}",
        _asked(
            lambda world: passed(world, host=("second",)),
            ASKED + '[rebuilders]\nneeded = 1\nkeys = ["second.pub"]\n',
        ),
    ),
}


def _retire(world: World, name: str) -> None:
    _ring(world, lambda key: key["name"] == name and key.update(state="retired", retired=1))


def _forget(world: World, name: str) -> None:
    file = world.root / "keys/ring.json"
    document = json.loads(file.read_bytes())
    document["keys"] = [key for key in document["keys"] if key["name"] != name]
    file.write_text(json.dumps(document))


# What they are about ----------------------------------------------------------------------------


def _hang(statement: Statement, on: str, key: str = "board") -> Callable[[World], None]:
    return lambda world: world.say(statement, on=on, key=key)


def _about(world: World, *subjects: str, kind: str = "test") -> None:
    """A test result, or a verdict, rightly signed and about other things."""
    if kind == "test":
        said = ran(world.made, subjects=subjects)
    else:
        said = replace(
            judged(world.made, []),
            subjects=tuple(Subject(name="x", digest=digest) for digest in subjects),
        )
    for digest in subjects:
        world.say(said, on=digest)


def _instead(path: str, value: Callable[[World], Any]) -> Callable[[World], bytes]:
    """A test result that says another thing than what ran here."""

    def attack(world: World) -> bytes:
        return saw(world, change=_setter(path, value(world)))

    return attack


def _setter(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    *way, last = path.split(".")

    def change(document: dict[str, Any]) -> None:
        for key in way:
            document = document[key]
        if value is _DROP:
            del document[last]
        else:
            document[last] = value

    return change


_DROP = object()
_OTHER = digests.of_bytes(b"something else")


def _replayed_verdict(world: World) -> None:
    found = judged(world.other, [saw(world)])
    for digest in (world.made.platforms[ARM], world.made.variants["pi5"]):
        world.say(found, on=digest)


def _exchanged_manifests(world: World) -> None:
    def change(found: dict[str, Any]) -> None:
        image, model = found["run"]["image"], found["run"]["model"]
        image["manifest"], model["manifest"] = model["manifest"], image["manifest"]

    saw(world, change=change)


def _moved_variant(world: World, index: str = "") -> None:
    """The other build's model in the place of this one's."""
    found = ran(
        world.made,
        subjects=(world.made.platforms[ARM], world.other.variants["pi5"]),
        change=_setter(
            "run.model",
            {"index": index or world.other.models, "manifest": world.other.variants["pi5"]},
        ),
    )
    world.say(found, on=world.made.platforms[ARM], key="board")


PLACES: dict[str, tuple[str, str, Callable[[World], Any]]] = {
    "replayed": (
        "the test result of another image hung on this one",
        "subject",
        lambda world: _all(
            _hang(_of_other(world), world.made.platforms[ARM]),
            _hang(_of_other(world), world.made.variants["pi5"]),
        )(world),
    ),
    "replayed-subjects": (
        "the test result of another image, rightly signed with this one's subjects",
        "subject",
        lambda world: saw(world, _of_other(world, tiny=True)),
    ),
    "replayed-verdict": (
        "the verdict about another image hung on this one",
        "subject",
        _replayed_verdict,
    ),
    "other-model": ("a test result with another build's model", "subject", _moved_variant),
    "exchanged": (
        "a test result that calls the image the model",
        "subject",
        lambda world: saw(
            world,
            change=lambda found: found["run"].update(
                image=found["run"]["model"], model=found["run"]["image"]
            ),
        ),
    ),
    "exchanged-manifests": (
        "a test result in which only the manifests of image and model are exchanged",
        "subject",
        _exchanged_manifests,
    ),
    "other-model-same-index": (
        "a test result with another build's model, as if it stood in this index",
        "subject",
        lambda world: _moved_variant(world, index=world.made.models),
    ),
    "other-target-judged": (
        "a test result as another target, and a verdict that names the model's",
        "model smoke",
        _asked(
            lambda world: _judge(
                world, saw(world, keys=("board", "good"), change=_setter("run.target", "amd64"))
            )
        ),
    ),
    "image-index": (
        "a test result of another image index with the same platform",
        "subject",
        _instead("run.image.index", lambda world: world.other.image),
    ),
    "model-index": (
        "a test result of another index of models with the same model",
        "subject",
        _instead("run.model.index", lambda world: world.other.models),
    ),
    "image-not-subject": (
        "a test result whose run names another platform than its subjects",
        "subject",
        _instead("run.image.manifest", lambda world: world.made.platforms[AMD]),
    ),
    "other-target": (
        "a test result as another target than the model's",
        "model",
        _instead("run.target", lambda _: "amd64"),
    ),
    "other-variant": (
        "a test result as `pi5` of the model for another target",
        "model",
        lambda world: saw(world, target="amd64", change=_setter("run.target", "pi5")),
    ),
    "other-golden": (
        "a test result with golden data that the model's card does not name",
        "model",
        lambda world: saw(
            world,
            change=lambda found: found["configuration"][0].update(
                digest={"sha256": digests.hex_of(_OTHER)}
            ),
        ),
    ),
    "other-file": (
        "a report of another model file",
        "model",
        _instead("run.report.model.sha256", lambda _: digests.hex_of(_OTHER)),
    ),
    "test-more": (
        "a test result about platform, model and index",
        "subject",
        lambda world: _about(
            world, world.made.platforms[ARM], world.made.variants["pi5"], world.made.image
        ),
    ),
    "test-less": (
        "a test result about the platform alone",
        "subject",
        lambda world: _about(world, world.made.platforms[ARM]),
    ),
    "verdict-more": (
        "a verdict about platform, model and index",
        "subject",
        lambda world: _about(
            world,
            *(world.made.platforms[ARM], world.made.variants["pi5"], world.made.image),
            kind="verdict",
        ),
    ),
    "verdict-less": (
        "a verdict about the platform alone",
        "subject",
        lambda world: _about(world, world.made.platforms[ARM], kind="verdict"),
    ),
    "verdict-platforms": (
        "a verdict about two platforms",
        "subject",
        lambda world: _about(world, *world.made.platforms.values(), kind="verdict"),
    ),
    "verdict-models": (
        "a verdict about two models",
        "subject",
        lambda world: _about(world, *world.made.variants.values(), kind="verdict"),
    ),
    "verdict-indexes": (
        "a verdict about image index and index of models",
        "subject",
        lambda world: _about(world, world.made.image, world.made.models, kind="verdict"),
    ),
    "verdict-elsewhere": (
        "a verdict about this platform and a model that is nowhere",
        "subject",
        lambda world: world.say(
            replace(
                judged(world.made, []),
                subjects=(
                    Subject(name="image", digest=world.made.platforms[ARM]),
                    Subject(name="model", digest=_OTHER),
                ),
            ),
            on=world.made.platforms[ARM],
        ),
    ),
}


# Form -------------------------------------------------------------------------------------------

TEST_FORMS: dict[str, tuple[str, str, Any]] = {
    "unknown-key": ("a key that it has not", "evil", 1),
    "no-result": ("no result", "result", _DROP),
    "result": ("a result that is none", "result", "GREAT"),
    "result-object": ("an object as its result", "result", {}),
    "result-tests": ("PASSED with a failed test", "failedTests", ["golden"]),
    "result-warned": ("PASSED with a warning", "warnedTests", ["conditions"]),
    "test-unknown": ("a test that nobody knows", "passedTests", ["load", "beauty"]),
    "test-twice": ("a test twice", "passedTests", ["load", "load"]),
    "tests-text": ("a text as list of tests", "passedTests", "load"),
    "configuration": ("no golden data in its configuration", "configuration", []),
    "run-unknown-key": ("a key in its run that it has not", "run.evil", 1),
    "run-missing-key": ("a run without a governor", "run.governor", _DROP),
    "run-schema": ("a run of another schema", "run.schema", "edge-smoke/run/v2"),
    "run-local": ('a run that is "false", a text', "run.local", "false"),
    "run-nonce": ("an empty nonce", "run.nonce", ""),
    "run-target": ("a number as target", "run.target", 5),
    "run-began": ("a begin that is no time", "run.began", "yesterday"),
    "run-ended": ("an end in a month that is none", "run.ended", "2026-13-01T00:00:00Z"),
    "run-image": ("an image that is no digest", "run.image.manifest", "tiny:1.0.0"),
    "run-image-more": ("more than two digests of an image", "run.image.layer", _OTHER),
    "run-agent": ("another agent than in its configuration", "run.agent", _OTHER),
    "run-agent-none": ("no agent, on a device", "run.agent", None),
    "run-runtime": ("no runtime, on a device", "run.runtime", None),
    "run-limits": ("no limits", "run.limits", None),
    "run-report": ("neither report nor failure", "run.report", None),
    "run-report-list": ("a list as report", "run.report", []),
    "run-failure": (
        "a report and a failure",
        "run.failure",
        {"kind": "memory", "blame": "artifact", "message": "killed"},
    ),
    "run-other-report": ("the report of another run", "run.report.nonce", "0000"),
}
VERDICT_FORMS: dict[str, tuple[str, str, Any]] = {
    "no-gate": ("no gate", "gate", _DROP),
    "result": ("FAILED although the gate says PASS", "verificationResult", "FAILED"),
    "result-word": ("a result that is none", "verificationResult", "OK"),
    "time": ("a time without a zone", "timeVerified", "2026-01-01T00:00:00"),
    "time-number": ("a number as time", "timeVerified", 1767225600),
    "verifier": ("a verifier without an id", "verifier", {}),
    "verifier-name": ("a verifier whose id is no URI", "verifier.id", "gate"),
    "resource": ("no resource", "resourceUri", ""),
    "policy": ("a policy without a digest", "policy", {"uri": "https://example.org/policy"}),
    "inputs": ("an input without a digest", "inputAttestations", [{"uri": "urn:x"}]),
    "inputs-hex": (
        "an input with half a digest",
        "inputAttestations",
        [{"digest": {"sha256": "0" * 32}}],
    ),
    "levels": ("a number as level", "verifiedLevels", [3]),
    "outcome": ("an outcome that is none", "gate.outcome", "GREAT"),
    "findings": ("PASS with a finding", "gate.findings", [{"rule": "accuracy"}]),
    "rules": ("no rules", "gate.rules", _DROP),
    "devices": ("a device without a key", "gate.devices", [{"name": "x", "target": "pi5"}]),
    "device-key": (
        "a device whose key is a name",
        "gate.devices",
        [{"name": "x", "target": "pi5", "key": "board"}],
    ),
}


def _form(path: str, value: Any, *, verdict: bool) -> Callable[[World], Any]:
    def attack(world: World) -> None:
        if verdict:
            found = judged(world.made, [saw(world)])
            _setter(path, value)(found.predicate)  # type: ignore[arg-type]
            world.say(found)
        else:
            saw(world, change=_setter(path, value))

    return attack


for _name, (_what, _reasons, _attack) in (SIGNERS | PLACES).items():
    tests.add(f"smoke-{_name}", _what, _reasons, _attack)
for _name, (_what, _path, _value) in TEST_FORMS.items():
    what = f"a test result, rightly signed: {_what}"
    tests.add(f"smoke-test-{_name}", what, "predicate", _form(_path, _value, verdict=False))
for _name, (_what, _path, _value) in VERDICT_FORMS.items():
    what = f"a verdict, rightly signed: {_what}"
    tests.add(f"smoke-verdict-{_name}", what, "predicate", _form(_path, _value, verdict=True))
