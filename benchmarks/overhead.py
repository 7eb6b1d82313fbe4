"""What measuring costs: p50 of the smoke test beside that of a bare loop around ONNX Runtime.

Model and golden data are the vision recipe's, the session's settings the same, and so are the
inputs and their order. The bare loop reads the clock, calls and reads the clock again, with the
garbage collector off and its list of times made before; it keeps no answer and checks none.

Twice: stretches of half a second by turns (ABBA) in one process and one session, so that nothing
but the loop differs, each round in a fresh process; and whole runs by turns (AB BA …), each in a
process of its own, as users start them. There a process as such is now faster, now slower.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from buildkit import media
from buildkit.pipeline import candidate
from buildkit.recipe import TARGETS
from buildkit.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[1]
WINDOWS = 3
WARM_SECONDS = 0.5
APART_SECONDS = 6.0  # three windows of the profile


@dataclass(frozen=True)
class Scene:
    """What is run, and where reports may be written."""

    home: Path
    model: Path
    golden: Path
    threads: int

    def child(self, *words: str) -> Any:
        """Run a program that imports the harness; what it prints, if that is JSON."""
        done = subprocess.run(
            [sys.executable, *words],
            env={**os.environ, "PYTHONPATH": os.pathsep.join((f"{ROOT}/device-smoke", str(ROOT)))},
            stdout=subprocess.PIPE,
            check=True,
        )
        return json.loads(done.stdout or "null")

    def mine(self, task: str) -> Any:
        """One task of this file, in a fresh process."""
        words = (str(self.model), str(self.golden), str(self.threads))
        return self.child(__file__, "--child", task, *words)

    def harness(self) -> int:
        """p50 of a whole run of the smoke test, nanoseconds."""
        report = self.home / "report.json"
        report.unlink(missing_ok=True)
        words = ["--model", str(self.model), "--golden", str(self.golden), "--out", str(report)]
        self.child("-m", "smoke", *words, "--threads", str(self.threads))
        return int(json.loads(report.read_bytes())["latency"]["p50_ns"])


def bare(session: Any, feeds: Sequence[Any]) -> list[int]:
    """Nanoseconds of each inference."""
    names = [output.name for output in session.get_outputs()]
    times = [0] * len(feeds)
    clock = time.perf_counter_ns
    gc.disable()
    for place, feed in enumerate(feeds):
        begin = clock()
        session.run(names, feed)
        times[place] = clock() - begin
    gc.enable()
    return times


class Child:
    """What runs in a fresh process: the model, its inputs, and the order in which they come."""

    def __init__(self, model: Path, golden: Path, threads: int) -> None:
        from smoke import engine  # noqa: PLC0415 - only children have the path for it
        from smoke import golden as data  # noqa: PLC0415
        from smoke.timing import SEED  # noqa: PLC0415

        self.session = engine.load(model, engine.Settings(threads=threads))
        self.golden = data.load(golden, engine.inputs(self.session))
        self._order = list(range(len(self.golden.feeds)))
        random.Random(SEED).shuffle(self._order)  # noqa: S311 - no secret
        self._next = 0

    def bare(self, count: int) -> list[int]:
        """The next `count` inputs, as the bare loop sees them."""
        places = range(self._next, self._next + count)
        self._next += count
        return bare(self.session, [self._feed(place) for place in places])

    def alone(self) -> int:
        """p50 of the bare loop."""
        warm = self._for(WARM_SECONDS, 10)
        typical = statistics.median(warm) / 1e9
        return median(self.bare(max(900, int(APART_SECONDS / typical))))

    def together(self) -> tuple[int, int, float]:
        """p50 of the harness's stretches and of the bare loop's; ratio, the median of all turns."""
        from smoke.answers import Checker  # noqa: PLC0415 - see above
        from smoke.clock import Watch  # noqa: PLC0415
        from smoke.host import Host  # noqa: PLC0415
        from smoke.profiles import PROFILES  # noqa: PLC0415
        from smoke.sensors import Sensors  # noqa: PLC0415
        from smoke.timing import MS, Loop  # noqa: PLC0415

        profile, origin = PROFILES["smoke"], time.monotonic_ns()
        watch, sensors, seen = Watch(origin), Sensors(Host()), [0]
        loop = Loop(self.session, self.golden, Checker(self.golden), origin)
        loop.first()
        loop.warm(profile.warmups, profile.warmup_ms)
        count = profile.sensor_ms * MS // median(self._for(WARM_SECONDS, 10))
        beside: list[list[int]] = []
        turns = 0

        def pause() -> None:
            nonlocal turns
            # As in smoke.worker.
            if watch.look() - seen[-1] >= profile.sensor_ms * MS:
                seen.append(sensors.read(watch.look()).at_ns)
            # A BB A, A BB A, …
            if turns % 2 == 0:
                beside.extend((self.bare(count), self.bare(count)))
            turns += 1

        stretches: list[list[int]] = []
        for _ in range(WINDOWS):
            window = loop.window(profile, pause)
            ends = [*window.stretches[1:], len(window.latencies)]
            stretches += [
                list(window.latencies[begin:end])
                for begin, end in zip(window.stretches, ends, strict=True)
            ]
        # The last turn has no second half where their number is odd.
        ours = [median(stretch) for stretch in stretches[: turns - turns % 2]]
        other = [median(stretch) for stretch in beside[: len(ours)]]
        ratios = [sum(ours[at : at + 2]) / sum(other[at : at + 2]) for at in range(0, len(ours), 2)]
        return median(ours), median(other), statistics.median(ratios)

    def _for(self, seconds: float, count: int) -> list[int]:
        begin, found = time.monotonic(), self.bare(count)
        while time.monotonic() - begin < seconds:
            found += self.bare(count)
        return found

    def _feed(self, place: int) -> Any:
        return self.golden.feeds[self._order[place % len(self._order)]]


def median(times: Sequence[int]) -> int:
    """The nearest rank, as in a report."""
    return statistics.median_low(times)


def tell(name: str, rounds: Sequence[tuple[int, int, float]]) -> None:
    """Print medians of both and of the ratio ours/bare, and its lowest and highest round."""
    ratios = [ratio for _, _, ratio in rounds]
    print(
        f"{name}: {statistics.median(ours for ours, _, _ in rounds) / 1e6:.3f} ms beside "
        f"{statistics.median(bare for _, bare, _ in rounds) / 1e6:.3f} ms; ratio "
        f"{statistics.median(ratios):.4f} ({min(ratios):.4f} to {max(ratios):.4f}), "
        f"{len(rounds)} rounds",
        flush=True,
    )


def built(home: Path) -> tuple[Path, Path]:
    """Model and golden data of the vision recipe, built in a project of its own."""
    recipe = home / "recipes/vision/recipe.toml"
    shutil.copytree(ROOT / "recipes/vision", recipe.parent)
    done = subprocess.run(
        [sys.executable, "-m", "buildkit", "build", recipe, "--json", "--quiet"],
        cwd=home,
        env={**os.environ, "EDGE_BUILDKIT_KEYS": str(home / "keys"), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        check=True,
    )
    result = json.loads(done.stdout)
    store = Store.open(Path(result["store"]))
    target = TARGETS["pi5" if platform.machine() == "aarch64" else "amd64"]
    found = candidate.find(store, result["image"]["digest"], target)
    (model,) = [
        part.digest
        for _, part in store.links(found.model).children
        if part.annotations.get(media.TITLE) == "model.onnx"
    ]
    return store.path(model), store.path(found.golden.digest)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8, help="fresh processes, or pairs of them")
    parser.add_argument("--threads", type=int, default=0, help="0: ONNX Runtime chooses")
    parser.add_argument("--model", type=Path, help="instead of the vision recipe's")
    parser.add_argument("--golden", type=Path, help="for --model")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        model, golden = (
            (options.model, options.golden) if options.model and options.golden else built(home)
        )
        scene = Scene(home, model, golden, options.threads)
        tell("in one process", [tuple(scene.mine("together")) for _ in range(options.rounds)])
        apart = []
        for number in range(options.rounds):
            if number % 2:
                other, ours = scene.mine("alone"), scene.harness()
            else:
                ours, other = scene.harness(), scene.mine("alone")
            apart.append((ours, other, ours / other))
        tell("in processes of their own", apart)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        task, model_file, golden_file, threads = sys.argv[2:]
        child = Child(Path(model_file), Path(golden_file), int(threads))
        print(json.dumps(child.together() if task == "together" else child.alone()))
    else:
        main()
