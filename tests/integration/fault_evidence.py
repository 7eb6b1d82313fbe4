"""What a store holds after a smoke run, and whether a PASS in it rests on a whole run."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from buildkit.evidence import bundle, kinds, referrers
from buildkit.evidence.verify import verify_ref
from buildkit.pipeline import candidate
from buildkit.recipe import TARGETS
from buildkit.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from buildkit.evidence.keys import KeyRing

REF = "digits:1.0.0"


def wrong(folder: Path, ring: KeyRing) -> list[str]:
    """Damage, and evidence that does not hold."""
    store = Store.open(folder)
    report = verify_ref(store, REF, ring=ring, now=datetime.now(UTC))
    found = [f"store: {each}" for each in store.check() if each.is_damage]
    found += [f"verify: {each.message}" for each in (*report.findings, *report.ignored)]
    return found


def counts(folder: Path, ring: KeyRing, policy: Path) -> bool:
    """Whether a policy that asks for a device takes it."""
    report = verify_ref(
        Store.open(folder),
        REF,
        ring=ring,
        now=datetime.now(UTC),
        policy_file=policy,
    )
    return report.holds


def passes(folder: Path, target: str) -> list[str]:
    """Each verdict PASS of the store: ``whole``, or what it lacks."""
    store = Store.open(folder)
    chosen = candidate.find(store, REF, TARGETS[target])
    subjects = {chosen.image.digest, chosen.model.digest}
    tests: dict[str, set[tuple[str, str]]] = {}
    reports: dict[str, Any] = {}
    verdicts: dict[str, tuple[set[str], Any]] = {}
    for subject in subjects:
        for found in referrers.find(store, subject):
            assert isinstance(found, referrers.Found), found
            read = bundle.parse(found.bundle, found.digest)
            said = json.loads(read.envelope.payload)
            name = hashlib.sha256(read.envelope.payload).hexdigest()
            if said["predicateType"] == kinds.TEST_RESULT.predicate_type:
                tests.setdefault(name, set()).add((subject, read.key_hint))
                reports[name] = said["predicate"]
            elif said["predicateType"] == kinds.VERDICT.predicate_type:
                verdicts.setdefault(name, (set(), said["predicate"]))[0].add(subject)
    answer = []
    for hung, verdict in verdicts.values():
        if verdict["verificationResult"] != "PASSED":
            continue
        inputs = [each["digest"]["sha256"] for each in verdict["inputAttestations"]]
        lacks = "" if hung == subjects else "hangs on one of image and model only"
        for name in inputs:
            signers = {hint for _, hint in tests.get(name, ())}
            # By the device and by the host, each on image and model.
            if len(tests.get(name, ())) != 4 or len(signers) != 2:
                lacks = f"rests on a test result with {len(tests.get(name, ()))} bundles"
            elif reports[name]["result"] != "PASSED" or not reports[name]["run"]["report"]:
                lacks = "rests on a run that did not pass"
        answer.append(lacks or ("whole" if inputs else "rests on nothing"))
    return answer
