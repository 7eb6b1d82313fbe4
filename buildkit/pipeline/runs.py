"""The record of one run of a build: who, when, where, how long. Never the same twice."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from buildkit import canonical
from buildkit.evidence import builds, kinds
from buildkit.evidence.statement import Statement
from buildkit.pipeline import machine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildkit.pipeline.progress import Stopwatch

SCHEMA = "buildkit/run/v1"


def statement(
    record: Mapping[str, Any], watch: Stopwatch, *, lock_digest: str, builder: str | None
) -> Statement:
    """What is said of a run that ends now; ``docs/provenance.md`` describes it.

    Args:
        record: what it made (`BuildResult.reproducible`).
        watch: when it began, and how long each stage took.
        lock_digest: of its lock.
        builder: the buildx builder of the user's own that it used, if it did.
    """
    return Statement(
        subjects=builds.subjects(record),
        predicate_type=kinds.RUN.predicate_type,
        predicate={
            "schema": SCHEMA,
            "recipe": dict(record["recipe"]),
            "lock": lock_digest,
            "builder": builder or "",
            "started": canonical.timestamp(watch.started),
            "finished": canonical.timestamp(int(time.time())),
            "seconds": dict(watch.seconds),
            "by": machine.facts(),
        },
    )
