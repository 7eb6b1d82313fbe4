"""The statement that the device signs: an in-toto test-result. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from agent import dsse, strict

if TYPE_CHECKING:
    from agent.container import Found
    from agent.order import Order
    from agent.outcome import Outcome

TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
RUN = "edge-smoke/run/v1"


@dataclass(frozen=True)
class Circumstances:
    """What the agent knows of a run beside its outcome.

    Attributes:
        agent: digest of the agent.
        began: wall clock, seconds since 1970.
        ended: the same.
        runtime: that ran it.
        governor_before: of the CPU's frequency; nothing where there is none.
        governor_during: the same.
    """

    agent: str
    began: float
    ended: float
    runtime: Found
    governor_before: str | None
    governor_during: str | None


def payload(order: Order, outcome: Outcome, seen: Circumstances) -> bytes:
    """Canonical bytes of the statement."""
    results = outcome.results
    images = {"image": order.image_manifest, "model": order.model_manifest}
    tools = {"golden": order.golden, "smoke": order.smoke, "agent": seen.agent}
    failure = outcome.failure
    predicate: dict[str, Any] = {
        "result": results.result,
        "configuration": [_resource(name, digest) for name, digest in tools.items()],
        "passedTests": list(results.passed),
        "warnedTests": list(results.warned),
        "failedTests": list(results.failed),
        "run": {
            "schema": RUN,
            "nonce": order.nonce,
            "target": order.target,
            "local": False,
            "began": moment(seen.began),
            "ended": moment(seen.ended),
            "image": {"index": order.image_index, "manifest": order.image_manifest},
            "model": {"index": order.model_index, "manifest": order.model_manifest},
            "agent": seen.agent,
            "runtime": {"name": seen.runtime.name, "version": seen.runtime.version},
            "limits": order.limits,
            "settings": order.settings,
            "governor": {"before": seen.governor_before, "during": seen.governor_during},
            "failure": failure.document() if failure else None,
            "report": outcome.report,
        },
    }
    return strict.dump(
        {
            "_type": dsse.STATEMENT,
            "subject": [_resource(name, digest) for name, digest in images.items()],
            "predicateType": TEST_RESULT,
            "predicate": predicate,
        }
    )


def moment(seconds: float) -> str:
    """RFC 3339 in UTC, whole seconds."""
    return datetime.fromtimestamp(int(seconds), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _resource(name: str, digest: str) -> dict[str, Any]:
    return {"name": name, "digest": {"sha256": digest.partition(":")[2]}}
