"""What devices and gates say about the made-up build of `signed_world`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from signed_world import GOLDEN, pem

from buildkit import canonical, digests
from buildkit.evidence import kinds, smoke
from buildkit.evidence.keys import public_key
from buildkit.evidence.statement import Statement, Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from signed_world import Made, World

ARM, AMD = "linux/arm64", "linux/amd64"
DAY = 86400
AGENT = digests.of_bytes(b"agent")


def now() -> int:
    return int(time.time())


def key_id(name: str) -> str:
    return public_key(pem(name), name).id


def _named(name: str, digest: str) -> dict[str, Any]:
    return {"name": name, "digest": {"sha256": digests.hex_of(digest)}}


def ran(
    made: Made,
    *,
    target: str = "pi5",
    platform: str = ARM,
    nonce: str = "0001",
    change: Callable[[dict[str, Any]], Any] = lambda _: None,
    subjects: Sequence[str] = (),
) -> Statement:
    """A test result; `change` gets the predicate."""
    image, model = made.platforms[platform], made.variants[target]
    ended = canonical.timestamp(now() - DAY)
    predicate: dict[str, Any] = {
        "result": "PASSED",
        "configuration": [
            _named("golden", GOLDEN),
            _named("smoke", digests.of_bytes(b"smoke")),
            _named("agent", AGENT),
        ],
        "passedTests": list(smoke.TESTS),
        "warnedTests": [],
        "failedTests": [],
        "run": {
            "schema": smoke.RUN_SCHEMA,
            "nonce": nonce,
            "target": target,
            "local": False,
            "began": ended,
            "ended": ended,
            "image": {"index": made.image, "manifest": image},
            "model": {"index": made.models, "manifest": model},
            "agent": AGENT,
            "runtime": {"name": "crun", "version": "1.8"},
            "limits": {"memory_bytes": 1 << 30},
            "settings": {"profile": "quick"},
            "governor": {"before": "ondemand", "during": "performance"},
            "failure": None,
            "report": {
                "schema": "edge-smoke/report/v1",
                "nonce": nonce,
                "board": {"model": "Raspberry Pi 5 Model B Rev 1.0", "standin": False},
                "model": {"sha256": digests.hex_of(made.weight)},
                "latency": {"p50_ns": 1_000_000},
            },
        },
    }
    change(predicate)
    return Statement(
        subjects=tuple(
            Subject(name=name, digest=digest)
            for name, digest in zip(
                ("image", "model", "more"), subjects or (image, model), strict=False
            )
        ),
        predicate_type=kinds.TEST_RESULT.predicate_type,
        predicate=predicate,
    )


def judged(
    made: Made,
    inputs: Sequence[bytes],
    *,
    devices: Sequence[str] = ("board",),
    target: str = "pi5",
    platform: str = ARM,
    outcome: str = "PASS",
    at: int | None = None,
) -> Statement:
    """A verdict."""
    return smoke.verdict(
        image=Subject(name="image", digest=made.platforms[platform]),
        model=Subject(name="model", digest=made.variants[target]),
        verifier="urn:edge-buildkit:gate:v1",
        at=now() - DAY if at is None else at,
        resource="pkg:oci/tiny",
        inputs=inputs,
        gate={
            "outcome": outcome,
            "findings": [] if outcome == "PASS" else [{"rule": "accuracy"}],
            "rules": {"profile": "quick"},
            "devices": [{"name": name, "target": target, "key": key_id(name)} for name in devices],
        },
    )


def saw(
    world: World,
    statement: Statement | None = None,
    *,
    keys: Sequence[str] = ("board", "good"),
    **how: Any,
) -> bytes:
    """Hang a test result, signed by each of `keys`; its payload."""
    said = ran(world.made, **how) if statement is None else statement
    for key in keys:
        world.say(said, key=key)
    return said.payload()


def passed(
    world: World,
    device: str = "board",
    *,
    host: Sequence[str] = ("good",),
    at: int | None = None,
    key: str = "good",
    outcome: str = "PASS",
    **how: Any,
) -> bytes:
    """A device saw a run, the host signed it too, and a gate decided."""
    payload = saw(world, keys=(device, *host), **{"nonce": f"of {device}", **how})
    about = {name: how[name] for name in ("target", "platform") if name in how}
    verdict = judged(world.made, [payload], devices=(device,), outcome=outcome, at=at, **about)
    world.say(verdict, key=key)
    return payload


def silent(found: dict[str, Any]) -> None:
    """A run that left no report."""
    found.update(result="FAILED", passedTests=[], failedTests=["load"])
    failure = {"kind": "memory", "blame": "artifact", "message": "killed"}
    found["run"].update(report=None, failure=failure)


def local(found: dict[str, Any]) -> None:
    """A run in the host's engine, with no agent."""
    found["run"].update(local=True, agent=None, runtime=None, governor=None)
    found["configuration"].pop()
