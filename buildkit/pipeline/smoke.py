"""``smoke``: an image and its model on real boards, a verdict for each, and all of it signed."""

from __future__ import annotations

import secrets
import threading
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any

from buildkit import gate
from buildkit.device import agent as agents
from buildkit.device import delivery, session, ssh, zips
from buildkit.device.calls import Patience
from buildkit.device.types import Blob, Order
from buildkit.errors import DeviceError, DeviceRefused, EvidenceError, InputError
from buildkit.evidence.statement import Subject
from buildkit.gate import documents, page
from buildkit.gate.types import Outcome, Run
from buildkit.pipeline import candidate, verdicts
from buildkit.pipeline.progress import Progress, Silent
from buildkit.recipe import TARGETS, SmokeSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from buildkit.device.answers import Note
    from buildkit.device.delivery import Registry
    from buildkit.device.types import Device
    from buildkit.evidence.keys import KeyRing
    from buildkit.evidence.signer import Who
    from buildkit.gate.types import Rules, Verdict
    from buildkit.pipeline.candidate import Candidate
    from buildkit.store import Store

_LOOK_S = 0.2


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

    @property
    def marks(self) -> tuple[str, ...]:
        """What a reader must know of where it ran: no device at all, or a stand-in."""
        found = []
        for run in self.runs:
            board = (run.report or {}).get("board")
            standin = board.get("standin") if isinstance(board, dict) else None
            if run.local:
                found.append("ran in this machine's engine, on no device")
            elif isinstance(standin, str):
                found.append(f"stand-in: {standin}")
        return tuple(dict.fromkeys(found))


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What is to be tried, and how.

    Attributes:
        store: where image and model are, and where the evidence goes.
        ref: image index, by name or digest.
        limits: of the recipe.
        baseline: another image index, run in turns with the first; none when empty.
        registry: where devices bring blobs from; over the line when there is none.
    """

    store: Store
    ref: str
    limits: SmokeSpec = field(default_factory=SmokeSpec)
    baseline: str = ""
    registry: Registry | None = None


def pages(ref: str, trials: Sequence[Trial], file: Path) -> tuple[Path, ...]:
    """Write the page of each trial; with several, the device's name goes before the suffix.

    Raises:
        InputError: it cannot be written.
    """
    written = []
    for trial in trials:
        own = file.with_name(f"{file.stem}-{trial.device}{file.suffix}")
        path = file if len(trials) == 1 else own
        facts = [("device", trial.device), ("target", trial.target), ("image", ref)]
        text = page.html(
            trial.verdict,
            trial.rules,
            title=f"{ref} on {trial.device}",
            runs=trial.runs,
            baseline=trial.baseline,
            facts=facts,
        )
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            msg = f"{path}: cannot be written: {error.strerror}"
            raise InputError(msg, "name a file in a folder that is there") from error
        written.append(path)
    return tuple(written)


def outcome(trials: Sequence[Trial]) -> Outcome:
    """Of all devices together: one FAIL is a FAIL, and only all PASS are a PASS."""
    found = {trial.verdict.outcome for trial in trials}
    for worst in (Outcome.FAIL, Outcome.INCONCLUSIVE):
        if worst in found:
            return worst
    return Outcome.PASS if found else Outcome.INCONCLUSIVE


def smoke(
    asked: Asked,
    devices: Sequence[Device],
    *,
    ring: KeyRing,
    signer: Who,
    progress: Progress | None = None,
) -> tuple[Trial, ...]:
    """Try an image and its model on devices, all at once.

    Args:
        asked: what, and how.
        devices: boards that are enrolled.
        ring: has their keys.
        signer: countersigns what they report, and signs the verdict.
        progress: told what happens.

    Returns:
        One trial for each device, in their order.

    Raises:
        BuildkitError: it could not begin: no such image, nothing for a target, no key.
    """
    hear = progress or Silent()
    work = _Work(
        asked=asked,
        ring=ring,
        shelf=verdicts.Shelf(store=asked.store, signer=signer.ready()),
        harness=zips.smoke(),
        courier=zips.agent(),
        progress=hear,
        stop=threading.Event(),
    )
    for target in {device.target for device in devices}:
        work.find(target)
    with ThreadPoolExecutor(max_workers=max(1, len(devices))) as pool:
        waiting = {pool.submit(work.trial, device) for device in devices}
        order = list(waiting)
        try:
            left = waiting
            # With a pause, so that Ctrl-C reaches this thread while the others wait.
            while left:
                _, left = wait(left, timeout=_LOOK_S, return_when=FIRST_COMPLETED)
        except BaseException:
            work.stop.set()
            raise
    found = {each.device: each for each in (future.result() for future in order)}
    return tuple(found[device.name] for device in devices)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Side:
    """The candidate, or what it is compared with."""

    what: Candidate
    runs: list[Run] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Work:
    """All that the devices' threads share; none of them changes it once they run."""

    asked: Asked
    ring: KeyRing
    shelf: verdicts.Shelf
    harness: zips.Packed
    courier: zips.Packed
    progress: Progress
    stop: threading.Event
    found: dict[str, tuple[Candidate, Candidate | None, Rules]] = field(default_factory=dict)

    def find(self, target: str) -> None:
        """Look up what devices of a target are to run."""
        asked, kind = self.asked, TARGETS[target]
        other = candidate.find(asked.store, asked.baseline, kind) if asked.baseline else None
        chosen = candidate.find(asked.store, asked.ref, kind)
        self.found[target] = (chosen, other, gate.rules(asked.limits, kind))

    def trial(self, device: Device) -> Trial:
        """Everything with one device."""
        chosen, other, rules = self.found[device.target]
        say = _Teller(device.name, self.progress)
        brought, attempt = 0, 1
        sides: tuple[_Side, ...] = (_Side(what=chosen),)
        try:
            with ssh.connect(device) as link:
                bench = _Bench(
                    work=self,
                    device=device,
                    agent=agents.Agent(link=link, packed=self.courier),
                    rules=rules,
                    say=say,
                )
                brought = bench.bring([each for each in (chosen, other) if each])
                while True:
                    sides = bench.attempt(chosen, other)
                    verdict = _judge(sides, rules)
                    say.note(f"{verdict.outcome}, attempt {attempt}")
                    if not gate.retry(verdict, attempt, rules):
                        break
                    attempt += 1
        except (DeviceError, DeviceRefused) as error:
            if self.stop.is_set():
                raise
            unrun = documents.unrun(error, device=device.name, target=device.target)
            sides = (_Side(what=chosen, runs=[unrun]),)
        verdict = _judge(sides, rules)
        return Trial(
            device=device.name,
            target=device.target,
            rules=rules,
            verdict=verdict,
            runs=tuple(sides[0].runs),
            baseline=_baseline(sides),
            attempts=attempt,
            brought=brought,
            referrers=self._keep(device, sides, rules, verdict),
        )

    def _keep(
        self, device: Device, sides: Sequence[_Side], rules: Rules, verdict: Verdict
    ) -> tuple[str, ...]:
        """Sign the verdict; digests of all evidence of the last attempt."""
        mine = sides[0]
        found = [digest for run in mine.runs for digest in run.evidence]
        said = documents.statement(
            verdict,
            rules,
            image=Subject(name=mine.what.name, digest=mine.what.image.digest),
            model=Subject(name=mine.what.name, digest=mine.what.model.digest),
            runs=mine.runs,
            keys={device.name: device.key},
            inputs=[payload for side in sides for payload in side.payloads],
            resource=f"urn:edge-buildkit:image:{mine.what.index.digest}",
            at=int(time.time()),
            baseline=_baseline(sides),
        )
        # Without a signed test result there is nothing that a verdict could rest on.
        if said is not None and mine.payloads:
            found += [each.digest for each in self.shelf.say(said, mine.what.subjects)]
        return tuple(found)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Bench:
    """One device that is connected."""

    work: _Work
    device: Device
    agent: agents.Agent
    rules: Rules
    say: _Teller

    def bring(self, wanted: Sequence[Candidate]) -> int:
        """Bring what it lacks; how many bytes that took."""
        work, total = self.work, 0
        blobs = {blob.digest: blob for each in wanted for blob in each.blobs}
        patience = Patience(stop=work.stop, progress=self.say.bytes(blobs))
        self.say.note("bringing what it lacks")
        if work.asked.registry is not None:
            done = delivery.pull(self.agent, blobs.values(), work.asked.registry, patience=patience)
            total += done.bytes
        harness = Blob(
            digest=work.harness.digest, size=len(work.harness.data), media_type="application/zip"
        )
        # What a registry had is there by now; the rest goes over the line.
        done = delivery.stream(
            self.agent, [*blobs.values(), harness], self._open, patience=patience
        )
        return total + done.bytes

    @contextmanager
    def _open(self, digest: str) -> Iterator[BinaryIO]:
        if digest == self.work.harness.digest:
            yield BytesIO(self.work.harness.data)
            return
        with self.work.asked.store.path(digest).open("rb") as file:
            yield file

    def attempt(self, chosen: Candidate, other: Candidate | None) -> tuple[_Side, ...]:
        """The candidate alone, or candidate and baseline in turns (ABBA)."""
        sides = tuple(_Side(what=each) for each in (chosen, other) if each is not None)
        order = (*sides, *reversed(sides)) if len(sides) > 1 else sides
        for number, side in enumerate(order, 1):
            of = f" {number} of {len(order)}" if len(order) > 1 else ""
            self.say.note(f"run{of}: {side.what.name}, profile {self.rules.profile}")
            self._run(side)
        return sides

    def _run(self, side: _Side) -> None:
        device, work = self.device, self.work
        order = _order(side.what, device, self.rules, work.harness.digest)
        try:
            signed = session.run(
                self.agent,
                order,
                key=work.ring.device(device.key),
                patience=Patience(stop=work.stop, progress=self.say.stages),
            )
        except (DeviceError, EvidenceError) as error:
            if work.stop.is_set():
                raise
            side.runs.append(documents.unrun(error, device=device.name, target=device.target))
            return
        kept = work.shelf.keep(signed, side.what.subjects)
        side.payloads.append(signed.payload)
        side.runs.append(
            documents.run_of(
                signed.predicate,
                device=device.name,
                target=device.target,
                nonce=order.nonce,
                evidence=tuple(each.digest for each in kept),
            )
        )


def _judge(sides: Sequence[_Side], rules: Rules) -> Verdict:
    return gate.judge(sides[0].runs, rules, sides[0].what.expected, baseline=_baseline(sides))


def _baseline(sides: Sequence[_Side]) -> tuple[Run, ...]:
    return tuple(sides[1].runs) if len(sides) > 1 else ()


def _order(what: Candidate, device: Device, rules: Rules, harness: str) -> Order:
    return Order(
        nonce=secrets.token_hex(16),
        target=device.target,
        image_index=what.index.digest,
        image_manifest=what.image.digest,
        model_index=what.model_index.digest,
        model_manifest=what.model.digest,
        golden=what.golden.digest,
        smoke=harness,
        bundles=tuple(each.digest for each in what.bundles),
        blobs=what.blobs,
        runtime=device.runtime,
        memory_bytes=rules.memory_limit,
        profile=rules.profile,
        providers=rules.providers,
        threads=rules.threads,
        deadline_s=rules.deadline_s,
        governor=rules.governor,
    )


@dataclass(frozen=True)
class _Teller:
    """Tells what one of several devices does."""

    name: str
    progress: Progress

    def note(self, text: str) -> None:
        """One line."""
        self.progress.note(f"{self.name}: {text}")

    def stages(self, note: Note) -> None:
        """What the agent is at."""
        if isinstance(note.get("stage"), str):
            self.note(str(note["stage"]))

    def bytes(self, blobs: Mapping[str, Blob]) -> Any:
        """Counts blobs as they arrive."""
        seen: set[str] = set()

        def hear(note: Note) -> None:
            digest = note.get("digest")
            blob = blobs.get(digest) if isinstance(digest, str) else None
            if blob is not None and note.get("bytes") == blob.size and blob.digest not in seen:
                seen.add(blob.digest)
                self.progress.step(len(seen), len(blobs), f"{self.name}: blobs")

        return hear
