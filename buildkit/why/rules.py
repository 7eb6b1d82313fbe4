"""Which cause can be the reason for which effect: the way of the data, read backwards. Pure.

A rule gives a rank, or nothing. The lowest rank wins: a wheel that moved and lists a differing
file beats the builder that unpacked it.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from buildkit import distributions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from buildkit.why.types import Cause, Effect, Part

    Rule = Callable[[Cause, Effect], int | None]

# Up to here nothing else that moved is likelier to be the reason.
SURE = 2

_MODEL: tuple[Part, ...] = ("float", "ranges", "quantised", "accuracy", "data", "card")
_LAYERS: tuple[Part, ...] = ("debian", "python", "app")

_Reach = dict["Part", int]


def rank(cause: Cause, effect: Effect) -> int | None:
    """How near `cause` is to `effect`; nothing when it cannot be the reason."""
    if effect.kind == "same-in-recipe":
        return _same_in_recipe(cause, effect)
    if effect.kind == "same-in-lock":
        return _same_in_lock(cause, effect)
    if cause.paired:
        return _package(cause, effect)
    if cause.kind == "app-file":
        return _app_file(cause, effect)
    if cause.kind == "recipe":
        return _recipe(cause, effect)
    return _REACH.get(cause.kind, {}).get(effect.part)


def follows(root: Effect, effect: Effect) -> bool:
    """Whether an effect comes of another that nothing explains."""
    return effect.part in _AFTER.get(root.part, ()) and root.kind in _ROOTS


_AFTER: Mapping[Part, tuple[Part, ...]] = {
    "float": ("ranges", "quantised", "accuracy", "card"),
    "ranges": ("quantised", "accuracy"),
    "quantised": ("quantised", "accuracy"),
}
_ROOTS = {"float-model", "range", "calibration-way", "quantised-model"}


def _everywhere(at: int) -> _Reach:
    rest: tuple[Part, ...] = ("config", "identity", "revision", "time", "commit")
    return dict.fromkeys((*_MODEL, *_LAYERS, *rest, "platforms", "targets"), at)


_TRAINING: _Reach = {
    "float": 0, "ranges": 1, "quantised": 1, "card": 1, "accuracy": 1, "data": 1, "commit": 1
}  # fmt: skip

_REACH: Mapping[str, _Reach] = {
    "platform": _everywhere(0),
    "target": {**dict.fromkeys(_MODEL, 1), "targets": 0},
    "seed": dict.fromkeys((*_LAYERS, *_MODEL), 7),
    "builder-flake": {**dict.fromkeys(_MODEL, 3), **dict.fromkeys(_LAYERS, 6)},
    "training-script": _TRAINING,
    "training-input": _TRAINING,
    "training-seed": _TRAINING,
    "model-file": _TRAINING,
    "model-artifact": _TRAINING,
    "calibration-data": {
        "ranges": 0, "quantised": 1, "card": 2, "accuracy": 1, "data": 1, "commit": 2
    },
    "golden-data": {"accuracy": 0, "data": 0, "card": 3, "commit": 3},
    "onnxruntime": {"quantised": 0, "ranges": 1, "card": 1, "accuracy": 1, "float": 3},
    "question": dict.fromkeys(_LAYERS, 7),
    "model-commit": {"commit": 0},
    "dockerfile": {"config": 0, "app": 2},
    "revision": {"revision": 0},
    "epoch": {"time": 0},
    "code": _everywhere(8),
    "builder": {"app": 5, "config": 5},
}  # fmt: skip

# By the beginning of the key, the longest first.
_KEYS: Mapping[str, _Reach] = {
    "name": {"identity": 0},
    "version": {"identity": 0},
    "description": {"identity": 0},
    "license": {"identity": 0},
    "source": {"identity": 0},
    "platforms": {"platforms": 0},
    "targets": {"targets": 0},
    "source_date_epoch": {"time": 0},
    "builder": dict.fromkeys((*_LAYERS, *_MODEL), 6),
    "image.prune": {"debian": 3, "python": 3, "app": 6},
    "image.debian": {"debian": 5, "app": 6},
    "image.python": {"python": 5, "app": 6},
    "image.dockerfile": {"app": 3, "config": 1},
    "image.context": {"app": 3, "config": 3},
    "model.task": {"card": 0},
    "model.license": {"card": 0, "identity": 0},
    "model.prepare": {"ranges": 1, "quantised": 0, "accuracy": 1, "card": 1, "float": 4},
    "model.calibration": {"ranges": 0, "quantised": 1, "accuracy": 1, "card": 1},
    "model.golden": {"accuracy": 0, "data": 1, "card": 3},
    # Said about the model in its SBOM, and nothing else.
    "model.considerations": {},
    "model": _TRAINING,
}


def _recipe(cause: Cause, effect: Effect) -> int | None:
    key = cause.subject.partition(" ")[0]
    near = [name for name in _KEYS if key == name or key.startswith(f"{name}.")]
    return _KEYS[max(near, key=len)].get(effect.part) if near else None


def _package(cause: Cause, effect: Effect) -> int | None:
    """A Debian package or a wheel, by where it moved."""
    own = "debian" if cause.kind == "debian" else "python"
    ranks = []
    for place in cause.places:
        where, _, _ = place.partition(" ")
        if where.startswith("linux/"):
            ranks.append(_inside(cause, effect, own, place))
        elif where == "model":
            ranks.append(_REACH["onnxruntime"].get(effect.part))
        else:
            ranks.append(_TOOLS.get(where, {}).get(effect.part))
    return min((each for each in ranks if each is not None), default=None)


# What made something, and is not in it.
_TOOLS: Mapping[str, _Reach] = {
    "builder": {**dict.fromkeys(_MODEL, 3), **dict.fromkeys(_LAYERS, 6)},
    "engine": {"app": 5, "config": 5},
    "tools": {"app": 6, "config": 6},
}


def _inside(cause: Cause, effect: Effect, own: str, platform: str) -> int | None:
    """A package that is in a layer of one platform."""
    if effect.platforms and platform not in effect.platforms:
        return None
    if effect.part == "app":  # an earlier stage of the Dockerfile may have used it
        return 6
    if effect.part != own:
        return None
    owners = {distributions.normal(name) for name in effect.owners}
    if distributions.normal(cause.subject) in owners:
        return 0
    # A file that no package lists: a link, a folder, or what a script would have made.
    return None if owners else 4


def _app_file(cause: Cause, effect: Effect) -> int | None:
    if effect.part != "app":
        return None
    pairs = list(zip(cause.contents, effect.contents, strict=True))
    if any(left for left, _ in pairs) and all(left == right for left, right in pairs):
        return 0
    if posixpath.basename(cause.subject) == posixpath.basename(effect.subject):
        return 1
    return 3


def _same_in_recipe(cause: Cause, effect: Effect) -> int | None:
    name, _, package = effect.subject.partition(" ")
    if package:
        kind = "debian" if name.startswith("image.debian") else "wheel"
        return 0 if (cause.kind, distributions.normal(cause.subject)) == (kind, package) else None
    kinds = {
        "builder": "builder-flake",
        "model.train.seed": "training-seed",
        "model.file.sha256": "model-file",
        "model.artifact.digest": "model-artifact",
    }
    return 0 if cause.kind == kinds.get(name) else None


def _same_in_lock(cause: Cause, effect: Effect) -> int | None:
    if effect.part == "commit":
        return _REACH.get(cause.kind, {}).get("commit")
    return 5 if cause.kind == "recipe" else None
