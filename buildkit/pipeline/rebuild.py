"""``rebuild``: make an artifact again from what the store kept of it, sharing nothing.

Sources and lock come out of the build's record, inputs by their hashes, and everything is made
in a Nix store, an engine and an OCI store of its own. The ranges of the calibration, which a
build replays from the lock, are derived again and held against it.
"""

from __future__ import annotations

import dataclasses
import os
import platform
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from buildkit import __version__, canonical, scratch
from buildkit.engine import Engine
from buildkit.errors import BuildkitError, InputError, StoreError
from buildkit.model import ranges
from buildkit.pipeline import build as builds
from buildkit.pipeline import plan as plans
from buildkit.pipeline import sources
from buildkit.pipeline.engines import sweep_orphans
from buildkit.pipeline.nixstage import NixStage, code_digest
from buildkit.pipeline.progress import Progress, Silent, Stopwatch
from buildkit.pipeline.project import Project
from buildkit.run import run
from buildkit.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from buildkit.pipeline.plan import Plan
    from buildkit.records import Descriptor
    from buildkit.run import Runner

SCHEMA = "buildkit/rebuild/v1"
REBUILD = "application/vnd.edge-buildkit.rebuild.v1+json"
_CPU_FACTS = ("model name", "CPU implementer", "CPU part", "flags", "Features")


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
    ref: str, *, store: Path, progress: Progress | None = None, runner: Runner = run
) -> Rebuilt:
    """Make an artifact again, compare digest by digest, and keep the answer in the store.

    Args:
        ref: an image index, one of its platforms, a model or the index of models.
        store: the store that holds it; the record goes there too.
        progress: told what happens.
        runner: starts other programs.

    Raises:
        BuildkitError: it could not be made again, so nothing is known; exit status 2.
    """
    watch = Stopwatch(progress or Silent())
    shelf = Store.open(store)
    subject, kept = _kept(shelf, shelf.resolve(ref).digest)
    scratch.sweep()
    sweep_orphans(runner)
    with scratch.folder() as work:
        apart = builds.Apart(work=work / "work", engine=secrets.token_hex(6))
        Engine(apart.engine, runner).belongs_to(work)
        try:
            with watch.stage("sources", "taking the sources out of the store"):
                plan = _restore(shelf, kept, work / "sources", runner)
            notes = _notes(kept)
            fresh = Store.create(work / "store")
            with fresh.lease():
                try:
                    builds.make(plan, fresh, plan.key, watch=watch, runner=runner, apart=apart)
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
        subject=subject.digest,
        identical=not found,
        compared=compared,
        differences=tuple(found),
        notes=notes,
        record="",
        seconds=watch.seconds,
    )
    entry = shelf.attach(subject, REBUILD, [(canonical.dump(_document(answer)), REBUILD)])
    return dataclasses.replace(answer, record=entry.digest)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kept:
    """What a build left in the store: its result, its lock, its sources."""

    result: Mapping[str, Any]
    lock: bytes
    sources: Mapping[str, Any]


def _kept(store: Store, digest: str) -> tuple[Descriptor, _Kept]:
    """The build that made `digest`, and the image index of it.

    Raises:
        StoreError: no build in this store names it.
    """
    for entry in reversed(store.entries()):
        if entry.artifact_type != builds.RECORD:
            continue
        manifest = store.read_json(entry.digest)
        layers: dict[str, str] = {}
        for layer in manifest["layers"]:
            layers.setdefault(layer["mediaType"], layer["digest"])
        result = store.read_json(layers[builds.RECORD])
        if digest in _named(store, result) and sources.LOCK in layers:
            kept = _Kept(
                result=result,
                lock=store.read(layers[sources.LOCK]),
                sources=store.read_json(layers[sources.SOURCES]),
            )
            return store.resolve(result["image"]["digest"]), kept
    msg = f"{digest}: no build in this store made it"
    raise StoreError(msg, "name an image or a model that `python -m buildkit show` lists")


def _named(store: Store, result: Mapping[str, Any]) -> Iterator[str]:
    yield result["image"]["digest"]
    yield from (item["digest"] for item in result["image"]["platforms"])
    models = [item["digest"] for item in result["models"]]
    yield from models
    for entry in store.entries():
        if entry.media_type.endswith("index.v1+json"):
            listed = store.read_json(entry.digest).get("manifests", [])
            if [item["digest"] for item in listed] == models:
                yield entry.digest


def _restore(store: Store, kept: _Kept, folder: Path, runner: Runner) -> Plan:
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


def _notes(kept: _Kept) -> tuple[str, ...]:
    if kept.sources["code"] != code_digest():
        return ("it was built with another version of edge-buildkit",)
    return ()


def _ranges(
    plan: Plan, apart: builds.Apart, runner: Runner, progress: Progress
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


def _compare(before: Store, after: Store, kept: _Kept) -> tuple[int, list[Difference]]:
    """Every manifest and every layer of image and models."""
    old = dict(_digests(before, kept.result))
    entry = next((e for e in after.entries() if e.artifact_type == builds.RECORD), None)
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


def _parts(store: Store, what: str, digest: str) -> Iterator[tuple[str, str]]:
    manifest = store.read_json(digest)
    yield f"{what} config", manifest["config"]["digest"]
    for number, layer in enumerate(manifest["layers"]):
        yield f"{what} layer {number}", layer["digest"]


def _document(answer: Rebuilt) -> dict[str, Any]:
    """The record: who, where, on what processor, with what result. Ready to be a predicate."""
    return {
        "schema": SCHEMA,
        "subject": answer.subject,
        "identical": answer.identical,
        "compared": answer.compared,
        "differences": [dataclasses.asdict(item) for item in answer.differences],
        "notes": list(answer.notes),
        "rebuilder": {
            "user": os.environ.get("USER", ""),
            "host": platform.node(),
            "system": f"{platform.system()} {platform.release()}",
            "machine": platform.machine(),
            "cpu": _cpu(),
            "tool": f"edge-buildkit {__version__}",
            "code": code_digest(),
        },
        "finished": canonical.timestamp(int(time.time())),
        "seconds": dict(answer.seconds),
    }


def _cpu() -> dict[str, str]:
    """What /proc/cpuinfo says of the first processor that could decide a bit."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in lines)
    return {key.strip(): value.strip() for key, _, value in pairs if key.strip() in _CPU_FACTS}
