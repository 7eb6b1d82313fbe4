"""What a device signed is held against the order, field by field."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from device_fakes import Board, order

from buildkit import canonical
from buildkit.device import enrol, session, signed
from buildkit.device.answers import Ran
from buildkit.errors import EvidenceError
from buildkit.evidence.dsse import pae
from buildkit.evidence.keys import private
from buildkit.evidence.statement import PAYLOAD_TYPE

if TYPE_CHECKING:
    from buildkit.evidence.keys.private import PrivateKey

OTHER = "0" * 64
ORDER = order(runtime="crun")


@pytest.fixture(scope="module")
def key() -> PrivateKey:
    return private.generate("ecdsa-p256", "t", created=0)


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory, key: PrivateKey) -> tuple[bytes, str]:
    """The statement of a run, and the digest of the agent that made it."""
    with Board(tmp_path_factory.mktemp("board")) as board:
        trusted = [key.public.pem]
        done = enrol.enrol(board.device, trusted, packed=board.packed, path=board.path)
        found = session.run(board.agent(), ORDER, key=done.key)
        return found.payload, board.packed.digest


def checked(payload: bytes, agent: str, key: PrivateKey) -> bytes:
    ran = Ran(payload=payload, signature=key.sign(pae(PAYLOAD_TYPE, payload)), key=key.public.id)
    return signed.checked(ran, ORDER, key=key.public, agent=agent, name="shelf-1").payload


def test_the_right_one_is_taken(right: tuple[bytes, str], key: PrivateKey) -> None:
    assert checked(*right, key) == right[0]


def test_one_that_two_may_read_differently_is_refused(
    right: tuple[bytes, str], key: PrivateKey
) -> None:
    payload, agent = right
    with pytest.raises(EvidenceError, match="not canonical"):
        checked(payload + b"\n", agent, key)


def test_one_of_another_agent_is_refused(right: tuple[bytes, str], key: PrivateKey) -> None:
    with pytest.raises(EvidenceError, match="`agent` is not that of the order"):
        checked(right[0], "sha256:" + OTHER, key)


def test_a_signature_must_fit(right: tuple[bytes, str], key: PrivateKey) -> None:
    payload, agent = right
    ran = Ran(payload=payload, signature=key.sign(payload), key=key.public.id)
    with pytest.raises(EvidenceError, match="the signature is not one by key"):
        signed.checked(ran, ORDER, key=key.public, agent=agent, name="shelf-1")


def changed(payload: bytes, path: str, value: Any) -> bytes:
    document = json.loads(payload)
    *way, last = path.split(".")
    place: Any = document
    for step in way:
        place = place[int(step) if step.isdigit() else step]
    place[int(last) if last.isdigit() else last] = value
    return canonical.dump(document)


CHANGES: dict[str, Any] = {
    "predicate.run.nonce": "n-2",
    "predicate.run.target": "amd64",
    "predicate.run.local": True,
    "predicate.run.schema": "edge-smoke/run/v2",
    "predicate.run.agent": f"sha256:{OTHER}",
    "predicate.run.image.index": f"sha256:{OTHER}",
    "predicate.run.image.manifest": f"sha256:{OTHER}",
    "predicate.run.model.index": f"sha256:{OTHER}",
    "predicate.run.limits.memory_bytes": 2 << 30,
    "predicate.run.limits.cpus": False,
    "predicate.run.limits.more": 1,
    "predicate.run.settings.profile": "quick",
    "predicate.run.settings.providers": ["CPUExecutionProvider"],
    "predicate.run.settings.deadline_s": 31,
    "predicate.run.runtime": None,
    "predicate.run.runtime.name": "podman",
    "predicate.run.began": "yesterday",
    "predicate.run.failure": {"kind": "model", "blame": "artifact", "message": "m"},
    "predicate.run.report": None,
    "predicate.run.report.nonce": "n-2",
    "predicate.run.report.schema": "edge-smoke/report/v9",
    "predicate.run.report.golden.sha256": OTHER,
    "predicate.run.report.golden": None,
    "predicate.run": [],
    "predicate.configuration.0.digest.sha256": OTHER,
    "predicate.configuration.1.digest.sha256": OTHER,
    "predicate.configuration.2.digest.sha256": OTHER,
    "predicate.configuration": [],
    "predicate.result": "WARNED",
    "predicate.failedTests": ["load"],
    "predicate.passedTests": ["load", "load"],
    "predicate.warnedTests": ["weather"],
    "predicate": {},
    "predicateType": "https://slsa.dev/provenance/v1",
    "subject.0.digest.sha256": OTHER,
    "subject": [],
    "_type": "https://in-toto.io/Statement/v0.1",
    "more": 1,
}


@pytest.mark.parametrize("path", CHANGES)
def test_a_statement_that_is_not_of_this_run_is_refused(
    right: tuple[bytes, str], key: PrivateKey, path: str
) -> None:
    payload, agent = right
    with pytest.raises(EvidenceError, match="shelf-1: what it signed"):
        checked(changed(payload, path, CHANGES[path]), agent, key)
