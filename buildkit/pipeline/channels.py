"""Where channels are: in a store, or in a registry. Moving one is compare-and-swap in both.

In a registry, `CHANNEL` leads to the image, `CHANNEL.channel` to the journal, and `CHANNEL.claim`
to the claim of who moves it (`buildkit.registry.claim`), without which nobody writes the others.
"""

from __future__ import annotations

import dataclasses
import random
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from buildkit import digests, media
from buildkit.errors import RegistryError
from buildkit.evidence import bundle as bundles
from buildkit.evidence import journal as journals
from buildkit.evidence.journal import SUFFIX, Coming, Journal
from buildkit.pipeline import registries
from buildkit.records import Descriptor
from buildkit.registry import FromRepository, claim, upload
from buildkit.registry.claim import Times
from buildkit.store import REF_NAME
from buildkit.store.documents import EMPTY, EMPTY_BLOB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from buildkit.registry import Access, Reference
    from buildkit.store import Store

_KEPT = "promoted-"
# Of a lease: a claim must not lapse while a request of its holder is under way.
_REQUEST = 1 / 8
_EMPTY = Journal()


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """A channel at one moment.

    Attributes:
        pointed: digest that its tag leads to; empty when there is no such tag.
        journal: what is true of it, without what is to come.
        head: digest of the journal's own manifest; empty when there is none.
    """

    pointed: str = ""
    journal: Journal = _EMPTY
    head: str = ""

    def same(self, other: State) -> bool:
        """Whether nobody has moved it between these two."""
        return (self.pointed, self.journal) == (other.pointed, other.journal)


class Home(Protocol):
    """A place that has the channels of one artifact."""

    @property
    def place(self) -> str:
        """As records name it: ``HOST/repository``, or an artifact's name in the store."""

    def bring(self, digest: str) -> None:
        """See to it that the store has what is known there of an artifact."""

    def publish(self, digest: str) -> None:
        """See to it that all that the store knows of an artifact is known there."""

    def read(self, channel: str) -> State:
        """The channel as it is now."""

    def remembered(self, channel: str) -> State:
        """The channel as the store last saw it there."""

    def record(self, each: Descriptor) -> bytes:
        """The checked bytes of a record's bundle."""

    def move(self, channel: str, seen: State, image: Descriptor, record: bytes) -> bool:
        """Let it lead to `image`, with the signed `record`; False if it is no longer as `seen`."""


class InStore:
    """Channels of a store.

    Args:
        store: the store.
        name: of the artifact: ``digits``.
    """

    def __init__(self, store: Store, name: str) -> None:
        self.place = name
        self._store = store

    def bring(self, digest: str) -> None:
        """See `Home.bring`: it is here, or nowhere."""

    def publish(self, digest: str) -> None:
        """See `Home.publish`: it is."""

    def read(self, channel: str) -> State:
        """See `Home.read`.

        Raises:
            EvidenceError: there is something else in the place of the journal.
            StoreError: the store cannot be read.
        """
        # Of one moment: `entries` reads the index once.
        names = {each.annotations.get(REF_NAME): each for each in self._store.entries()}
        tag = names.get(f"{self.place}:{channel}")
        head = names.get(f"{self.place}:{channel}{SUFFIX}")
        pointed = "" if tag is None else tag.digest
        if head is None:
            return State(pointed=pointed)
        data = self._store.read(head.digest, limit=head.size)
        found = journals.parse(data, f"journal {head.digest}")
        return State(pointed=pointed, journal=found.settled(pointed), head=head.digest)

    def remembered(self, channel: str) -> State:
        """See `Home.remembered`: it is here."""
        return self.read(channel)

    def record(self, each: Descriptor) -> bytes:
        """See `Home.record`.

        Raises:
            DigestError, StoreError: it is corrupt or missing.
        """
        return self._store.read(each.digest, limit=each.size)

    def move(self, channel: str, seen: State, image: Descriptor, record: bytes) -> bool:
        """See `Home.move`; in one change of the store's index.

        Raises:
            StoreError: the store cannot be written.
        """
        tag = f"{self.place}:{channel}"
        with self._store.lease():
            layer = self._store.put_bytes(record, bundles.MEDIA_TYPE)
            head, _ = _keep(self._store, _coming(seen, layer, image).settled(image.digest))
            return self._store.swap(
                [(head, f"{tag}{SUFFIX}"), (_plain(image), tag)],
                {tag: seen.pointed, f"{tag}{SUFFIX}": seen.head},
            )


class InRegistry:
    """Channels of a repository in a registry; the store remembers where they led.

    Args:
        reference: the repository.
        access: the way to it.
        store: gets names that begin with the repository's own.
        say: told when somebody else has to be waited for.
        times: of claims.
    """

    def __init__(
        self,
        reference: Reference,
        access: Access,
        store: Store,
        *,
        say: Callable[[str], None],
        times: Times | None = None,
    ) -> None:
        self.place = reference.name
        self._times = times or Times()
        self._store = store
        self._say = say
        short = self._times.lease_s * _REQUEST
        quick = dataclasses.replace(
            access.patience, budget_s=short, connect_s=short, read_s=short, commit_s=short
        )
        quick_access = dataclasses.replace(access, patience=quick)
        self._repository = quick_access.repository(reference, write=True)
        self._access = access

    def bring(self, digest: str) -> None:
        """See `Home.bring`; nothing when it is not there.

        Raises:
            DigestError, RegistryError, StoreError: as `registries.pull`.
        """
        if self._repository.points_to(digest):
            registries.pull(f"{self.place}@{digest}", store=self._store, access=self._access)

    def publish(self, digest: str) -> None:
        """See `Home.publish`.

        Raises:
            DigestError, RegistryError, StoreError: as `registries.push`.
        """
        done = registries.push(digest, self.place, store=self._store, access=self._access)
        models, _ = self._models(self._store.resolve(digest))
        if digests.of_bytes(models) not in done.models:
            # The build's record, which nobody signs, names others or none.
            named = digests.of_bytes(models)
            registries.push(named, self.place, store=self._store, access=self._access)
        # An untagged manifest is what a registry's clean-up removes, and a roll-back may want it.
        kept = f"{_KEPT}{digests.hex_of(digest)[:16]}"
        data = self._store.read(digest)
        for tag, each in ((f"{kept}{media.MODEL_SUFFIX}", models), (kept, data)):
            if self._repository.points_to(tag) != digests.of_bytes(each):
                self._repository.put_manifest(tag, each, media.INDEX)

    def read(self, channel: str) -> State:
        """See `Home.read`.

        Raises:
            EvidenceError: there is something else in the place of the journal.
            RegistryError: the registry does not answer, or not as it should.
        """
        found = self._repository.find(f"{channel}{SUFFIX}")
        while True:
            pointed = self._repository.points_to(channel)
            again = self._repository.find(f"{channel}{SUFFIX}")
            if again == found:
                break
            # Else the tag could belong to a newer journal than the one at hand.
            found = again
        if found is None:
            return State(pointed=pointed)
        head, data = found
        written = journals.parse(data, f"journal {head.digest}")
        return State(
            pointed=pointed,
            journal=written.settled(pointed),
            head=head.digest,
        )

    def remembered(self, channel: str) -> State:
        """See `Home.remembered`.

        Raises:
            EvidenceError: there is something else in the place of the journal.
            StoreError: the store cannot be read.
        """
        return InStore(self._store, self.place).read(channel)

    def record(self, each: Descriptor) -> bytes:
        """See `Home.record`; the store keeps it, so that it is asked for once.

        Raises:
            DigestError: the registry gave other bytes, or the store's are corrupt.
            RegistryError: it does not give them.
            StoreError: the store cannot be read or written.
        """
        if self._has(each):
            return self._store.read(each.digest, limit=each.size)
        data = FromRepository(self._repository).record(each)
        self._store.put_bytes(data, each.media_type)
        return data

    def move(self, channel: str, seen: State, image: Descriptor, record: bytes) -> bool:
        """See `Home.move`.

        Raises:
            RegistryError: the registry does not answer, or lost what was written.
            StoreError: the store cannot be written; the channel has moved then.
        """
        repository = self._repository
        with self._store.lease():
            for each in seen.journal.records:
                # A collection may have come since it was read.
                if not self._has(each):
                    self.record(each)
            layer = self._store.put_bytes(record, bundles.MEDIA_TYPE)
            coming = _coming(seen, layer, image)
            head, settled = _keep(self._store, coming.settled(image.digest))
            for blob, data in ((layer, record), (EMPTY, EMPTY_BLOB)):
                upload.put(repository, blob, partial(_opened, data))
            # Ended in between, none of it lies.
            written = [
                (f"{channel}{SUFFIX}", coming.dump(), media.MANIFEST),
                (f"{channel}{media.MODEL_SUFFIX}", *self._models(image)),
                (channel, self._store.read(image.digest), image.media_type),
                (f"{channel}{SUFFIX}", settled, media.MANIFEST),
            ]
            with claim.held(
                repository,
                f"{channel}{registries.CLAIM}",
                still=lambda: self.read(channel).same(seen),
                times=self._times,
                say=self._say,
                dice=random.SystemRandom(),
            ) as hold:
                # Once more: between that question and the claim, others may have come and gone.
                if hold is None or not self.read(channel).same(seen):
                    return False
                for tag, manifest, media_type in written:
                    hold.put(tag, manifest, media_type)
                after = self.read(channel)
            if (after.pointed, after.head) != (image.digest, head.digest):
                msg = f"{self.place}: {channel} leads to {after.pointed} right after it was moved"
                raise RegistryError(msg, f"only `promote` may write {channel}, {channel}{SUFFIX}")
            names = ((head, f"{channel}{SUFFIX}"), (_plain(image), channel))
            self._store.tag_all([(each, f"{self.place}:{name}") for each, name in names])
        return True

    def _has(self, each: Descriptor) -> bool:
        return self._store.size(each.digest) == each.size

    def _models(self, image: Descriptor) -> tuple[bytes, str]:
        """Bytes and media type of the index of an image's models."""
        named = self._store.links(image).annotations[media.MODEL_DIGEST]
        return self._store.read(named), self._store.resolve(named).media_type


def _coming(seen: State, record: Descriptor, image: Descriptor) -> Journal:
    """The journal while a channel is on its way to an image."""
    return Journal(records=seen.journal.records, coming=Coming(record=record, image=image.digest))


def _keep(store: Store, journal: Journal) -> tuple[Descriptor, bytes]:
    """A journal's manifest, which is in the store then, and its bytes."""
    store.put_bytes(EMPTY_BLOB, media.EMPTY)
    data = journal.dump()
    return store.put_bytes(data, media.MANIFEST, artifact_type=media.CHANNEL), data


def _plain(image: Descriptor) -> Descriptor:
    """An image's descriptor without what its own entry says of it."""
    return Descriptor(media_type=image.media_type, digest=image.digest, size=image.size)


@contextmanager
def _opened(data: bytes, offset: int) -> Iterator[Iterator[bytes]]:
    yield iter([data[offset:]])
