"""Layers against layers, entries against entries. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from buildkit import canonical, media
from buildkit.why.types import Effect

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from buildkit.why.archive import Listing, Member
    from buildkit.why.types import Part

# Beyond this many differences of one layer, a number says as much.
MOST_FILES = 5000
_TITLES: dict[str, tuple[Part, str]] = {
    media.MADE_BY_DEBIAN: ("debian", "Debian packages"),
    media.MADE_BY_PYTHON: ("python", "Python wheels"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """One layer of an image.

    Attributes:
        digest: of the blob.
        number: from 1, the lowest.
        part: which of ours it is; ``app`` for all that a Dockerfile made.
        title: for people.
    """

    digest: str
    number: int
    part: Part
    title: str


def named(digests: Sequence[str], config: Mapping[str, Any]) -> tuple[Layer, ...]:
    """The layers of an image, with what the history in its configuration says of them."""
    history = config.get("history")
    steps = [
        step
        for step in (history if isinstance(history, list) else [])
        if isinstance(step, dict) and not step.get("empty_layer")
    ]
    found = []
    for number, digest in enumerate(digests, 1):
        known = len(steps) == len(digests)
        said = str(steps[number - 1].get("created_by", "")) if known else ""
        part, title = _TITLES.get(said, ("app", said.removesuffix(" # buildkit")))
        found.append(Layer(digest=digest, number=number, part=part, title=title[:80]))
    return tuple(found)


def aligned(
    a: Sequence[Layer], b: Sequence[Layer]
) -> tuple[tuple[Layer | None, Layer | None], ...]:
    """Which layer of `b` answers to which of `a`, without those that are equal.

    Equal ones first, then by what they are and by their order; what is left was added or removed.
    """
    equal = Counter(each.digest for each in a) & Counter(each.digest for each in b)
    left, right = (_without(each, Counter(equal)) for each in (a, b))
    pairs: list[tuple[Layer | None, Layer | None]] = []
    parts: tuple[Part, ...] = ("debian", "python", "app")
    for part in parts:
        was, now = ([each for each in side if each.part == part] for side in (left, right))
        # One by one where a step has the same words, so that a step put between moves none.
        for old in list(was):
            new = next((each for each in now if each.title == old.title), None)
            if new is not None:
                pairs.append((old, new))
                was.remove(old)
                now.remove(new)
        pairs += zip(was, now, strict=False)
        common = min(len(was), len(now))
        pairs += [(each, None) for each in was[common:]]
        pairs += [(None, each) for each in now[common:]]
    return tuple(pairs)


def _without(layers: Sequence[Layer], equal: Counter[str]) -> list[Layer]:
    left = []
    for each in layers:
        if equal[each.digest]:
            equal[each.digest] -= 1
        else:
            left.append(each)
    return left


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a layer is, for its effects."""

    part: Part
    where: str
    platforms: tuple[str, ...]

    def effect(self, kind: str, subject: str, before: str, after: str, **more: Any) -> Effect:
        """An effect in this layer."""
        return Effect(
            kind=kind,
            subject=subject,
            before=before,
            after=after,
            part=self.part,
            where=self.where,
            platforms=self.platforms,
            **more,
        )


def differences(a: Listing, b: Listing, place: Place) -> Iterator[Effect]:
    """What differs in two layers that stand for one another."""
    found = list(_files(a, b, place))
    yield from found[:MOST_FILES]
    if len(found) > MOST_FILES:
        yield place.effect("more", f"{len(found) - MOST_FILES} more files", "", "")
    times = list(_times(a, b, place))
    yield from times
    if found or times or a.diff_id == b.diff_id:
        return
    if list(a.members) != list(b.members):
        yield place.effect("order", "order of the entries", a.diff_id, b.diff_id)
    else:
        subject = "the archive's own form: padding, or entries that others replace"
        yield place.effect("packing", subject, a.diff_id, b.diff_id)


def _files(a: Listing, b: Listing, place: Place) -> Iterator[Effect]:
    for path in sorted({*a.members, *b.members}):
        old, new = a.members.get(path), b.members.get(path)
        before, after = said(old, new)
        if before == after:
            continue
        owners = {each for each in (a.owner(path), b.owner(path)) if each is not None}
        yield place.effect(
            "file",
            path,
            before,
            after,
            owners=frozenset(owners),
            contents=(old.digest if old else "", new.digest if new else ""),
        )


def said(old: Member | None, new: Member | None) -> tuple[str, str]:
    """Both sides of an entry, by what differs of them; equal when nothing but the time does."""
    if old is None or new is None:
        return _whole(old), _whole(new)
    keys = ("kind", "mode", "owner", "link", "digest", "size", "attributes")
    moved = [key for key in keys if getattr(old, key) != getattr(new, key)]
    # A folder became a file, or the like: nothing of the rest can be compared.
    if "kind" in moved:
        return _whole(old), _whole(new)
    # The length says nothing more where the content is another one.
    if "digest" in moved and "size" in moved:
        moved.remove("size")
    before, after = (
        ", ".join(_aspect(key, getattr(each, key)) for key in moved) for each in (old, new)
    )
    return before, after


def _whole(member: Member | None) -> str:
    if member is None:
        return ""
    more = _aspect("link", member.link) if member.link else member.digest
    return f"{member.kind} {more}".rstrip()


def _aspect(key: str, value: Any) -> str:
    if key == "digest":
        return f"content {value}"
    if key == "mode":
        return f"mode {value:04o}"
    if key == "link":
        return f"→ {value}"
    if key == "size":
        return f"{value} bytes"
    if key == "attributes":
        named = " ".join(f"{name}={digest[:12]}" for name, digest in sorted(value.items()))
        return f"attributes {named or 'none'}"
    return f"{key} {value}"


def _times(a: Listing, b: Listing, place: Place) -> Iterator[Effect]:
    """Times that moved, each pair of times once: a new epoch moves those of all files."""
    groups: dict[tuple[str, str], list[str]] = {}
    for path, old in a.members.items():
        new = b.members.get(path)
        if new is not None and new.mtime != old.mtime:
            groups.setdefault((_clock(old.mtime), _clock(new.mtime)), []).append(path)
    for (before, after), paths in sorted(groups.items()):
        subject = min(paths)
        if len(paths) > 1:
            subject += f" and {len(paths) - 1} more"
        yield Effect(
            kind="time",
            subject=subject,
            before=before,
            after=after,
            part="time" if place.part == "app" else place.part,
            where=place.where,
            platforms=place.platforms,
        )


def _clock(seconds: float) -> str:
    try:
        text = canonical.timestamp(int(seconds))
    except (ValueError, OverflowError, OSError):
        return f"{seconds!r} s"
    rest = repr(float(seconds)).partition(".")[2]
    return text if rest == "0" else f"{text[:-1]}.{rest}Z"
