"""Claims on a tag, in a world of its own time: whatever the network does, one at a time writes."""

from __future__ import annotations

import heapq
import itertools
import random
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from buildkit import digests
from buildkit.errors import RegistryError
from buildkit.registry import claim
from buildkit.registry.claim import END, MOVE, Hold, Times
from buildkit.registry.patience import Again, Denied, Patience, Stopped

if TYPE_CHECKING:
    from collections.abc import Callable

WINDOW, LEASE = 1.0, 40.0
TIMES = Times(window_s=WINDOW, lease_s=LEASE, look_s=0.3)
# Just under what `docs/adr/0011-a-channel-is-claimed.md` asks of the network.
HELD_BACK = LEASE / 2 * 0.98
TAG = "canary.claim"


class Killed(BaseException):
    """A process that does nothing more, not even clean up."""


class Time:
    """Threads of which one runs at a time, by a clock that moves when all of them sleep."""

    def __init__(self) -> None:
        self.at = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._idle = threading.Semaphore(0)
        self.errors: list[BaseException] = []

    def later(self, seconds: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.at + seconds, next(self._order), what))

    def sleep(self, seconds: float) -> None:
        wake = threading.Event()
        self.later(seconds, lambda: self._resume(wake))
        self._idle.release()
        assert wake.wait(30)

    def _resume(self, wake: threading.Event) -> None:
        wake.set()
        assert self._idle.acquire(timeout=30)

    def start(self, work: Callable[[], None], seconds: float = 0.0) -> None:
        def body() -> None:
            try:
                work()
            except Killed:
                pass
            except BaseException as error:  # noqa: BLE001 - shown by `run`
                self.errors.append(error)
            self._idle.release()

        thread = threading.Thread(target=body, daemon=True)

        def begin() -> None:
            thread.start()
            assert self._idle.acquire(timeout=30)

        self.later(seconds, begin)

    def run(self) -> None:
        while self._events:
            self.at, _, what = heapq.heappop(self._events)
            what()
        if self.errors:
            raise self.errors[0]


class Stop(threading.Event):
    """A pause of a `Patience` that sleeps by that clock."""

    def __init__(self, time: Time) -> None:
        super().__init__()
        self._time = time

    def wait(self, timeout: float | None = None) -> bool:
        self._time.sleep(timeout or 0.0)
        return self.is_set()


class Tags:
    """Tags of a registry: reads and writes take effect at one moment, some time after they began.

    Attributes:
        wrote: told of every write when it takes effect: who, tag, digest.
        killed: who does nothing more.
    """

    def __init__(self, time: Time, dice: random.Random, *, rough: float) -> None:
        self.time = time
        self.dice = dice
        self.rough = rough
        self.found: dict[str, str] = {}
        self.wrote: Callable[[int, str, str], None] = lambda *_: None
        self.killed: set[int] = set()

    def delay(self, most: float) -> float:
        """Mostly short, sometimes of a few windows, rarely all that is allowed."""
        kind = self.dice.random()
        if kind > self.rough:
            return self.dice.uniform(0, WINDOW / 5)
        return self.dice.uniform(0, most if kind < self.rough / 4 else 4 * WINDOW)


class Line:
    """What `claim` needs of a `Repository`, for one who uses it."""

    def __init__(self, tags: Tags, who: int) -> None:
        self._tags = tags
        self._who = who
        short = LEASE / 8
        self.patience = Patience(
            budget_s=short,
            first_contact_s=short,
            first_s=0.1,
            longest_s=0.5,
            now=lambda: tags.time.at,
            stop=Stop(tags.time),
        )

    def __str__(self) -> str:
        return "here/demo"

    def persist(self, attempt: Callable[[], Any]) -> Any:
        return self.patience.persist(attempt)

    def _live(self) -> None:
        if self._who in self._tags.killed:
            raise Killed

    def points_to(self, tag: str) -> str:
        tags = self._tags
        tags.time.sleep(tags.delay(2 * WINDOW))
        self._live()
        found = tags.found.get(tag, "")
        tags.time.sleep(tags.delay(2 * WINDOW))
        self._live()
        return found

    def put_manifest_once(self, tag: str, data: bytes, _: str) -> bool:
        tags, digest = self._tags, digests.of_bytes(data)
        comes = tags.delay(HELD_BACK)
        lost = tags.dice.random() < tags.rough / 4
        if not lost:

            def land() -> None:
                tags.found[tag] = digest
                tags.wrote(self._who, tag, digest)

            tags.time.later(comes, land)
        # The line may be cut at once, or the answer come too late.
        patience = LEASE / 8 if tags.dice.random() > tags.rough / 2 else 0.0
        tags.time.sleep(min(comes + 0.01, patience) if not lost else patience)
        self._live()
        if lost or comes + 0.01 > patience:
            msg = "cut"
            raise Again(msg)
        return False


class Scene:
    """Many who each want to write ``canary`` once, and look for whoever writes besides."""

    def __init__(self, seed: int, *, many: int, rough: float, kill: float) -> None:
        self.dice = random.Random(seed)  # noqa: S311 - the same again
        self.time = Time()
        self.tags = Tags(self.time, self.dice, rough=rough)
        self.tags.wrote = self._wrote
        self.kill = kill
        self.inside: set[int] = set()
        self.newest = -1
        self.moved: list[int] = []
        self.refused = 0
        for who in range(many):
            self.time.start(partial(self._use, who), self.dice.uniform(0, 3 * WINDOW))

    def _wrote(self, who: int, tag: str, _: str) -> None:
        if tag != TAG:
            assert who == self.newest, f"{who} writes after {self.newest} has begun to"

    def _use(self, who: int) -> None:
        line: Any = Line(self.tags, who)
        try:
            with claim.held(
                line, TAG, still=lambda: True, times=TIMES, say=lambda _: None, dice=self.dice
            ) as hold:
                assert hold is not None
                assert not self.inside, f"{who} comes to {self.inside}"
                self.inside.add(who)
                self.newest = who
                if self.dice.random() < self.kill:
                    self.time.later(self.dice.uniform(0, 3 * WINDOW), lambda: self._die(who))
                try:
                    for step in range(3):
                        hold.put("canary", f"{who} {step}".encode(), "")
                    self.moved.append(who)
                finally:
                    self.inside.discard(who)
        except RegistryError:
            self.refused += 1

    def _die(self, who: int) -> None:
        self.tags.killed.add(who)
        self.inside.discard(who)


@pytest.mark.parametrize("rough", [0.0, 0.1, 0.25])
@pytest.mark.parametrize("kill", [0.0, 0.3])
def test_never_two_at_once(rough: float, kill: float) -> None:
    moved = 0
    for seed in range(60):
        scene = Scene(seed, many=5, rough=rough, kill=kill)
        scene.time.run()
        moved += len(scene.moved)
        if not (rough or kill):
            assert sorted(scene.moved) == list(range(5))
            assert scene.time.at < LEASE
    assert moved > 60


def alone(rough: float = 0.0) -> tuple[Time, Tags, Any]:
    time = Time()
    dice = random.Random(1)  # noqa: S311 - the same again
    tags = Tags(time, dice, rough=rough)
    return time, tags, Line(tags, 0)


def taken(line: Any, **how: Any) -> Any:
    given = {"still": lambda: True, "times": TIMES, "say": lambda _: None, **how}
    dice = random.Random(2)  # noqa: S311 - the same again
    return claim.held(line, TAG, dice=dice, **given)


def in_time(work: Callable[[], None], time: Time) -> None:
    time.start(work)
    time.run()


def test_it_is_free_afterwards() -> None:
    time, tags, line = alone()

    def work() -> None:
        for _ in range(2):
            with taken(line) as hold:
                assert tags.found[TAG] != digests.of_bytes(claim.free())
                hold.put("canary", b"x", "")
            assert tags.found[TAG] == digests.of_bytes(claim.free())

    in_time(work, time)
    assert tags.found["canary"] == digests.of_bytes(b"x")
    assert time.at < 5 * WINDOW


def test_a_dead_holder_is_waited_for_one_lease() -> None:
    time, tags, line = alone()
    tags.found[TAG] = "of a dead one"
    said: list[str] = []

    def work() -> None:
        with taken(line, say=said.append) as hold:
            assert hold is not None
            assert time.at > LEASE

    in_time(work, time)
    assert said == [f"somebody holds {TAG}: waiting for them"]
    assert time.at < LEASE + 5 * WINDOW


def test_others_who_never_end() -> None:
    time, tags, line = alone()

    def claimed(number: int) -> None:
        tags.found[TAG] = str(number)

    for number in range(20):
        time.later(number * LEASE / 2, partial(claimed, number))

    def work() -> None:
        with pytest.raises(RegistryError, match="nothing comes of it"), taken(line):
            pass

    in_time(work, time)


def test_what_is_not_wanted_any_more() -> None:
    time, tags, line = alone()
    tags.found[TAG] = "of somebody"

    def work() -> None:
        with taken(line, still=lambda: time.at < 3) as hold:
            assert hold is None
        assert 3 <= time.at < 6

    in_time(work, time)
    assert tags.found[TAG] == "of somebody"


def test_a_slow_claim_does_not_count_and_is_not_taken_back() -> None:
    time, tags, line = alone()
    written: list[str] = []
    tags.wrote = lambda _, tag, digest: written.append(digest) if tag == TAG else None
    tags.delay = lambda most: 1.1 * WINDOW if most == HELD_BACK and not written else 0.0  # type: ignore[method-assign]

    def work() -> None:
        with taken(line) as hold:
            assert hold is not None
            # It had to wait for its own as for anybody's.
            assert time.at > LEASE

    in_time(work, time)
    assert len(written) == 3
    assert len(set(written)) == 3


def test_who_is_stopped_leaves_the_claim() -> None:
    time, tags, line = alone()
    time.later(WINDOW / 2, line.patience.stop.set)

    def work() -> None:
        with pytest.raises(Stopped), taken(line):
            pass

    in_time(work, time)
    assert tags.found[TAG] not in ("", digests.of_bytes(claim.free()))


def held(line: Any, time: Time) -> Hold:
    return Hold(line, time.at, TIMES)


@pytest.mark.parametrize("lands", [True, False])
def test_a_write_that_was_cut_leaves_the_claim_to_lapse(lands: bool) -> None:  # noqa: FBT001
    time, tags, line = alone()
    tags.found[TAG] = "mine"
    whole, cuts, again = line.put_manifest_once, [1], Again("cut")
    said: list[str] = []

    def cut(tag: str, data: bytes, kind: str) -> bool:
        if tag == "canary" and cuts.pop():
            if lands:
                whole(tag, data, kind)
            cuts.append(0)
            raise again
        return bool(whole(tag, data, kind))

    line.put_manifest_once = cut

    def work() -> None:
        hold = held(line, time)
        hold.put("canary", b"x", "")
        hold.end(TAG, said.append)

    in_time(work, time)
    # The second try worked; the first may arrive any time.
    assert tags.found == {TAG: "mine", "canary": digests.of_bytes(b"x")}
    assert said == [f"{TAG} is left to lapse: for 40 s nobody moves it"]


def test_a_write_that_was_denied_is_made_again_and_the_claim_taken_back() -> None:
    time, tags, line = alone()
    tags.found[TAG] = "mine"
    whole, denials = line.put_manifest_once, [1, 2]

    def deny(tag: str, data: bytes, kind: str) -> bool:
        if tag == "canary" and denials:
            denials.pop()
            raise Denied(RegistryError("the registry answers 400"))
        return bool(whole(tag, data, kind))

    line.put_manifest_once = deny

    def work() -> None:
        hold = held(line, time)
        hold.put("canary", b"x", "")
        hold.end(TAG, lambda _: None)

    in_time(work, time)
    free = digests.of_bytes(claim.free())
    assert tags.found == {TAG: free, "canary": digests.of_bytes(b"x")}


def test_who_is_too_late_writes_nothing_more() -> None:
    time, tags, line = alone()
    tags.found[TAG] = "of another by now"

    def work() -> None:
        hold = held(line, time)
        time.sleep(LEASE * MOVE * 1.01)
        with pytest.raises(RegistryError, match="too slow to write canary"):
            hold.put("canary", b"x", "")
        time.sleep(LEASE * (END - MOVE))
        hold.end(TAG, lambda _: None)

    in_time(work, time)
    assert tags.found == {TAG: "of another by now"}


def test_an_error_inside_frees_it() -> None:
    time, tags, line = alone()

    def work() -> None:
        with pytest.raises(ZeroDivisionError), taken(line):
            raise ZeroDivisionError

    in_time(work, time)
    assert tags.found[TAG] == digests.of_bytes(claim.free())


def test_a_registry_that_refuses_a_claim_says_so() -> None:
    time, _, line = alone()

    denied = RegistryError("the registry answers 403")

    def refuse(*_: Any) -> bool:
        raise denied

    line.put_manifest_once = refuse

    def work() -> None:
        with pytest.raises(RegistryError, match="403"), taken(line):
            pass

    in_time(work, time)
    assert time.at < WINDOW
