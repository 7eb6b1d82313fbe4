"""Whether a run counts: right board, right settings, nothing that disturbed it. No limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from buildkit.gate import stats
from buildkit.gate.doubts import Reach, fail, unclear
from buildkit.gate.measured import CPU, names
from buildkit.gate.types import Blame
from buildkit.gate.words import degrees
from buildkit.markup import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from buildkit.gate.doubts import Doubt
    from buildkit.gate.measured import Measured
    from buildkit.gate.types import Failure, Rules, Run

NOISE: Final = 10
"""Percent that the medians of the windows of all runs may lie apart."""

ARTIFACT_KINDS: Final = frozenset(
    {"model", "golden", "memory", "runtime", "deadline", "architecture", "refused"}
)
"""Failures without a report that say something about the artifact."""


def failed(failure: Failure) -> Doubt:
    """What a run without a report means."""
    kind, message = shown(failure.kind), f"{shown(failure.kind)}: {shown(failure.message)}"
    if failure.blame is Blame.ARTIFACT and failure.kind in ARTIFACT_KINDS:
        return fail(kind, message)
    return unclear(kind, message, blame=failure.blame, reach=Reach.ALL)


def conditions(run: Run, found: Measured, rules: Rules) -> tuple[Doubt, ...]:
    """Why a run does not count, or not for all rules; empty when it does."""
    return (
        *_place(run, found, rules),
        *_settings(found, rules),
        *_providers(found, rules),
        *_throttled(run, found, rules),
        *_temperature(run, found, rules),
        *_clock(found),
        *_samples(found, rules),
    )


def _place(run: Run, found: Measured, rules: Rules) -> Iterator[Doubt]:
    board = found.board
    if rules.target and run.target != rules.target:
        message = f"the device is a {shown(run.target)}, and the rules are for {rules.target}"
        yield unclear("target", message, blame=Blame.HOST, reach=Reach.ALL)
    if rules.machine and board.machine != rules.machine:
        message = f"the machine is {shown(board.machine)}, and not {rules.machine}"
        yield unclear("target", message, reach=Reach.ALL)
    # This machine's engine runs the image, and is no board of the target.
    if run.local:
        return
    if rules.board and rules.board not in (board.model or ""):
        said = "is unknown" if board.model is None else f"is {shown(board.model)}"
        message = f"the board {said}, and must be a {rules.board}"
        yield unclear("target", message, reach=Reach.ALL)
    if rules.page_bytes is not None and board.page_bytes != rules.page_bytes:
        message = f"the kernel has pages of {board.page_bytes} bytes, and not {rules.page_bytes}"
        yield unclear("page", message, reach=Reach.ALL)
    # An emulated CPU has no frequency to govern.
    unknown_matters = not board.standin
    if rules.governor and board.governors is None and unknown_matters:
        message = f"the governor is unknown{_why(found, '/board/cpu/governors')}"
        yield unclear("governor", message, reach=Reach.TIMES)
    elif rules.governor and set(board.governors or ()) - {rules.governor}:
        message = f"the governor is {shown(', '.join(board.governors or ()))}"
        yield unclear("governor", f"{message}, and not {rules.governor}", reach=Reach.TIMES)


def _settings(found: Measured, rules: Rules) -> Iterator[Doubt]:
    settings = found.settings
    asked = rules.providers or (CPU,)
    if settings.asked != asked:
        said = shown(", ".join(settings.asked)) or "no provider"
        message = f"it ran with {said}, and was to run with {', '.join(asked)}"
        yield unclear("settings", message, blame=Blame.HOST, reach=Reach.ALL)
    for name, is_, should in (
        ("profile", settings.profile, rules.profile),
        ("threads", settings.threads, rules.threads),
    ):
        if is_ != should:
            message = f"{name} is {shown(str(is_))}, and was to be {should}"
            yield unclear("settings", message, blame=Blame.HOST, reach=Reach.TIMES)


def _providers(found: Measured, rules: Rules) -> Iterator[Doubt]:
    if found.settings.missing:
        message = f"{shown(', '.join(found.settings.missing))} is not in this ONNX Runtime"
        yield unclear("provider", message, reach=Reach.ALL)
        return
    wanted = [name for name in rules.providers if name != CPU]
    if wanted and not found.ran.get(wanted[0]):
        ran = shown(", ".join(sorted(found.ran))) or "nothing that was seen"
        message = f"{wanted[0]} ran no node of the model; {ran} did"
        yield unclear("fallback", message, reach=Reach.ALL)


def _throttled(run: Run, found: Measured, rules: Rules) -> Iterator[Doubt]:
    if found.live is None:
        # One reading may be missing, and another may have said it.
        seen = {bit for each in found.readings for bit in names(each.bits or 0)}
        if seen:
            message = f"throttled: {', '.join(sorted(seen))}"
            yield unclear("throttled", message, reach=Reach.TIMES)
        elif rules.tells_throttling and not run.local:
            reason = _why(found, "/sensors/throttling/live")
            message = f"whether the board was throttled is unknown{reason}"
            yield unclear("throttling", message, reach=Reach.TIMES)
        return
    if found.live:
        message = f"throttled: {', '.join(names(found.live))}"
        yield unclear("throttled", message, reach=Reach.TIMES)
    if found.sticky:
        message = f"throttled between two readings: {', '.join(names(found.sticky))}"
        yield unclear("throttled", message, reach=Reach.TIMES)


def _temperature(run: Run, found: Measured, rules: Rules) -> Iterator[Doubt]:
    limit = rules.max_temperature_c
    if limit is None or run.local:
        return
    known = [each.temperature_mc for each in found.readings if each.temperature_mc is not None]
    if known and max(known) > limit * 1000:
        message = f"the CPU had {degrees(max(known))}, above {limit:g} °C"
        yield unclear("temperature", message, reach=Reach.TIMES)
    elif len(known) < len(found.readings):
        message = f"the CPU's temperature is unknown{_why(found, '/sensors/before/temperature_mc')}"
        yield unclear("thermometer", message, reach=Reach.TIMES)


def _clock(found: Measured) -> Iterator[Doubt]:
    for kind, by_ns in found.jumps:
        if kind == "suspend":
            message = f"the machine slept for {abs(by_ns) / 1e9:.3g} s during the run"
            yield unclear("suspend", message, reach=Reach.TIMES)
        else:
            message = f"the wall clock jumped by {by_ns / 1e9:.3g} s during the run"
            yield unclear("clock", message, reach=Reach.TIMES)


def _samples(found: Measured, rules: Rules) -> Iterator[Doubt]:
    if len(found.ordered) < rules.min_samples:
        message = f"{len(found.ordered)} timed inferences, and {rules.min_samples} are needed"
        yield unclear("samples", message, reach=Reach.TIMES)
    short = sum(not window.complete for window in found.windows)
    if short:
        message = f"{short} of {len(found.windows)} windows ended before they were complete"
        yield unclear("windows", message, reach=Reach.TIMES)


def noise(windows: Sequence[Sequence[int]]) -> Iterator[Doubt]:
    """Whether medians of windows lie too far apart for any of them to be believed.

    Args:
        windows: of all runs of one side; the samples of each, sorted.
    """
    medians = [stats.quantile(window, stats.MEDIAN) for window in windows if window]
    if medians and max(medians) * 100 > min(medians) * (100 + NOISE):
        apart = (max(medians) / max(min(medians), 1) - 1) * 100
        message = f"medians of windows lie {apart:.0f} % apart, and {NOISE} % is the most"
        yield unclear("noise", message, reach=Reach.TIMES)


def _why(found: Measured, pointer: str) -> str:
    reason = found.why.get(pointer)
    return f" ({shown(reason)})" if reason else ""
