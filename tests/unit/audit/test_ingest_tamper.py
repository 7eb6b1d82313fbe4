"""Whatever somebody does to a store: only what a right key has signed is a fact.

Each row of the tamper matrix that is about what is said is done to a copy of the honest store, and
the index of that is held against a list of what the keys have signed, which the index never saw.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.append(str(Path(__file__).parents[1] / "evidence/verify"))

import pytest
import signed_world
import tamper_rows
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from tamper import CASES, CONTROLS, Case

from buildkit.audit import database, sync
from buildkit.evidence import policy as policies
from buildkit.evidence.dsse import pae
from buildkit.evidence.keys import KeyRing
from buildkit.evidence.policytypes import Policy
from buildkit.evidence.verify import anchors
from buildkit.store import Store

if TYPE_CHECKING:
    from signed_world import World

assert tamper_rows.GROUPS

# Reasons that a statement, or what carries it, is refused for by itself.
OF_STATEMENTS = {
    *("json", "bundle", "payload-type", "statement", "signature", "signer-unknown"),
    *("signer-retired", "trust-expired", "trust-log", "predicate-type", "predicate"),
}
# Signed by a key that was retired, or by one that nobody names, is signed by nobody.
NOBODY = {"retired", "stranger"}
# Refused, and for another of its faults than `verify` names first.
OTHERWISE = {
    "predicate-type-swapped": "its predicate is not of the kind that it says",
}
TOLD = [
    case
    for case in CASES
    if OF_STATEMENTS & set(case.reasons) or {"subject"} == set(case.reasons) & {"subject", "name"}
]

# Rightly signed, and contradicted by what the statement is about.
GROUPS = {
    *("Statements, rightly signed", "SBOMs, rightly signed", "Provenance, rightly signed"),
    *("Locks, rightly signed", "Test results and verdicts"),
}
CONTRADICTED = [
    case
    for case in CASES
    if case.group in GROUPS and set(case.reasons) - {"evidence-missing", "smoke"}
]
# What only `verify` sees; `docs/audit.md` says so.
ONLY_VERIFY = {
    "spdx-more": "SPDX and CycloneDX are not held against each other",
    "lock-is-nowhere": "what nobody has is not held against anything",
    "lock-other-float": "cards of models are not held against the lock",
    **dict.fromkeys(
        ("lock-one-platform", "lock-more-platforms", "lock-other-targets", "lock-targets-text"),
        "what an image consists of is not held against the lock",
    ),
}

FACTS = {
    "run": """
        SELECT s.payload, image.digest, model.digest, target, result, mark, began, ended, board,
            kernel, firmware, p50_ns, p95_ns, profile
        FROM run JOIN statement s ON s.id = run.statement
        JOIN artifact image ON image.id = run.image JOIN artifact model ON model.id = run.model""",
    "verdict": """
        SELECT s.payload, outcome, at, image.digest, model.digest
        FROM verdict v JOIN statement s ON s.id = v.statement
        JOIN artifact image ON image.id = v.image JOIN artifact model ON model.id = v.model""",
    "judged": """
        SELECT s.payload, target, device, "key" FROM judged
        JOIN statement s ON s.id = judged.verdict""",
    "weighed": """
        SELECT s.payload, w.payload FROM weighed w JOIN statement s ON s.id = w.verdict""",
    "build": """
        SELECT s.payload, recipe, version, recipe_digest, lock, builder, revision
        FROM build JOIN statement s ON s.id = build.statement""",
    "made_from": """
        SELECT s.payload, name, uri, digest, "commit", uses FROM made_from
        JOIN statement s ON s.id = made_from.build JOIN material m ON m.id = made_from.material""",
    "holds": """
        SELECT s.payload, purl, licence, sha256, artifact.digest FROM holds
        JOIN statement s ON s.id = holds.statement JOIN package p ON p.id = holds.package
        JOIN artifact ON artifact.id = holds.artifact""",
    "about": """
        SELECT s.payload, s.kind, artifact.digest FROM about
        JOIN statement s ON s.id = about.statement JOIN artifact ON artifact.id = about.artifact
        WHERE s.reason = ''""",
}


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> World:
    return signed_world.build(tmp_path_factory.mktemp("honest") / "world")


@pytest.fixture(scope="module")
def known(honest: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[Any]]:
    facts, reasons, _ = indexed(honest, tmp_path_factory.mktemp("index"))
    assert not reasons
    return facts


def indexed(world: World, folder: Path) -> tuple[dict[str, set[Any]], Counter[str], list[str]]:
    """Facts by table, reasons why something is refused, and bundles of what is true."""
    policy, where = Policy(), world.root / "keys"
    if world.policy:
        policy, where = policies.load(world.root / "policy.toml"), world.root
    ring = KeyRing.load(world.root / "keys")
    believed = anchors.load(policy, where, ring, datetime.now(UTC))
    store = Store.open(world.root / "store")
    with database.open(folder / "audit.sqlite") as index:
        sync.store(index, store, policy=policy, anchors=believed)
        with index.connect() as connection:
            ask = connection.exec_driver_sql
            facts = {name: set(map(tuple, ask(query))) for name, query in FACTS.items()}
            reasons = Counter(
                reason for (reason,) in ask("SELECT reason FROM statement WHERE reason != ''")
            )
            true = [one for (one,) in ask("SELECT bundle FROM statement WHERE reason = ''")]
            named = ask("SELECT DISTINCT payload FROM statement WHERE reason = ''")
            said = {payload for (payload,) in named}
            # No fact is of a statement that is not true.
            assert {row[0] for rows in facts.values() for row in rows} <= said
    return facts, reasons, true


def signers(bundle: bytes) -> set[str]:
    """The keys of the made-up world that signed a bundle, found out by trying each."""
    envelope = json.loads(bundle)["dsseEnvelope"]
    signature = base64.b64decode(envelope["signatures"][0]["sig"])
    signed = pae(envelope["payloadType"], base64.b64decode(envelope["payload"]))
    found = set()
    for name in signed_world._NAMES:
        key = signed_world.private(name).public_key()
        try:
            if isinstance(key, ec.EllipticCurvePublicKey):
                key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
            else:
                key.verify(signature, signed)
        except InvalidSignature:
            continue
        found.add(name)
    return found


def _name(case: Case) -> str:
    return case.name


@pytest.mark.parametrize("case", TOLD, ids=_name)
def test_what_is_forged_or_altered_is_no_fact(
    case: Case, honest: World, known: dict[str, set[Any]], tmp_path: Path
) -> None:
    world = honest.copied(tmp_path / "world")
    case.attack(world)
    facts, reasons, true = indexed(world, tmp_path)
    # What was said before is as it was, or is gone.
    payloads = {row[0] for rows in known.values() for row in rows}
    for table, rows in facts.items():
        # Where CycloneDX is refused, SPDX says the same.
        which = slice(1, None) if table == "holds" else slice(None)
        before = {row[which] for row in known[table]}
        assert {row[which] for row in rows if row[0] in payloads} <= before, table
    # All else was signed by a key that counts: asked without the code that is tested here.
    for digest in true:
        data = world.read(digest)
        assert hashlib.sha256(data).hexdigest() == digest.removeprefix("sha256:")
        if "certificate" not in json.loads(data)["verificationMaterial"]:
            assert signers(data) - NOBODY
    wanted = OF_STATEMENTS & set(case.reasons)
    assert wanted <= set(reasons) or (case.name in OTHERWISE and reasons)


@pytest.mark.parametrize("case", CONTRADICTED, ids=_name)
def test_what_contradicts_its_subject_is_refused(case: Case, honest: World, tmp_path: Path) -> None:
    world = honest.copied(tmp_path / "world")
    case.attack(world)
    _, reasons, _ = indexed(world, tmp_path)
    assert bool(reasons) != (case.name in ONLY_VERIFY)


def test_the_matrix_is_not_empty() -> None:
    assert len(TOLD) > 150
    assert len(CONTRADICTED) > 80
    assert {case.name for case in CONTRADICTED} >= ONLY_VERIFY.keys()


@pytest.mark.parametrize(
    "case", [case for case in CONTROLS if "retired" not in case.name][::3], ids=_name
)
def test_what_changes_nothing_takes_no_fact_away(
    case: Case, honest: World, known: dict[str, set[Any]], tmp_path: Path
) -> None:
    world = honest.copied(tmp_path / "world")
    case.attack(world)
    facts, _, _ = indexed(world, tmp_path)
    kept = {row for rows in facts.values() for row in rows}
    assert kept
    del known
