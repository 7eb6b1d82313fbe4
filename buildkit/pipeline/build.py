"""``build``: from a recipe and its lock to an image index and models in the store."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from buildkit import canonical, digests
from buildkit.errors import AccuracyError, DigestError, DriftError, InputError, StoreError
from buildkit.image import assemble, buildx, context, media
from buildkit.lock import codec, drift
from buildkit.model import publish
from buildkit.pipeline import project as projects
from buildkit.pipeline import sources
from buildkit.pipeline.engines import Engines
from buildkit.pipeline.nixstage import NixStage, code_digest
from buildkit.pipeline.progress import Progress, Silent, Stopwatch
from buildkit.pipeline.results import BuildResult, Model, PlatformImage
from buildkit.recipe import load
from buildkit.run import run, tended
from buildkit.store import Store

if TYPE_CHECKING:
    from buildkit.lock.types import Lock
    from buildkit.model.artifact import Prepared
    from buildkit.pipeline.project import Project
    from buildkit.recipe import Recipe
    from buildkit.records import Descriptor
    from buildkit.run import Runner

RECORD = "application/vnd.edge-buildkit.build.v1+json"
BUILD_KEY = "io.edge-buildkit.build.key"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plan:
    """Everything that decides what a build gives, and the digest of it."""

    recipe: Recipe
    lock: Lock
    lock_digest: str
    project: Project
    builder: str | None

    @property
    def dockerfile(self) -> Path:
        return self.recipe.folder / self.recipe.image.dockerfile

    @property
    def nix_key(self) -> str:
        parts = {"recipe": self.recipe.digest, "lock": self.lock_digest, "code": code_digest()}
        return digests.of_bytes(canonical.dump(parts))

    @property
    def key(self) -> str:
        parts = {
            "nix": self.nix_key,
            "context": context.digest(
                self.recipe.folder / self.recipe.image.context, self.dockerfile
            ),
            "revision": self.project.revision,
            "epoch": self.project.epoch,
            "builder": self.builder,
        }
        return digests.of_bytes(canonical.dump(parts))


def build(
    recipe_file: Path,
    *,
    store: Path | None = None,
    builder: str | None = None,
    progress: Progress | None = None,
    runner: Runner = run,
) -> BuildResult:
    """Build everything that a recipe names, or find that it is built already.

    Args:
        recipe_file: ``recipe.toml``; its lock stands beside it.
        store: folder of the store; ``.buildkit/store`` of the recipe's project when absent.
        builder: a buildx builder of the user's own instead of the pinned engine.
        progress: told what happens.
        runner: starts other programs.

    Raises:
        BuildkitError: see `buildkit.errors`; nothing was published.
    """
    watch = Stopwatch(progress or Silent())
    with watch.stage("check", "reading recipe and lock"):
        plan = _plan(recipe_file, builder, runner)
        # Absolute, because BuildKit and whoever reads the result may stand in another folder.
        home = (store or plan.project.work / "store").absolute()
        key = plan.key
        made = _made(home, key)
    if made is not None:
        return BuildResult.from_record(made, store=home, cached=True, seconds=watch.seconds)
    shelf = Store.create(home)
    with shelf.lease():
        record = _make(plan, shelf, key, watch, runner)
    return BuildResult.from_record(record, store=home, cached=False, seconds=watch.seconds)


def _plan(recipe_file: Path, builder: str | None, runner: Runner) -> _Plan:
    recipe = load(recipe_file)
    lock = codec.load(recipe.lock_file)
    moved = drift.drift(recipe, lock)
    if moved:
        listed = "".join(f"\n  {item.message}" for item in moved)
        msg = f"{recipe.lock_file.name} does not belong to this recipe any more:{listed}"
        raise DriftError(msg, f"python -m buildkit lock {recipe_file}")
    return _Plan(
        recipe=recipe,
        lock=lock,
        lock_digest=codec.digest(lock),
        project=projects.examine(recipe, runner),
        builder=builder,
    )


def _made(home: Path, key: str) -> dict[str, Any] | None:
    """The record of this very build, when all that it names is still in the store."""
    if not (home / "index.json").is_file():
        return None
    store = Store.open(home)
    entry = store.find({BUILD_KEY: key})
    if entry is None:
        return None
    try:
        layer = store.read_json(entry.digest)["layers"][0]
        record: dict[str, Any] = store.read_json(layer["digest"])
        wanted = [record["image"]["digest"], *(model["digest"] for model in record["models"])]
        since = store.path(entry.digest).stat().st_mtime_ns
        return record if all(_whole(store, digest, since) for digest in wanted) else None
    except (DigestError, StoreError):
        # A build writes damaged blobs anew.
        return None


def _whole(store: Store, digest: str, since: int) -> bool:
    """Whether a manifest is right and all that it names is there.

    To hash every layer would cost more than all the rest of a build that has nothing to do: only
    those with other times than the build left are. `show --verify` hashes them all.
    """
    if not store.has(digest):
        return False
    document = store.read_json(digest)
    below = [*document.get("layers", []), *([document["config"]] if "config" in document else [])]
    if any(not _there(store, item, since) for item in below):
        return False
    return all(_whole(store, item["digest"], since) for item in document.get("manifests", []))


def _there(store: Store, item: dict[str, Any], since: int) -> bool:
    path = store.path(item["digest"])
    try:
        state = path.stat()
        if state.st_size != int(item["size"]):
            return False
        return state.st_mtime_ns <= since or digests.of_file(path) == item["digest"]
    except OSError:
        return False


def _make(plan: _Plan, store: Store, key: str, watch: Stopwatch, runner: Runner) -> dict[str, Any]:
    recipe, lock = plan.recipe, plan.lock
    nix = NixStage(recipe, lock, work=plan.project.work, runner=runner, progress=watch.progress)
    with watch.stage("fetch", "bringing inputs"):
        nix.fetch()
    with watch.stage("nix", "layers and model in the sandbox"):
        paths = nix.paths("build", plan.nix_key)
    with watch.stage("model", "checking the model"):
        prepared, model_file = publish.read(
            {name: nix.nix.physical(path) for name, path in paths["model"].items()}, lock
        )
        _hold_to_lock(lock, prepared, nix.nix.physical(paths["model"]["float"]))
        _hold_to_golden(recipe, prepared)
        variants = publish.put(
            store,
            recipe=recipe,
            lock=lock,
            prepared=prepared,
            file=model_file,
            lock_digest=plan.lock_digest,
            epoch=plan.project.epoch,
        )
    with watch.stage("image", "app layers with BuildKit, grafted"):
        layers = {
            platform: {kind: nix.nix.physical(path) for kind, path in kinds.items()}
            for platform, kinds in paths["layers"].items()
        }
        base = assemble.put_base(store, layers)
        with tempfile.TemporaryDirectory(prefix="edge-buildkit-") as scratch:
            built = _app_layers(
                plan,
                store,
                base,
                nix=nix,
                scratch=Path(scratch),
                runner=runner,
                progress=watch.progress,
            )
            image = assemble.put_image(
                store,
                base,
                assemble.normalise(
                    built,
                    base,
                    plan.dockerfile.read_bytes(),
                    packer=paths["packer"],
                    physical=nix.nix.physical,
                    epoch=plan.project.epoch,
                    scratch=Path(scratch),
                    runner=runner,
                ),
                labels=_labels(plan, variants.index.digest),
                epoch=plan.project.epoch,
            )
    with watch.stage("store", "publishing"):
        result = BuildResult(
            recipe={"name": recipe.name, "version": recipe.version, "digest": recipe.digest},
            lock_digest=plan.lock_digest,
            image_digest=image.index.digest,
            platforms=tuple(
                PlatformImage(platform=item.platform, digest=item.digest, size=item.size)
                for item in image.platforms
            ),
            models=tuple(
                Model(
                    target=target,
                    digest=descriptor.digest,
                    file_sha256=digests.hex_of(prepared.digest),
                    size=prepared.size,
                    float_accuracy=prepared.accuracy["float"],
                    quantised_accuracy=prepared.accuracy["quantised"],
                )
                for descriptor, target in variants.models
            ),
            store=store.root,
            cached=False,
            seconds={},
        )
        record = result.reproducible()
        kept: list[tuple[bytes, str] | Descriptor] = [(canonical.dump(record), RECORD)]
        kept += _origin(plan, store, key)
        store.tag(variants.index, f"{recipe.name}-model:{recipe.version}")
        store.tag(image.index, f"{recipe.name}:{recipe.version}")
        # Last, because it is what the next build looks for.
        store.attach(image.index, RECORD, kept, annotations={BUILD_KEY: key})
    return record


def _origin(plan: _Plan, store: Store, key: str) -> list[Descriptor]:
    """Put the lock and the sources, which stay with the result.

    Raises:
        InputError: a source was changed since the build began.
    """
    facts = {
        "revision": plan.project.revision,
        "epoch": plan.project.epoch,
        "code": code_digest(),
        "builder": plan.builder,
    }
    listed, files = sources.put(store, plan.recipe, plan.lock, facts)
    if plan.key != key:
        msg = f"{plan.recipe.folder.name}: a file was changed while it was built"
        raise InputError(msg, "run the build again")
    return [store.put_bytes(codec.dump(plan.lock), sources.LOCK), listed, *files]


def _app_layers(
    plan: _Plan,
    store: Store,
    base: assemble.Base,
    *,
    nix: NixStage,
    scratch: Path,
    runner: Runner,
    progress: Progress,
) -> dict[str, buildx.Built]:
    recipe = plan.recipe
    context.stage(recipe.folder / recipe.image.context, scratch / "context", plan.project.epoch)
    dockerfile = plan.dockerfile.read_bytes()
    (scratch / "Dockerfile").write_bytes(dockerfile)
    below = None
    if context.uses_base(dockerfile):
        below = f"oci-layout://{store.root}@{base.index.digest}"
    chosen = Engines(runner).builder(plan.builder, nix, progress)
    # The library that starts buildx leaves it running on Ctrl-C, with `scratch` in its hands.
    with tended():
        return buildx.build(
            chosen,
            context=scratch / "context",
            dockerfile=scratch / "Dockerfile",
            platforms=recipe.platforms,
            base=below,
            epoch=plan.project.epoch,
            out=scratch / "built",
            say=progress.output,
        )


def _labels(plan: _Plan, model_digest: str) -> dict[str, str]:
    recipe = plan.recipe
    labels = {
        media.TITLE: recipe.name,
        media.DESCRIPTION: recipe.description,
        media.VERSION: recipe.version,
        media.LICENSES: recipe.license,
        media.SOURCE: recipe.source,
        media.REVISION: plan.project.revision,
        media.CREATED: canonical.timestamp(plan.project.epoch),
        media.LOCK_DIGEST: plan.lock_digest,
        media.MODEL_DIGEST: model_digest,
    }
    return {name: value for name, value in labels.items() if value}


def _hold_to_lock(lock: Lock, prepared: Prepared, float_folder: Path) -> None:
    """Refuse a model that is not the one the lock was made with."""
    found = {
        "float model": digests.of_file(float_folder / "model.onnx"),
        "quantised model": prepared.digest,
    }
    recorded = {
        "float model": lock.model.float_sha256,
        "quantised model": lock.model.quantized_sha256,
    }
    for name, digest in found.items():
        if digests.hex_of(digest) != recorded[name]:
            msg = f"the {name} is {digest}, but the lock was made with sha256:{recorded[name]}"
            raise DigestError(
                msg,
                "a training script whose result depends on the machine cannot be locked; "
                "if it was changed on purpose, run `python -m buildkit lock`",
            )


def _hold_to_golden(recipe: Recipe, prepared: Prepared) -> None:
    accuracy = prepared.accuracy
    if accuracy["drop"] > recipe.model.golden.max_drop:
        msg = (
            f"quantisation costs too much accuracy: {accuracy['float']} % → "
            f"{accuracy['quantised']} % on {accuracy['samples']} golden inputs, a drop of "
            f"{accuracy['drop']} points where {recipe.model.golden.max_drop} are allowed; "
            "nothing was published"
        )
        raise AccuracyError(
            msg,
            "calibrate with more data, quantise per channel, or raise model.golden.max_drop",
        )
