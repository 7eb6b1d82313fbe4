"""Two lists of sources: what a person changed beside the recipe. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from buildkit.why import values
from buildkit.why.types import Cause

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_FACTS = {"revision": "revision", "epoch": "epoch", "code": "code", "builder": "builder"}


def causes(
    a: Mapping[str, Any], b: Mapping[str, Any], asked: Mapping[str, Any], known: frozenset[str]
) -> tuple[Cause, ...]:
    """The sources that moved, in the order of `Cause.order`.

    Args:
        a: the list of sources of one build (``buildkit/sources/v1``).
        b: that of the other.
        asked: the recipe, which tells the Dockerfile and the build context.
        known: subjects that the locks name already: the model's files, and keys of the recipe.
    """
    return tuple(sorted(_causes(a, b, asked, known), key=lambda each: each.order))


def _causes(
    a: Mapping[str, Any], b: Mapping[str, Any], asked: Mapping[str, Any], known: frozenset[str]
) -> Iterator[Cause]:
    before, after = _files(a), _files(b)
    names = {a.get("recipe"), b.get("recipe")}
    image = asked.get("image", {})
    context = str(image.get("context", "."))
    for path in sorted({*before, *after}):
        old, new = before.get(path, {}), after.get(path, {})
        # The recipe's meaning is in the lock; its comments reach nothing but a context around it.
        if old == new or path in known or (path in names and context != "."):
            continue
        kind = "source-file"
        if path == image.get("dockerfile"):
            kind = "dockerfile"
        elif context == "." or path.startswith(f"{context}/"):
            kind = "app-file"
        contents = str(old.get("digest", "")), str(new.get("digest", ""))
        yield Cause(
            kind=kind,
            subject=path,
            before=_said(old, new),
            after=_said(new, old),
            places=("app",),
            contents=contents,
        )
    for key, kind in _FACTS.items():
        if kind == "epoch" and "source_date_epoch" in known:
            continue
        if a.get(key) != b.get(key):
            said = values.said(a.get(key)), values.said(b.get(key))
            yield Cause(kind=kind, subject=key, before=said[0], after=said[1])


def _files(listed: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    found = listed.get("files")
    if not isinstance(found, dict):
        return {}
    return {path: entry for path, entry in found.items() if isinstance(entry, dict)}


def _said(entry: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """One side of a source that moved, by what moved of it."""
    if not entry:
        return ""
    if "link" in entry:
        return f"→ {entry['link']}"
    if entry.get("digest") != other.get("digest"):
        return str(entry.get("digest"))
    if entry.get("executable") != other.get("executable"):
        return "executable" if entry.get("executable") else "not executable"
    return f"{entry.get('size')} bytes"
