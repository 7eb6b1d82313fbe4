"""Brings what a device lacks: over the line, or out of a registry; goes on after a cut."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Protocol

from buildkit import digests
from buildkit.device import answers
from buildkit.device.calls import LOOK_S, SHORT_S, Patience
from buildkit.errors import DeviceError, DigestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager

    from buildkit.device.agent import Agent
    from buildkit.device.answers import Missing
    from buildkit.device.types import Blob

_PIECE = 1 << 20


class Source(Protocol):
    """Where the bytes of blobs come from."""

    def __call__(self, digest: str) -> AbstractContextManager[BinaryIO]:
        """Open one, at its beginning; it can be sought in."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Registry:
    """A registry that the device itself can reach.

    Attributes:
        url: ``http(s)://host:port``.
        repository: in it.
        user: empty when it asks for none.
        password: of that user.
        ca: PEM of the certificates that it is held against; empty for those of the device.
    """

    url: str
    repository: str
    user: str = ""
    password: str = field(default="", repr=False)
    ca: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Retries:
    """How often a cut line is taken up again.

    Attributes:
        budget_s: seconds after a cut without a further byte on the device, after which to give
            up.
        first_contact_s: the same for a device that has not answered yet: it may not be there.
        first_s: pause after the first cut; each is twice the one before.
        longest_s: longest pause.
    """

    budget_s: float = 180.0
    first_contact_s: float = 10.0
    first_s: float = 1.0
    longest_s: float = 20.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivered:
    """What it took.

    Attributes:
        blobs: how many were not there, or not whole.
        bytes: of them that were not there.
        cuts: how often the line was cut.
    """

    blobs: int
    bytes: int
    cuts: int


@dataclass(slots=True)
class _Way:
    """One delivery, over all its attempts."""

    agent: Agent
    blobs: Sequence[Blob]
    patience: Patience
    retries: Retries
    first: int = -1
    least: int = -1
    wanted: int = 0
    cuts: int = 0
    pause: float = 0.0
    dead_since: float | None = None

    def run(self, bring: Callable[[Sequence[Missing]], None]) -> Delivered:
        while True:
            try:
                left = missing(self.agent, self.blobs, self.patience)
                self._count(left)
                if left:
                    bring(left)
            except DeviceError as error:
                # Only the line gets better by itself.
                if (error.kind, error.blame) != ("network", "network"):
                    raise
                self._wait(error)
            else:
                return Delivered(blobs=self.wanted, bytes=self.first, cuts=self.cuts)

    def _count(self, left: Sequence[Missing]) -> None:
        lacking = sum(each.size - each.have for each in left)
        if self.first < 0:
            self.first, self.wanted = lacking, len(left)
        # Less than ever before: a blob that is thrown away and sent again is no progress.
        if not 0 <= self.least <= lacking:
            self.least, self.dead_since = lacking, None

    def _wait(self, error: DeviceError) -> None:
        now = time.monotonic()
        self.cuts += 1
        if self.dead_since is None:
            self.dead_since, self.pause = now, self.retries.first_s
        answered = self.first >= 0
        budget = self.retries.budget_s if answered else self.retries.first_contact_s
        if now + self.pause > self.dead_since + budget:
            raise error
        # It may hang on a line that is dead without knowing.
        self.agent.link.drop()
        end = time.monotonic() + self.pause
        while (left := end - time.monotonic()) > 0:
            self.patience.look(self.agent.link.device)
            time.sleep(min(left, LOOK_S))
        self.pause = min(2 * self.pause, self.retries.longest_s)


def missing(
    agent: Agent, blobs: Iterable[Blob], patience: Patience | None = None
) -> tuple[Missing, ...]:
    """What of `blobs` is not on the device, or not all of it.

    Raises:
        DeviceError: see `Agent.call`.
    """
    asked = tuple({blob.digest: blob for blob in blobs}.values())
    request = {"blobs": [{"digest": blob.digest, "size": blob.size} for blob in asked]}
    short = dataclasses.replace(patience or Patience(), whole_s=SHORT_S)
    return agent.call(
        "missing", request, lambda value: answers.missing(value, asked), patience=short
    )


def stream(
    agent: Agent,
    blobs: Iterable[Blob],
    source: Source,
    *,
    patience: Patience | None = None,
    retries: Retries | None = None,
) -> Delivered:
    """Send a device what it lacks of `blobs`, over the line.

    Args:
        agent: on the device.
        blobs: what it needs.
        source: where their bytes are.
        patience: of each call; its `Patience.progress` hears ``digest`` and ``bytes``.
        retries: of cut lines.

    Raises:
        DeviceError: the line was cut too often, or the device cannot keep them.
        DigestError: the bytes here are not what their digest says.
        OSError: the bytes here cannot be read.
    """
    waiting = Patience() if patience is None else patience
    sound: set[str] = set()

    def bring(left: Sequence[Missing]) -> None:
        for each in left:
            if each.digest not in sound:
                _check(each, source)
                sound.add(each.digest)

        def feed(put: Callable[[bytes], bool]) -> None:
            for each in left:
                if not _send(each, source, put):
                    return

        wanted = [each.digest for each in left]
        agent.call(
            "receive",
            {
                "blobs": [
                    {"digest": each.digest, "size": each.size, "offset": each.have} for each in left
                ]
            },
            lambda value: answers.arrived(value, "received", wanted),
            feed=feed,
            patience=waiting,
        )

    return _way(agent, blobs, waiting, retries).run(bring)


def pull(
    agent: Agent,
    blobs: Iterable[Blob],
    registry: Registry,
    *,
    patience: Patience | None = None,
    retries: Retries | None = None,
) -> Delivered:
    """Have a device bring what it lacks of `blobs` out of a registry.

    Args:
        agent: on the device.
        blobs: what it needs.
        registry: where it finds them.
        patience: of each call; its `Patience.progress` hears ``digest`` and ``bytes``.
        retries: of cut lines, to the device and from the registry.

    Raises:
        DeviceError: a line was cut too often, or the device cannot keep them.
    """
    waiting = Patience() if patience is None else patience
    by_digest = {blob.digest: blob for blob in blobs}

    def bring(left: Sequence[Missing]) -> None:
        wanted = [each.digest for each in left]
        agent.call(
            "pull",
            {
                "registry": registry.url,
                "repository": registry.repository,
                "blobs": [
                    {
                        "digest": digest,
                        "size": by_digest[digest].size,
                        "media_type": by_digest[digest].media_type,
                    }
                    for digest in wanted
                ],
                "user": registry.user,
                "password": registry.password,
                "ca": registry.ca,
            },
            lambda value: answers.arrived(value, "pulled", wanted),
            patience=waiting,
        )

    return _way(agent, by_digest.values(), waiting, retries).run(bring)


def _way(agent: Agent, blobs: Iterable[Blob], patience: Patience, retries: Retries | None) -> _Way:
    chosen = Retries() if retries is None else retries
    return _Way(agent=agent, blobs=tuple(blobs), patience=patience, retries=chosen)


def _check(each: Missing, source: Source) -> None:
    """Not to blame the line, or the device, for what is wrong here."""
    with source(each.digest) as file:
        found, size = digests.of_stream(file), file.tell()
    if found != each.digest or size != each.size:
        msg = f"{each.digest}: the bytes here are {size}, with digest {found}"
        raise DigestError(msg, "build it again: `python -m buildkit show` says what it is part of")


def _send(each: Missing, source: Source, put: Callable[[bytes], bool]) -> bool:
    """Send what is missing of a blob, exactly; whether the agent took all of it."""
    left = each.size - each.have
    with source(each.digest) as file:
        file.seek(each.have)
        while left:
            piece = file.read(min(left, _PIECE))
            if not piece:
                msg = f"{each.digest}: its file was cut while it was read"
                raise DigestError(msg, "run the command again")
            if not put(piece):
                return False
            left -= len(piece)
    return True
