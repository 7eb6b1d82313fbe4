"""A tag that says who may write other tags: one at a time, though no registry can compare and swap.

Whoever wants to write reads the tag, writes a claim there, waits, and reads again. A claim counts
if reading and writing took less than the window, and if after another window the tag still leads to
it. Two claims cannot both count: the later of the two was begun before the earlier was written, so
it was written within the window after that, and who made the earlier then reads the later (M.
Fischer's mutual exclusion; see L. Lamport, "A Fast Mutual Exclusion Algorithm", 1987).

A request that was cut may still arrive. So each claim is sent once, none is ever taken back but by
who holds it, and a holder of whose requests one may still be under way leaves it to lapse. What is
assumed, and what follows, is in ``docs/adr/0011-a-channel-is-claimed.md``.
"""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from buildkit import digests, media
from buildkit.errors import BuildkitError, RegistryError
from buildkit.registry.patience import Again, Denied, Stopped
from buildkit.store.documents import plain_artifact

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from buildkit.registry.repository import Repository

# Of a lease, from the reading before the claim on: when the last request may begin, and when the
# claim may be taken back. The rest is for what the network holds back.
MOVE = 1 / 4
END = 1 / 2
_MOST_LEASES = 3
_NONCE = "io.edge-buildkit.claim.nonce"


@dataclass(frozen=True, kw_only=True, slots=True)
class Times:
    """Times in seconds; all who share a registry must have the same.

    Attributes:
        window_s: within which a claim must be written, and for which it must stand.
        lease_s: that a claim of somebody else is respected, from when it was first seen.
        look_s: between two looks at it.
    """

    window_s: float = 3.0
    lease_s: float = 120.0
    look_s: float = 0.5


def free() -> bytes:
    """The manifest that the tag leads to when nobody holds it."""
    return plain_artifact(artifact_type=media.CLAIM, layers=(), annotations={})


def _claim() -> bytes:
    note = {_NONCE: secrets.token_hex(16)}
    return plain_artifact(artifact_type=media.CLAIM, layers=(), annotations=note)


class Hold:
    """A claim that counts."""

    def __init__(self, repository: Repository, began: float, times: Times) -> None:
        self._repository = repository
        self._began = began
        self._times = times
        # False while a request may be under way: it may take effect after the next one's.
        self._sure = True

    def put(self, pointer: str, data: bytes, media_type: str) -> None:
        """Write a manifest while nobody else may.

        Raises:
            DigestError: the registry understood other bytes.
            RegistryError: it does not take it, or it is too late to begin.
        """

        def attempt() -> None:
            if self._age() > self._times.lease_s * MOVE:
                msg = f"{self._repository}: too slow to write {pointer} while nobody else does"
                raise RegistryError(msg, "run the command again; what has been written counts")
            before, self._sure = self._sure, False
            try:
                self._repository.put_manifest_once(pointer, data, media_type)
            except Denied:
                self._sure = before
                raise
            self._sure = before

        self._repository.persist(attempt)

    def end(self, tag: str, say: Callable[[str], None]) -> None:
        """Let others in, if nothing of ours can arrive any more; else the claim lapses."""
        if self._sure and self._age() < self._times.lease_s * END:
            try:
                self._repository.put_manifest_once(tag, free(), media.MANIFEST)
            except (Again, BuildkitError):
                pass
            else:
                return
        say(f"{tag} is left to lapse: for {self._times.lease_s:.0f} s nobody moves it")

    def _age(self) -> float:
        return self._repository.patience.now() - self._began


@contextmanager
def held(
    repository: Repository,
    tag: str,
    *,
    still: Callable[[], bool],
    times: Times,
    say: Callable[[str], None],
    dice: random.Random,
) -> Iterator[Hold | None]:
    """Hold a tag for the length of the block.

    Args:
        repository: where it is; requests of its patience must end within an eighth of a lease.
        tag: that leads to the claim of who holds it.
        still: whether it is wanted at all; asked again and again.
        times: see `Times`.
        say: told when somebody else has to be waited for.
        dice: spreads those who wait.

    Yields:
        The hold; nothing when it is not wanted any more.

    Raises:
        RegistryError: the registry does not answer, or others never end.
    """
    hold = _awaited(repository, tag, still=still, times=times, say=say, dice=dice)
    try:
        yield hold
    finally:
        if hold is not None:
            hold.end(tag, say)


def _awaited(
    repository: Repository,
    tag: str,
    *,
    still: Callable[[], bool],
    times: Times,
    say: Callable[[str], None],
    dice: random.Random,
) -> Hold | None:
    patience = repository.patience
    nobody = ("", digests.of_bytes(free()))
    watched: str | None = None
    since, told = 0.0, False
    end = patience.now() + _MOST_LEASES * times.lease_s
    while patience.now() < end:
        if not still():
            return None
        at = repository.points_to(tag)
        if at != watched:
            # After the answer: when it was written is not known, but that was before.
            watched, since = at, patience.now()
        if at in nobody or patience.now() > since + times.lease_s:
            hold = _take(repository, tag, at, times)
            if hold is not None:
                return hold
        elif not told:
            told = True
            say(f"somebody holds {tag}: waiting for them")
        if patience.stop.wait(times.look_s * dice.uniform(0.5, 1.5)):
            raise Stopped
    msg = f"{repository}: others keep claiming {tag}, and nothing comes of it"
    raise RegistryError(msg, "run the command again when they have ended")


def _take(repository: Repository, tag: str, seen: str, times: Times) -> Hold | None:
    """Claim a tag that leads to `seen`; nothing when the claim does not count.

    One that does not count stands until it lapses: what it has overwritten may count.
    """
    patience, mine = repository.patience, _claim()
    began = patience.now()
    if repository.points_to(tag) != seen:
        return None
    try:
        repository.put_manifest_once(tag, mine, media.MANIFEST)
    except Again:
        return None
    if patience.now() - began >= times.window_s:
        return None
    if patience.stop.wait(times.window_s):
        raise Stopped
    if repository.points_to(tag) != digests.of_bytes(mine):
        return None
    return Hold(repository, began, times)
