"""What `why` speaks in: causes, effects, and the explanation that ties them together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

SCHEMA = "buildkit/why/v1"

# Shortest true explanation first: what a person changed, before what followed from it.
CAUSES = (
    "platform",
    "target",
    "debian",
    "wheel",
    "seed",
    "builder-flake",
    "training-script",
    "training-input",
    "model-file",
    "model-artifact",
    "calibration-data",
    "golden-data",
    "training-seed",
    "onnxruntime",
    "recipe",
    "question",
    "model-commit",
    "dockerfile",
    "app-file",
    "source-file",
    "revision",
    "epoch",
    "code",
    "builder",
)
OF_LOCK = frozenset(CAUSES[CAUSES.index("debian") : CAUSES.index("dockerfile")])

# Outside in, as one would look for it by hand.
EFFECTS = (
    "same-in-recipe",
    "same-in-lock",
    "part",
    "float-model",
    "calibration-way",
    "range",
    "quantised-model",
    "golden",
    "layer",
    "file",
    "time",
    "order",
    "packing",
    "more",
    "image-config",
    "graph",
    "node",
    "initialiser",
    "metadata",
    "model-card",
    "model-config",
    "annotation",
    "bytes",
)

_IN_LAYER = range(EFFECTS.index("layer"), EFFECTS.index("more") + 1)

# What of an artifact an effect stands in; `rules` says which cause reaches which.
Part = Literal[
    "lock",  # the digest of the lock, which is a label
    "model",  # the digest of the model, which is a label of the image
    "identity",  # name, version, description, licence
    "revision",
    "time",
    "commit",
    "platforms",
    "targets",
    "debian",
    "python",
    "app",
    "config",
    "float",
    "ranges",
    "quantised",
    "accuracy",
    "data",
    "card",
    "recipe",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Cause:
    """Something of the inputs that moved.

    Attributes:
        kind: one of `CAUSES`.
        subject: which one: a package, a path, a key of the recipe.
        before: what it was; empty when it is new.
        after: what it is; empty when it is gone.
        places: where it counts: ``linux/arm64``, ``builder amd64``, ``engine amd64``, ``model``.
        contents: digests of a file's content, before and after.
    """

    kind: str
    subject: str
    before: str
    after: str
    places: tuple[str, ...] = ()
    contents: tuple[str, str] = ("", "")

    @property
    def order(self) -> tuple[int, bool, str, str, str, tuple[str, ...]]:
        """The same whichever of two artifacts is named first."""
        # What goes into the artifact itself before what only made it.
        inside = any(place.startswith("linux/") for place in self.places)
        low, high = sorted((self.before, self.after))
        return (CAUSES.index(self.kind), not inside, self.subject, low, high, self.places)

    @property
    def paired(self) -> bool:
        """Whether it is a package, of which there are many, and only some of a kind move."""
        return self.kind in {"debian", "wheel"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect:
    """Something of the artifacts that differs.

    Attributes:
        kind: one of `EFFECTS`.
        subject: which one: a path, a tensor, a key.
        before: what it was; empty when it is new.
        after: what it is; empty when it is gone.
        where: the layer, or the like, that it is in.
        part: what of the artifact that is.
        platforms: the platforms that it counts for; none when that says nothing.
        owners: packages that bring this file, as the layer itself says.
        contents: digests of a file's content, before and after.
        detail: how they differ, the same in both directions.
    """

    kind: str
    subject: str
    before: str
    after: str
    part: Part
    where: str = ""
    detail: str = ""
    platforms: tuple[str, ...] = ()
    owners: frozenset[str] = frozenset()
    contents: tuple[str, str] = ("", "")

    @property
    def order(self) -> tuple[int, str, int, str, str, str]:
        """The same whichever of two artifacts is named first; a layer before what is in it."""
        low, high = sorted((self.before, self.after))
        kind = EFFECTS.index(self.kind)
        group = _IN_LAYER.start if kind in _IN_LAYER else kind
        return (group, self.where, kind, self.subject, low, high)


@dataclass(frozen=True, kw_only=True, slots=True)
class Consequence:
    """An effect that a cause explains; `sure` when nothing else that moved could be the reason."""

    effect: Effect
    sure: bool

    def to_json(self) -> dict[str, Any]:
        """As the documented object has it."""
        return {**_effect(self.effect), "sure": self.sure}


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """A cause with what it explains, or an effect that nothing explains, with what follows it."""

    what: Cause | Effect
    explains: tuple[Consequence, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As the documented object has it."""
        found = _cause(self.what) if isinstance(self.what, Cause) else _effect(self.what)
        return {**found, "explains": [each.to_json() for each in self.explains]}


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """Why two things differ.

    Attributes:
        a: what was compared: name or path, and digest.
        b: the same of the other.
        identical: whether their digests are equal.
        causes: the first one is the shortest true explanation.
        unexplained: differences that nothing in locks or sources explains.
        unrelated: what moved as well, but explains no difference of these two.
        notes: what could not be looked at, for people.
    """

    a: dict[str, str]
    b: dict[str, str]
    identical: bool
    causes: tuple[Reason, ...] = ()
    unexplained: tuple[Reason, ...] = ()
    unrelated: tuple[Cause, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """The documented object (``buildkit/why/v1``)."""
        return {
            "schema": SCHEMA,
            "a": self.a,
            "b": self.b,
            "identical": self.identical,
            "causes": [each.to_json() for each in self.causes],
            "unexplained": [each.to_json() for each in self.unexplained],
            "unrelated": [_cause(each) for each in self.unrelated],
            "notes": list(self.notes),
        }


def _cause(cause: Cause) -> dict[str, Any]:
    return {**_plain(cause), "places": list(cause.places)}


def _effect(effect: Effect) -> dict[str, Any]:
    return {**_plain(effect), "where": effect.where, "detail": effect.detail}


def _plain(what: Cause | Effect) -> dict[str, Any]:
    return {
        "kind": what.kind,
        "subject": what.subject,
        "before": what.before,
        "after": what.after,
    }
