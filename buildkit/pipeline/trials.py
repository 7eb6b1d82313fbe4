"""What every smoke test has, wherever it runs: turns of image and model, a verdict, a signature."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from buildkit import digests, gate
from buildkit.device.types import Order
from buildkit.errors import InputError
from buildkit.evidence.statement import Subject
from buildkit.gate import documents
from buildkit.gate.types import Outcome
from buildkit.pipeline import candidate
from buildkit.recipe import TARGETS, SmokeSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from buildkit.device.delivery import Registry
    from buildkit.evidence.smoke import TestResult
    from buildkit.gate.types import Rules, Run, Verdict
    from buildkit.pipeline.candidate import Candidate
    from buildkit.pipeline.verdicts import Shelf
    from buildkit.store import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """What one device made of it.

    Attributes:
        device: its name.
        target: kind of device.
        rules: by which it was judged.
        verdict: the gate's.
        runs: of the last attempt, each as the gate saw it.
        baseline: runs of the baseline in between.
        attempts: how many it took.
        brought: bytes that went to the device.
        referrers: digests of the signed evidence that hangs on image and model now.
        tried: what ran: (what, digest).
    """

    device: str
    target: str
    rules: Rules
    verdict: Verdict
    runs: tuple[Run, ...]
    baseline: tuple[Run, ...] = ()
    attempts: int = 1
    brought: int = 0
    referrers: tuple[str, ...] = ()
    tried: tuple[tuple[str, str], ...] = ()

    @property
    def local(self) -> bool:
        """Whether it ran on no device at all."""
        return any(run.local for run in self.runs)

    @property
    def marks(self) -> tuple[str, ...]:
        """What a reader must know of where it ran: no device at all, or a stand-in."""
        found = []
        for run in self.runs:
            board = (run.report or {}).get("board")
            standin = board.get("standin") if isinstance(board, dict) else None
            if run.local:
                found.append("local: ran in this machine's engine, on no device")
            if isinstance(standin, str):
                found.append(f"stand-in: {standin.strip()}")
        return tuple(dict.fromkeys(found))


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What is to be tried, and how.

    Attributes:
        store: where image and model are, and where the evidence goes.
        ref: image index, by name or digest.
        limits: of the recipe.
        recipe: file of the recipe, when the user named it instead of an image.
        baseline: another image index, run in turns with the first; none when empty.
        registry: where devices bring blobs from; over the line when there is none.
    """

    store: Store
    ref: str
    limits: SmokeSpec = field(default_factory=SmokeSpec)
    recipe: Path | None = None
    baseline: str = ""
    registry: Registry | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """What devices of one target run, and by which rules it is judged."""

    chosen: Candidate
    other: Candidate | None
    rules: Rules

    @property
    def both(self) -> tuple[Candidate, ...]:
        """The candidate, then the baseline if there is one."""
        return (self.chosen,) if self.other is None else (self.chosen, self.other)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ran:
    """One run that came to its end, or did not.

    Attributes:
        run: as the gate sees it.
        payload: of its statement; nothing when nothing was said.
    """

    run: Run
    payload: bytes | None = None


class Bench(Protocol):
    """Where an image and a model are run."""

    def run(self, what: Candidate) -> Ran:
        """Run them once, to the end, well or badly, and keep what is said about it."""

    def recover(self) -> None:
        """Wait, before another attempt, until the place can be used again; not for ever."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """The candidate, or what it is compared with."""

    what: Candidate
    runs: list[Run] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """All turns of one attempt, and what the gate makes of them."""

    sides: tuple[Side, ...]
    verdict: Verdict
    number: int = 1

    @property
    def baseline(self) -> tuple[Run, ...]:
        """Runs of the baseline; none without one."""
        return tuple(self.sides[1].runs) if len(self.sides) > 1 else ()


def pair(asked: Asked, target: str) -> Pair:
    """What devices of a target are to run.

    Raises:
        InputError: no such target, or nothing for it.
        StoreError, DigestError: a part is missing or corrupt.
    """
    kind = TARGETS.get(target)
    if kind is None:
        msg = f"{target!r} is no target"
        raise InputError(msg, f"one of: {', '.join(TARGETS)}")
    return Pair(
        chosen=candidate.find(asked.store, asked.ref, kind),
        other=candidate.find(asked.store, asked.baseline, kind) if asked.baseline else None,
        rules=gate.rules(asked.limits, kind),
    )


def repeat(bench: Bench, what: Pair, say: Callable[[str], None]) -> Attempt:
    """Run it until it is decided, or has been tried as often as the rules allow: the last time."""
    number = 1
    while True:
        attempt = judge(_turns(bench, what, say), what.rules, number)
        say(f"{attempt.verdict.outcome}, attempt {number}")
        if not gate.retry(attempt.verdict, number, what.rules):
            return attempt
        number += 1
        bench.recover()


def _turns(bench: Bench, what: Pair, say: Callable[[str], None]) -> tuple[Side, ...]:
    """The candidate alone, or candidate and baseline in turns (ABBA)."""
    sides = tuple(Side(what=each) for each in what.both)
    turns = (*sides, *reversed(sides)) if len(sides) > 1 else sides
    for number, side in enumerate(turns, 1):
        of = f" {number} of {len(turns)}" if len(turns) > 1 else ""
        say(f"run{of}: {side.what.name}, profile {what.rules.profile}")
        ran = bench.run(side.what)
        side.runs.append(ran.run)
        if ran.payload is not None:
            side.payloads.append(ran.payload)
    return sides


def order(what: Candidate, rules: Rules, harness: str, *, runtime: str = "auto") -> Order:
    """One run of `what` by `rules`, with a nonce that nobody has seen.

    Args:
        what: image and model.
        rules: say how it runs.
        harness: digest of the smoke test.
        runtime: container runtime of the device.
    """
    return Order(
        nonce=secrets.token_hex(16),
        target=what.target.name,
        image_index=what.index.digest,
        image_manifest=what.image.digest,
        model_index=what.model_index.digest,
        model_manifest=what.model.digest,
        golden=what.golden.digest,
        smoke=harness,
        bundles=tuple(each.digest for each in what.bundles),
        blobs=what.blobs,
        runtime=runtime,
        memory_bytes=rules.memory_limit,
        profile=rules.profile,
        providers=rules.providers,
        threads=rules.threads,
        deadline_s=rules.deadline_s,
        governor=rules.governor,
    )


def judge(sides: tuple[Side, ...], rules: Rules, number: int = 1) -> Attempt:
    """What the gate makes of the runs of an attempt."""
    baseline = sides[1].runs if len(sides) > 1 else ()
    verdict = gate.judge(sides[0].runs, rules, sides[0].what.expected, baseline=baseline)
    return Attempt(sides=sides, verdict=verdict, number=number)


def finished(
    attempt: Attempt,
    rules: Rules,
    *,
    device: str,
    key: str = "",
    shelf: Shelf | None = None,
    brought: int = 0,
) -> Trial:
    """Write the verdict of the last attempt down.

    Args:
        attempt: that one.
        rules: by which it was judged.
        device: its name.
        key: id of the device's key; empty when it ran on none.
        shelf: where the signed verdict goes; nowhere when absent.
        brought: bytes that went to the device.

    Raises:
        SignerError: it cannot be signed.
        StoreError: the store cannot be written.
    """
    mine, verdict = attempt.sides[0], attempt.verdict
    referrers = [digest for run in mine.runs for digest in run.evidence]
    # Without a test result there is nothing that a verdict could rest on.
    if shelf is not None and mine.payloads:
        said = documents.statement(
            verdict,
            rules,
            image=Subject(name=mine.what.name, digest=mine.what.image.digest),
            model=Subject(name=mine.what.name, digest=mine.what.model.digest),
            runs=mine.runs,
            keys={device: key},
            inputs=[payload for side in attempt.sides for payload in side.payloads],
            resource=f"urn:edge-buildkit:image:{mine.what.index.digest}",
            at=int(time.time()),
            baseline=attempt.baseline,
        )
        if said is not None:
            referrers += [each.digest for each in shelf.say(said, mine.what.subjects)]
    return Trial(
        device=device,
        target=mine.what.target.name,
        rules=rules,
        verdict=verdict,
        runs=tuple(mine.runs),
        baseline=attempt.baseline,
        attempts=attempt.number,
        brought=brought,
        referrers=tuple(referrers),
        tried=(
            ("image index", mine.what.index.digest),
            ("image", mine.what.image.digest),
            ("model", mine.what.model.digest),
        ),
    )


def another(what: Candidate, said: TestResult) -> str:
    """Why a test result is about something else than `what`; empty when it is not.

    The index may be another one: it names the same manifests, and more.
    """
    file = digests.hex_of(what.weight.digest)
    found = {
        "target": (said.target, what.target.name),
        "image": (said.image, what.image.digest),
        "model": (said.model, what.model.digest),
        "golden data": (said.golden, what.golden.digest),
        # A run without a report names no file.
        "model file": (said.model_sha256 or file, file),
    }
    return next((name for name, (is_, should) in found.items() if is_ != should), "")


def outcome(trials: Sequence[Trial]) -> Outcome:
    """Of all devices together: one FAIL is a FAIL, and only all PASS are a PASS."""
    found = {trial.verdict.outcome for trial in trials}
    for worst in (Outcome.FAIL, Outcome.INCONCLUSIVE):
        if worst in found:
            return worst
    return Outcome.PASS if found else Outcome.INCONCLUSIVE
