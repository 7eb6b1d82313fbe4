"""Plans carried out: into a repository, or into a store."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Literal

from buildkit import digests
from buildkit.errors import DigestError
from buildkit.registry import crew, listing, upload
from buildkit.registry.repository import LIES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from buildkit.records import Descriptor
    from buildkit.registry.plan import Part, Plan, Source
    from buildkit.registry.repository import Repository
    from buildkit.store import Store
    from buildkit.store.blobs import Incoming

How = Literal["sent", "received", "mounted", "skipped"]
By = Literal["api", "tag", ""]


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One blob has arrived.

    Attributes:
        digest: of the blob.
        size: in bytes.
        how: it came there.
        done: how many have.
        total: of so many.
    """

    digest: str
    size: int
    how: How
    done: int
    total: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Counted:
    """What a transfer took.

    Attributes:
        manifests: how many belong to it.
        manifests_sent: of them that were not there.
        blobs: how many belong to it.
        blobs_sent: of them that went over the line.
        blobs_mounted: of them that the registry had in another repository.
        bytes_sent: of blobs, over the line, cut tries included.
        bytes_skipped: of blobs that were there, or were mounted.
        listed_by: ``api`` or ``tag``: how what hangs on it is found.
    """

    manifests: int
    manifests_sent: int
    blobs: int
    blobs_sent: int
    blobs_mounted: int
    bytes_sent: int
    bytes_skipped: int
    listed_by: By


class _Tally:
    """Counts blobs, from several threads."""

    def __init__(self, total: int, watch: Callable[[Event], None] | None) -> None:
        self._total = total
        self._watch = watch
        self._lock = Lock()
        self._done = 0
        self.sent = self.mounted = self.bytes_sent = self.bytes_skipped = 0

    def add(self, blob: Descriptor, how: How, count: int) -> None:
        with self._lock:
            self._done += 1
            self.bytes_sent += count
            self.sent += how in ("sent", "received")
            self.mounted += how == "mounted"
            self.bytes_skipped += blob.size if how in ("mounted", "skipped") else 0
            if self._watch is not None:
                self._watch(
                    Event(
                        digest=blob.digest,
                        size=blob.size,
                        how=how,
                        done=self._done,
                        total=self._total,
                    )
                )


def into_repository(
    plan: Plan,
    source: Source,
    repository: Repository,
    tags: Sequence[tuple[str, str]],
    *,
    mount: str = "",
    watch: Callable[[Event], None] | None = None,
) -> Counted:
    """Blobs, then manifests, then what lists them; the tags last of all.

    Args:
        plan: what.
        source: where its blobs are.
        repository: where to.
        tags: each with the digest of a part, in the order to write them.
        mount: another repository of the same registry that has the blobs.
        watch: told of every blob.

    Raises:
        DigestError: bytes are not what their digest says.
        RegistryError: the registry refuses, or does not answer.
    """
    stop = repository.patience.stop
    tally = _Tally(len(plan.blobs), watch)
    # Digests of what was not there: no manifest that names it, and no tag, needs to be asked for.
    brought: set[str] = set()

    def carry(blob: Descriptor) -> None:
        sent = upload.put(repository, blob, lambda offset: source.opened(blob, offset), mount=mount)
        how: How = "mounted" if sent.mounted else "skipped" if sent.skipped else "sent"
        if not sent.skipped:
            brought.add(blob.digest)
        tally.add(blob, how, sent.bytes)

    def write(part: Part) -> bool:
        digest = part.descriptor.digest
        is_new = any(child.digest in brought for _, child in part.links.children)
        if not is_new and repository.points_to(digest) == digest:
            return False
        repository.put_manifest(digest, part.data, part.descriptor.media_type)
        brought.add(digest)
        return True

    # The longest first, so that none is left to run alone at the end.
    blobs = sorted(plan.blobs.values(), key=lambda each: -each.size)
    crew.gather([partial(carry, blob) for blob in blobs], stop)
    written = 0
    for batch in plan.batches():
        written += sum(crew.gather([partial(write, part) for part in batch], stop))
    subjects = plan.subjects()
    if subjects:
        listing.see_to(repository, subjects)
    for tag, digest in tags:
        part = plan.parts[digest]
        if digest in brought or repository.points_to(tag) != digest:
            repository.put_manifest(tag, part.data, part.descriptor.media_type)
    return _counted(plan, tally, written, repository)


def into_store(
    plan: Plan,
    repository: Repository,
    store: Store,
    names: Sequence[tuple[str, str | None]],
    *,
    watch: Callable[[Event], None] | None = None,
) -> Counted:
    """Blobs, then manifests; all entries at once, when everything is there.

    Args:
        plan: what.
        repository: where from.
        store: where to.
        names: digests of the parts that become entries, with the names they get; what hangs on
            something becomes an entry without one.
        watch: told of every blob.

    Raises:
        DigestError: bytes are not what their digest says.
        RegistryError: the registry refuses, or does not answer.
        StoreError: the store cannot be written.
    """
    stop = repository.patience.stop
    tally = _Tally(len(plan.blobs), watch)

    def fetch(blob: Descriptor) -> None:
        if _is_sound(store, blob):
            tally.add(blob, "skipped", 0)
        else:
            tally.add(blob, "received", _fetch(repository, blob, store))

    with store.lease():
        blobs = sorted(plan.blobs.values(), key=lambda each: -each.size)
        crew.gather([partial(fetch, blob) for blob in blobs], stop)
        written = 0
        for batch in plan.batches():
            for part in batch:
                written += not store.has(part.descriptor.digest)
                store.put_bytes(part.data, part.descriptor.media_type)
        roots = {digest for digest, _ in names}
        entries: list[tuple[Descriptor, str | None]] = [
            (part.descriptor, None)
            for parts in plan.subjects().values()
            for part in parts
            if part.descriptor.digest not in roots
        ]
        entries += [(plan.parts[digest].descriptor, name) for digest, name in names]
        store.tag_all(entries)
    return _counted(plan, tally, written, repository)


def _fetch(repository: Repository, blob: Descriptor, store: Store) -> int:
    """One blob, going on where a command had ended; bytes over the line."""
    while True:
        there = 0
        try:
            with store.receive(blob.digest, blob.size) as incoming:
                there = incoming.length
                _fill(repository, blob, incoming)
        except DigestError as error:
            if there:
                continue  # what was left may have been no good; it is gone now
            said = error.message
            msg = said if str(repository) in said else f"{repository}: {said}"
            raise DigestError(msg, LIES) from error
        return blob.size - there


def _fill(repository: Repository, blob: Descriptor, incoming: Incoming) -> None:
    """The rest of a blob, going on where a cut was."""
    done = False

    def attempt() -> None:
        nonlocal done
        if done or (blob.size and incoming.length == blob.size):
            return
        with repository.blob(blob, incoming.length) as pieces:
            for piece in pieces:
                incoming.write(piece)
        done = True

    repository.persist(attempt, lambda: incoming.length)


def _is_sound(store: Store, blob: Descriptor) -> bool:
    if store.size(blob.digest) != blob.size:
        return False
    try:
        with store.path(blob.digest).open("rb") as stream:
            return digests.of_stream(stream) == blob.digest
    except OSError:
        return False


def _counted(plan: Plan, tally: _Tally, written: int, repository: Repository) -> Counted:
    by: dict[bool | None, By] = {None: "", True: "api", False: "tag"}
    return Counted(
        manifests=len(plan.parts),
        manifests_sent=written,
        blobs=len(plan.blobs),
        blobs_sent=tally.sent,
        blobs_mounted=tally.mounted,
        bytes_sent=tally.bytes_sent,
        bytes_skipped=tally.bytes_skipped,
        listed_by=by[repository.has_referrers],
    )
