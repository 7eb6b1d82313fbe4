"""The made-up year of the benchmarks is one that could have been."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))

import jsonschema
from history import SMALL
from history_store import write

from buildkit import audit
from buildkit.audit import sync
from buildkit.evidence import bundle as bundles
from buildkit.evidence import kinds, statement
from buildkit.evidence.keys import KeyRing
from buildkit.evidence.policytypes import Policy
from buildkit.evidence.verify import anchors
from buildkit.store import Store

SCHEMA = Path(__file__).parents[3] / "docs/smoke-report.schema.json"


def test_the_same_seed_is_the_same_history(tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        write(tmp_path / name, SMALL, seed)
    one, same, other = (
        (tmp_path / name / "store/index.json").read_bytes() for name in ("one", "same", "other")
    )
    assert one == same != other
    ring = (tmp_path / "one/keys/ring.json").read_bytes()
    assert ring == (tmp_path / "same/keys/ring.json").read_bytes()


def test_every_statement_of_it_is_true(tmp_path: Path) -> None:
    count = write(tmp_path, SMALL)
    store = Store.open(tmp_path / "store")
    policy = Policy()
    ring = KeyRing.load(tmp_path / "keys")
    believed = anchors.load(policy, ring.folder, ring, datetime.now(UTC))
    index = audit.open(tmp_path / "audit.sqlite")
    done = sync.store(index, store, policy=policy, anchors=believed)
    assert (done.added, done.refused) == (count, 0)
    assert len(audit.devices(index, "app-00:1.0.0").rows) == SMALL.per_release
    index.close()


def test_its_reports_are_as_devices_write_them(tmp_path: Path) -> None:
    write(tmp_path, SMALL)
    schema = json.loads(SCHEMA.read_bytes())
    check = jsonschema.Draft202012Validator(schema)
    found = 0
    for path in (tmp_path / "store/blobs/sha256").iterdir():
        data = path.read_bytes()
        if not data.startswith(b'{"dsseEnvelope"'):
            continue
        said = statement.parse(bundles.parse(data, path.name).envelope.payload, path.name)
        if said.predicate_type == kinds.TEST_RESULT.predicate_type:
            check.validate(said.predicate["run"]["report"])
            found += 1
    assert found > SMALL.reports
