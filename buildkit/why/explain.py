"""Causes and effects, tied together: the shortest true explanation first. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from buildkit.why import rules
from buildkit.why.types import OF_LOCK, Cause, Consequence, Effect, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Labels that are digests of everything else: every entry of a lock moves them.
_SUMS = {"lock", "model"}
# Reasons for "the model's digest is another one" besides the lock's own digest in it.
_IN_MODEL = {"float", "ranges", "quantised", "accuracy", "data", "card", "commit", "identity",
             "targets", "time"}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Reasons, what has none, and what moved to no effect."""

    causes: tuple[Reason, ...]
    unexplained: tuple[Reason, ...]
    unrelated: tuple[Cause, ...]


def explain(causes: Iterable[Cause], effects: Iterable[Effect], *, keep: bool = False) -> Verdict:
    """Give each effect to the cause that is nearest to it.

    Args:
        causes: what moved in locks and sources.
        effects: what differs in what was made.
        keep: let sources that explain nothing be causes too, for when nothing was made.
    """
    ordered = sorted(causes, key=lambda each: each.order)
    found: dict[int, list[Consequence]] = {number: [] for number in range(len(ordered))}
    roots: list[tuple[Effect, list[Consequence]]] = []
    sums, wholes = [], []
    every = sorted(_unique(effects), key=lambda each: each.order)
    inside = {each.where for each in every if each.kind != "layer"}
    for effect in every:
        if effect.part in _SUMS:
            sums.append(effect)
            continue
        if effect.kind == "layer" and effect.where in inside:
            wholes.append(effect)
            continue
        number, sure = _cause_of(effect, ordered)
        if number is not None:
            found[number].append(Consequence(effect=effect, sure=sure))
            continue
        root = next((below for top, below in roots if rules.follows(top, effect)), None)
        if root is None:
            roots.append((effect, []))
        else:
            root.append(Consequence(effect=effect, sure=False))
    for effect in wholes:
        for below in (*found.values(), *(below for _, below in roots)):
            _add_whole(effect, below)
        roots = [
            (top, [*below, Consequence(effect=effect, sure=True)])
            if top.where == effect.where
            else (top, below)
            for top, below in roots
        ]
    order = sorted(found, key=lambda number: not any(map(_counts, found[number])))
    for effect in sums:
        first = _of_sum(effect, [(ordered[number], found[number]) for number in order])
        if first is None:
            roots.append((effect, []))
        else:
            found[order[first]].append(Consequence(effect=effect, sure=True))
    used = [number for number in order if keep or found[number] or ordered[number].kind in OF_LOCK]
    return Verdict(
        causes=tuple(
            Reason(what=ordered[number], explains=_sorted(found[number])) for number in used
        ),
        unexplained=tuple(
            Reason(what=root, explains=_sorted(below))
            for root, below in sorted(roots, key=lambda each: each[0].order)
        ),
        unrelated=tuple(ordered[number] for number in order if number not in used),
    )


def _add_whole(layer: Effect, below: list[Consequence]) -> None:
    """List a layer beside what differs inside of it."""
    inside = [each.sure for each in below if each.effect.where == layer.where]
    if inside:
        below.append(Consequence(effect=layer, sure=all(inside)))


def _cause_of(effect: Effect, causes: Sequence[Cause]) -> tuple[int | None, bool]:
    """The nearest cause, the earliest of several, and whether it is the only one so near."""
    ranks = [
        (near, number)
        for number, cause in enumerate(causes)
        if (near := rules.rank(cause, effect)) is not None
    ]
    if not ranks:
        return None, False
    near, number = min(ranks)
    alone = sum(other == near for other, _ in ranks) == 1
    return number, near <= rules.SURE and (alone or near == 0)


def _of_sum(effect: Effect, causes: Sequence[tuple[Cause, list[Consequence]]]) -> int | None:
    """Which cause a digest of everything is listed under: the first that moves it."""
    for number, (cause, below) in enumerate(causes):
        if cause.kind in OF_LOCK:
            return number
        if effect.part == "model" and any(each.effect.part in _IN_MODEL for each in below):
            return number
        if cause.kind in {"platform", "code"}:
            return number
    return None


def _counts(found: Consequence) -> bool:
    """Whether it is a difference of what was made, and not the cause itself said twice."""
    return not found.effect.kind.startswith("same-")


def _sorted(found: list[Consequence]) -> tuple[Consequence, ...]:
    return tuple(sorted(found, key=lambda each: each.effect.order))


def _unique(effects: Iterable[Effect]) -> list[Effect]:
    """Each effect once: a lock and a model file say the same of ranges and digests."""
    seen: dict[tuple[str, str, str], Effect] = {}
    for effect in effects:
        seen.setdefault((effect.kind, effect.where, effect.subject), effect)
    return list(seen.values())
