"""Versions of one artifact, honestly built, signed, passed on a device; and who promotes them."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.append(str(Path(__file__).parents[1] / "evidence/verify"))
sys.path.append(str(Path(__file__).parents[1] / "registry"))

import signed_world
from signed_world import Made, ring, signed
from smoke_world import judged, key_id, ran

from buildkit import canonical, media
from buildkit.evidence.keys import KeyRing
from buildkit.evidence.signer import Who
from buildkit.pipeline import channels, promote
from buildkit.pipeline.promote import Answer, Asked, Promoted
from buildkit.registry import Access, Patience, parse
from buildkit.registry.claim import Times
from buildkit.store import REF_NAME, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from buildkit.evidence.journal import Record
    from buildkit.pipeline.channels import Home
    from buildkit.registry import Repository
    from buildkit.registry.transport import Answer as Answered
    from buildkit.registry.transport import Request, Transport

NAME = "tiny"
ONE, TWO, THREE = (f"{NAME}:1.{minor}.0" for minor in range(3))
POLICY = 'schema = 1\n[smoke]\ntargets = ["pi5"]\ndevices = 1\n'
TIMES = Times(look_s=10.0)


@dataclass(frozen=True)
class Key:
    """Signs with a key of the made-up world."""

    of: str = "good"

    @property
    def name(self) -> str:
        return f"key {self.of}"

    def bundle(self, payload: bytes) -> bytes:
        return signed(payload, self.of)


def publish(store: Store, version: str, *, name: str = NAME) -> Made:
    """What a build leaves, signed."""
    made = signed_world.put_artifacts(store, name, version)
    record = canonical.dump({"model_index": made.models})
    store.attach(store.resolve(made.image), media.BUILD, [(record, media.BUILD)])
    for statement in signed_world.statements(made).values():
        signed_world.attach(store, made, statement, signed(statement.payload()))
    return made


def passed(
    store: Store,
    made: Made,
    outcome: str = "PASS",
    *,
    device: str = "board",
    standin: bool = False,
    days: float = 1,
) -> None:
    """A device ran it, and a gate judged."""

    def mark(predicate: dict[str, Any]) -> None:
        predicate["run"]["report"]["board"]["standin"] = standin

    nonce = f"{device} {outcome} {days}"
    result = ran(made, nonce=nonce, change=mark)
    for key in (device, "good"):
        signed_world.attach(store, made, result, signed(result.payload(), key))
    at = int((datetime.now(UTC) - timedelta(days=days)).timestamp())
    verdict = judged(made, [result.payload()], devices=(device,), outcome=outcome, at=at)
    signed_world.attach(store, made, verdict, signed(verdict.payload()))


def build(root: Path) -> None:
    """``store`` with three versions, of which each passed, ``keys``, and ``policy.toml``."""
    root.mkdir(parents=True)
    store = Store.create(root / "store")
    for ref in (ONE, TWO, THREE):
        passed(store, publish(store, ref.partition(":")[2]))
    ring(root / "keys")
    (root / "policy.toml").write_text(POLICY)


class Clock(threading.Event):
    """A clock for one who does not want to wait: pauses end at once, and count nevertheless."""

    def __init__(self) -> None:
        super().__init__()
        self.at = 0.0

    def wait(self, timeout: float | None = None) -> bool:
        self.at += timeout or 0.0
        return self.is_set()

    def patience(self) -> Patience:
        return Patience(now=lambda: self.at, stop=self, read_s=5, connect_s=5)


@dataclass(frozen=True, kw_only=True, slots=True)
class Line(Access):
    """A way to a registry on which something happens to requests.

    Attributes:
        over: gets the real `Transport.send` and a request.
    """

    over: Callable[[Callable[..., Answered], Request], Answered]

    def repository(self, *about: Any, **how: Any) -> Repository:
        found = Access.repository(self, *about, **how)
        real = found._transport
        found._transport = _Over(real, self.over)  # type: ignore[assignment]
        return found


class _Over:
    def __init__(self, real: Transport, over: Callable[..., Answered]) -> None:
        self._real = real
        self._over = over

    def send(self, request: Request, authorization: str | None = None) -> Answered:
        return self._over(lambda: self._real.send(request, authorization), request)


@dataclass(frozen=True)
class Promoter:
    """Somebody with a store, a key ring and a policy.

    Attributes:
        root: folder with all of them.
        address: of a registry; its store's own channels when empty.
        times: of claims.
        patience: with a registry; by default of one who does not wait.
        key: who signs.
        expect: as in `Asked`.
        reader: for looking alone; a new one takes a while, for its certificates.
    """

    root: Path
    address: str = ""
    times: Times = TIMES
    key: str = "good"
    expect: str = ""
    policy: str = "policy.toml"
    patience: Patience = field(default_factory=lambda: Clock().patience())
    over: Callable[..., Answered] | None = None
    reader: Home | None = None

    @property
    def store(self) -> Store:
        return Store.open(self.root / "store")

    @property
    def place(self) -> str:
        return f"{self.address}/team/{NAME}" if self.address else NAME

    @property
    def access(self) -> Access:
        def nobody(*_: Any, **__: Any) -> Any:
            raise AssertionError

        given: dict[str, Any] = {
            "runner": nobody,
            "plain_http": True,
            "patience": self.patience,
            "environ": {"HOME": "/nonexistent"},
        }
        return Access(**given) if self.over is None else Line(**given, over=self.over)

    def home(self, say: list[str] | None = None) -> Home:
        if not self.address:
            return channels.InStore(self.store, NAME)
        told = [] if say is None else say
        return channels.InRegistry(
            parse(self.place), self.access, self.store, say=told.append, times=self.times
        )

    def asked(self, channel: str = "canary", **how: Any) -> Asked:
        given: dict[str, Any] = {
            "channel": channel,
            "store": self.store,
            "home": how.get("home") or self.home(),
            "policy_file": self.root / self.policy,
            "ring": KeyRing.load(self.root / "keys"),
            "signer": Who(spec="key", ready=lambda: Key(self.key)),
            "now": datetime.now(UTC),
            "expect": self.expect,
        }
        return Asked(**{**given, **how})

    def promote(self, ref: str = ONE, channel: str = "canary", **how: Any) -> Answer:
        return promote.promote(ref, self.asked(channel, **how), lambda _: None)

    def moved(self, ref: str = ONE, channel: str = "canary", **how: Any) -> Promoted:
        """Where it leads; it must have been allowed."""
        return allowed(self.promote(ref, channel, **how))

    def roll_back(self, channel: str = "canary", **how: Any) -> Promoted:
        return allowed(promote.roll_back(self.asked(channel, **how), lambda _: None))

    def having(self, **how: Any) -> Promoter:
        return dataclasses.replace(self, **how)

    def moves(self, ref: str) -> bool:
        """The move alone, of what is there already: one more record, signed."""
        home, last = self.home(), self.records()[0]
        image = self.store.resolve(ref)
        said = dataclasses.replace(
            last.said,
            number=last.said.number + 1,
            name=ref,
            image=image.digest,
            models=self.store.links(image).annotations[media.MODEL_DIGEST],
            previous=last.payload,
        )
        bundle = Key(self.key).bundle(said.statement().payload())
        return home.move("canary", home.read("canary"), image, bundle)

    def copied(self, root: Path, *, empty: bool = False) -> Promoter:
        """Somebody else, with a store of their own."""
        shutil.copytree(self.root, root, copy_function=_link)
        if empty:
            shutil.rmtree(root / "store")
            Store.create(root / "store")
        return dataclasses.replace(self, root=root)

    def digest(self, ref: str) -> str:
        return self.store.resolve(ref).digest

    def records(self, channel: str = "canary") -> Sequence[Record]:
        """The channel's journal, as somebody reads it who trusts these keys; the tag must agree."""
        home = self.reader or self.home()
        move = promote._Move(self.asked(channel, expect="", home=home), lambda _: None)
        return move.records


def _link(source: str, target: str) -> None:
    """Only blobs, which nobody writes into."""
    if "/blobs/" in source:
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def allowed(answer: Answer) -> Promoted:
    assert answer.promoted is not None, answer.report.findings
    return answer.promoted


__all__ = ["REF_NAME", "Made", "key_id", "signed", "signed_world"]
