"""A made-up store with a history: builds, test results, verdicts, promotions; and its index.

What is signed is signed with the keys of `signed_world` (``good`` is the user's own, ``board`` and
``board2`` are devices'), and read as any other store is.
"""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.append(str(Path(__file__).parents[1] / "evidence/verify"))

import signed_world
import sqlalchemy as sql
from signed_world import EPOCH, Made, put_artifacts, signed, statements
from smoke_world import ARM, judged, ran

from buildkit import canonical
from buildkit.audit import database, schema, sync
from buildkit.audit.judge import Trust
from buildkit.evidence import kinds
from buildkit.evidence.keys import KeyRing, public_key
from buildkit.evidence.policytypes import Policy
from buildkit.evidence.promotion import Promotion
from buildkit.evidence.smoke import payload_digest
from buildkit.evidence.statement import Statement, Subject
from buildkit.evidence.verify import anchors as believed
from buildkit.pipeline.channels import InStore
from buildkit.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from buildkit.audit.database import Index
    from buildkit.audit.sync import Synced
    from buildkit.evidence.verify.signatures import Anchors

DAY = 86400
RULES = "sha256:" + "7" * 64
BOARDS = ("board", "board2")

Rows = dict[str, list[tuple[Any, ...]]]


def key_id(name: str) -> str:
    """Id of a key of this test run."""
    return public_key(signed_world.pem(name), name).id


@dataclass(kw_only=True)
class World:
    """A store that somebody works in.

    Attributes:
        root: folder with ``store``, ``keys`` and, when it is indexed, ``audit.sqlite``.
        made: ``NAME:VERSION`` → what was built.
        now: seconds since 1970 of the next thing that happens; each takes a minute.
    """

    root: Path
    made: dict[str, Made] = field(default_factory=dict)
    now: int = EPOCH

    @classmethod
    def empty(cls, root: Path) -> World:
        """A store without anything, and a key ring."""
        root.mkdir(parents=True)
        Store.create(root / "store")
        signed_world.ring(root / "keys")
        return cls(root=root)

    def copied(self, root: Path) -> World:
        """The same in another folder; blobs are hard links, which nothing here writes into."""
        shutil.copytree(self.root, root, copy_function=_link, symlinks=True)
        return World(root=root, made=dict(self.made), now=self.now)

    @property
    def store(self) -> Store:
        return Store.open(self.root / "store")

    def tick(self, seconds: int = 60) -> int:
        """Time goes by; what it is now."""
        self.now += seconds
        return self.now

    # What happens

    def build(self, name: str = "tiny", version: str = "1.0.0", *, key: str = "good") -> Made:
        """Build, name and sign an image and its models."""
        store = self.store
        made = put_artifacts(store, name, version)
        for said in statements(made).values():
            signed_world.attach(store, made, said, signed(said.payload(), key))
        self.made[f"{name}:{version}"] = made
        self.tick()
        return made

    def rebuild(self, made: Made, *, key: str = "good", identical: bool = True) -> bytes:
        """Somebody built it again; the payload."""
        said = Statement(
            subjects=(Subject(name="image", digest=made.image),),
            predicate_type=kinds.REBUILD.predicate_type,
            predicate={
                "subject": made.image,
                "identical": identical,
                "finished": canonical.timestamp(self.tick()),
            },
        )
        return self.say(made, said, key)

    def run(
        self,
        made: Made,
        device: str = "board",
        *,
        host: Sequence[str] = ("good",),
        target: str = "pi5",
        platform: str = ARM,
        result: str = "PASSED",
        mark: str = "",
        p50_ns: int = 1_000_000,
        at: int | None = None,
    ) -> bytes:
        """A device ran it, and the host signed that too; the payload.

        Args:
            made: what ran.
            device: whose key signs; nobody's when empty.
            host: keys that sign it too.
            target: variant of the model.
            platform: of the image.
            result: PASSED, WARNED or FAILED.
            mark: ``local`` or ``stand-in``.
            p50_ns: median latency.
            at: when it ended.
        """
        ended = canonical.timestamp(self.tick() if at is None else at)

        def change(found: dict[str, Any]) -> None:
            run, report = found["run"], found["run"]["report"]
            run.update(began=ended, ended=ended)
            report["latency"].update(p50_ns=p50_ns, p95_ns=p50_ns * 2)
            report["board"].update(
                kernel={"release": "6.12.1-v8-16k+"}, firmware={"version": f"fw of {device}"}
            )
            if mark == "local":
                run.update(local=True, agent=None, runtime=None, governor=None)
                found["configuration"].pop()
            elif mark:
                report["board"]["standin"] = "made up"
            if result != "PASSED":
                word = "warnedTests" if result == "WARNED" else "failedTests"
                found[word].append(found["passedTests"].pop())
                found["result"] = result

        nonce = f"{self.now} {device}"
        said = ran(made, target=target, platform=platform, nonce=nonce, change=change)
        for key in (*([device] if device else []), *host):
            self.say(made, said, key)
        return said.payload()

    def judge(
        self,
        made: Made,
        payloads: Sequence[bytes],
        *,
        devices: Sequence[str] = ("board",),
        target: str = "pi5",
        platform: str = ARM,
        outcome: str = "PASS",
        key: str = "good",
        at: int | None = None,
    ) -> bytes:
        """A gate decided; the payload."""
        when = self.tick() if at is None else at
        said = judged(
            made,
            payloads,
            devices=devices,
            target=target,
            platform=platform,
            outcome=outcome,
            at=when,
        )
        return self.say(made, said, key)

    def passed(self, made: Made, device: str = "board", **how: Any) -> bytes:
        """It ran well on a device, and a gate said so; the payload of the test result."""
        payload = self.run(made, device, **how)
        self.judge(made, [payload], devices=(device,))
        return payload

    def promote(
        self,
        ref: str,
        channel: str = "canary",
        *,
        restores: int = 0,
        key: str = "good",
        at: int | None = None,
    ) -> None:
        """Let a channel lead to an image, with a signed record."""
        made, store = self.made[ref], self.store
        place = ref.rpartition(":")[0]
        home = InStore(store, place)
        seen = home.read(channel)
        record = Promotion(
            channel=channel,
            place=place,
            number=len(seen.journal.records) + 1,
            name=ref,
            image=made.image,
            models=made.models,
            at=datetime.fromtimestamp(self.tick() if at is None else at, UTC),
            previous=self._last(seen.journal.records, home),
            restores=restores,
            policy=RULES,
            devices={"pi5": (key_id("board"),)},
        )
        bundle = signed(record.statement().payload(), key)
        assert home.move(channel, seen, store.resolve(made.image), bundle)

    def _last(self, records: Sequence[Any], home: InStore) -> str:
        if not records:
            return ""
        import base64
        import json

        document = json.loads(home.record(records[0]))
        return payload_digest(base64.b64decode(document["dsseEnvelope"]["payload"]))

    def say(self, made: Made, said: Statement, key: str = "good") -> bytes:
        """Sign a statement, and hang it on all that it is about; the payload."""
        signed_world.attach(self.store, made, said, signed(said.payload(), key))
        return said.payload()

    def untag(self, ref: str) -> None:
        """Take the names of an image and its model away."""
        name, _, version = ref.rpartition(":")
        for each in (ref, f"{name}-model:{version}"):
            self.store.untag(each)

    def collect(self) -> None:
        """Remove what no name leads to."""
        self.store.gc(untagged=True)

    def entries(self, change: Callable[[list[Any]], list[Any]]) -> None:
        """Change the list of entries of the store as somebody who owns it can."""
        path = self.root / "store/index.json"
        document = canonical.load(path.read_bytes())
        document["manifests"] = change(document["manifests"])
        fresh = path.with_name("index.json.new")
        fresh.write_bytes(canonical.dump(document))
        fresh.replace(path)

    # The index

    def ring(self) -> KeyRing:
        return KeyRing.load(self.root / "keys")

    def anchors(self, policy: Policy | None = None) -> Anchors:
        now = datetime.fromtimestamp(self.now, UTC)
        return believed.load(policy or Policy(), self.root, self.ring(), now)

    def trust(self, policy: Policy | None = None) -> Trust:
        policy = policy or Policy()
        return Trust(policy=policy, anchors=self.anchors(policy))

    def index(self, where: Path | str | None = None) -> Index:
        """The index beside the store, or another one; as it is."""
        return database.open(where or database.beside(self.root / "store"))

    def sync(self, index: Index, policy: Policy | None = None, name: str = "store") -> Synced:
        """Bring an index up to date."""
        trust = self.trust(policy)
        return sync.store(index, self.store, policy=trust.policy, anchors=trust.anchors, name=name)

    def indexed(self) -> Index:
        """The index beside the store, up to date."""
        index = self.index()
        self.sync(index)
        return index


def history(root: Path) -> World:
    """Two recipes in two versions, tested on two boards, and promoted to two channels.

    ``tiny:1.1.0`` failed once and was warned of, and a stranger signed something about it;
    ``other`` ran on a stand-in and in the host's engine. Channel ``canary`` went forth and back.
    """
    world = World.empty(root)
    one = world.build("tiny", "1.0.0")
    for device in BOARDS:
        world.passed(one, device)
    world.promote("tiny:1.0.0")
    world.promote("tiny:1.0.0", "stable")
    world.tick(DAY)
    two = world.build("tiny", "1.1.0")
    world.rebuild(two)
    world.judge(two, [world.run(two, "board2", result="FAILED")], outcome="FAIL")
    world.run(two, "board", result="WARNED")
    world.passed(two, "board")
    world.run(two, "stranger", host=())
    world.promote("tiny:1.1.0")
    world.promote("tiny:1.0.0", restores=1)
    world.tick(DAY)
    other = world.build("other", "1.0.0")
    world.run(other, "board2", mark="stand-in")
    world.run(other, "", mark="local")
    world.build("other", "2.0.0", key="friend")
    return world


def dump(index: Index, *, but: Sequence[str] = ("meta", "sought")) -> Rows:
    """All rows of an index, sorted, by table; every number and every text.

    Of `sought` no two need be alike: what was there when a statement was judged may have gone
    since, and that makes nothing of what it says untrue.
    """
    with index.connect() as connection:
        return {
            table.name: sorted(
                map(tuple, connection.execute(sql.select(table))),
                key=lambda row: tuple((value is not None, value) for value in row),
            )
            for table in schema.METADATA.sorted_tables
            if table.name not in but
        }


def check(index: Index) -> None:
    """No row names another that is not there, and every number is that of its text."""
    if index.dialect == "sqlite":
        with index.connect() as connection:
            broken = list(connection.exec_driver_sql("PRAGMA foreign_key_check"))
        assert broken == []


@contextmanager
def opened(where: Path | str) -> Iterator[Index]:
    """An index, and an end to it."""
    index = database.open(where)
    try:
        yield index
    finally:
        index.close()


def _link(source: str, target: str) -> None:
    if Path(source).name in ("index.json", "ring.json", ".lease", "index.json.lock") or (
        "audit.sqlite" in source
    ):
        shutil.copy2(source, target)
    else:
        os.link(source, target)
