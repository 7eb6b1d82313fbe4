"""``lock``: resolve every input, make the model once, and write down what came out."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from buildkit import canonical, digests, scratch
from buildkit.errors import LockError, StoreError
from buildkit.lock import codec, drift
from buildkit.lock.resolve import resolve_all
from buildkit.lock.types import Lock, ModelPins
from buildkit.model import golden
from buildkit.nix import seed
from buildkit.pipeline import environment
from buildkit.pipeline import project as projects
from buildkit.pipeline.nixstage import NixStage, code_digest
from buildkit.pipeline.progress import Progress, Silent, Stopwatch
from buildkit.recipe import load
from buildkit.recipe.types import ArtifactSource, TrainSource
from buildkit.run import run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from buildkit.lock.drift import Change, Drift
    from buildkit.recipe import Recipe
    from buildkit.run import Runner


@dataclass(frozen=True, kw_only=True, slots=True)
class Locked:
    """What ``lock`` did.

    Attributes:
        file: the lock.
        digest: of the lock.
        first: whether there was no lock before.
        changes: what moved, against the lock that was there before.
        seconds: stage → wall-clock seconds.
    """

    file: Path
    digest: str
    first: bool
    changes: tuple[Change, ...]
    seconds: Mapping[str, float]


def check(recipe_file: Path) -> tuple[Drift, ...]:
    """Where a recipe and its lock no longer agree; empty when they do.

    Raises:
        RecipeError: the recipe is not valid.
        LockError: there is no lock, or it cannot be used.
    """
    recipe = load(recipe_file)
    lock = codec.load(recipe.lock_file)
    return environment.differences(recipe, lock)


def lock(
    recipe_file: Path,
    *,
    update: Sequence[str] | None = None,
    progress: Progress | None = None,
    runner: Runner = run,
) -> Locked:
    """Write the lock of a recipe.

    Args:
        recipe_file: ``recipe.toml``.
        update: names whose pins move; every pin when empty; none but what the recipe asks for
            when absent.
        progress: told what happens.
        runner: starts other programs.

    Raises:
        ResolveError: a package does not exist, or not for a platform.
        FetchError: an input cannot be brought here.
    """
    watch = Stopwatch(progress or Silent())
    projects.sweep(recipe_file)
    recipe = load(recipe_file)
    before = _before(recipe, update)
    if not os.access(recipe.folder, os.W_OK):
        # Now, and not after a minute of asking for packages.
        msg = f"{recipe.lock_file.name} cannot be written: {recipe.folder} is read-only for you"
        raise StoreError(msg, "make the folder writable")
    with watch.stage("resolve", "asking APT and pip what the recipe means"):
        found = resolve_all(recipe, runner, seed_hash=seed.seed_hash, keep=before, update=update)
    source = recipe.model.source
    model = ModelPins(
        files=found.files,
        artifact=source.digest if isinstance(source, ArtifactSource) else "",
        commit=found.commit,
        seed=source.seed if isinstance(source, TrainSource) else 0,
        onnxruntime=found.onnxruntime,
        float_sha256="",
        calibration="",
    )
    locked = Lock(
        recipe_name=recipe.name,
        recipe_digest=recipe.digest,
        recipe=recipe.document,
        hosts=found.hosts,
        platforms=found.platforms,
        model=model,
    )
    work = projects.root_of(recipe.file) / ".buildkit"

    def stage(of: Lock) -> NixStage:
        return NixStage(recipe, of, work=work, runner=runner, progress=watch.progress)

    pinned = environment.pin(recipe, before, update, stage(locked).nix)
    locked = dataclasses.replace(locked, builder=pinned)
    with watch.stage("fetch", "bringing inputs"):
        stage(locked).fetch()
    with watch.stage("calibrate", "making the model and its ranges in the sandbox"):
        locked = _with_ranges(locked, stage(locked), watch.progress)
        locked = _with_quantised(locked, stage(locked))
    _write(recipe.lock_file, codec.dump(locked))
    return Locked(
        file=recipe.lock_file,
        digest=codec.digest(locked),
        first=before is None,
        changes=drift.changes(before, locked),
        seconds=watch.seconds,
    )


def _before(recipe: Recipe, update: Sequence[str] | None) -> Lock | None:
    """The lock that is there; one that cannot be used is replaced when everything moves anyway."""
    if not recipe.lock_file.exists():
        return None
    try:
        return codec.load(recipe.lock_file)
    except LockError:
        if update is not None and not update:
            return None
        raise


def _key(lock: Lock) -> str:
    parts = {"lock": codec.digest(lock), "code": code_digest()}
    return digests.of_bytes(canonical.dump(parts))


def _with_ranges(lock: Lock, stage: NixStage, progress: Progress) -> Lock:
    paths = stage.paths("ranges", _key(lock))
    float_sha256 = digests.of_file(stage.nix.physical(paths["float"]) / "model.onnx")
    way, ranges = "", {}
    if paths["ranges"] is not None:
        found = canonical.load((stage.nix.physical(paths["ranges"]) / "ranges.json").read_bytes())
        way = found["way"]
        ranges = {name: (low, high) for name, (low, high) in found["ranges"].items()}
        whose = "exact" if way == "exact" else "ONNX Runtime's, which hold for this CPU"
        progress.note(f"ranges: {whose}: {found['reason']}")
    model = dataclasses.replace(
        lock.model, float_sha256=digests.hex_of(float_sha256), calibration=way, ranges=ranges
    )
    return dataclasses.replace(lock, model=model)


def _with_quantised(lock: Lock, stage: NixStage) -> Lock:
    paths = stage.paths("quantised", _key(lock))
    quantised = digests.of_file(stage.nix.physical(paths["quantised"]) / "model.onnx")
    accuracy = canonical.load(
        (stage.nix.physical(paths["accuracy"]) / "accuracy.json").read_bytes()
    )
    model = dataclasses.replace(
        lock.model, quantized_sha256=digests.hex_of(quantised), golden=golden.counts(accuracy)
    )
    return dataclasses.replace(lock, model=model)


def _write(file: Path, data: bytes) -> None:
    """Replace the lock in one step: a reader sees the old one or the new one, never half."""
    try:
        with scratch.folder(file.parent, projects.unfinished(file)) as folder:
            fresh = folder / file.name
            with fresh.open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            fresh.chmod(0o644)
            fresh.replace(file)
    except OSError as error:
        msg = f"{file.name} cannot be written: {error.strerror}"
        raise StoreError(msg, "make room, or make the folder writable") from error
