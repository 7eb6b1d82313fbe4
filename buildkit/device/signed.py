"""What a device signed about a run, held against what it was asked for. Pure: bytes in, record out.

Source: docs/device-protocol.md, "The statement"; in-toto Attestation, predicates/test-result.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from buildkit import canonical, digests
from buildkit.device.types import Signed
from buildkit.device.wording import clean
from buildkit.errors import EvidenceError
from buildkit.evidence import bundle, kinds, smoke, statement
from buildkit.evidence.dsse import Envelope
from buildkit.evidence.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildkit.device.answers import Ran
    from buildkit.device.types import Order
    from buildkit.evidence.keys import PublicKey

REPORT_SCHEMA = "edge-smoke/report/v1"

_REMEDY = "nothing of it was kept; look at the board"


def request(order: Order) -> dict[str, Any]:
    """The order, as the protocol writes it."""
    return {
        "nonce": order.nonce,
        "target": order.target,
        "image": _pair(order.image_index, order.image_manifest),
        "model": _pair(order.model_index, order.model_manifest),
        "golden": order.golden,
        "smoke": order.smoke,
        "bundles": list(order.bundles),
        "runtime": order.runtime,
        "limits": {
            "memory_bytes": order.memory_bytes,
            "cpus": order.cpus,
            "pids": order.pids,
        },
        "settings": {
            "profile": order.profile,
            "providers": list(order.providers),
            "threads": order.threads,
            "optimization": order.optimization,
            "deadline_s": order.deadline_s,
        },
        "governor": order.governor,
    }


def checked(ran: Ran, order: Order, *, key: PublicKey, agent: str, name: str) -> Signed:
    """What came back of a run, if all of it is what was asked for.

    Args:
        ran: the answer.
        order: what was asked for.
        key: the device's own, as it was pinned when it was enrolled.
        agent: digest of the agent that was brought.
        name: of the device, for messages.

    Raises:
        EvidenceError: the signature is not one by that key, or the statement does not hold
            together, or is not about this run, of this order.
    """
    what = f"{name}: what it signed"
    if ran.key != key.id:
        msg = f"{what}: by key {ran.key}, but {key.id} was enrolled"
        raise EvidenceError(Reason.SIGNER_UNKNOWN, msg, _REMEDY)
    envelope = Envelope(
        payload=ran.payload, payload_type=statement.PAYLOAD_TYPE, signature=ran.signature
    )
    key.verify(ran.signature, envelope.signed())
    said = statement.parse(ran.payload, what)
    if said.payload() != ran.payload:
        raise _refused(what, "not canonical JSON", Reason.STATEMENT)
    if said.predicate_type != kinds.TEST_RESULT.predicate_type:
        shown = clean(said.predicate_type, 80)
        raise _refused(what, f"of type {shown!r}", Reason.PREDICATE_TYPE)
    smoke.read_result(said, what)
    _compare(said.predicate, order, what, agent=agent)
    return Signed(
        payload=ran.payload,
        bundle=bundle.with_key(envelope, key.hint),
        predicate=said.predicate,
    )


def _compare(predicate: Mapping[str, Any], order: Order, what: str, *, agent: str) -> None:
    """Whether it is this run, of this order; the form of the predicate is right."""
    run, asked = predicate["run"], request(order)
    named = {each["name"]: each["digest"]["sha256"] for each in predicate["configuration"]}
    found = {
        "local": run["local"],
        "nonce": run["nonce"],
        "target": run["target"],
        "image": run["image"],
        "model": run["model"],
        "limits": run["limits"],
        "settings": run["settings"],
        "agent": run["agent"],
        "golden": named["golden"],
        "smoke": named["smoke"],
    }
    wanted = {
        **{name: asked[name] for name in found.keys() & asked.keys()},
        "local": False,
        "agent": agent,
        "golden": digests.hex_of(order.golden),
        "smoke": digests.hex_of(order.smoke),
    }
    for name, value in found.items():
        # As canonical JSON: to Python, 1, 1.0 and true are equal.
        if canonical.dump(value) != canonical.dump(wanted[name]):
            raise _refused(what, f"`{name}` is not that of the order")
    if order.runtime not in ("auto", run["runtime"]["name"]):
        raise _refused(what, f"it ran in another container runtime than {order.runtime}")
    report = run["report"]
    if report is None:
        return
    golden = report.get("golden")
    if (
        report.get("schema") != REPORT_SCHEMA
        or report.get("nonce") != order.nonce
        or not isinstance(golden, dict)
        or golden.get("sha256") != digests.hex_of(order.golden)
    ):
        raise _refused(what, "its report is not one of this run")


def _pair(index: str, manifest: str) -> dict[str, str]:
    return {"index": index, "manifest": manifest}


def _refused(what: str, why: str, reason: Reason = Reason.PREDICATE) -> EvidenceError:
    return EvidenceError(reason, f"{what}: {why}", _REMEDY)
