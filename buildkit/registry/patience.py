"""How long to wait for a registry, and how often to ask again."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from buildkit.errors import RegistryError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_LATER = "run the command again: what is there already is not sent again"


class Again(Exception):
    """Worth another try; never leaves this room.

    Args:
        why: what happened, for the message when nothing helps.
        after: seconds that the registry asks to wait.
        met: whether anyone answered at all.
    """

    def __init__(self, why: str, *, after: float | None = None, met: bool = True) -> None:
        super().__init__(why)
        self.why = why
        self.after = after
        self.met = met


class Denied(Again):
    """The registry has not taken something, as it denies that it has the parts.

    docker-registry empties its record of a part before it writes it anew, so that whoever sends
    the same parts at the same time makes it deny what it has.

    Args:
        refusal: what to raise when it goes on.
    """

    def __init__(self, refusal: RegistryError) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class Stopped(Exception):
    """Another thread has failed, or the user wants an end; never leaves this room."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """Times in seconds.

    Attributes:
        budget_s: without any progress, after which to give up.
        first_contact_s: the same as long as the registry has never answered: it may not be there.
        first_s: pause after the first failure; each is twice the one before, and shortened by up
            to half at random, so that many clients do not come back at once.
        longest_s: longest pause of ours; a registry's own ``Retry-After`` may be longer.
        connect_s: for a connection, and for sending one piece.
        read_s: between two pieces of an answer.
        commit_s: for the answer to the end of an upload, which some registries copy first.
        document_s: for a whole manifest, list or token.
        slowest: bytes a second, below which a line counts as cut.
        now: the clock.
        stop: set when all is to end; pauses end with it.
    """

    budget_s: float = 120.0
    first_contact_s: float = 10.0
    first_s: float = 0.5
    longest_s: float = 15.0
    connect_s: float = 30.0
    read_s: float = 60.0
    commit_s: float = 300.0
    document_s: float = 60.0
    slowest: int = 1024
    now: Callable[[], float] = time.monotonic
    stop: threading.Event = field(default_factory=threading.Event)

    def look(self) -> None:
        """End here when all is to end.

        Raises:
            Stopped: it is.
        """
        if self.stop.is_set():
            raise Stopped

    def persist(self, attempt: Callable[[], T], progress: Callable[[], int] = lambda: 0) -> T:
        """Try until it works, or until too long nothing came of it.

        Args:
            attempt: one try.
            progress: a number that grows with what was reached.

        Raises:
            RegistryError: too long without progress.
        """
        since, reached, pause = self.now(), progress(), self.first_s
        while True:
            self.look()
            try:
                return attempt()
            except Again as error:
                now, found = self.now(), progress()
                if found > reached:
                    since, reached, pause = now, found, self.first_s
                wait = error.after
                if wait is None:
                    wait = pause * random.uniform(0.5, 1.0)  # noqa: S311 (spreads clients)
                    pause = min(2 * pause, self.longest_s)
                budget = self.budget_s if error.met else self.first_contact_s
                if now + wait > since + budget:
                    raise _given_up(error, now - since) from error.__cause__
                if self.stop.wait(wait):
                    raise Stopped from error


def _given_up(error: Again, seconds: float) -> RegistryError:
    if error.after is not None and seconds < 1:
        return RegistryError(f"{error.why}, and asks to wait {error.after:.0f} s", _LATER)
    remedy = _LATER if error.met else "check the host's name, its port, and the network"
    return RegistryError(f"{error.why} (tried for {seconds:.0f} s)", remedy)
