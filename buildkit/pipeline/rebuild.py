"""``rebuild``: make an artifact again from what the store kept of it, sharing nothing.

Sources and lock come out of the build's record, inputs by their hashes, and everything is made
in a Nix store, an engine and an OCI store of its own. The ranges of the calibration, which a
build replays from the lock, are derived again and held against it.
"""

from __future__ import annotations

import dataclasses
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from buildkit import canonical, media, scratch
from buildkit.engine import Engine
from buildkit.errors import BuildkitError, InputError
from buildkit.evidence import builds, kinds, signing
from buildkit.evidence.signer import NOBODY, Who
from buildkit.evidence.statement import Statement
from buildkit.model import ranges
from buildkit.pipeline import build as building
from buildkit.pipeline import machine
from buildkit.pipeline import plan as plans
from buildkit.pipeline.engines import sweep_orphans
from buildkit.pipeline.nixstage import NixStage, code_digest
from buildkit.pipeline.progress import Progress, Silent, Stopwatch
from buildkit.pipeline.project import Project
from buildkit.run import run
from buildkit.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from buildkit.evidence.builds import Build
    from buildkit.pipeline.plan import Plan
    from buildkit.run import Runner

SCHEMA = "buildkit/rebuild/v1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """Something whose digest came out differently."""

    what: str
    before: str
    after: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Rebuilt:
    """The answer of a rebuild.

    Attributes:
        subject: digest of the image index that was made again.
        identical: whether every digest is the same.
        compared: how many digests were compared.
        differences: what differs, coarse things first.
        notes: what a reader should know (another version of this tool, say).
        record: digest of the record in the store.
        seconds: stage → wall-clock seconds.
    """

    subject: str
    identical: bool
    compared: int
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]
    record: str
    seconds: Mapping[str, float]


def rebuild(
    ref: str,
    *,
    store: Path,
    signer: Who = NOBODY,
    progress: Progress | None = None,
    runner: Runner = run,
) -> Rebuilt:
    """Make an artifact again, compare digest by digest, and keep the answer in the store.

    Args:
        ref: an image index, one of its platforms, a model or the index of models.
        store: the store that holds it; the record goes there too.
        signer: who signs the record.
        progress: told what happens.
        runner: starts other programs.

    Raises:
        BuildkitError: it could not be made again, so nothing is known; exit status 2.
    """
    watch = Stopwatch(progress or Silent())
    shelf = Store.open(store)
    signs = signer.ready()
    kept = builds.find(shelf, shelf.resolve(ref).digest)
    scratch.sweep()
    sweep_orphans(runner)
    with scratch.folder() as work:
        apart = building.Apart(work=work / "work", engine=secrets.token_hex(6))
        Engine(apart.engine, runner).belongs_to(work)
        try:
            with watch.stage("sources", "taking the sources out of the store"):
                plan = _restore(shelf, kept, work / "sources", runner)
            notes = _notes(kept)
            fresh = Store.create(work / "store")
            with fresh.lease():
                try:
                    building.make(plan, fresh, plan.key, watch=watch, runner=runner, apart=apart)
                except BuildkitError as error:
                    if error.exit_code == 1:
                        # Made, and not what the lock says: that is an answer.
                        notes = (*notes, error.message)
                    else:
                        raise
            with watch.stage("ranges", "deriving the calibration ranges again"):
                moved = _ranges(plan, apart, runner, watch.progress)
            with watch.stage("compare", "comparing digest by digest"):
                compared, found = _compare(shelf, fresh, kept)
                found += moved
        finally:
            Engine(apart.engine, runner).forget()
    answer = Rebuilt(
        subject=kept.subject.digest,
        identical=not found,
        compared=compared,
        differences=tuple(found),
        notes=notes,
        record="",
        seconds=watch.seconds,
    )
    said = _statement(answer, kept.result)
    entry = shelf.attach(kept.subject, media.REBUILD, [(said.payload(), media.STATEMENT)])
    if signs is not None:
        signing.sign(shelf, signs, [said.payload()], builds.artifacts(shelf, kept.result))
    return dataclasses.replace(answer, record=entry.digest)


def _restore(store: Store, kept: Build, folder: Path, runner: Runner) -> Plan:
    """Write sources and lock to a folder as they were, and read them as a build would.

    Raises:
        InputError: a path leads out of the folder.
    """
    for path, facts in kept.sources["files"].items():
        target = folder / path
        if not target.resolve().is_relative_to(folder.resolve()):
            msg = f"the sources name {path!r}, which leads out of their folder"
            raise InputError(msg, "do not trust this store")
        target.parent.mkdir(parents=True, exist_ok=True)
        if "link" in facts:
            target.symlink_to(facts["link"])
        else:
            target.write_bytes(store.read(facts["digest"]))
            target.chmod(0o755 if facts["executable"] else 0o644)
    recipe = folder / kept.sources["recipe"]
    recipe.with_suffix(".lock").write_bytes(kept.lock)
    project = Project(root=folder, revision=kept.sources["revision"], epoch=kept.sources["epoch"])
    return plans.plan(recipe, kept.sources["builder"], runner, project)


def _notes(kept: Build) -> tuple[str, ...]:
    if kept.sources["code"] != code_digest():
        return ("it was built with another version of edge-buildkit",)
    return ()


def _ranges(
    plan: Plan, apart: building.Apart, runner: Runner, progress: Progress
) -> list[Difference]:
    """Derive the ranges again; where they do not agree with the lock, say which."""
    stage = NixStage(
        plan.recipe, plan.lock, work=apart.work, runner=runner, progress=progress, apart=True
    )
    path = stage.paths("ranges", plan.nix_key)["ranges"]
    if path is None:
        return []
    new = canonical.load((stage.nix.physical(path) / "ranges.json").read_bytes())["ranges"]
    recorded = plan.lock.model.ranges
    moved = ranges.disagreements(recorded, new, plan.lock.model.calibration)
    return [
        Difference(
            what=f"range {name}",
            before=str(recorded.get(name)),
            after=str(new.get(name)),
        )
        for name in moved
    ]


def _compare(before: Store, after: Store, kept: Build) -> tuple[int, list[Difference]]:
    """Every manifest and every layer of image and models, and every reproducible statement."""
    old = dict(_digests(before, kept.result))
    entry = next((e for e in after.entries() if e.artifact_type == media.BUILD), None)
    new: dict[str, str] = {}
    if entry is not None:
        manifest = after.read_json(entry.digest)
        new = dict(_digests(after, after.read_json(manifest["layers"][0]["digest"])))
    found = [
        Difference(what=what, before=old.get(what, ""), after=new.get(what, ""))
        for what in {**old, **new}
        if old.get(what) != new.get(what)
    ]
    return len(old), found


def _digests(store: Store, result: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "image", result["image"]["digest"]
    for item in result["image"]["platforms"]:
        yield item["platform"], item["digest"]
        yield from _parts(store, item["platform"], item["digest"])
    for item in result["models"]:
        what = f"model {item['target']}"
        yield what, item["digest"]
        yield from _parts(store, what, item["digest"])
    for item in result["statements"]:
        yield f"{item['kind']} of {item['about']}", item["digest"]


def _parts(store: Store, what: str, digest: str) -> Iterator[tuple[str, str]]:
    manifest = store.read_json(digest)
    yield f"{what} config", manifest["config"]["digest"]
    for number, layer in enumerate(manifest["layers"]):
        yield f"{what} layer {number}", layer["digest"]


def _statement(answer: Rebuilt, result: Mapping[str, Any]) -> Statement:
    """The record: who, where, on what processor, with what result."""
    return Statement(
        subjects=builds.subjects(result),
        predicate_type=kinds.REBUILD.predicate_type,
        predicate={
            "schema": SCHEMA,
            "subject": answer.subject,
            "identical": answer.identical,
            "compared": answer.compared,
            "differences": [dataclasses.asdict(item) for item in answer.differences],
            "notes": list(answer.notes),
            "by": machine.facts(),
            "finished": canonical.timestamp(int(time.time())),
            "seconds": dict(answer.seconds),
        },
    )
