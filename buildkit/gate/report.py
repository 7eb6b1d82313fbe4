"""One report (docs/smoke-report.md) as numbers that can be trusted to be those of its samples.

A report was signed by a device, but may come from another version of the smoke test, or be broken.
So all that rules use is read here with a check of its form, and all that follows from raw samples
is computed again: a summary that says something else makes the report malformed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from buildkit.gate import stats
from buildkit.gate.measured import (
    CPU,
    SINCE_BOOT,
    Answers,
    Board,
    Measured,
    Reading,
    Settings,
    Window,
    names,
)
from buildkit.gate.reading import MOST_SAMPLES, Node

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SCHEMA: Final = "edge-smoke/report/v1"


def read(report: Mapping[str, Any]) -> Measured:
    """Read a report.

    Raises:
        MalformedError: it does not hold to its schema, or contradicts itself.
    """
    root = Node(report)
    if root["schema"].value != SCHEMA:
        root["schema"].refuse(f"is not {SCHEMA}")
    processes = list(root["processes"])
    windows = _windows(root, processes)
    ordered = sorted(value for window in windows for value in window.ordered)
    busy = sum(one["busy_ns"].number() for process in processes for one in process["windows"])
    latency = root["latency"]
    _summary(latency, ordered, busy)
    latency["incomplete_windows"].same(sum(not window.complete for window in windows))
    found = Measured(
        board=board(report),
        settings=_settings(root),
        answers=_answers(root["accuracy"], [process["accuracy"] for process in processes]),
        model_sha256=root["model"]["sha256"].text(),
        golden_sha256=root["golden"]["sha256"].text(),
        ordered=ordered,
        windows=windows,
        load_ns=tuple(process["load"]["load_ns"].number() for process in processes),
        first_ns=tuple(process["load"]["first_ns"].number() for process in processes),
        busy_ns=busy,
        memory_bytes=_largest([_memory(process["memory"]["steady"]) for process in processes]),
        oom_kills=_largest([each["cgroup"]["oom_kills"].maybe_number() for each in processes]),
        nodes=root["placement"]["nodes"].number(),
        ran={
            name: node["nodes"].number() for name, node in root["placement"]["providers"].members()
        },
        readings=_readings(root["sensors"], [process["sensors"] for process in processes]),
        jumps=tuple(
            (jump["kind"].text(), jump["by_ns"].number(low=-(1 << 63)))
            for clock in (root["clock"], *(process["clock"] for process in processes))
            for jump in clock["jumps"]
        ),
        why={name: node.text() for name, node in root["unknown"].members()},
    )
    _placement(root["placement"], found)
    _throttling(root["sensors"]["throttling"], found)
    return found


def _windows(root: Node, processes: list[Node]) -> tuple[Window, ...]:
    profile = root["profile"]
    if len(processes) != profile["processes"].number(low=1):
        root["processes"].refuse("are not as many as the profile has")
    told = list(root["latency"]["windows"])
    found: list[Window] = []
    samples = 0
    for number, process in enumerate(processes):
        mine = list(process["windows"])
        if len(mine) != profile["windows"].number(low=1):
            process["windows"].refuse("are not as many as the profile has")
        for place, window in enumerate(mine):
            if len(found) >= len(told):
                root["latency"]["windows"].refuse("are not as many as were timed")
            samples += window["latency"]["count"].number()
            if samples > MOST_SAMPLES:
                root.refuse(f"holds more than {MOST_SAMPLES} samples")
            ordered = sorted(window["latency"].samples())
            summary, busy = told[len(found)], window["busy_ns"].number()
            summary["process"].same(number)
            summary["window"].same(place)
            _summary(summary, ordered, busy)
            if sum(ordered) > busy:
                window["busy_ns"].refuse("is less than its samples together")
            complete = window["complete"].flag()
            found.append(Window(process=number, ordered=ordered, complete=complete))
    if len(told) != len(found):
        root["latency"]["windows"].refuse("are not as many as were timed")
    return tuple(found)


def _summary(said: Node, ordered: Sequence[int], busy: int) -> None:
    """What a summary says must be what the samples give."""
    count = len(ordered)
    said["samples"].same(count)
    said["min_ns"].same(ordered[0] if count else None)
    said["max_ns"].same(ordered[-1] if count else None)
    for percent in (stats.MEDIAN, stats.P95, stats.P99):
        said[f"p{percent}_ns"].same(stats.quantile(ordered, percent) if count else None)
    said["p95_upper99_ns"].same(stats.upper(ordered, stats.P95))
    said["busy_ns"].same(busy)
    said["inferences_per_1000_s"].same(count * 10**12 // busy if busy else None)


def board(report: Mapping[str, Any]) -> Board:
    """What a report says of the board alone.

    Raises:
        MalformedError: it does not hold to its schema.
    """
    board = Node(report)["board"]
    mark = board["standin"]
    governors = board["cpu"]["governors"]
    return Board(
        model=board["model"].maybe_text(),
        machine=board["machine"].text(),
        kernel=board["kernel"]["release"].maybe_text(),
        page_bytes=board["page_bytes"].number(low=1),
        # An empty mark is a mark.
        standin="" if mark.value is False else mark.text().strip() or "a stand-in",
        governors=None if governors.unknown else governors.texts(),
        cores=board["cpu"]["usable_cores"].number(low=1),
    )


def _settings(root: Node) -> Settings:
    runtime = root["runtime"]
    asked = runtime["providers"]["asked"].texts()
    available = runtime["providers"]["available"].texts()
    missing = tuple(name for name in asked if name not in available)
    if runtime["providers"]["missing"].texts() != missing:
        runtime["providers"]["missing"].refuse("are not those that are asked and not available")
    return Settings(
        profile=root["profile"]["name"].text(),
        onnxruntime=runtime["onnxruntime"].text(),
        asked=asked,
        missing=missing,
        threads=runtime["threads"].number(),
        inter_op_threads=runtime["inter_op_threads"].number(),
        execution_mode=runtime["execution_mode"].text(),
        optimization=runtime["optimization"].text(),
        batch=root["model"]["batch"].number(low=1),
    )


def _answers(said: Node, parts: list[Node]) -> Answers:
    for key in ("differing", "not_finite"):
        said[key].same(sum(part[key].number() for part in parts))
    for key in ("samples", "correct"):
        said["timed"][key].same(sum(part["timed"][key].number() for part in parts))
    for part in parts:
        golden = part["golden"]
        if not golden["correct"].number() <= golden["answered"].number():
            golden.refuse("has more right answers than answers")
        if not golden["answered"].number() <= golden["samples"].number():
            golden.refuse("has more answers than inputs")
        golden["samples"].same(parts[0]["golden"]["samples"].number())
    for key in ("samples", "answered", "correct"):
        said["golden"][key].same(parts[0]["golden"][key].number())
    return Answers(
        samples=said["golden"]["samples"].number(),
        answered=min(part["golden"]["answered"].number() for part in parts),
        correct=min(part["golden"]["correct"].number() for part in parts),
        differing=said["differing"].number(),
        not_finite=said["not_finite"].number(),
        sha256=said["answers_sha256"].maybe_text(),
    )


def _memory(steady: Node) -> int | None:
    peak = steady["peak_rss_bytes"].maybe_number()
    swapped = steady["swap_bytes"].maybe_number()
    return None if peak is None or swapped is None else peak + swapped


def _largest(values: list[int | None]) -> int | None:
    """The largest; unknown if any is, because it may be the one."""
    known = [value for value in values if value is not None]
    return max(known) if len(known) == len(values) else None


def _readings(sensors: Node, columns: list[Node]) -> tuple[Reading, ...]:
    found = [_reading(sensors["before"])]
    for column in columns:
        times = [at.number() for at in column["at_ns"]]
        rows = zip(
            times,
            _column(column["temperature_mc"], len(times), low=-(1 << 31)),
            _column(column["clock_khz"], len(times)),
            _column(column["throttled"], len(times)),
            strict=True,
        )
        found += [
            Reading(at_ns=at, temperature_mc=heat, clock_khz=clock, bits=bits)
            for at, heat, clock, bits in rows
        ]
    return (*found, _reading(sensors["after"]))


def _column(values: Node, count: int, *, low: int = 0) -> list[int | None]:
    if values.unknown:
        return [None] * count
    found = [value.maybe_number(low) for value in values]
    if len(found) != count:
        values.refuse("are not as many as the times")
    return found


def _reading(said: Node) -> Reading:
    bits = said["throttled"]
    raw = None
    if not bits.unknown:
        raw = bits["raw"].number()
        for key, shift in (("now", 0), ("since_boot", SINCE_BOOT)):
            if set(bits[key].texts()) != set(names(raw >> shift)):
                bits[key].refuse("are not the bits of `raw`")
    return Reading(
        at_ns=said["at_ns"].number(),
        temperature_mc=said["temperature_mc"].maybe_number(low=-(1 << 31)),
        clock_khz=said["clock_khz"].maybe_number(),
        bits=raw,
    )


def _placement(said: Node, found: Measured) -> None:
    said["nodes"].same(sum(found.ran.values()))
    said["nodes_on_accelerator"].same(found.nodes - found.ran.get(CPU, 0))


def _throttling(said: Node, found: Measured) -> None:
    for key, bits in (("live", found.live), ("new", found.sticky)):
        told = None if said[key].unknown else set(said[key].texts())
        if told != (None if bits is None else set(names(bits))):
            said[key].refuse("does not follow from the readings")
