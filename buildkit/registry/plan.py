"""All that belongs to an artifact: what it consists of, what hangs on it, and so on.

An image brings its models: the record of its build, which hangs on it, names their index.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Protocol

from buildkit import canonical, digests, media
from buildkit.errors import RegistryError, StoreError
from buildkit.records import Descriptor
from buildkit.registry import crew
from buildkit.store.blobs import DOCUMENT_LIMIT
from buildkit.store.documents import DOCUMENT_TYPES, Links, links

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from buildkit.registry.section import Section

_MOST = 10_000
_MOST_BYTES = 256 << 20


class Source(Protocol):
    """Where an artifact comes from: a store or a repository."""

    def find(self, pointer: str) -> Descriptor | None:
        """The manifest that a name or a digest means; nothing when there is none."""

    def manifest(self, wanted: Descriptor) -> bytes | None:
        """The checked bytes of a manifest or an index; nothing when it is not there."""

    def referrers(self, digest: str) -> tuple[Descriptor, ...]:
        """What hangs on a manifest or an index."""

    def record(self, blob: Descriptor) -> bytes:
        """The checked bytes of a short blob."""

    def opened(
        self, blob: Descriptor, offset: int
    ) -> AbstractContextManager[Iterable[bytes | Section]]:
        """The bytes of a blob from an offset on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A manifest or an index.

    Attributes:
        descriptor: of it, as an entry of its own has it.
        data: its bytes.
        links: what it names.
    """

    descriptor: Descriptor
    data: bytes
    links: Links


@dataclass(kw_only=True, slots=True)
class Plan:
    """What is to be transferred.

    Attributes:
        parts: manifests and indexes by digest, in the order they were found.
        blobs: configurations and layers by digest.
        models: the indexes of models that the image brings.
        missing: digests of what is named as hanging on something, and is not there, or hangs on
            something else.
    """

    parts: dict[str, Part] = field(default_factory=dict)
    blobs: dict[str, Descriptor] = field(default_factory=dict)
    models: list[Descriptor] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def batches(self) -> Iterator[list[Part]]:
        """The parts in the order to write them: children and subjects before what names them."""
        sorter: TopologicalSorter[str] = TopologicalSorter()
        for digest, part in self.parts.items():
            needs = [child.digest for _, child in part.links.children if child.digest in self.parts]
            if part.links.subject is not None and part.links.subject.digest in self.parts:
                needs.append(part.links.subject.digest)
            sorter.add(digest, *needs)
        sorter.prepare()
        while sorter.is_active():
            ready = sorter.get_ready()
            yield [self.parts[digest] for digest in sorted(ready)]
            sorter.done(*ready)

    def subjects(self) -> dict[str, list[Part]]:
        """What hangs on each part that something hangs on, in the order it was found."""
        found: dict[str, list[Part]] = {}
        for part in self.parts.values():
            if part.links.subject is not None and part.links.subject.digest in self.parts:
                found.setdefault(part.links.subject.digest, []).append(part)
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class _Wanted:
    """A manifest on the list; `about` is set when it is said to hang on that."""

    descriptor: Descriptor
    about: str = ""


def plan(source: Source, roots: Sequence[Descriptor], stop: threading.Event) -> Plan:
    """Find all that belongs to `roots`.

    Raises:
        DigestError: a manifest is not what its digest says.
        RegistryError, StoreError: one is missing or malformed, or there are too many.
    """
    made = Plan()
    wave = [_Wanted(descriptor=each) for each in roots]
    seen = {each.digest for each in roots}
    while wave:
        found = crew.gather([_reader(source, each) for each in wave], stop)
        following: list[_Wanted] = []
        for wanted, (data, hanging) in zip(wave, found, strict=True):
            part = _part(made, wanted, data)
            if part is None:
                continue
            for _, child in part.links.children:
                _check_digest(child)
                if child.media_type in DOCUMENT_TYPES:
                    following.append(_Wanted(descriptor=child))
                else:
                    made.blobs.setdefault(child.digest, child)
            about = part.descriptor.digest
            following += [_Wanted(descriptor=each, about=about) for each in hanging]
            models = _models(made, source, part)
            if models is not None:
                following.append(_Wanted(descriptor=models))
                made.models.append(models)
        wave = []
        for each in following:
            if each.descriptor.digest not in seen:
                seen.add(each.descriptor.digest)
                wave.append(each)
        if len(seen) > _MOST or sum(len(part.data) for part in made.parts.values()) > _MOST_BYTES:
            msg = f"more than {_MOST} manifests, or {_MOST_BYTES >> 20} MiB of them"
            raise RegistryError(msg, "name a part of it by its digest")
    return made


def _reader(
    source: Source, wanted: _Wanted
) -> Callable[[], tuple[bytes | None, tuple[Descriptor, ...]]]:
    def read() -> tuple[bytes | None, tuple[Descriptor, ...]]:
        _check_digest(wanted.descriptor)
        data = source.manifest(wanted.descriptor)
        if data is None:
            return None, ()
        return data, source.referrers(wanted.descriptor.digest)

    return read


def _part(made: Plan, wanted: _Wanted, data: bytes | None) -> Part | None:
    """Add what was read to the plan, unless it is not there, or not what the list says."""
    digest = wanted.descriptor.digest
    found = None if data is None else _links(data, wanted.descriptor)
    if wanted.about:
        about = found.subject.digest if found is not None and found.subject is not None else ""
        if about != wanted.about:
            made.missing.append(digest)
            return None
    if data is None or found is None:
        msg = f"manifest {digest} is missing"
        raise RegistryError(msg, "push it again from where it was made")
    part = Part(
        descriptor=Descriptor(
            media_type=wanted.descriptor.media_type,
            digest=digest,
            size=len(data),
            annotations=dict(found.annotations) if wanted.about else {},
            artifact_type=found.artifact_type if wanted.about else None,
        ),
        data=data,
        links=found,
    )
    made.parts[digest] = part
    return part


def _links(data: bytes, wanted: Descriptor) -> Links:
    try:
        return links(data, wanted.media_type, wanted.digest)
    except StoreError as error:
        msg = f"a manifest is malformed: {error.message}"
        raise RegistryError(msg, "push it again from where it was made") from error


def _models(made: Plan, source: Source, part: Part) -> Descriptor | None:
    """The index of models that a build's record names."""
    if part.descriptor.artifact_type != media.BUILD:
        return None
    records = [
        child
        for role, child in part.links.children
        if role == "layer" and child.media_type == media.BUILD and child.size <= DOCUMENT_LIMIT
    ]
    if not records:
        return None
    try:
        digest = canonical.load(source.record(records[0]))["model_index"]
    except (ValueError, KeyError, TypeError):
        return None  # of an older version, or not ours
    if not isinstance(digest, str) or not digests.is_digest(digest):
        return None
    found = source.find(digest)
    if found is None:
        made.missing.append(digest)
    return found


def _check_digest(each: Descriptor) -> None:
    if not digests.is_digest(each.digest):
        msg = f"{each.digest[:80]}: only SHA-256 digests can be transferred"
        raise RegistryError(msg)
