"""``build``: from a recipe and its lock to an image index and models in the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from buildkit import canonical, digests, media, scratch
from buildkit.engine import need_root
from buildkit.errors import AccuracyError, DigestError, InputError
from buildkit.evidence import builds, signing
from buildkit.evidence.signer import NOBODY, Who
from buildkit.image import assemble, buildx, context
from buildkit.image.scan import Scanner
from buildkit.model import publish
from buildkit.pipeline import made, runs, sources, statements
from buildkit.pipeline import plan as plans
from buildkit.pipeline import project as projects
from buildkit.pipeline.engines import Engines, sweep_orphans
from buildkit.pipeline.nixstage import NixStage, code_digest
from buildkit.pipeline.progress import Progress, Silent, Stopwatch
from buildkit.pipeline.results import BuildResult, Model, PlatformImage
from buildkit.pipeline.statements import Artifacts, Said, Sight
from buildkit.run import run, tended
from buildkit.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from buildkit.evidence.signer import Signer
    from buildkit.lock.types import Lock
    from buildkit.model.artifact import Prepared
    from buildkit.pipeline.plan import Plan
    from buildkit.recipe import Recipe
    from buildkit.records import Descriptor
    from buildkit.run import Runner


@dataclass(frozen=True, kw_only=True, slots=True)
class Apart:
    """A place where everything is made anew, sharing nothing with earlier builds.

    Attributes:
        work: folder for links and for a Nix store.
        engine: name of an engine of its own.
    """

    work: Path
    engine: str


def build(
    recipe_file: Path,
    *,
    store: Path | None = None,
    builder: str | None = None,
    signer: Who = NOBODY,
    progress: Progress | None = None,
    runner: Runner = run,
) -> BuildResult:
    """Build everything that a recipe names, or find that it is built already.

    Args:
        recipe_file: ``recipe.toml``; its lock stands beside it.
        store: folder of the store; ``.buildkit/store`` of the recipe's project when absent.
        builder: a buildx builder of the user's own instead of the pinned engine.
        signer: who signs what is said about it.
        progress: told what happens.
        runner: starts other programs.

    Raises:
        BuildkitError: see `buildkit.errors`; nothing was published.
    """
    watch = Stopwatch(progress or Silent())
    with watch.stage("check", "reading recipe and lock"):
        projects.sweep(recipe_file)
        plan = plans.plan(recipe_file, builder, runner)
        # Absolute, because BuildKit and whoever reads the result may stand in another folder.
        home = (store or plan.project.work / "store").absolute()
        key = plan.key
        record = made.find(home, plan.recipe, key, signer.spec)
    if record is not None:
        return BuildResult.from_record(record, store=home, cached=True, seconds=watch.seconds)
    # Before the minutes that the stages may take: it may ask for a passphrase, or find no key.
    signs = signer.ready()
    if signs is not None:
        watch.progress.note(f"signed by {signs.name}")
    sweep_orphans(runner)
    if builder is None:
        # Now, and not after the minutes that the Nix stage may take.
        need_root()
    shelf = Store.create(home)
    with shelf.lease():
        notes = {made.BUILD_KEY: key} | ({made.SIGNER: signer.spec} if signs else {})
        record = make(plan, shelf, key, watch=watch, runner=runner, signer=signs, notes=notes)
    return BuildResult.from_record(record, store=home, cached=False, seconds=watch.seconds)


def make(
    plan: Plan,
    store: Store,
    key: str,
    *,
    watch: Stopwatch,
    runner: Runner,
    signer: Signer | None = None,
    notes: Mapping[str, str] | None = None,
    apart: Apart | None = None,
) -> dict[str, Any]:
    """Run every stage.

    Args:
        plan: what to make.
        store: where to publish; the caller holds its lease.
        key: digest of the plan when the build began.
        watch: times the stages.
        runner: starts other programs.
        signer: signs what is said about the artifacts; nobody when absent.
        notes: annotations of the build's record, by which a later build finds it.
        apart: where to make everything anew.

    Returns:
        The reproducible part of the result (`BuildResult.reproducible`).
    """
    nix = NixStage(
        plan.recipe,
        plan.lock,
        work=apart.work if apart else plan.project.work,
        runner=runner,
        progress=watch.progress,
        apart=apart is not None,
    )
    with watch.stage("fetch", "bringing inputs"):
        nix.fetch()
    with watch.stage("nix", "layers and model in the sandbox"):
        paths = nix.paths("build", plan.nix_key)
    with watch.stage("model", "checking the model"):
        prepared, variants = _models(plan, store, nix, paths["model"])
    with watch.stage("engine", "a BuildKit to build with"):
        engines = Engines(runner, apart.engine if apart else None)
        builder = engines.builder(plan.builder, nix, watch.progress)
    with watch.stage("image", "app layers with BuildKit, grafted"):
        base, image = _image(
            plan,
            store,
            nix,
            paths,
            builder=builder,
            labels=_labels(plan, variants.index.digest),
            runner=runner,
            progress=watch.progress,
        )
    with watch.stage("evidence", "SBOMs and provenance"):
        origin = _origin(plan, store, key)
        artifacts = Artifacts(base=base, image=image, variants=variants)
        said = statements.about(
            plan,
            store,
            artifacts,
            origin=origin,
            seen=Sight(
                base=nix.seen(paths), scanner=Scanner(runner, nix.nix.physical(paths["syft"]))
            ),
            closures=paths["builders"],
        )
    with watch.stage("store", "signing and publishing" if signer else "publishing"):
        record = _result(plan, store, artifacts, prepared, said).reproducible()
        publish.attach(store, variants)
        _publish(plan, store, record, said, origin, notes=notes or {}, signer=signer, watch=watch)
    return record


def _publish(
    plan: Plan,
    store: Store,
    record: Mapping[str, Any],
    said: Said,
    origin: sources.Origin,
    *,
    notes: Mapping[str, str],
    signer: Signer | None,
    watch: Stopwatch,
) -> None:
    """Sign, name, and leave the record by which a later build finds all this."""
    artifacts = builds.artifacts(store, record)
    run = runs.statement(record, watch, lock_digest=plan.lock_digest, builder=plan.builder)
    store.attach(
        artifacts[record["image"]["digest"]], media.RUN, [(run.payload(), media.STATEMENT)]
    )
    if signer is not None:
        signing.sign(store, signer, [*said.payloads, run.payload()], artifacts)
    image_name, model_name = made.names(plan.recipe)
    store.tag(artifacts[record["model_index"]], model_name)
    store.tag(artifacts[record["image"]["digest"]], image_name)
    kept: list[tuple[bytes, str] | Descriptor] = [(canonical.dump(record), media.BUILD)]
    kept += [origin.lock, origin.listed, *origin.files]
    kept += [(payload, media.STATEMENT) for payload in said.payloads]
    # Last, because it is what the next build looks for.
    store.attach(artifacts[record["image"]["digest"]], media.BUILD, kept, annotations=notes)


def _models(
    plan: Plan, store: Store, nix: NixStage, paths: Mapping[str, str]
) -> tuple[Prepared, publish.Variants]:
    """Hold the model to its lock and to its golden inputs, then put it."""
    folders = {name: nix.nix.physical(path) for name, path in paths.items()}
    prepared, file = publish.read(folders, plan.lock)
    _hold_to_lock(plan.lock, prepared, folders["float"])
    _hold_to_golden(plan.recipe, prepared)
    variants = publish.put(
        store,
        recipe=plan.recipe,
        lock=plan.lock,
        prepared=prepared,
        file=file,
        golden_file=folders["golden"],
        lock_digest=plan.lock_digest,
        epoch=plan.project.epoch,
    )
    return prepared, variants


def _image(
    plan: Plan,
    store: Store,
    nix: NixStage,
    paths: Mapping[str, Any],
    *,
    builder: buildx.Builder,
    labels: Mapping[str, str],
    runner: Runner,
    progress: Progress,
) -> tuple[assemble.Base, assemble.Image]:
    """Build the app layers and graft them onto the layers that Nix made."""
    layers = {
        platform: {kind: nix.nix.physical(path) for kind, path in kinds.items()}
        for platform, kinds in paths["layers"].items()
    }
    base = assemble.put_base(store, layers)
    dockerfile = plan.dockerfile.read_bytes()
    epoch = plan.project.epoch
    source = plan.recipe.folder / plan.recipe.image.context
    with scratch.folder() as folder:
        # BuildKit takes contexts whose folders have one name for versions of each other, and a
        # file of the same length and time for unchanged: each needs a name of its own.
        staged = folder / folder.name
        context.stage(source, staged, epoch)
        (folder / "Dockerfile").write_bytes(dockerfile)
        below = f"oci-layout://{store.root}@{base.index.digest}"
        # The library that starts buildx leaves it running on Ctrl-C, with `folder` in its hands.
        with tended():
            built = buildx.build(
                builder,
                context=staged,
                dockerfile=folder / "Dockerfile",
                platforms=plan.recipe.platforms,
                base=below if context.uses_base(dockerfile) else None,
                epoch=epoch,
                out=folder / "built",
                say=progress.output,
            )
        app = assemble.normalise(
            built,
            base,
            dockerfile,
            packer=paths["packer"],
            physical=nix.nix.physical,
            epoch=epoch,
            scratch=folder,
            runner=runner,
        )
        return base, assemble.put_image(store, base, app, labels=labels, epoch=epoch)


def _result(
    plan: Plan, store: Store, artifacts: Artifacts, prepared: Prepared, said: Said
) -> BuildResult:
    recipe = plan.recipe
    return BuildResult(
        recipe={"name": recipe.name, "version": recipe.version, "digest": recipe.digest},
        lock_digest=plan.lock_digest,
        image_digest=artifacts.image.index.digest,
        platforms=tuple(
            PlatformImage(platform=item.platform, digest=item.digest, size=item.size)
            for item in artifacts.image.platforms
        ),
        model_index=artifacts.variants.index.digest,
        models=tuple(
            Model(
                target=target,
                digest=descriptor.digest,
                file_sha256=digests.hex_of(prepared.digest),
                size=prepared.size,
                float_accuracy=prepared.accuracy["float"],
                quantised_accuracy=prepared.accuracy["quantised"],
                answers=prepared.accuracy["answers"],
            )
            for descriptor, target in artifacts.variants.models
        ),
        statements=said.listed,
        findings=said.findings,
        store=store.root,
        cached=False,
        seconds={},
    )


def _origin(plan: Plan, store: Store, key: str) -> sources.Origin:
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
    origin = sources.put(store, plan.recipe, plan.lock, facts)
    if plan.key != key:
        msg = f"{plan.recipe.folder.name}: a file was changed while it was built"
        raise InputError(msg, "run the build again")
    return origin


def _labels(plan: Plan, model_digest: str) -> dict[str, str]:
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
