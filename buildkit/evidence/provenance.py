"""SLSA provenance v1: what was built, from exactly what, by which builder. Pure.

Source: SLSA v1.0, provenance.md and its schema; `BUILD_TYPE` is described in
``docs/provenance.md``. The same build gives the same bytes on every machine: nothing in here knows
when, where or by whom. That stands in a second record (`buildkit.evidence.run`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from buildkit import canonical, digests
from buildkit.errors import EvidenceError
from buildkit.evidence.reasons import Reason
from buildkit.evidence.sbom.component import debian_purl, wheel_purl

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from buildkit.lock.types import DebianPin, Lock, WheelPin

BUILD_TYPE = "urn:edge-buildkit:build-type:recipe:v1"
PINNED_BUILDER = "urn:edge-buildkit:builder:pinned:v1"
# A buildx builder that the user brought; what it is made of, nobody but them knows.
NAMED_BUILDER = "urn:edge-buildkit:builder:named:"
LOCK = "recipe.lock"
_STORE_HASH = 32


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Material:
    """Something that went into a build.

    Attributes:
        name: package, distribution, or path relative to the recipe's folder.
        uri: a package URL, or a source location; empty for a file.
        digest: ``sha256:<hex>``; empty where `commit` is known instead.
        uses: what it was for, sorted: ``platform linux/arm64 debian``, ``host amd64 engine``.
        commit: of a git repository.
    """

    name: str
    uri: str = ""
    digest: str = ""
    uses: tuple[str, ...] = ()
    commit: str = ""

    def to_json(self) -> dict[str, Any]:
        """The in-toto ResourceDescriptor."""
        document: dict[str, Any] = {"name": self.name, "digest": {}}
        if self.uri:
            document["uri"] = self.uri
        if self.digest:
            document["digest"]["sha256"] = digests.hex_of(self.digest)
        if self.commit:
            document["digest"]["gitCommit"] = self.commit
        if self.uses:
            document["annotations"] = {"uses": list(self.uses)}
        return document


@dataclass(frozen=True, kw_only=True, slots=True)
class Byproduct:
    """Something that a build leaves beside its artifacts, by digest."""

    name: str
    digest: str
    media_type: str
    annotations: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The in-toto ResourceDescriptor."""
        document: dict[str, Any] = {
            "name": self.name,
            "digest": {"sha256": digests.hex_of(self.digest)},
            "mediaType": self.media_type,
        }
        return document | ({"annotations": dict(self.annotations)} if self.annotations else {})


@dataclass(frozen=True, kw_only=True, slots=True)
class Build:
    """What `predicate` says of a build.

    Attributes:
        recipe: name, version and digest.
        lock: all inputs.
        lock_digest: of the lock.
        sources: path relative to the recipe's folder → digest, of what stands beside the recipe.
        repository: where the sources come from, as the recipe says; may be empty.
        revision: commit, with ``-dirty`` where files differ from it; may be empty.
        epoch: seconds since 1970 for every timestamp.
        code: digest of our own code that made layers and model.
        builder: name of the user's own buildx builder; empty for the pinned engine.
        closures: build host architecture → part (``builder``, ``engine``…) → Nix store path.
        byproducts: what is left beside the artifacts.
    """

    recipe: Mapping[str, str]
    lock: Lock
    lock_digest: str
    sources: Mapping[str, str]
    repository: str
    revision: str
    epoch: int
    code: str
    builder: str
    closures: Mapping[str, Mapping[str, str]]
    byproducts: Sequence[Byproduct]


def predicate(build: Build) -> dict[str, Any]:
    """The predicate of `kinds.PROVENANCE`."""
    lock = build.lock
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "recipe": {**build.recipe, "document": lock.recipe},
                "revision": build.revision,
            },
            "internalParameters": {"epoch": build.epoch, "code": build.code},
            "resolvedDependencies": [each.to_json() for each in _dependencies(build)],
        },
        "runDetails": {
            "builder": {
                "id": NAMED_BUILDER + build.builder if build.builder else PINNED_BUILDER,
                "builderDependencies": [
                    _closure(f"{part} {host}", path)
                    for host, parts in sorted(build.closures.items())
                    for part, path in sorted(parts.items())
                ],
            },
            "byproducts": [
                *(each.to_json() for each in build.byproducts),
                *([_ranges(lock).to_json()] if lock.model.ranges else []),
            ],
        },
    }


def materials(lock: Lock) -> tuple[Material, ...]:
    """Every entry of a lock, each file once with all its uses, sorted."""
    found: dict[tuple[str, str, str], set[str]] = {}
    for name, uri, sha256, use in _entries(lock):
        found.setdefault((name, uri, f"sha256:{sha256}"), set()).add(use)
    return tuple(
        sorted(
            Material(name=name, uri=uri, digest=digest, uses=tuple(sorted(uses)))
            for (name, uri, digest), uses in found.items()
        )
    )


def _dependencies(build: Build) -> Iterator[Material]:
    yield Material(name=LOCK, digest=build.lock_digest, uses=("lock",))
    if build.repository or build.revision:
        commit = build.revision if not build.revision.endswith("-dirty") else ""
        uri = f"git+{build.repository}" if build.repository else "git:"
        if commit or build.repository:
            yield Material(name="source", uri=uri, commit=commit, uses=("source",))
    pinned = {pin.path for pin in build.lock.model.files}
    for path, digest in sorted(build.sources.items()):
        if path not in pinned:
            yield Material(name=path, digest=digest, uses=("source",))
    yield from materials(build.lock)


def _entries(lock: Lock) -> Iterator[tuple[str, str, str, str]]:
    """(name, uri, hex digits, use) of every pin."""
    for host, pins in lock.hosts.items():
        yield from _debian((pins.seed,), f"host {host} seed")
        yield from _debian(pins.builder_debian, f"host {host} builder")
        yield from _wheels(pins.builder_wheels, f"host {host} builder")
        yield from _debian(pins.engine_debian, f"host {host} engine")
        yield from _debian(pins.tools_debian, f"host {host} tools")
        yield from _wheels(pins.tools_wheels, f"host {host} tools")
    for platform, runtime in lock.platforms.items():
        yield from _debian(runtime.debian, f"platform {platform}")
        yield from _wheels(runtime.wheels, f"platform {platform}")
    for file in lock.model.files:
        yield file.path, "", file.sha256, "model"
    if lock.model.artifact:
        yield "model artifact", "", digests.hex_of(lock.model.artifact), "model"


def _debian(pins: Sequence[DebianPin], use: str) -> Iterator[tuple[str, str, str, str]]:
    for pin in pins:
        yield pin.name, debian_purl(pin), pin.sha256, use


def _wheels(pins: Sequence[WheelPin], use: str) -> Iterator[tuple[str, str, str, str]]:
    for pin in pins:
        yield pin.name, wheel_purl(pin), pin.sha256, use


def _closure(name: str, path: str) -> dict[str, Any]:
    """A Nix store path: its name begins with a hash over all that it was made from."""
    store_name = path.rpartition("/")[2]
    return {
        "name": name,
        "uri": f"nix:{path}",
        "digest": {"nixStorePath": store_name[:_STORE_HASH]},
    }


def _ranges(lock: Lock) -> Byproduct:
    return Byproduct(
        name="calibration-ranges",
        digest=digests.of_bytes(canonical.dump(lock.model.ranges)),
        media_type="application/json",
        annotations={"way": lock.model.calibration, "tensors": len(lock.model.ranges)},
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """What a provenance predicate says, as far as a verifier asks.

    Attributes:
        recipe: name, version and digest.
        lock_digest: of the lock.
        builder: `PINNED_BUILDER`, or `NAMED_BUILDER` with a name.
        materials: all resolved dependencies, as they stand there.
    """

    recipe: Mapping[str, str]
    lock_digest: str
    builder: str
    materials: tuple[Material, ...]


def read(document: Mapping[str, Any], what: str) -> Provenance:
    """Read a predicate that somebody signed.

    Args:
        document: the predicate.
        what: for the message.

    Raises:
        EvidenceError: of another build type, or it does not hold together.
    """
    definition = _object(document.get("buildDefinition"), f"{what}: buildDefinition")
    if definition.get("buildType") != BUILD_TYPE:
        raise _refused(what, f"build type {definition.get('buildType')!r}, not {BUILD_TYPE}")
    external = _object(definition.get("externalParameters"), f"{what}: externalParameters")
    recipe = _object(external.get("recipe"), f"{what}: recipe")
    details = _object(document.get("runDetails"), f"{what}: runDetails")
    builder = _object(details.get("builder"), f"{what}: builder")
    listed = definition.get("resolvedDependencies")
    if not isinstance(listed, list):
        raise _refused(what, "`resolvedDependencies` is not a list")
    found = tuple(_material(each, f"{what}: {at}") for at, each in enumerate(listed))
    locks = [each.digest for each in found if each.name == LOCK and each.uses == ("lock",)]
    if len(locks) != 1:
        raise _refused(what, f"{len(locks)} locks among the dependencies, not one")
    return Provenance(
        recipe={key: _text(recipe.get(key), what) for key in ("name", "version", "digest")},
        lock_digest=locks[0],
        builder=_text(builder.get("id"), f"{what}: builder.id"),
        materials=found,
    )


def _material(value: Any, where: str) -> Material:
    entry = _object(value, where)
    digest = _object(entry.get("digest", {}), f"{where}.digest")
    notes = _object(entry.get("annotations", {}), f"{where}.annotations")
    uses = notes.get("uses", [])
    if not isinstance(uses, list):
        raise _refused(where, "`uses` is not a list")
    sha256 = _text(digest.get("sha256", ""), where)
    return Material(
        name=_text(entry.get("name"), where),
        uri=_text(entry.get("uri", ""), where),
        digest=f"sha256:{sha256}" if sha256 else "",
        uses=tuple(_text(each, where) for each in uses),
        commit=_text(digest.get("gitCommit", ""), where),
    )


def _object(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _refused(where, "not an object")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise _refused(where, "not a text")
    return value


def _refused(where: str, why: str) -> EvidenceError:
    return EvidenceError(Reason.PREDICATE, f"{where}: {why}")
