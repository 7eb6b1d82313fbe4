"""``smoke``: an image and its model on real boards, a verdict for each, and all of it signed."""

from __future__ import annotations

import threading
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any

from buildkit.device import agent as agents
from buildkit.device import delivery, session, ssh, zips
from buildkit.device.calls import Patience
from buildkit.device.types import Blob
from buildkit.errors import DeviceError, DeviceRefused, EvidenceError
from buildkit.gate import documents
from buildkit.pipeline import trials, verdicts
from buildkit.pipeline.progress import Progress, Silent
from buildkit.pipeline.trials import Ran, Side

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import BinaryIO

    from buildkit.device.answers import Note
    from buildkit.device.types import Device
    from buildkit.evidence.keys import KeyRing
    from buildkit.evidence.signer import Who
    from buildkit.gate.types import Rules
    from buildkit.pipeline.candidate import Candidate
    from buildkit.pipeline.trials import Asked, Pair, Trial

_LOOK_S = 0.2
# A Pi 5 boots in half of that.
_RECOVER_S = 90.0
_BREATH_S = 2.0


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
        work.found[target] = trials.pair(asked, target)
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
class _Work:
    """All that the devices' threads share; none of them changes it once they run."""

    asked: Asked
    ring: KeyRing
    shelf: verdicts.Shelf
    harness: zips.Packed
    courier: zips.Packed
    progress: Progress
    stop: threading.Event
    found: dict[str, Pair] = field(default_factory=dict)

    def trial(self, device: Device) -> Trial:
        """Everything with one device."""
        what = self.found[device.target]
        say = _Teller(device.name, self.progress)
        brought = 0
        try:
            with ssh.connect(device) as link:
                agent = agents.Agent(link=link, packed=self.courier)
                bench = _Bench(work=self, device=device, agent=agent, rules=what.rules, say=say)
                brought = bench.bring(what.both)
                attempt = trials.repeat(bench, what, say.note)
        except (DeviceError, DeviceRefused) as error:
            if self.stop.is_set():
                raise
            unrun = documents.unrun(error, device=device.name, target=device.target)
            attempt = trials.judge((Side(what=what.chosen, runs=[unrun]),), what.rules)
        return trials.finished(
            attempt,
            what.rules,
            device=device.name,
            key=device.key,
            shelf=self.shelf,
            brought=brought,
        )


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

    def recover(self) -> None:
        """A board that lost its power needs a minute; one that answers needs nothing."""
        end = time.monotonic() + _RECOVER_S
        while True:
            try:
                self.agent.facts(Patience(stop=self.work.stop))
            except DeviceError as error:
                if self.work.stop.is_set():
                    raise
                if error.kind != "network" or time.monotonic() > end:
                    # The next run says the same, and for the record.
                    return
            else:
                return
            self.work.stop.wait(_BREATH_S)

    def run(self, what: Candidate) -> Ran:
        """Run it there; what the device signed goes into the store."""
        device, work = self.device, self.work
        order = trials.order(what, self.rules, work.harness.digest, runtime=device.runtime)
        try:
            signed = session.run(
                self.agent,
                order,
                key=work.ring.device(device.key),
                patience=Patience(stop=work.stop, progress=self.say.stages),
            )
        except (DeviceError, DeviceRefused, EvidenceError) as error:
            if work.stop.is_set():
                raise
            return Ran(run=documents.unrun(error, device=device.name, target=device.target))
        kept = work.shelf.keep(signed, what.subjects)
        run = documents.run_of(
            signed.predicate,
            device=device.name,
            target=device.target,
            nonce=order.nonce,
            evidence=tuple(each.digest for each in kept),
        )
        return Ran(run=run, payload=signed.payload)


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
