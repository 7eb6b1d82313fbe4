"""Two locks: what was moved in them, and what followed from it. Pure."""

from __future__ import annotations

import re
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from buildkit import distributions
from buildkit.why import values
from buildkit.why.types import Cause, Effect

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from buildkit.lock.types import DebianPin, FilePin, Lock, ModelPins, WheelPin
    from buildkit.why.types import Part

    Pins = dict[tuple[str, str], dict[str, list["Facts"]]]
    Facts = dict[str, str]

# Lists of the recipe whose entries are packages: each pins one of this kind.
_ASKED_FOR = {
    "image.debian.packages": "debian",
    "image.python.requirements": "wheel",
    "model.train.requirements": "wheel",
}
# Keys of the recipe that a lock repeats.
_TWICE = {
    "builder": "builder-flake",
    "model.train.seed": "training-seed",
    "model.file.sha256": "model-file",
    "model.artifact.digest": "model-artifact",
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


def causes(a: Lock, b: Lock) -> tuple[Cause, ...]:
    """The entries that moved, in the order of `Cause.order`."""
    found = _packages(a, b)
    merged = any(each.kind == "wheel" and "model" in each.places for each in found)
    found += [
        each
        for each in _model(a.model, b.model, a.recipe, b.recipe)
        if not (merged and each.kind == "onnxruntime")
    ]
    if a.builder != b.builder:
        found.append(_cause("builder-flake", "builder", a.builder, b.builder))
    found += [each for each in _recipe_keys(a, b) if not _follows(each, found)]
    if not any(each.kind == "recipe" for each in found):
        found += _questions(a, b)
    if a.model.commit != b.model.commit and not _files(a.model, b.model):
        found.append(_cause("model-commit", "commit", a.model.commit, b.model.commit))
    return tuple(sorted(found, key=lambda each: each.order))


def effects(a: Lock, b: Lock) -> tuple[Effect, ...]:
    """What the locks say of what was made, and what they say twice, where it differs."""
    found = list(_made(a.model, b.model))
    moved = causes(a, b)
    named = {(each.kind, each.subject) for each in moved}
    found += [
        _effect("same-in-recipe", key.subject, key.before, key.after, "recipe")
        for key in _recipe_keys(a, b)
        if (key.kind, key.subject) not in named
    ]
    if not any(each.kind == "question" for each in moved):
        found += [
            _effect("same-in-lock", f"asked for {each.subject}", each.before, each.after, "recipe")
            for each in _questions(a, b)
        ]
    if a.model.commit != b.model.commit and ("model-commit", "commit") not in named:
        found.append(_effect("same-in-lock", "commit", a.model.commit, b.model.commit, "commit"))
    return tuple(sorted(found, key=lambda each: each.order))


def _cause(kind: str, subject: str, before: str, after: str, *places: str) -> Cause:
    return Cause(kind=kind, subject=subject, before=before, after=after, places=places)


def _effect(kind: str, subject: str, before: str, after: str, part: Part) -> Effect:
    return Effect(kind=kind, subject=subject, before=before, after=after, part=part)


def _packages(a: Lock, b: Lock) -> list[Cause]:
    """One cause for each package and each way it moved, with all places where it did."""
    before, after = _pins(a), _pins(b)
    grouped: dict[tuple[str, str, str, str], list[str]] = {}
    for kind, name in sorted({*before, *after}):
        was, now = before.get((kind, name), {}), after.get((kind, name), {})
        for place in sorted({*was, *now}):
            for left, right in zip_longest(was.get(place, []), now.get(place, [])):
                if left != right:
                    grouped.setdefault((kind, name, *_said(left, right)), []).append(place)
    for (kind, name, old, new), places in grouped.items():
        # The quantiser's version is that of a wheel: one thing, said twice.
        same = (a.model.onnxruntime, b.model.onnxruntime) == (old, new) and old != new
        if kind == "wheel" and name == "onnxruntime" and same:
            places.append("model")
    return [
        _cause(kind, name, old, new, *places) for (kind, name, old, new), places in grouped.items()
    ]


def _pins(lock: Lock) -> Pins:
    """(kind, name) → place → pins; more than one in one place only for several architectures."""
    found: Pins = {}

    def add(kind: str, place: str, pins: Sequence[DebianPin | WheelPin], **more: str) -> None:
        for pin in sorted(pins):
            facts = {name: str(getattr(pin, name)) for name in pin.__dataclass_fields__}
            key = (kind, facts.pop("name"))
            found.setdefault(key, {}).setdefault(place, []).append(facts | more)

    for platform, pins in lock.platforms.items():
        add("debian", platform, pins.debian)
        add("wheel", platform, pins.wheels)
    for arch, host in lock.hosts.items():
        add("seed", f"seed {arch}", [host.seed], seed_nar_sha256=host.seed_nar_sha256)
        add("debian", f"builder {arch}", host.builder_debian)
        add("wheel", f"builder {arch}", host.builder_wheels)
        add("debian", f"engine {arch}", host.engine_debian)
        add("debian", f"tools {arch}", host.tools_debian)
        add("wheel", f"tools {arch}", host.tools_wheels)
    return found


def _said(left: Facts | None, right: Facts | None) -> tuple[str, str]:
    """A pin before and after: by version, else by hash, else by whatever differs."""
    if left is None or right is None:
        return left["version"] if left else "", right["version"] if right else ""
    if left["version"] != right["version"]:
        return left["version"], right["version"]
    if left["sha256"] != right["sha256"]:
        old, new = (f"{pin['version']} sha256:{pin['sha256']}" for pin in (left, right))
        return old, new
    keys = [key for key in sorted({*left, *right}) if left.get(key) != right.get(key)]
    old, new = (" ".join(f"{key} {pin.get(key)}" for key in keys) for pin in (left, right))
    return old, new


def _model(
    a: ModelPins, b: ModelPins, asked_a: Mapping[str, Any], asked_b: Mapping[str, Any]
) -> Iterator[Cause]:
    for path, before, after in _files(a, b):
        role = _role(path, asked_b) or _role(path, asked_a) or "training-input"
        said = [f"sha256:{pin.sha256}" if pin else "" for pin in (before, after)]
        if before and after and before.sha256 == after.sha256:
            said = [f"{pin.size} bytes" for pin in (before, after)]
        yield Cause(
            kind=role,
            subject=path,
            before=said[0],
            after=said[1],
            places=("model",),
            contents=(said[0], said[1]),
        )
    if a.artifact != b.artifact:
        yield _cause("model-artifact", "model", a.artifact, b.artifact, "model")
    if a.seed != b.seed:
        yield _cause("training-seed", "seed", str(a.seed), str(b.seed), "model")
    if a.onnxruntime != b.onnxruntime:
        yield _cause("onnxruntime", "onnxruntime", a.onnxruntime, b.onnxruntime, "model")


def _files(a: ModelPins, b: ModelPins) -> list[tuple[str, FilePin | None, FilePin | None]]:
    before, after = ({pin.path: pin for pin in model.files} for model in (a, b))
    return [
        (path, before.get(path), after.get(path))
        for path in sorted({*before, *after})
        if before.get(path) != after.get(path)
    ]


def _role(path: str, recipe: Mapping[str, Any]) -> str:
    """What a file is for the model, in the words of the recipe."""

    def named(*keys: str) -> Any:
        found: Any = recipe.get("model")
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        return found

    if path == named("train", "script"):
        return "training-script"
    if path == named("file", "path"):
        return "model-file"
    if path == named("calibration", "data"):
        return "calibration-data"
    if path == named("golden", "data"):
        return "golden-data"
    return "training-input" if path in (named("train", "inputs") or ()) else ""


def _recipe_keys(a: Lock, b: Lock) -> list[Cause]:
    """The recipe's keys that moved; of lists of packages, each entry."""
    found = []
    for key, before, after in values.moved(a.recipe, b.recipe):
        lists = values.split(before or [], after or [])
        if lists is None or lists == ([], []):
            found.append(_cause("recipe", key, values.said(before), values.said(after)))
        elif key in _ASKED_FOR:
            old, new = ({_asked(text): text for text in texts} for texts in lists)
            found += [
                _cause("recipe", f"{key} {name}", old.get(name, ""), new.get(name, ""))
                for name in sorted({*old, *new})
            ]
        else:
            gone, come = (", ".join(texts) for texts in lists)
            found.append(_cause("recipe", key, gone, come))
    if a.recipe_name != b.recipe_name and not any(each.subject == "name" for each in found):
        found.append(_cause("recipe", "name", a.recipe_name, b.recipe_name))
    return found


def _asked(requirement: str) -> str:
    match = _NAME.match(requirement)
    return distributions.normal(match[0]) if match else requirement


def _follows(key: Cause, moved: Sequence[Cause]) -> bool:
    """Whether a key of the recipe says again what another entry of the lock says."""
    name, _, package = key.subject.partition(" ")
    if package:
        kind = _ASKED_FOR[name]
        return any(
            each.kind == kind and distributions.normal(each.subject) == package for each in moved
        )
    return any(each.kind == _TWICE.get(name) for each in moved)


def _questions(a: Lock, b: Lock) -> list[Cause]:
    found = []
    for before, after in ((a.hosts, b.hosts), (a.platforms, b.platforms)):
        for name in sorted({*before, *after}):
            old, new = (pins[name].asked if name in pins else "" for pins in (before, after))
            if old != new:
                found.append(_cause("question", name, old, new))
    return found


def _made(a: ModelPins, b: ModelPins) -> Iterator[Effect]:
    if a.float_sha256 != b.float_sha256:
        yield _effect(
            "float-model", "float model", *_hexes(a.float_sha256, b.float_sha256), "float"
        )
    if a.calibration != b.calibration:
        yield _effect("calibration-way", "calibration", a.calibration, b.calibration, "ranges")
    for name in sorted({*a.ranges, *b.ranges}):
        before, after = (range_said(model.ranges.get(name)) for model in (a, b))
        if before != after:
            yield _effect("range", name, before, after, "ranges")
    if a.quantized_sha256 != b.quantized_sha256:
        yield _effect(
            "quantised-model",
            "model.onnx",
            *_hexes(a.quantized_sha256, b.quantized_sha256),
            "quantised",
        )
    if a.golden != b.golden:
        yield _effect("golden", "golden data", _golden_said(a), _golden_said(b), "accuracy")


def _golden_said(model: ModelPins) -> str:
    return ", ".join(f"{name} {model.golden[name]}" for name in sorted(model.golden))


def range_said(ends: tuple[float, float] | None) -> str:
    """A range for people, exactly: ``[-1.5, 2.25]``; empty when there is none."""
    return f"[{ends[0]!r}, {ends[1]!r}]" if ends else ""


def _hexes(before: str, after: str) -> tuple[str, str]:
    old, new = (f"sha256:{text}" if text else "" for text in (before, after))
    return old, new
