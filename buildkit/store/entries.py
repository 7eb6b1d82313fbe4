"""The entries of ``index.json`` as plain parsed JSON, so that what we do not know stays as it is.

Pure: every function takes the document (and may change it in place), none reads a file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from buildkit import canonical
from buildkit.errors import StoreError
from buildkit.store.documents import annotations_of, descriptor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from buildkit.records import Descriptor

REF_NAME = "org.opencontainers.image.ref.name"

Document = dict[str, Any]
Entry = dict[str, Any]


def parse(data: bytes, where: str) -> Document:
    """Read ``index.json``; every entry in it is a valid descriptor afterwards.

    Raises:
        StoreError: not JSON, a key twice in one object, or not an index.
    """
    remedy = "restore index.json from a copy, or remove the store and build again"
    try:
        document = canonical.load(data)
    except ValueError as error:
        msg = f"{where}: {error}"
        raise StoreError(msg, remedy) from error
    if not isinstance(document, dict) or document.get("schemaVersion") != 2:
        msg = f"{where}: not an image index of schema version 2"
        raise StoreError(msg, remedy)
    if document.get("manifests") is None:  # Go's way to write an empty list
        document["manifests"] = []
    if not isinstance(document["manifests"], list):
        msg = f"{where}: `manifests` is not a list"
        raise StoreError(msg, remedy)
    for at, entry in enumerate(document["manifests"]):
        descriptor(entry, f"{where}: manifests[{at}]")
    return document


def dump(document: Document, where: str) -> bytes:
    """The document as canonical JSON.

    Raises:
        StoreError: a text in it is not Unicode.
    """
    try:
        return canonical.dump(document)
    except ValueError as error:
        msg = f"{where}: cannot be written again: {error}"
        raise StoreError(msg) from error


def notes(entry: Entry) -> dict[str, str]:
    """The annotations of an entry."""
    return annotations_of(entry, "index.json")


def newest_with(document: Document, wanted: Mapping[str, str]) -> Iterator[Entry]:
    """The entries that carry all annotations in `wanted`, newest first."""
    for entry in reversed(document["manifests"]):
        if wanted.items() <= notes(entry).items():
            yield entry


def named(document: Document, ref: str) -> list[Entry]:
    """The entries that have the name `ref`; more than one only if another tool wrote them."""
    return list(newest_with(document, {REF_NAME: ref}))


def names(document: Document) -> list[str]:
    """All names, sorted."""
    return sorted(
        {note[REF_NAME] for note in map(notes, document["manifests"]) if REF_NAME in note}
    )


def place(document: Document, added: Descriptor, wanted: Mapping[str, str]) -> tuple[Entry, bool]:
    """See to it that the newest entry with all annotations in `wanted` is one for `added`.

    An entry of the same digest is used if no annotation of it says otherwise; else there is a new
    one. A name in `wanted` is taken from whichever entry had it; that entry stays.

    Returns:
        The entry, and whether the document changed.
    """
    entries: list[Entry] = document["manifests"]
    ref = wanted.get(REF_NAME)
    fitting = [entry for entry in entries if _fits(entry, added.digest, wanted)]
    with_name = [
        entry for entry in fitting if ref is not None and notes(entry).get(REF_NAME) == ref
    ]
    chosen = next(iter((with_name or fitting)[-1:]), None)
    changed = False
    if ref is not None:
        for entry in named(document, ref):
            if entry is not chosen:
                _unname(entry)
                changed = True
    if chosen is None:
        entry = added.to_json()
        _annotate(entry, wanted)
        entries.append(entry)
        return entry, True
    if not wanted.items() <= notes(chosen).items():
        _annotate(chosen, wanted)
        changed = True
    if wanted and next(newest_with(document, wanted)) is not chosen:
        entries[:] = [entry for entry in entries if entry is not chosen] + [chosen]
        changed = True
    return chosen, changed


def unname(document: Document, ref: str) -> bool:
    """Take the name `ref` away; the entries stay. Whether there was one."""
    found = named(document, ref)
    for entry in found:
        _unname(entry)
    return bool(found)


def _fits(entry: Entry, digest: str, wanted: Mapping[str, str]) -> bool:
    if entry["digest"] != digest:
        return False
    have = notes(entry)
    return all(have.get(key, value) == value for key, value in wanted.items())


def _annotate(entry: Entry, wanted: Mapping[str, str]) -> None:
    if wanted:
        entry["annotations"] = {**notes(entry), **wanted}


def _unname(entry: Entry) -> None:
    rest = {key: value for key, value in notes(entry).items() if key != REF_NAME}
    if rest:
        entry["annotations"] = rest
    else:
        entry.pop("annotations", None)
