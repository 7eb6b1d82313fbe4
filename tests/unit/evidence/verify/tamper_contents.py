"""SBOMs, provenance and locks that were rightly signed, and are not true."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tamper import Group
from tamper_bytes import ARM

from buildkit import digests, media

if TYPE_CHECKING:
    from collections.abc import Callable

    from signed_world import World

    from buildkit.lock.types import Lock


# SBOMs ------------------------------------------------------------------------------------------

boms = Group("SBOMs, rightly signed")


def _bom(
    kind: str, change: Callable[[Any], Any], *, model: bool = False
) -> Callable[[World], None]:
    """One SBOM changed; its twin in the other format stays."""

    def attack(world: World) -> None:
        digest = world.made.variants["pi5"] if model else world.made.platforms[ARM]
        world.resay(digest, kind, lambda found: change(found["predicate"]))

    return attack


def _both(change: Callable[[Any, str], Any]) -> Callable[[World], None]:
    def attack(world: World) -> None:
        for kind, key in (("cyclonedx", "components"), ("spdx", "packages")):
            world.resay(
                world.made.platforms[ARM],
                kind,
                lambda found, key=key: change(found["predicate"], key),  # type: ignore[misc]
            )

    return attack


def _without(name: str) -> Callable[[Any, str], None]:
    def change(document: Any, key: str) -> None:
        document[key] = [each for each in document[key] if each["name"] != name]

    return change


def _each(key: str, name: str, change: Callable[[Any], Any]) -> Callable[[Any], None]:
    def run(document: Any) -> None:
        for each in document[key]:
            if each["name"] == name:
                change(each)

    return run


for _package in ("libc6", "python3.11-minimal", "numpy"):
    boms.add(
        f"bom-omits-{_package}",
        f"both SBOMs leave out {_package}, which is in the lock",
        "sbom",
        _both(_without(_package)),
    )
    boms.add(
        f"cyclonedx-omits-{_package}",
        f"the CycloneDX leaves out {_package}, the SPDX does not",
        "sbom",
        _bom("cyclonedx", lambda found, name=_package: _without(name)(found, "components")),  # type: ignore[misc]
    )

BOMS: dict[str, tuple[str, str, Callable[[World], None]]] = {
    "spdx-omits": (
        "the SPDX leaves out numpy, the CycloneDX does not",
        "sbom",
        _bom("spdx", lambda found: _without("numpy")(found, "packages")),
    ),
    "model-omits": (
        "a model's SBOM leaves out the training script",
        "sbom",
        _bom("cyclonedx", lambda found: found.update(components=[]), model=True),
    ),
    "model-spdx-omits": (
        "a model's SPDX leaves out the training script",
        "sbom",
        _bom("spdx", lambda found: _without("train.py")(found, "packages"), model=True),
    ),
    "cyclonedx-empty": (
        "a CycloneDX of nothing",
        "sbom",
        _bom("cyclonedx", lambda found: found.update(components=[])),
    ),
    "cyclonedx-version": (
        "a CycloneDX with another version of numpy",
        "sbom",
        _bom("cyclonedx", _each("components", "numpy", lambda each: each.update(version="9.9"))),
    ),
    "cyclonedx-hash": (
        "a CycloneDX with another hash of numpy",
        "sbom",
        _bom(
            "cyclonedx",
            _each("components", "numpy", lambda each: each["hashes"][0].update(content="0" * 64)),
        ),
    ),
    "cyclonedx-purl": (
        "a CycloneDX that calls numpy by another package URL",
        "sbom",
        _bom(
            "cyclonedx",
            _each("components", "numpy", lambda each: each.update(purl="pkg:pypi/evil@2.0")),
        ),
    ),
    "spdx-hash": (
        "an SPDX with another hash of numpy",
        "sbom",
        _bom(
            "spdx",
            _each(
                "packages",
                "numpy",
                lambda each: each["checksums"][0].update(checksumValue="0" * 64),
            ),
        ),
    ),
    "spdx-version": (
        "an SPDX with another version of libc6",
        "sbom",
        _bom("spdx", _each("packages", "libc6", lambda each: each.update(versionInfo="9.9"))),
    ),
    "spdx-more": (
        "a package more in the SPDX than in the CycloneDX",
        "sbom",
        _bom(
            "spdx",
            lambda found: found["packages"].append(
                {
                    "name": "evil",
                    "SPDXID": "SPDXRef-evil",
                    "externalRefs": [
                        {"referenceType": "purl", "referenceLocator": "pkg:pypi/evil@1"}
                    ],
                }
            ),
        ),
    ),
    "cyclonedx-about": (
        "a CycloneDX that describes something else",
        "sbom",
        _bom(
            "cyclonedx",
            lambda found: found["metadata"]["component"]["hashes"][0].update(content="0" * 64),
        ),
    ),
    "spdx-about": (
        "an SPDX that describes something else",
        "sbom",
        _bom(
            "spdx",
            _each(
                "packages", "tiny", lambda each: each["checksums"][0].update(checksumValue="0" * 64)
            ),
        ),
    ),
    "cyclonedx-nothing": (
        "a CycloneDX that describes nothing",
        "predicate",
        _bom("cyclonedx", lambda found: found.pop("metadata") and None),
    ),
    "spdx-two": (
        "an SPDX that describes two things",
        "predicate",
        _bom("spdx", lambda found: found["documentDescribes"].append("SPDXRef-0")),
    ),
    "cyclonedx-old": (
        "a CycloneDX of version 1.3",
        "predicate",
        _bom("cyclonedx", lambda found: found.update(specVersion="1.3")),
    ),
    "spdx-new": (
        "an SPDX of version 3",
        "predicate",
        _bom("spdx", lambda found: found.update(spdxVersion="SPDX-3.0")),
    ),
    "cyclonedx-is-spdx": (
        "an SPDX in the place of a CycloneDX",
        "predicate",
        lambda world: world.resay(
            world.made.platforms[ARM],
            "cyclonedx",
            lambda found: found.update(predicate=world.statement(f"spdx {ARM}").predicate),
        ),
    ),
    "cyclonedx-components-object": (
        "`components` is an object",
        "predicate sbom",
        _bom("cyclonedx", lambda found: found.update(components={})),
    ),
    "cyclonedx-component-text": (
        "a component that is a text",
        "predicate sbom",
        _bom("cyclonedx", lambda found: found["components"].append("numpy")),
    ),
    "spdx-purl-number": (
        "a package URL that is a number",
        "predicate sbom",
        _bom(
            "spdx",
            _each(
                "packages",
                "numpy",
                lambda each: each["externalRefs"][0].update(referenceLocator=1),
            ),
        ),
    ),
    "spdx-two-hashes": (
        "a package with two SHA-256 hashes",
        "predicate",
        _bom(
            "spdx",
            _each("packages", "numpy", lambda each: each["checksums"].append(each["checksums"][0])),
        ),
    ),
    "bom-of-other-platform": (
        "the other platform's SBOM, said to be about this one",
        "sbom",
        lambda world: world.resay(
            world.made.platforms[ARM],
            "cyclonedx",
            lambda found: found.update(
                predicate=world.statement("cyclonedx linux/amd64").predicate
            ),
        ),
    ),
    "bom-two-subjects": (
        "an SBOM that is about both platforms at once",
        "subject",
        lambda world: world.resay(
            world.made.platforms[ARM],
            "spdx",
            lambda found: found["subject"].append(
                {"name": "x", "digest": {"sha256": world.made.platforms["linux/amd64"][7:]}}
            ),
        ),
    ),
    "bom-model-not-file": (
        "a model's SBOM that is not about `model.onnx`",
        "subject",
        lambda world: world.resay(
            world.made.variants["pi5"],
            "spdx",
            lambda found: found.update(subject=found["subject"][:1]),
        ),
    ),
}

for _name, (_what, _reason, _attack) in BOMS.items():
    boms.add(_name, _what, _reason, _attack)


# Provenance -------------------------------------------------------------------------------------

origins = Group("Provenance, rightly signed")


def _origin(change: Callable[[Any], Any]) -> Callable[[World], None]:
    return lambda world: world.resay(
        world.made.image, "provenance", lambda found: change(found["predicate"])
    )


def _definition(change: Callable[[Any], Any]) -> Callable[[World], None]:
    return _origin(lambda found: change(found["buildDefinition"]))


def _materials(change: Callable[[list[Any]], Any]) -> Callable[[World], None]:
    return _definition(lambda found: change(found["resolvedDependencies"]))


def _material(name: str, change: Callable[[Any], Any]) -> Callable[[World], None]:
    def run(found: list[Any]) -> None:
        for each in found:
            if each["name"] == name:
                change(each)

    return _materials(run)


def _no(name: str) -> Callable[[World], None]:
    def change(found: list[Any]) -> None:
        found[:] = [each for each in found if each["name"] != name]

    return _materials(change)


def _recipe(**values: Any) -> Callable[[World], None]:
    return _definition(lambda found: found["externalParameters"]["recipe"].update(values))


ORIGINS: dict[str, tuple[str, str, Callable[[World], None]]] = {
    "build-type": (
        "another build type",
        "predicate",
        _definition(lambda found: found.update(buildType="https://example.org/build")),
    ),
    "empty": ("an empty provenance", "predicate", _origin(lambda found: found.clear())),
    "definition-list": (
        "a build definition that is a list",
        "predicate",
        _origin(lambda found: found.update(buildDefinition=[])),
    ),
    "no-builder": (
        "no builder",
        "predicate",
        _origin(lambda found: found["runDetails"].pop("builder") and None),
    ),
    "builder-number": (
        "a builder whose id is a number",
        "predicate",
        _origin(lambda found: found["runDetails"]["builder"].update(id=1)),
    ),
    "recipe-name": ("another recipe's name", "material", _recipe(name="other")),
    "recipe-version": ("another version of the recipe", "material", _recipe(version="0.9.0")),
    "recipe-digest": (
        "another recipe by its digest",
        "material",
        _recipe(digest="sha256:" + "0" * 64),
    ),
    "recipe-text": (
        "a recipe that is a text",
        "predicate",
        _definition(lambda found: found["externalParameters"].update(recipe="tiny")),
    ),
    "lock-other": (
        "another lock by its digest",
        "material",
        _material("recipe.lock", lambda each: each["digest"].update(sha256="0" * 64)),
    ),
    "lock-none": ("no lock among the dependencies", "predicate", _no("recipe.lock")),
    "lock-two": (
        "two locks among the dependencies",
        "predicate",
        _materials(lambda found: found.append(found[0])),
    ),
    "omits-wheel": ("a wheel of the image left out", "material", _no("numpy")),
    "omits-debian": ("a Debian package of the image left out", "material", _no("libc6")),
    "omits-builder": ("a package of the builder left out", "material", _no("onnx")),
    "omits-engine": ("a package of the engine left out", "material", _no("containerd")),
    "omits-seed": ("what everything starts from left out", "material", _no("busybox-static")),
    "omits-model-file": ("the training script left out", "material", _no("train.py")),
    "omits-all": (
        "no dependencies but the lock",
        "material",
        _materials(lambda found: found.__delitem__(slice(1, None))),
    ),
    "material-digest": (
        "a wheel with another digest",
        "material",
        _material("numpy", lambda each: each["digest"].update(sha256="0" * 64)),
    ),
    "material-uri": (
        "a wheel by another package URL",
        "material",
        _material("numpy", lambda each: each.update(uri="pkg:pypi/evil@2.0")),
    ),
    "material-uses": (
        "a package said to be for the builder alone",
        "material",
        _material("libc6", lambda each: each["annotations"].update(uses=["host amd64 builder"])),
    ),
    "material-more": (
        "a package that the lock does not name",
        "material",
        _materials(
            lambda found: found.append(
                {"name": "evil", "uri": "pkg:pypi/evil@1", "digest": {"sha256": "0" * 64}}
            )
        ),
    ),
    "material-more-source": (
        "a package that the lock does not name, called a source",
        "material",
        _materials(
            lambda found: found.append(
                {
                    "name": "evil",
                    "uri": "pkg:pypi/evil@1",
                    "digest": {"sha256": "0" * 64},
                    "annotations": {"uses": ["source"]},
                }
            )
        ),
    ),
    "material-text": (
        "a dependency that is a text",
        "predicate",
        _materials(lambda found: found.append("x")),
    ),
    "material-digest-list": (
        "a dependency whose digest is a list",
        "predicate",
        _material("numpy", lambda each: each.update(digest=[])),
    ),
    "materials-object": (
        "`resolvedDependencies` is an object",
        "predicate",
        _definition(lambda found: found.update(resolvedDependencies={})),
    ),
    "uses-numbers": (
        "uses that are numbers",
        "predicate",
        _material("numpy", lambda each: each["annotations"].update(uses=[1])),
    ),
}

for _name, (_what, _reason, _attack) in ORIGINS.items():
    origins.add(f"provenance-{_name}", _what, _reason, _attack)


@origins("another recipe's provenance, said to be about this image", "material")
def provenance_of_other(world: World) -> None:
    from signed_world import statements

    other = statements(world.other)["provenance"].predicate
    world.resay(world.made.image, "provenance", lambda found: found.update(predicate=other))


# Locks ------------------------------------------------------------------------------------------

locks = Group("Locks, rightly signed")


def _lock(change: Callable[[Lock], Lock]) -> Callable[[World], None]:
    return lambda world: world.relock(change)


def _asked(lock: Lock, **values: Any) -> Lock:
    from buildkit import canonical

    document = {**lock.recipe, **values}
    return replace(lock, recipe=document, recipe_digest=digests.of_bytes(canonical.dump(document)))


def _bytes(change: Callable[[bytes], bytes]) -> Callable[[World], None]:
    """The lock's own bytes changed; everything else signed as if that were right."""

    def attack(world: World) -> None:
        world.replace(world.made.lock_digest, change(world.read(world.made.lock_digest)))
        world.resign()

    return attack


LOCKS: dict[str, tuple[str, str, Callable[[World], None]]] = {
    "other-model": (
        "a lock that was made with another model",
        "model",
        _lock(lambda lock: replace(lock, model=replace(lock.model, quantized_sha256="0" * 64))),
    ),
    "other-float": (
        "a lock that was made with another float model",
        "model",
        _lock(lambda lock: replace(lock, model=replace(lock.model, float_sha256="0" * 64))),
    ),
    "one-platform": (
        "a lock of one platform, an image of two",
        "model platform",
        _lock(lambda lock: replace(lock, platforms={"linux/amd64": lock.platforms["linux/amd64"]})),
    ),
    "more-platforms": (
        "a lock of three platforms, an image of two",
        "platform",
        _lock(
            lambda lock: replace(
                lock, platforms={**lock.platforms, "linux/riscv64": lock.platforms[ARM]}
            )
        ),
    ),
    "other-name": (
        "a lock of another recipe",
        "name",
        _lock(lambda lock: replace(lock, recipe_name="other")),
    ),
    "other-version": (
        "a lock of another version",
        "name",
        _lock(lambda lock: _asked(lock, version="9.9.9")),
    ),
    "other-targets": (
        "a lock for other devices",
        "model",
        _lock(lambda lock: _asked(lock, targets=["coral"])),
    ),
    "targets-text": (
        "a lock whose targets are a text",
        "model",
        _lock(lambda lock: _asked(lock, targets="pi5")),
    ),
    "edited": (
        "a lock edited by hand",
        "material",
        _bytes(lambda data: data.replace(b"1.0-1", b"1.0-2", 1)),
    ),
    "newer": (
        "a lock of a later version",
        "material",
        _bytes(lambda data: data.replace(b"buildkit/lock/v1", b"buildkit/lock/v9", 1)),
    ),
    "text": ("a lock that is not JSON", "material", _bytes(lambda _: b"lock")),
    "list": ("a lock that is a list", "material", _bytes(lambda _: b"[]")),
    "deep": (
        "a lock of 100 000 nested lists",
        "material",
        _bytes(lambda _: b"[" * 100_000 + b"]" * 100_000),
    ),
    "huge": ("a lock of 17 MB", "too-large", _bytes(lambda data: data + b" " * (17 << 20))),
}

for _name, (_what, _reason, _attack) in LOCKS.items():
    locks.add(f"lock-{_name}", _what, _reason, _attack)


@locks("a lock that names a package more than the SBOMs and the provenance", "material sbom")
def lock_more(world: World) -> None:
    from buildkit.lock import codec

    lock = world.made.lock
    pins = lock.platforms[ARM]
    more = replace(pins.debian[0], name="evil", file="evil.deb")
    changed = replace(
        lock,
        platforms={**lock.platforms, ARM: replace(pins, debian=(*pins.debian, more))},
    )
    world.replace(world.made.lock_digest, codec.dump(changed))
    world.resign()


@locks("an image that names an image as its lock", "material")
def lock_is_image(world: World) -> None:
    _relabel(world, world.other.image)


@locks("an image that names a layer as its lock", "material")
def lock_is_layer(world: World) -> None:
    _relabel(world, world.json(world.other.platforms[ARM])["layers"][0]["digest"])


@locks("an image whose lock is called `../../etc/passwd`", "material name")
def lock_is_path(world: World) -> None:
    _relabel(world, "../../etc/passwd")


@locks("an image whose lock is nowhere", "blob-missing")
def lock_is_nowhere(world: World) -> None:
    _relabel(world, digests.of_bytes(b"nowhere"))


def _relabel(world: World, said: str) -> None:
    """Name another lock in every part."""

    def notes(document: Any) -> None:
        document["annotations"][media.LOCK_DIGEST] = said

    def label(document: Any) -> None:
        document["config"]["Labels"][media.LOCK_DIGEST] = said

    for target in world.made.variants:
        world.remake(world.made.variants[target], notes)
    world.remake(world.made.models, notes)
    for platform in world.made.platforms:
        world.remake(world.json(world.made.platforms[platform])["config"]["digest"], label)
        world.remake(world.made.platforms[platform], notes)
    world.remake(world.made.image, notes)
    from dataclasses import replace as changed

    world.made = changed(world.made, lock_digest=digests.of_bytes(b"") if "/" in said else said)
    world.resign()
