"""Where recipe and lock no longer agree, and what a new lock changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from buildkit import canonical, digests
from buildkit.lock import files, question
from buildkit.lock.resolve import hosts
from buildkit.recipe.types import ArtifactSource, TrainSource

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from buildkit.lock.types import DebianPin, FilePin, Lock, WheelPin
    from buildkit.recipe.types import Recipe

    Pin = DebianPin | WheelPin

Kind = Literal["recipe", "platform", "packages", "builder", "file", "model"]

_LOCK = "run `lock`, then commit the lock"


@dataclass(frozen=True, kw_only=True, slots=True)
class Drift:
    """One thing in which recipe and lock differ.

    Attributes:
        kind: what it is about.
        subject: which one: a platform, a file, a key of the recipe.
        message: what differs, one sentence.
        remedy: what to type.
    """

    kind: Kind
    subject: str
    message: str
    remedy: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One pin that a new lock adds, removes or moves.

    Attributes:
        section: ``platform linux/arm64``, ``host amd64``, ``model``.
        name: package, file or key.
        before: version, or empty when it is new.
        after: version now, or empty when it is gone. Two files of one version differ in their hash,
            which then stands behind the version.
    """

    section: str
    name: str
    before: str
    after: str

    @property
    def kind(self) -> Literal["added", "removed", "moved"]:
        """What happened to the pin."""
        if not self.before:
            return "added"
        return "moved" if self.after else "removed"


def drift(recipe: Recipe, lock: Lock) -> tuple[Drift, ...]:
    """All differences, the coarse ones first; empty when recipe and lock agree.

    Hashes the files beside the recipe; asks nobody.
    """
    return (
        *_recipe(recipe, lock),
        *_platforms(recipe, lock),
        *_builder(recipe, lock),
        *_model(recipe, lock),
        *_files(recipe, lock),
    )


def _recipe(recipe: Recipe, lock: Lock) -> Iterator[Drift]:
    if lock.recipe_name != recipe.name:
        message = f"the lock is of the recipe {lock.recipe_name}, not of {recipe.name}"
        yield Drift(kind="recipe", subject="name", message=message, remedy=_LOCK)
    if lock.recipe_digest != recipe.digest:
        keys = ", ".join(_moved_keys(lock.recipe, recipe.document)) or "its meaning"
        message = f"the recipe was changed after the lock was made: {keys}"
        yield Drift(kind="recipe", subject=recipe.file.name, message=message, remedy=_LOCK)


def _moved_keys(before: Mapping[str, Any], after: Mapping[str, Any], at: str = "") -> list[str]:
    """Dotted keys that differ between two recipes."""
    moved = []
    for key in sorted({*before, *after}):
        left, right = before.get(key), after.get(key)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            moved += _moved_keys(left, right, f"{at}{key}.")
        elif canonical.dump(left) != canonical.dump(right):
            moved.append(at + key)
    return moved


def _platforms(recipe: Recipe, lock: Lock) -> Iterator[Drift]:
    asked = question.of_platform(recipe)
    for name in sorted({*recipe.platforms, *lock.platforms}):
        if name not in lock.platforms:
            message = f"{name} is in the recipe but not in the lock"
        elif name not in recipe.platforms:
            message = f"{name} is in the lock but not in the recipe"
        else:
            if lock.platforms[name].asked != asked:
                yield Drift(
                    kind="packages",
                    subject=name,
                    message=f"the recipe asks for other packages on {name} than the lock pins",
                    remedy=_LOCK,
                )
            continue
        yield Drift(kind="platform", subject=name, message=message, remedy=_LOCK)


def _builder(recipe: Recipe, lock: Lock) -> Iterator[Drift]:
    asked = question.of_host(recipe)
    for arch in hosts.ARCHITECTURES:
        pins = lock.hosts.get(arch)
        if pins is None or pins.asked != asked:
            yield Drift(
                kind="builder",
                subject=arch,
                message=f"build hosts of type {arch} need other packages than the lock pins",
                remedy=_LOCK,
            )


def _model(recipe: Recipe, lock: Lock) -> Iterator[Drift]:
    source = recipe.model.source
    seed = source.seed if isinstance(source, TrainSource) else 0
    if seed != lock.model.seed:
        message = f"the training seed is {seed} in the recipe and {lock.model.seed} in the lock"
        yield Drift(kind="model", subject="model.source.seed", message=message, remedy=_LOCK)
    artifact = source.digest if isinstance(source, ArtifactSource) else ""
    if artifact != lock.model.artifact:
        message = (
            f"the source artifact is {artifact or 'none'} in the recipe "
            f"and {lock.model.artifact or 'none'} in the lock"
        )
        yield Drift(kind="model", subject="model.source.digest", message=message, remedy=_LOCK)


def _files(recipe: Recipe, lock: Lock) -> Iterator[Drift]:
    pinned = {pin.path: pin for pin in lock.model.files}
    named = files.recipe_files(recipe)
    for path in sorted({*named, *pinned}):
        if path not in pinned:
            message, remedy = "is in the recipe but not in the lock", _LOCK
        elif path not in named:
            message, remedy = "is in the lock but not in the recipe", _LOCK
        else:
            message, remedy = _file(recipe, pinned[path])
        if message:
            yield Drift(kind="file", subject=path, message=f"{path} {message}", remedy=remedy)


def _file(recipe: Recipe, pin: FilePin) -> tuple[str, str]:
    back = f"run `lock` if that is meant, else `git checkout -- {pin.path}`"
    try:
        file = recipe.folder / pin.path
        same = file.stat().st_size == pin.size
        if same and digests.hex_of(digests.of_file(file)) == pin.sha256:
            return "", ""
    except OSError as error:
        return f"cannot be read: {error.strerror}", back
    return "was changed after the lock was made", back


def changes(old: Lock | None, new: Lock) -> tuple[Change, ...]:
    """What `new` adds, removes and moves, in the order of sections and names."""
    before = _sections(old) if old else {}
    after = _sections(new)
    found = []
    for section in sorted({*before, *after}):
        was, now = before.get(section, {}), after.get(section, {})
        for name in sorted({*was, *now}):
            if was.get(name) != now.get(name):
                left, right = was.get(name, ("", "")), now.get(name, ("", ""))
                twin = left[0] == right[0]
                found.append(
                    Change(
                        section=section,
                        name=name,
                        before=_said(left, with_hash=twin),
                        after=_said(right, with_hash=twin),
                    )
                )
    return tuple(found)


def _said(value: tuple[str, str], *, with_hash: bool) -> str:
    version, sha256 = value
    return f"{version} {sha256[:12]}".strip() if with_hash else version


def _sections(lock: Lock) -> dict[str, dict[str, tuple[str, str]]]:
    """Section → name → (version, hash)."""
    sections = {}
    for arch, host in lock.hosts.items():
        sections[f"host {arch}"] = {
            **_pins("seed", (host.seed,)),
            **_pins("builder", host.builder_debian),
            **_pins("builder", host.builder_wheels),
            **_pins("engine", host.engine_debian),
            **_pins("tools", host.tools_debian),
            **_pins("tools", host.tools_wheels),
        }
    for name, platform in lock.platforms.items():
        sections[f"platform {name}"] = {
            **_pins("debian", platform.debian),
            **_pins("python", platform.wheels),
        }
    if lock.builder:
        sections["builder"] = {"flake": (lock.builder, "")}
    sections["model"] = _model_pins(lock)
    return sections


def _pins(group: str, pins: Sequence[Pin]) -> Mapping[str, tuple[str, str]]:
    return {f"{group}/{pin.name}": (pin.version, pin.sha256) for pin in pins}


def _model_pins(lock: Lock) -> dict[str, tuple[str, str]]:
    model = lock.model
    ranges = "".join(f"{name}={model.ranges[name]};" for name in sorted(model.ranges)).encode()
    said = {
        "artifact": model.artifact,
        "onnxruntime": model.onnxruntime,
        "training seed": str(model.seed),
        "float model": model.float_sha256[:12],
        "quantised model": model.quantized_sha256[:12],
        "calibration": model.calibration,
        "golden data": ", ".join(f"{name} {model.golden[name]}" for name in sorted(model.golden)),
        "calibration ranges": digests.hex_of(digests.of_bytes(ranges))[:12] if ranges else "",
        **{pin.path: pin.sha256[:12] for pin in model.files},
    }
    return {name: (value, "") for name, value in said.items() if value}
