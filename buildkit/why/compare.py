"""Two artifacts of stores, or two lock files: what differs, and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from buildkit import digests, media
from buildkit.errors import DigestError, InputError, StoreError
from buildkit.lock import codec
from buildkit.why import archive, artifact, documents, layers, locks, onnxfile, sources
from buildkit.why.explain import explain
from buildkit.why.types import Cause, Effect, Explanation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from buildkit.store import Store
    from buildkit.why.archive import Listing
    from buildkit.why.artifact import Artifact, Build, Image, Model
    from buildkit.why.layers import Layer

Part = TypeVar("Part", bound="Image | Model")


def lock_files(a: Path, b: Path) -> Explanation:
    """Why two lock files differ.

    Raises:
        LockError: one of them is no lock that can be used.
    """
    old, new = codec.load(a), codec.load(b)
    sides = [
        {"name": str(file), "digest": codec.digest(lock)} for file, lock in ((a, old), (b, new))
    ]
    if sides[0]["digest"] == sides[1]["digest"]:
        return Explanation(a=sides[0], b=sides[1], identical=True)
    return _told(sides[0], sides[1], locks.causes(old, new), locks.effects(old, new), [], keep=True)


def refs(store_a: Store, ref_a: str, store_b: Store, ref_b: str) -> Explanation:
    """Why two artifacts differ.

    Args:
        store_a: holds the one.
        ref_a: its name or digest.
        store_b: holds the other; may be the same store.
        ref_b: its name or digest.

    Raises:
        InputError: one is an image and the other a model, or one is neither.
        StoreError: one is not there, or a part of it is missing or corrupt.
    """
    try:
        return _refs(store_a, ref_a, store_b, ref_b)
    except DigestError as error:
        # That would read as "they differ", which was not decided.
        raise StoreError(error.message, error.remedy) from error


def _refs(store_a: Store, ref_a: str, store_b: Store, ref_b: str) -> Explanation:
    found = [(store_a, store_a.resolve(ref_a)), (store_b, store_b.resolve(ref_b))]
    sides = [
        {"name": ref, "digest": top.digest}
        for ref, (_, top) in zip((ref_a, ref_b), found, strict=True)
    ]
    if sides[0]["digest"] == sides[1]["digest"]:
        return Explanation(a=sides[0], b=sides[1], identical=True)
    a, b = (artifact.load(store, top) for store, top in found)
    if a.kind != b.kind:
        msg = f"{ref_a} is of the kind {a.kind}, {ref_b} of the kind {b.kind}"
        raise InputError(msg, "name two images, or two models")
    same = _same_part(a, b)
    if same:
        return Explanation(
            a=sides[0], b=sides[1], identical=True, notes=(f"the one is {same} of the other",)
        )
    builds = [artifact.build_of(side.store, side) for side in (a, b)]
    notes = [each.note for each in builds if each.note]
    comparison = _Comparison(a=a, b=b, notes=notes)
    effects = list(comparison.effects())
    causes = [*comparison.causes, *_moved(*builds)]
    old, new = (build.lock for build in builds)
    if old is not None and new is not None:
        effects = [*locks.effects(old, new), *effects]
    return _told(sides[0], sides[1], causes, effects, notes)


def _told(
    a: dict[str, str],
    b: dict[str, str],
    causes: Iterable[Cause],
    effects: Iterable[Effect],
    notes: list[str],
    *,
    keep: bool = False,
) -> Explanation:
    verdict = explain(causes, effects, keep=keep)
    if not verdict.causes and not verdict.unexplained:
        # The digests differ, so something does; better a poor answer than none.
        lost = Effect(
            kind="bytes", subject="bytes", before=a["digest"], after=b["digest"], part="config"
        )
        verdict = explain([], [lost])
    return Explanation(
        a=a,
        b=b,
        identical=False,
        causes=verdict.causes,
        unexplained=verdict.unexplained,
        unrelated=verdict.unrelated,
        notes=tuple(notes),
    )


def _moved(a: Build, b: Build) -> tuple[Cause, ...]:
    """What moved in the locks and sources of two builds."""
    found: list[Cause] = []
    if a.lock is not None and b.lock is not None:
        found += locks.causes(a.lock, b.lock)
    if a.sources and b.sources:
        locked = [pin.path for each in (a.lock, b.lock) if each for pin in each.model.files]
        known = frozenset([*(each.subject for each in found), *locked])
        asked: Mapping[str, Any] = b.lock.recipe if b.lock is not None else {}
        found += sources.causes(a.sources, b.sources, asked, known)
    return tuple(found)


@dataclass(kw_only=True)
class _Comparison:
    """Two artifacts, side by side; finds causes of its own where their kinds differ."""

    a: Artifact
    b: Artifact
    notes: list[str]
    causes: list[Cause] = field(default_factory=list)

    def effects(self) -> Iterator[Effect]:
        """Everything that differs; what an index repeats of an image's labels only once."""
        found = list(self._parts())
        labels = {
            (each.subject.removeprefix("label "), each.before, each.after)
            for each in found
            if each.kind == "image-config"
        }
        yield from found
        for each in documents.notes(
            self.a.annotations, self.b.annotations, of_model=self.a.kind == "model"
        ):
            if (each.subject, each.before, each.after) not in labels:
                yield each

    def _parts(self) -> Iterator[Effect]:
        if self.a.kind == "model":
            yield from self._models(self.a.models, self.b.models)
            return
        yield from self._images()
        models = [self._model_of(each) for each in (self.a, self.b)]
        if models[0] and models[1]:
            yield from self._models(models[0].models, models[1].models)

    def _images(self) -> Iterator[Effect]:
        pairs, alone = self._paired(self.a.images, self.b.images, "platform")
        yield from alone
        yield from _merged(
            (name, effect)
            for name, old, new in pairs
            for effect in (
                *documents.image_config(old.config, new.config),
                *documents.notes(_own(old), _own(new), of_model=False),
            )
        )
        yield from self._layers(pairs)

    def _layers(self, pairs: list[tuple[str, Image, Image]]) -> Iterator[Effect]:
        """Layers, those that several platforms share once."""
        shared: dict[tuple[Layer | None, Layer | None], list[str]] = {}
        for name, old, new in pairs:
            for couple in layers.aligned(old.layers, new.layers):
                shared.setdefault(couple, []).append(name)
        for (left, right), names in shared.items():
            before, after = (each.digest if each else "" for each in (left, right))
            place = _place(names, left, right)
            yield place.effect("layer", place.where, before, after)
            if before and after:
                yield from self._inside(before, after, place)

    def _inside(self, before: str, after: str, place: layers.Place) -> Iterator[Effect]:
        try:
            old, new = _listing(self.a.store, before), _listing(self.b.store, after)
        except archive.UnreadableError as error:
            self.notes.append(f"{place.where}: cannot be looked into: {error}")
            return
        if old.diff_id == new.diff_id:
            yield place.effect("packing", "compression alone", "", "")
        yield from layers.differences(old, new, place)

    def _model_of(self, image: Artifact) -> Artifact | None:
        """The model that an image names, when the store has it."""
        notes = [image.annotations, *(each.annotations for each in image.images.values())]
        named = [note[media.MODEL_DIGEST] for note in notes if media.MODEL_DIGEST in note]
        digest = next(filter(digests.is_digest, named), None)
        if digest is None or not image.store.has(digest):
            return None
        try:
            return artifact.load(image.store, image.store.resolve(digest))
        except (InputError, DigestError, StoreError) as error:
            self.notes.append(f"the image's model cannot be looked at: {error}")
            return None

    def _models(self, a: Mapping[str, Model], b: Mapping[str, Model]) -> Iterator[Effect]:
        pairs, alone = self._paired(a, b, "target")
        yield from alone
        yield from _merged(
            (name, effect)
            for name, old, new in pairs
            for effect in (
                *documents.card(old.card, new.card),
                *documents.model_config(old.config, new.config),
                *(
                    each
                    for each in documents.notes(old.annotations, new.annotations, of_model=True)
                    if each.part != "quantised"  # the file itself is compared
                ),
            )
        )
        seen: set[tuple[str, str]] = set()
        for _, old, new in pairs:
            key = (old.weight, new.weight)
            if old.weight != new.weight and key not in seen:
                seen.add(key)
                yield from self._weights(*key, "" if len(seen) == 1 else f"file {len(seen)}")

    def _weights(self, before: str, after: str, where: str) -> Iterator[Effect]:
        yield Effect(
            kind="quantised-model",
            subject="model.onnx",
            before=before,
            after=after,
            part="quantised",
            where=where,
        )
        if not before or not after:
            return
        sizes = [self.a.store.size(before) or 0, self.b.store.size(after) or 0]
        if max(sizes) > onnxfile.MOST_BYTES:
            self.notes.append("the models are too long to be looked into")
            return
        old = self.a.store.read(before, limit=onnxfile.MOST_BYTES)
        new = self.b.store.read(after, limit=onnxfile.MOST_BYTES)
        yield from onnxfile.differences(old, new, where)

    def _paired(
        self, a: Mapping[str, Part], b: Mapping[str, Part], kind: str
    ) -> tuple[list[tuple[str, Part, Part]], list[Effect]]:
        """What stands for what, and an effect for each part that stands alone."""
        if len(a) == len(b) == 1 and not (self.a.whole or self.b.whole) and a.keys() != b.keys():
            # One part each, named on purpose: then their kind is the first difference.
            (old, left), (new, right) = *a.items(), *b.items()
            self.causes.append(Cause(kind=kind, subject=kind, before=old, after=new))
            return [(f"{old} → {new}", left, right)], []
        names = {*a, *b}
        if self.a.whole != self.b.whole:
            names = set(b if self.a.whole else a)
            self.notes.append(f"only {', '.join(sorted(names))} is compared")
        alone = [
            Effect(
                kind="part",
                subject=f"{kind} {name}",
                before=a[name].digest if name in a else "",
                after=b[name].digest if name in b else "",
                part="platforms" if kind == "platform" else "targets",
            )
            for name in sorted(names)
            if name not in a or name not in b
        ]
        common = sorted(names & a.keys() & b.keys())
        return [(name, a[name], b[name]) for name in common], alone


def _same_part(a: Artifact, b: Artifact) -> str:
    """The part of an index that is the other artifact, if it is."""
    if a.whole == b.whole:
        return ""
    whole, single = (a, b) if a.whole else (b, a)
    parts = {name: each.digest for name, each in whole.images.items()}
    parts |= {name: each.digest for name, each in whole.models.items()}
    return next((name for name, digest in parts.items() if digest == single.digest), "")


def _merged(found: Iterable[tuple[str, Effect]]) -> list[Effect]:
    """Effects of several parts, those that are alike once."""
    names: dict[Effect, list[str]] = {}
    for name, effect in found:
        names.setdefault(effect, []).append(name)
    subjects = Counter((each.kind, each.subject) for each in names)
    return [
        # Where all parts say the same, or only one says anything, none need be named.
        each if subjects[each.kind, each.subject] == 1 else replace(each, where=", ".join(parts))
        for each, parts in names.items()
    ]


def _place(names: Iterable[str], left: Layer | None, right: Layer | None) -> layers.Place:
    known = right or left
    if known is None:
        msg = "a pair of no layers"
        raise ValueError(msg)
    numbers = [str(each.number) for each in (left, right) if each is not None]
    number = "→".join(dict.fromkeys(numbers))
    side = "" if left and right else (" of A" if left else " of B")
    listed = sorted(set(names))
    return layers.Place(
        part=known.part,
        where=f"{', '.join(listed)}: layer {number}{side} ({known.title or 'no name'})",
        platforms=tuple(name for name in listed if " " not in name),
    )


def _own(image: Image) -> dict[str, str]:
    """Annotations of a manifest that are not labels of the image as well."""
    settings = image.config.get("config")
    labels = settings.get("Labels") if isinstance(settings, dict) else None
    labels = labels if isinstance(labels, dict) else {}
    return {key: text for key, text in image.annotations.items() if labels.get(key) != text}


def _listing(store: Store, digest: str) -> Listing:
    return archive.read(store.path(digest), digest)
