"""One of several writers: brings an index up to date with a store, in a process of its own."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from buildkit.audit import database, judge, sync
from buildkit.audit.sources import OfStore
from buildkit.evidence.keys import KeyRing
from buildkit.evidence.policytypes import Policy
from buildkit.evidence.verify import anchors
from buildkit.store import Store


def main(root: Path, where: str, batch: int, names: list[str]) -> None:
    policy = Policy()
    ring = KeyRing.load(root / "keys")
    believed = anchors.load(policy, root, ring, datetime.now(UTC))
    trust = judge.Trust(policy=policy, anchors=believed)
    store = Store.open(root / "store")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    with database.open(where) as index, store.reading():
        for name in names:
            sync.source(index, OfStore(store), trust, name=name, batch=batch)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4:])
