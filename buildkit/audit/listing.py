"""What a source has now, and what the index already knows of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import sqlalchemy as sql

from buildkit import digests, media
from buildkit.audit import facts, read, schema, sources
from buildkit.errors import EvidenceError
from buildkit.evidence import bundle as bundles
from buildkit.evidence.journal import SUFFIX
from buildkit.evidence.reasons import Reason
from buildkit.store.entries import REF_NAME
from buildkit.store.graph import DEPTH

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection

    from buildkit.audit.facts import Row
    from buildkit.audit.read import Document
    from buildkit.audit.sources import Source
    from buildkit.records import Descriptor

_REMEMBERED = 4096
_LARGEST = (1 << 63) - 1
# Bytes may be mended under the same digest: what is refused for this is looked at again.
_FAULTS = (str(Reason.BLOB_DIGEST), str(Reason.BLOB_MISSING))
_CHILD = {"image": "platform", "models": "model"}


@dataclass(kw_only=True, slots=True)
class Known:
    """What the index has of a source.

    Attributes:
        presence: (artifact, name).
        carried: manifest → (statement, subject).
        faulty: manifests that could not be read, or whose bundle could not.
        sought: manifest → (digest, kind, found), what its bundle was held against.
    """

    presence: set[tuple[int, str]] = field(default_factory=set)
    carried: dict[str, list[tuple[int, int | None]]] = field(default_factory=dict)
    faulty: set[str] = field(default_factory=set)
    sought: dict[str, list[tuple[str, str, bool]]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Channel:
    """A journal with a name.

    Attributes:
        descriptor: of its manifest.
        place: as its records should name it.
        name: of the channel.
        pointed: digest that the channel's tag leads to; empty when there is no such tag.
    """

    descriptor: Descriptor
    place: str
    name: str
    pointed: str


@dataclass(kw_only=True, slots=True)
class Listing:
    """What a source has.

    Attributes:
        digests: all manifests and indexes that are reached, with a descriptor of each.
        artifacts: those of ours that the index does not know yet.
        presence: (artifact, name) of all.
        referrers: manifests of bundles that the index does not know yet, could not read, or held
            against other things than are there now.
        known: manifests of bundles that it knows, and that are as they were.
        channels: journals.
        broken: what cannot be read or does not hold together, and why.
    """

    digests: dict[str, Descriptor] = field(default_factory=dict)
    artifacts: list[Document] = field(default_factory=list)
    presence: set[tuple[int, str]] = field(default_factory=set)
    referrers: list[Descriptor] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    channels: list[Channel] = field(default_factory=list)
    broken: list[tuple[Descriptor, EvidenceError]] = field(default_factory=list)


class Reader:
    """Reads manifests, and remembers some of them."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._forms = read.Forms()
        self._kept: dict[tuple[str, str, int], Document | EvidenceError] = {}

    def document(self, descriptor: Descriptor) -> Document:
        """A manifest or an index.

        Raises:
            EvidenceError: it is missing, damaged, or does not hold together.
            StoreError, RegistryError: it cannot be known.
        """
        key = (descriptor.digest, descriptor.media_type, descriptor.size)
        found = self._kept.get(key)
        if found is None:
            try:
                found = self._forms.read(self.source, descriptor)
            except EvidenceError as error:
                found = error
            if isinstance(found, EvidenceError) or found.what != "bundle":
                if len(self._kept) >= _REMEMBERED:
                    self._kept.clear()
                self._kept[key] = found
        if isinstance(found, EvidenceError):
            raise found
        return found

    def manifest(self, descriptor: Descriptor) -> bytes:
        """Its bytes; see `document`."""
        return sources.manifest(self.source, descriptor).data


def known(connection: Connection, source: int) -> Known:
    """What the index has of a source."""
    found = Known()
    here, carried = schema.PRESENCE.c, schema.CARRIED.c
    for number, name in connection.execute(
        sql.select(here.artifact, here.name).where(here.source == source)
    ):
        found.presence.add((number, name))
    for manifest, statement, subject in connection.execute(
        sql.select(carried.manifest, carried.statement, carried.subject).where(
            carried.source == source
        )
    ):
        found.carried.setdefault(manifest, []).append((statement, subject))
    found.faulty = {manifest for (manifest,) in connection.execute(faults(source))}
    at = schema.SOUGHT.c
    for manifest, digest, kind, was_there in connection.execute(
        sql.select(at.manifest, at.digest, at.kind, at.found).where(at.source == source)
    ):
        found.sought.setdefault(manifest, []).append((digest, kind, bool(was_there)))
    return found


def faults(source: int) -> sql.Select[str]:
    """Manifests of a source that are missing or damaged, or whose bundle or subject is."""
    return (
        sql.select(schema.CARRIED.c.manifest)
        .join(schema.STATEMENT, schema.STATEMENT.c.id == schema.CARRIED.c.statement)
        .where(schema.CARRIED.c.source == source, schema.STATEMENT.c.reason.in_(_FAULTS))
    )


def of(reader: Reader, known: Known) -> Listing:
    """What a source has now; what the index knows is not read again.

    Raises:
        StoreError, RegistryError: it cannot be known.
    """
    return _Walk(reader, known).run()


class _Walk:
    def __init__(self, reader: Reader, known: Known) -> None:
        self._reader = reader
        self._known = known
        self._whole = {number for number, _ in known.presence}
        self._names: dict[str, set[str]] = {}
        self._ours: set[str] = set()
        self._found = Listing()
        self._referrers: dict[str, Descriptor] = {}
        self._blobs: dict[str, bool] = {}

    def run(self) -> Listing:
        entries = self._reader.source.entries()
        pointed: dict[str, str] = {}
        first: dict[str, Descriptor] = {}
        for each in entries:
            first.setdefault(each.digest, each)
            name = each.annotations.get(REF_NAME, "")
            if name:
                pointed[name] = each.digest
                self._names.setdefault(each.digest, set()).add(name)
        level = list(entries)
        seen: set[str] = set()
        for _ in range(DEPTH):
            below: list[Descriptor] = []
            for each in level:
                if each.digest not in seen:
                    seen.add(each.digest)
                    below += self._visit(each)
            level = below
        found = self._found
        for name, digest in sorted(pointed.items()):
            self._channel(name, first[digest], pointed)
        for digest in self._ours:
            number = facts.artifact(digest)
            names = {facts.clip(name) for name in self._names.get(digest, ())} or {""}
            found.presence |= {(number, name) for name in names}
        self._known_referrers()
        return found

    def _visit(self, each: Descriptor) -> Sequence[Descriptor]:
        """Sort one manifest or index; what it leads to."""
        kind = each.artifact_type
        if kind in read.PASSED_OVER or kind == media.CHANNEL:
            return ()
        if each.media_type not in read.OURS:
            # What people ask for by name, and what should be evidence, is not passed over.
            if kind == bundles.MEDIA_TYPE or REF_NAME in each.annotations:
                self._broken(each)
            return ()
        self._found.digests[each.digest] = each
        if kind == bundles.MEDIA_TYPE or self._is_known_referrer(each.digest):
            self._referrers[each.digest] = each
            return ()
        return self._enter(each)

    def _enter(self, each: Descriptor) -> Sequence[Descriptor]:
        """Look into what is no evidence for all that is known."""
        hanging = self._reader.source.referrers
        is_known = facts.artifact(each.digest) in self._whole
        if is_known and each.media_type == media.MANIFEST:
            self._ours.add(each.digest)
            return hanging(each.digest)
        try:
            document = self._reader.document(each)
        except EvidenceError as error:
            self._found.broken.append((each, error))
            return ()
        if document.what == "bundle":
            self._referrers[each.digest] = each
        if document.what not in read.ROLES:
            return document.children()
        self._ours.add(each.digest)
        if not is_known:
            self._found.artifacts.append(document)
        return (*document.children(), *hanging(each.digest))

    def _is_known_referrer(self, digest: str) -> bool:
        """Whether the index has it as what carries a bundle to something else."""
        rows = self._known.carried.get(digest, ())
        own = facts.artifact(digest) if rows else 0
        return any(subject not in (None, own) for _, subject in rows)

    def _known_referrers(self) -> None:
        """Which of those that carry bundles need not be read again."""
        found, known = self._found, self._known
        here = {facts.artifact(digest) for digest in found.digests} if known.carried else set()
        for digest, each in self._referrers.items():
            rows = known.carried.get(digest, ())
            is_here = any(subject in here for _, subject in rows)
            if is_here and digest not in known.faulty and self._is_settled(digest):
                found.known.add(digest)
            else:
                found.referrers.append(each)

    def _is_settled(self, manifest: str) -> bool:
        """Whether what a bundle was held against is there, or is not, as it was."""
        return all(
            self._is_there(digest, kind) == found
            for digest, kind, found in self._known.sought.get(manifest, ())
        )

    def _is_there(self, digest: str, kind: str) -> bool:
        if kind == read.MANIFEST:
            return digest in self._found.digests
        found = self._blobs.get(digest)
        if found is None:
            try:
                found = sources.short(self._reader.source, digest) is not None
            except EvidenceError:
                found = False
            self._blobs[digest] = found
        return found

    def _broken(self, each: Descriptor) -> None:
        msg = f"manifest {each.digest}: media type {each.media_type!r}"
        self._found.broken.append((each, EvidenceError(Reason.MANIFEST, msg)))

    def _channel(self, name: str, each: Descriptor, pointed: dict[str, str]) -> None:
        place, _, tag = name.rpartition(":")
        if not name.endswith(SUFFIX) or not place:
            return
        kind = each.artifact_type
        if kind not in (None, media.CHANNEL):
            return
        try:
            if kind is None and self._reader.document(each).what != "journal":
                return
        except EvidenceError:
            # Among what is broken already.
            return
        self._found.channels.append(
            Channel(
                descriptor=each,
                place=place,
                name=tag.removesuffix(SUFFIX),
                pointed=pointed.get(name.removesuffix(SUFFIX), ""),
            )
        )


def artifact_row(document: Document) -> Row:
    """The row of an artifact."""
    return {
        "id": facts.artifact(document.digest),
        "digest": document.digest,
        "role": document.what,
        "name": facts.clip(document.note(media.TITLE)),
        "version": facts.clip(document.note(media.VERSION)),
        "variant": facts.clip(document.variant),
        "lock": facts.clip(document.note(media.LOCK_DIGEST)),
        "size": min(document.size(), _LARGEST),
    }


def parts(document: Document) -> Iterator[tuple[str, str]]:
    """(role, digest) of what an image, or an index of models, consists of."""
    role = _CHILD.get(document.what)
    if role is not None:
        for child in document.children():
            yield role, child.digest
    models = document.note(media.MODEL_DIGEST)
    if document.what == "image" and digests.is_digest(models):
        yield "models", models
