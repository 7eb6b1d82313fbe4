"""Warm latency: one inference after the other, each between two readings of the clock.

Nothing but the call stands between the two readings. Inferences run in stretches; before one,
everything that it needs is allocated and the garbage collector is off; after it, outside any
measurement, outputs are checked, sensors and clocks read. What follows such a pause meets cold
caches, so each stretch begins with a few inferences that do not count.
"""

from __future__ import annotations

import gc
import random
import time
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import engine
from .samples import pack

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .answers import Checker
    from .golden import Feed, Golden
    from .profiles import Profile

MS = 1_000_000
SEED = 20260101  # of the order of the golden inputs; fixed, so that two runs ask the same
REENTRY = 2  # inferences after a pause that do not count ...
REENTRY_BELOW = 20 * MS  # ... where one is so short that cold caches would show
MOST_SAMPLES = 50_000  # of a window, about: more would fill the board's memory and the report
FEWEST_REPEATS = 5
LONGEST_STRETCH = 5000  # inferences
MOST_HELD = 32 << 20  # bytes of outputs held until the end of a stretch


@dataclass(slots=True)
class Stretch:
    """Raw times of inferences without a pause between them, monotonic nanoseconds.

    Attributes:
        begins: when each was called.
        ends: when it had returned.
        outputs: what it returned.
        cpu_ns: CPU time of the whole process in the meantime.
    """

    begins: list[int]
    ends: list[int]
    outputs: list[Any]
    cpu_ns: int

    def latencies(self) -> list[int]:
        """Nanoseconds of each inference."""
        return [end - begin for begin, end in zip(self.begins, self.ends, strict=True)]

    def span_ns(self) -> int:
        """From the begin of the first inference to the end of the last."""
        return self.ends[-1] - self.begins[0]


@dataclass(slots=True)
class Window:
    """Samples that are looked at together.

    Attributes:
        latencies: nanoseconds.
        gaps: from the end of an inference to the begin of the next; for the first of a stretch,
            from the origin of the run to its begin.
        stretches: index of the first sample of each stretch.
        busy_ns: time inside the stretches that were timed.
        spent_ns: the same with those that were not, see `Loop.window`.
        cpu_ns: CPU time of the whole process during the timed stretches.
        complete: long enough and with samples enough.
    """

    # Arrays, not lists: what they hold counts into the memory that is measured.
    latencies: array[int] = field(default_factory=lambda: array("Q"))
    gaps: array[int] = field(default_factory=lambda: array("Q"))
    stretches: list[int] = field(default_factory=list)
    busy_ns: int = 0
    spent_ns: int = 0
    cpu_ns: int = 0
    complete: bool = False

    def add(self, stretch: Stretch, origin_ns: int) -> None:
        """Append a stretch."""
        previous = [origin_ns, *stretch.ends[:-1]]
        self.stretches.append(len(self.latencies))
        self.latencies.extend(stretch.latencies())
        self.gaps.extend(b - p for b, p in zip(stretch.begins, previous, strict=True))
        self.busy_ns += stretch.span_ns()
        self.spent_ns += stretch.span_ns()
        self.cpu_ns += stretch.cpu_ns

    def document(self) -> dict[str, Any]:
        """As the report says it; raw samples packed."""
        return {
            "complete": self.complete,
            "busy_ns": self.busy_ns,
            "spent_ns": self.spent_ns,
            "cpu_ns": self.cpu_ns,
            "stretches": self.stretches,
            "latency": pack(self.latencies),
            "gap": pack(self.gaps),
        }


def measure(call: Callable[..., Any], names: Sequence[str], feeds: Sequence[Feed]) -> Stretch:
    """Time `call(names, feed)` for each feed."""
    count = len(feeds)
    begins, ends, outputs = [0] * count, [0] * count, [None] * count
    clock = time.monotonic_ns
    collecting = gc.isenabled()
    gc.disable()
    spent = time.process_time_ns()
    try:
        for place, feed in enumerate(feeds):
            begin = clock()
            output = call(names, feed)
            ends[place] = clock()
            begins[place] = begin
            outputs[place] = output
    finally:
        spent = time.process_time_ns() - spent
        if collecting:
            gc.enable()
    return Stretch(begins=begins, ends=ends, outputs=outputs, cpu_ns=spent)


class Loop:
    """Runs a session over golden inputs in a fixed random order, again and again."""

    def __init__(self, session: Any, golden: Golden, checker: Checker, origin_ns: int) -> None:
        self._call = session.run
        self._names = [output.name for output in session.get_outputs()]
        self._golden = golden
        self._checker = checker
        self._origin = origin_ns
        self._order = list(range(len(golden.feeds)))
        random.Random(SEED).shuffle(self._order)  # noqa: S311 - no secret
        self._next = 0
        self._held = 1  # bytes of one inference's outputs
        self._typical_ns = MS

    def first(self) -> int:
        """Nanoseconds of the first inference."""
        stretch = self._run([self._order[0]], timed=False)
        self._held = max(1, sum(getattr(part, "nbytes", 64) for part in stretch.outputs[0]))
        (spent,) = stretch.latencies()
        self._typical_ns = max(1, spent)
        return spent

    def warm(self, count: int, shortest_ms: int) -> int:
        """Inferences that do not count: at least `count`, and for a time; how many there were."""
        begin, done = time.monotonic_ns(), 0
        while done < count or time.monotonic_ns() - begin < shortest_ms * MS:
            spent = sorted(self._run(self._take(max(1, count - done)), timed=False).latencies())
            self._typical_ns = max(1, spent[len(spent) // 2])
            done += len(spent)
        return done

    def window(self, profile: Profile, pause: Callable[[], None]) -> Window:
        """One window; `pause` is called after each timed stretch.

        A model so fast that a window would hold far more than `MOST_SAMPLES` is kept running for
        just as long, but only one stretch of several is timed.
        """
        window = Window()
        length_ns = profile.window_ms * MS
        limit = time.monotonic_ns() + profile.window_limit_ms * MS
        while not window.complete and (not window.latencies or time.monotonic_ns() < limit):
            left_ns = max(length_ns - window.spent_ns, 0)
            left = max(profile.window_samples - len(window.latencies), 1)
            # A little more, or a window would end with ever shorter stretches.
            wanted = max(left, left_ns * 21 // (20 * self._typical_ns) + 1)
            fits = max(1, min(profile.sensor_ms * MS // self._typical_ns, MOST_SAMPLES // 10))
            self._reenter()
            stretch = self._run(self._take(min(wanted, fits)), timed=True)
            window.add(stretch, self._origin)
            count = len(stretch.begins)
            self._typical_ns = max(1, stretch.span_ns() // count)
            for _ in range(length_ns // (self._typical_ns * MOST_SAMPLES)):
                if window.spent_ns >= length_ns:
                    break
                window.spent_ns += self._run(self._take(count), timed=False).span_ns()
            window.complete = (
                window.spent_ns >= length_ns and len(window.latencies) >= profile.window_samples
            )
            pause()
        return window

    def repeated(self, profile: Profile) -> dict[str, Any]:
        """Blocks of one same input among blocks of varied ones (ABBA).

        A runtime that keeps answers is fast on the same input alone (as MLPerf's TEST04 asks).
        """
        same: list[int] = []
        varied: list[int] = []
        in_time = max(FEWEST_REPEATS, profile.window_ms * MS // self._typical_ns)
        fits = max(1, min(profile.repeats, in_time, MOST_HELD // self._held))
        for block, into in ((0, varied), (1, same), (1, same), (0, varied)):
            places = [self._order[0]] * fits if block else self._take(fits)
            self._reenter()
            into.extend(self._run(places, timed=False).latencies())
        return {"same": pack(same), "varied": pack(varied)}

    def rest(self, limit_ms: int) -> None:
        """Ask what was never asked, while there is time."""
        limit = time.monotonic_ns() + limit_ms * MS
        for place in self._checker.missing():
            if time.monotonic_ns() >= limit:
                break
            self._run([place], timed=False)

    def _reenter(self) -> None:
        if self._typical_ns < REENTRY_BELOW:
            self._run(self._take(REENTRY), timed=False)

    def _take(self, count: int) -> list[int]:
        """The next places in the order, no more than a stretch may have."""
        count = max(1, min(count, LONGEST_STRETCH, MOST_HELD // self._held))
        total = len(self._order)
        places = [self._order[(self._next + step) % total] for step in range(count)]
        self._next = (self._next + count) % total
        return places

    def _run(self, places: list[int], *, timed: bool) -> Stretch:
        feeds = [self._golden.feeds[place] for place in places]
        try:
            stretch = measure(self._call, self._names, feeds)
        except Exception as error:  # ONNX Runtime's errors have no class of their own
            raise engine.failed(error) from error
        self._checker.take(places, stretch.outputs, timed=timed)
        return stretch
