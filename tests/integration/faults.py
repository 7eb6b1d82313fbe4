"""Random faults during a smoke run, and what must hold after each of them.

A round is drawn from a seed and its number alone, so that any of them can be run again by itself;
what the machine's own timing does to it cannot be repeated.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import fault_evidence as evidence
from fault_board import AWAIT, IMAGES, LOADING, LOOK, RECEIVING, RUNNING
from fault_evidence import REF
from fault_rounds import FAULTS, HOST, PHASES, SLOW, Round, drawn
from fault_strikes import END, STRIKES
from orphans import adopt, is_shared, orphans

from buildkit.device import agent as agents
from buildkit.device import delivery, ssh, zips
from buildkit.errors import BuildkitError, DeviceError, ToolError
from buildkit.evidence.keys import KeyRing
from buildkit.pipeline import standins

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from buildkit.device.types import Device
    from buildkit.standin import Standin

__all__ = ["FAULTS", "PHASES", "SLOW", "Result", "Round", "Smoke", "World", "drawn"]

PATIENCE = 180.0
# A connection that ssh shares ends by itself a minute after its last call.
SSH_PERSISTS = 75.0

_SPREAD = {"begin": 1.5, "delivery": 7.0, "load": 4.0, "run": 6.0, "sign": 0.6, "store": 0.25}


@dataclass(kw_only=True)
class Result:
    """What became of a round.

    Attributes:
        round: which.
        status: exit status of the smoke run; negative for a signal.
        outcome: what it said; empty when it said nothing.
        findings: rule and blame of each.
        note: of the fault: that it came too late, or found nothing.
        seconds: of the run, of the board's way back to rest, and of the second run.
        wrong: what does not hold, in words; none in a good round.
    """

    round: Round
    status: int = 0
    outcome: str = ""
    findings: tuple[str, ...] = ()
    note: str = ""
    seconds: tuple[float, ...] = ()
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        asked = self.round
        said = [
            f"{asked.seed}/{asked.number}: {asked.fault} in {asked.phase} {asked.moment:.2f}",
            f"without {asked.blank or 'nothing'}",
            f"→ {self.status} {self.outcome or '-'} {' '.join(self.findings)}",
            " ".join(f"{each:.0f} s" for each in self.seconds),
        ]
        if self.note:
            said.append(f"({self.note})")
        return ", ".join([*said, *(f"WRONG: {each}" for each in self.wrong)])


class Smoke:
    """A smoke run that goes on."""

    def __init__(
        self, words: list[str], environment: dict[str, str], store: Path, folder: Path
    ) -> None:
        self.folder = folder
        self.index = store / "index.json"
        self.before = self.index.stat().st_ino
        folder.mkdir(parents=True)
        with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "buildkit", *words, "--store", str(store)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=environment,
                process_group=0,
            )
        self.began = time.monotonic()

    @property
    def said(self) -> str:
        """Standard error until now."""
        return (self.folder / "err").read_text(errors="replace")

    @property
    def goes_on(self) -> bool:
        return self.process.poll() is None

    def end(self) -> tuple[int, dict[str, Any]]:
        """Wait for its end: exit status, and what it printed."""
        try:
            self.process.wait(END)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        printed = (self.folder / "out").read_text()
        return self.process.returncode, json.loads(printed) if printed.strip() else {}


@dataclass(kw_only=True)
class World:
    """One board, and a host that is disturbed.

    Attributes:
        board: a stand-in that runs.
        device: the same, enrolled.
        devices: file that it is enrolled in.
        keys: folder of the key ring.
        store: a built recipe; never written.
        home: for what the rounds make.
    """

    board: Standin
    device: Device
    devices: Path
    keys: Path
    store: Path
    home: Path
    duration: float = 20.0
    image: str = ""
    _before: set[int] = field(default_factory=set)
    _since: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        adopt(wanted=True)
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            # Started in the background of a shell; what we start would ignore it too.
            signal.signal(signal.SIGINT, signal.default_int_handler)
        self._before = {pid for pid, _ in orphans()}
        self.temporary.mkdir(parents=True, exist_ok=True)
        self.policy.write_text(
            'schema = 1\n[smoke]\ntargets = ["pi5"]\ndevices = 1\nstandins = true\n'
        )

    @property
    def temporary(self) -> Path:
        return self.home / "tmp"

    @property
    def policy(self) -> Path:
        """Asks for one device."""
        return self.home / "policy.toml"

    def close(self) -> None:
        """Wait for what was killed with connections open; nothing else may be left."""
        end = time.monotonic() + SSH_PERSISTS
        while self.orphans() and time.monotonic() < end:
            time.sleep(0.1)
        left = self.orphans()
        adopt(wanted=False)
        assert left == []

    def start(self, store: Path, name: str) -> Smoke:
        """A smoke run, as a shell would start it."""
        words = ["smoke", REF, "--device", self.device.name, "--profile", "quick", "--json"]
        environment = {
            **os.environ,
            "TMPDIR": str(self.temporary),
            "EDGE_BUILDKIT_DEVICES": str(self.devices),
            "EDGE_BUILDKIT_KEYS": str(self.keys),
        }
        return Smoke(words, environment, store, store.with_name(name))

    def measure(self) -> None:
        """Run once without a fault: how long it takes, and what the image comes to."""
        # Other tests may have left images of theirs, which would be measured as well.
        self._blank("blobs")
        folder = self.home / "whole"
        self.copy(folder / "store")
        smoke = self.start(folder / "store", "run")
        status, said = smoke.end()
        assert (status, said.get("outcome")) == (0, "PASS"), smoke.said
        self.duration = time.monotonic() - smoke.began
        self.image = self.board.order(IMAGES)
        assert self.complaints() == []
        shutil.rmtree(folder)

    def copy(self, to: Path) -> None:
        """A store of one's own: blobs are never written twice, so links to them will do."""
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(self.store, to, copy_function=_link, symlinks=True)

    def run(self, asked: Round) -> Result:
        """One round, from a clean board to a clean board."""
        result = Result(round=asked)
        folder = self.home / f"{asked.seed}-{asked.number}"
        self.copy(folder / "store")
        self._blank(asked.blank)
        if asked.fault == "disk full before":
            self.board.fault("disk-full", str(asked.chance.choice([0, 1, 8, 20, 30, 45, 80])))
        smoke = self.start(folder / "store", "first")
        try:
            result.note = self._strike(asked, smoke)
            result.status, said = smoke.end()
        except (BuildkitError, subprocess.TimeoutExpired, ValueError) as error:
            result.wrong.append(f"{type(error).__name__}: {error}")
            result.status, said = -1, {}
        finally:
            smoke.process.kill()
            smoke.process.wait()
        took = time.monotonic() - smoke.began
        if "Traceback" in smoke.said:
            result.wrong.append(f"traceback: {smoke.said}")
        result.outcome = said.get("outcome", "")
        result.findings = tuple(
            f"{each['rule']}[{each['blame']}]"
            for trial in said.get("trials", ())
            for each in trial["findings"]
        )
        self._hold_host(result)
        result.wrong += self.said_wrong(folder / "store", result)
        result.note = f"{result.note} {self._heal()}".strip()
        rest = self._rest(result)
        second = self._second(folder / "store", result)
        result.seconds = (took, rest, second)
        if not result.wrong:
            shutil.rmtree(folder)
        return result

    def _blank(self, what: str) -> None:
        """Take away what is on the board: then delivery, or the load of the image, takes long."""
        if what:
            with ssh.connect(self.device) as link:
                agents.Agent(link=link, packed=zips.agent()).clean(blobs=what == "blobs")

    # When.

    def _strike(self, asked: Round, smoke: Smoke) -> str:
        """Wait for the moment, and let it happen; what is to be noted."""
        if not self._await(asked, smoke):
            return f"{asked.phase} never came"
        if not smoke.goes_on:
            return "too late"
        return STRIKES[asked.fault](self, asked, smoke) or ""

    def _await(self, asked: Round, smoke: Smoke) -> bool:
        if asked.fault == "disk full before":
            return True
        ways: dict[str, Callable[[], bool]] = {
            "begin": lambda: True,
            "any": lambda: True,
            "delivery": lambda: self._await_board(smoke, RECEIVING),
            "load": lambda: self._await_board(smoke, LOADING),
            "run": lambda: self._await_board(smoke, RUNNING),
            "sign": lambda: (
                self._await_board(smoke, RUNNING) and self._await_board(smoke, f"! {RUNNING}")
            ),
            "store": lambda: self._await_store(smoke),
        }
        came = ways[asked.phase]()
        spread = self.duration if asked.phase == "any" else _SPREAD[asked.phase]
        end = time.monotonic() + asked.moment * spread
        while came and smoke.goes_on and time.monotonic() < end:
            time.sleep(0.005)
        return came

    def _await_store(self, smoke: Smoke) -> bool:
        """Wait until the first evidence is in the store."""
        while smoke.goes_on:
            if smoke.index.stat().st_ino != smoke.before:
                return True
            time.sleep(0.002)
        return False

    def _await_board(self, smoke: Smoke, condition: str) -> bool:
        script = AWAIT.format(condition=condition)
        while smoke.goes_on:
            if self.board.order(script) == "yes":
                return True
        return False

    # What must hold.

    def orphans(self) -> list[tuple[int, str]]:
        """What rounds left running."""
        return [(pid, words) for pid, words in orphans() if pid not in self._before]

    def _hold_host(self, result: Result) -> None:
        """Nothing of the host goes on but a shared connection whose owner was killed."""
        killed = "killed" in result.round.fault
        end = time.monotonic() + 30
        while time.monotonic() < end:
            left = self.orphans()
            if not left or (killed and all(is_shared(words) for _, words in left)):
                break
            time.sleep(0.05)
        now = time.monotonic()
        left = self.orphans()
        for pid, words in left:
            if pid not in self._since and not (killed and is_shared(words)):
                result.wrong.append(f"the host left a process: {words}")
        self._since = {pid: self._since.get(pid, now) for pid, _ in left}
        for pid, words in left:
            if now - self._since[pid] > SSH_PERSISTS:
                result.wrong.append(f"a process that does not end: {words}")
        if not result.round.fault.startswith("host"):
            result.wrong += [f"the host left {each.name}" for each in self.temporary.iterdir()]

    def said_wrong(self, folder: Path, result: Result) -> list[str]:
        """What a run said, against what is in the store."""
        wrong = evidence.wrong(folder, self.ring)
        passed = evidence.passes(folder, self.device.target)
        wrong += [f"verdict {each}" for each in passed if each != "whole"]
        if result.status == 0 or result.outcome == "PASS":
            # Killed after it had said all: then it was too late, and the answer has to hold.
            late = result.round.fault.startswith("host") and result.status < 0
            if result.outcome != "PASS" or not (result.status == 0 or late):
                wrong.append(f"exit status {result.status} with outcome {result.outcome!r}")
            if not passed:
                wrong.append("PASS without a verdict in the store")
        elif passed and result.round.fault not in HOST:
            wrong.append("no PASS, but the store has one")
        if bool(passed) != evidence.counts(folder, self.ring, self.policy):
            wrong.append(f"{passed} in the store, but for a policy it counts: {not passed}")
        if result.status == 1 or result.outcome == "FAIL":
            wrong.append("FAIL: the artifact is good")
        return wrong

    @property
    def ring(self) -> KeyRing:
        return KeyRing.load(self.keys)

    def complaints(self) -> list[str]:
        """What is on the board that a clean one has not."""
        return self.board.order(LOOK).splitlines()

    def _rest(self, result: Result) -> float:
        """Ask the board something, as the next call does, until it is clean; how long it took."""
        began = time.monotonic()
        while True:
            asked, complaints = "", ["it does not answer"]
            try:
                with ssh.connect(self.device) as link:
                    delivery.missing(agents.Agent(link=link, packed=zips.agent()), [])
                complaints = self.complaints()
            except BuildkitError as error:
                asked = error.message
            took = time.monotonic() - began
            if not complaints:
                return took
            if took > PATIENCE:
                result.wrong.append(f"the board is not clean: {asked} {'; '.join(complaints)}")
                return took
            time.sleep(0.5)

    def _second(self, store: Path, result: Result) -> float:
        """The second run has to pass, and to leave nothing."""
        smoke = self.start(store, "second")
        status, said = smoke.end()
        seconds = time.monotonic() - smoke.began
        if (status, said.get("outcome")) != (0, "PASS"):
            result.wrong.append(f"the second run: {status} {said} {smoke.said}")
        result.wrong += [
            f"after the second run: {each}" for each in evidence.wrong(store, self.ring)
        ]
        if not evidence.counts(store, self.ring, self.policy) or "whole" not in evidence.passes(
            store, self.device.target
        ):
            result.wrong.append("the second run does not count")
        result.wrong += [f"the second run left {each}" for each in self.complaints()]
        result.wrong += [f"the host has {each.name}" for each in self.temporary.iterdir()]
        if (image := self.board.order(IMAGES)) != self.image:
            result.wrong.append(f"the unpacked image is another: {image}")
        return seconds

    def _heal(self) -> str:
        """Put the board right; cut its power when it takes no orders any more."""
        note = ""
        if not self.board.status().running:
            standins.start(self.board.name)
        try:
            self.board.heal()
        except (ToolError, DeviceError):
            self.board.cut()
            standins.start(self.board.name)
            self.board.heal()
            note = "it took no orders any more, so its power was cut"
        return note


def _link(source: str, to: str) -> str:
    if "/blobs/" in source:
        os.link(source, to)
    else:
        shutil.copy2(source, to)
    return to
