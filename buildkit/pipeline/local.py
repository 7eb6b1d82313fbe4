"""``smoke --local``: an image and its model in this machine's engine, marked as on no device."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from buildkit import scratch
from buildkit.device import zips
from buildkit.engine import Engine
from buildkit.engine.local import LocalOrder, run_local
from buildkit.errors import EngineError
from buildkit.gate import documents
from buildkit.pipeline import hostresult, other, trials, verdicts
from buildkit.pipeline.progress import Progress, Silent
from buildkit.pipeline.trials import Ran
from buildkit.run import run

if TYPE_CHECKING:
    from pathlib import Path

    from buildkit.engine.local import LocalRun
    from buildkit.evidence.signer import Who
    from buildkit.gate.types import Rules
    from buildkit.pipeline.candidate import Candidate
    from buildkit.pipeline.trials import Asked, Trial
    from buildkit.pipeline.verdicts import Shelf
    from buildkit.records import Descriptor
    from buildkit.run import Runner
    from buildkit.store import Store

DEVICE: Final = "local"
"""What a run on no device has in the place of a device's name."""


class Place(Protocol):
    """Runs one order (`buildkit.engine.local.run_local` with the engine given)."""

    def __call__(self, store: Store, order: LocalOrder) -> LocalRun:
        """Run it once.

        Raises:
            EngineError: the engine does not answer.
        """


def local(
    asked: Asked,
    target: str,
    *,
    signer: Who,
    progress: Progress | None = None,
    runner: Runner = run,
) -> tuple[Trial, ...]:
    """Try an image and its model in the engine.

    The engine is the one that the recipe's lock pins, and is started, where a recipe was named;
    for an image it is one that runs.

    Args:
        asked: what, and how; `Asked.registry` does not count.
        target: whose image and model, and by whose rules.
        signer: signs what was seen, and the verdict.
        progress: told what happens.
        runner: starts the engine.

    Returns:
        The one trial.

    Raises:
        BuildkitError: it could not begin: no such image, nothing for the target, no engine.
    """
    what, hear = trials.pair(asked, target), progress or Silent()
    shelf = verdicts.Shelf(store=asked.store, signer=signer.ready())
    engine = _engine(asked, hear, runner)

    def place(store: Store, order: LocalOrder) -> LocalRun:
        return run_local(engine, store, order)

    return (tried(what, place, store=asked.store, shelf=shelf, progress=hear),)


def tried(
    what: trials.Pair,
    place: Place,
    *,
    store: Store,
    shelf: Shelf,
    progress: Progress,
) -> Trial:
    """`local` with everything found and ready.

    Args:
        what: candidate, baseline, and rules.
        place: runs orders.
        store: has the images and models.
        shelf: where the evidence goes.
        progress: told what happens.

    Raises:
        EngineError: the engine does not answer, or did not start the image's program.
        SignerError: it cannot be signed.
        StoreError, DigestError: a part is missing or corrupt, or it cannot be written.
    """

    def say(text: str) -> None:
        progress.note(f"{DEVICE}: {text}")

    bench = _Bench(place=place, store=store, shelf=shelf, rules=what.rules, harness=zips.smoke())
    attempt = trials.repeat(bench, what, say)
    return trials.finished(attempt, what.rules, device=DEVICE, shelf=shelf)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Bench:
    """The engine as a place to run."""

    place: Place
    store: Store
    shelf: Shelf
    rules: Rules
    harness: zips.Packed

    def run(self, what: Candidate) -> Ran:
        """Run it there; what this host saw goes into the store."""
        order = trials.order(what, self.rules, self.harness.digest, runtime="docker")
        with scratch.folder() as folder:
            asked = LocalOrder(
                image=what.image,
                model=self._checked(what.weight, folder / "model.onnx"),
                golden=self._checked(what.golden, folder / "golden.npz"),
                smoke=self.harness.data,
                nonce=order.nonce,
                profile=order.profile,
                providers=order.providers,
                threads=order.threads,
                optimization=order.optimization,
                memory_bytes=order.memory_bytes,
                cpus=order.cpus,
                pids=order.pids,
                deadline_s=order.deadline_s,
            )
            began = int(time.time())
            found = self.place(self.store, asked)
        said = hostresult.result(
            hostresult.Seen(
                order=order,
                model=what.weight.digest,
                found=found,
                began=began,
                ended=int(time.time()),
            )
        )
        kept = self.shelf.say(said, what.subjects)
        run = documents.run_of(
            said.predicate,
            device=DEVICE,
            target=order.target,
            nonce=order.nonce,
            evidence=tuple(each.digest for each in kept),
        )
        return Ran(run=run, payload=said.payload())

    def recover(self) -> None:
        """Nothing to wait for: it is this machine."""

    def _checked(self, what: Descriptor, file: Path) -> Path:
        """A copy of a blob whose bytes are those of its digest."""
        with file.open("wb") as stream:
            self.store.copy(what.digest, stream)
        return file


def _engine(asked: Asked, progress: Progress, runner: Runner) -> Engine:
    """The engine to run in.

    Raises:
        EngineError: none runs, and no recipe was named that would say which to start.
    """
    if asked.recipe is not None:
        status = other.start_engine(asked.recipe, progress=progress, runner=runner)
        return Engine(status.identity, runner)
    for engine in Engine.known(runner):
        if engine.status().running:
            return engine
    msg = f"no engine runs that could run {asked.ref}"
    raise EngineError(
        msg, "start one: python -m buildkit engine start recipe.toml; or name recipe.toml itself"
    )
