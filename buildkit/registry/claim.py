"""A tag that one writer at a time may move, though no registry can compare and swap.

Whoever wants to write claims the tag first: reads what it leads to, writes the claim there, waits,
and reads again. A claim counts only if reading and writing took less than the window, and if after
another window the tag still leads to it. Two claims cannot both count: the later of the two was
begun before the earlier was written, so it was written within the window after it, and the earlier
one then reads the later. Only clocks that run at one speed are needed, and a registry that shows
what was written last. (M. Fischer's mutual exclusion; see L. Lamport, "A Fast Mutual Exclusion
Algorithm", 1987, and ``docs/adr/0011-a-channel-is-claimed.md``.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from buildkit import digests, media
from buildkit.registry.patience import Stopped

if TYPE_CHECKING:
    from buildkit.registry.repository import Repository


@dataclass(frozen=True, kw_only=True, slots=True)
class Times:
    """Times in seconds; all who share a registry must have the same window.

    Attributes:
        window_s: within which a claim must be written, and for which it must stand.
        lease_s: that a claim is respected while nothing moves; who holds one ends sooner.
        look_s: between two looks at somebody else's claim.
    """

    window_s: float = 3.0
    lease_s: float = 120.0
    look_s: float = 0.5


def take(
    repository: Repository, tag: str, claim: bytes, *, seen: str, back_to: bytes, times: Times
) -> bool:
    """Claim a tag.

    Args:
        repository: where it is.
        tag: that is to be written.
        claim: bytes of a manifest that nobody else ever writes.
        seen: digest that the tag leads to; empty for none.
        back_to: manifest to write when it turns out that we were too slow.
        times: see `Times`.

    Returns:
        Whether it is ours alone now.

    Raises:
        RegistryError: it cannot be told.
    """
    patience = repository.patience
    began = patience.now()
    if repository.points_to(tag) != seen:
        return False
    repository.put_manifest(tag, claim, media.MANIFEST)
    in_time = patience.now() - began < times.window_s
    if in_time and patience.stop.wait(times.window_s):
        release(repository, tag, claim, back_to)
        raise Stopped
    if in_time:
        return repository.points_to(tag) == digests.of_bytes(claim)
    release(repository, tag, claim, back_to)
    return False


def release(repository: Repository, tag: str, claim: bytes, back_to: bytes) -> None:
    """Write `back_to` where our claim stands; does nothing where it does not stand any more.

    Raises:
        RegistryError: it cannot be done; others wait until the claim has lapsed.
    """
    if repository.points_to(tag) == digests.of_bytes(claim):
        repository.put_manifest(tag, back_to, media.MANIFEST)
