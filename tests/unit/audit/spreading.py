"""Tries `buildkit.audit.workers` in a process of its own: it may have no threads."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import audit_world as worlds
from audit_world import dump, opened

from buildkit.audit import sync, workers
from buildkit.audit.sources import OfStore

HERE = os.getpid()


def large(number: int) -> tuple[int, str, bool]:
    """More than a pipe holds, and whether it was made in a copy."""
    return number, "x" * 200_000, os.getpid() != HERE


def dies(number: int) -> int:
    if number == 4 and os.getpid() != HERE:
        os._exit(9)
    return number


def fails(number: int) -> int:
    if number == 4:
        msg = "four"
        raise ValueError(msg)
    return number


def failing() -> list[Any]:
    seen: list[Any] = []
    try:
        seen.extend(workers.spread(fails, 9, 2))
    except ValueError as error:
        seen.append(str(error))
    return seen


def crowded() -> list[bool]:
    """Where no file can be opened any more: whether each was made in a copy."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (sum(1 for _ in Path("/proc/self/fd").iterdir()) + 1, hard)
    )
    try:
        return [is_copy for _, _, is_copy in workers.spread(large, 2, 3)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def closed() -> list[int]:
    """What was made until nobody wanted more, and how many copies are left."""
    with closing(workers.spread(large, 100, 3)) as made:
        first = next(made)[0]
    return [first, len(multiprocessing.active_children())]


def sleeps() -> str:
    time.sleep(600)
    return "slept"


def begun() -> list[Any]:
    """Where it was done, what becomes of a copy that dies or fails, and how many are left."""
    with workers.begun(lambda: str(os.getpid() != HERE)) as made:
        seen: list[Any] = [made()]
    with workers.begun(lambda: str(dies(4))) as made:
        seen.append(made())
    with workers.begun(lambda: str(fails(4))) as made:
        try:
            made()
        except ValueError as error:
            seen.append(str(error))
    # Nobody waits for this one.
    with workers.begun(sleeps):
        pass
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        seen.append("none left")
    return seen


def synced(root: Path) -> dict[str, Any]:
    """An index by copies beside one without, and what is told when a blob is damaged."""
    world = worlds.history(root / "world")
    blob = next(
        each
        for each in sorted((world.root / "store/blobs/sha256").iterdir())
        if b"dsseEnvelope" in each.read_bytes()
    )
    blob.chmod(0o644)
    blob.write_bytes(b"{}")
    found = {}
    for processes in (1, 3):
        with opened(root / f"{processes}.sqlite") as index, world.store.reading():
            done = sync.source(
                index,
                OfStore(world.store),
                world.trust(),
                name="store",
                batch=7,
                processes=processes,
            )
            worlds.check(index)
            rows = dump(index)
        reasons = {row[6] for row in rows["statement"]}
        found[str(processes)] = [repr(rows), done.added, done.refused, sorted(reasons)]
    return found


def main(root: Path) -> None:
    print(  # noqa: T201 - to the test
        json.dumps(
            {
                "possible": workers.possible(),
                "large": [
                    [number, len(text), is_copy]
                    for number, text, is_copy in workers.spread(large, 11, 3)
                ],
                "alone": [is_copy for _, _, is_copy in workers.spread(large, 2, 1)],
                "more copies than work": [each[0] for each in workers.spread(large, 2, 4)],
                "crowded": crowded(),
                "dies": list(workers.spread(dies, 9, 2)),
                "fails": failing(),
                "closed": closed(),
                "begun": begun(),
                "synced": synced(root),
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
