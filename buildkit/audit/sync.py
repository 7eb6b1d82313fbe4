"""Brings an index up to date with a source: what is new is read, what is gone is taken out.

Bytes under a digest do not change, so what was read once is not read again. Each batch is one
transaction, and the next sync goes on where one was cut off: it compares what is there with what
should be. Until all is compared, the state of the source says that it is not finished.
"""

from __future__ import annotations

import gc
import secrets
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sql

from buildkit.audit import facts, judge, listing, schema
from buildkit.audit.ingest import Writer
from buildkit.audit.judging import Judging
from buildkit.audit.removal import Remover
from buildkit.audit.rows import Batch, Gone
from buildkit.audit.sources import OfStore
from buildkit.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sqlalchemy import Connection

    from buildkit.audit.database import Index
    from buildkit.audit.judge import Trust
    from buildkit.audit.listing import Known, Listing
    from buildkit.audit.sources import Source
    from buildkit.evidence.policytypes import Policy
    from buildkit.evidence.verify.signatures import Anchors
    from buildkit.store import Store

# Each batch writes about every page of the index again, so that few large ones take half as long.
BATCH = 16_000
# From how many statements on it is worth the time.
_MANY = 1000
_READING = "reading "
_TRUST = "trust"
_POLICY = "policy"


@dataclass(frozen=True, kw_only=True, slots=True)
class Synced:
    """What a sync did.

    Attributes:
        added: statements that are new in the index.
        refused: those of them that are not true.
        removed: statements that are gone from it.
        artifacts: images, platforms and models in the source.
        unchanged: whether nothing had to be looked at.
    """

    added: int = 0
    refused: int = 0
    removed: int = 0
    artifacts: int = 0
    unchanged: bool = False


def store(
    index: Index,
    found: Store,
    *,
    policy: Policy,
    anchors: Anchors,
    name: str = "store",
    say: Callable[[str], None] = lambda _: None,
) -> Synced:
    """Bring an index up to date with a store.

    Args:
        index: to be changed.
        found: the store.
        policy: whose word counts.
        anchors: the keys and the trust root that the policy means.
        name: of the source in the index.
        say: told of what takes long.

    Raises:
        EvidenceError: two texts were made to share a row's number.
        StoreError: the store cannot be read, or the index not be written.
    """
    with found.reading():
        trust = judge.Trust(policy=policy, anchors=anchors)
        return source(index, OfStore(found), trust, name=name, say=say)


def make_anew(index: Index, trust: Trust) -> None:
    """Empty an index, so that everything is read and judged again.

    Raises:
        StoreError: it cannot be written.
    """
    with index.write() as connection:
        _wipe(connection, trust)
        connection.execute(sql.delete(schema.SOURCE))


def forget(index: Index, name: str) -> Synced:
    """Take a source out of an index, and all that only it had.

    Raises:
        StoreError: there is no such source, or the index cannot be written.
    """
    number = schema.number("source", name)
    with index.write() as connection:
        if connection.execute(_state_of(number)).scalar() is None:
            msg = f"{index.name}: no source is called {name!r}"
            raise StoreError(msg, "`python -m buildkit audit index` lists them")
        known = listing.known(connection, number)
        gone = Gone(
            presence=set(known.presence),
            carried={(one, each) for each, rows in known.carried.items() for one, _ in rows},
            sought={(each, *row) for each, rows in known.sought.items() for row in rows},
        )
        removed, _ = Remover(connection, number).remove(gone)
        connection.execute(sql.delete(schema.SOURCE).where(schema.SOURCE.c.id == number))
    return Synced(removed=removed)


def source(
    index: Index,
    found: Source,
    trust: Trust,
    *,
    name: str,
    say: Callable[[str], None] = lambda _: None,
    batch: int = BATCH,
    processes: int = 0,
) -> Synced:
    """Bring an index up to date with any source; see `store`.

    Args:
        index: to be changed.
        found: the source.
        trust: whose word counts.
        name: of the source in the index.
        say: told of what takes long.
        batch: statements of one transaction.
        processes: that judge them; 0 for as many as are of use.
    """
    with _without_collections():
        judging = Judging(found, trust, processes)
        return _Sync(index, found, trust, judging, name=name, say=say, batch=batch).run()


@dataclass(kw_only=True, slots=True)
class _Total:
    added: int = 0
    refused: int = 0
    removed: int = 0


@contextmanager
def _without_collections() -> Iterator[None]:
    """Let nobody look for circles among what was parsed: there are none, and it takes long."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class _Overtaken(Exception):
    """Another writer changed this source: look again at what is there."""


class _Sync:
    def __init__(
        self,
        index: Index,
        found: Source,
        trust: Trust,
        judging: Judging,
        *,
        name: str,
        say: Callable[[str], None],
        batch: int,
    ) -> None:
        self.index = index
        self.found = found
        self.trust = trust
        self.name = name
        self.say = say
        self.batch = batch
        self.total = _Total()
        self._number = schema.number("source", facts.clip(name))
        self._believed = trust.digest()
        self._judging = judging
        self._state = ""

    def run(self) -> Synced:
        """All of it."""
        state = self.found.state()
        if self._is_settled(state):
            return Synced(unchanged=True)
        while True:
            try:
                artifacts = self._pass(self.found.state())
            except _Overtaken:
                continue
            if artifacts is not None:
                break
        if self.total.added + self.total.removed >= _MANY:
            self.index.analyze()
        return Synced(
            added=self.total.added,
            refused=self.total.refused,
            removed=self.total.removed,
            artifacts=artifacts,
        )

    def _is_settled(self, state: str) -> bool:
        """Whether the index is what it would be afterwards; else the source is made known."""
        with self.index.connect() as connection:
            there = connection.execute(_state_of(self._number)).scalar()
            believed = connection.execute(_meta(_TRUST)).scalar()
        if there is not None and believed == self._believed:
            return bool(state) and there == state
        with self.index.write() as connection:
            if connection.execute(_meta(_TRUST)).scalar() != self._believed:
                if believed is not None:
                    self.say("whose word counts has changed: everything is judged anew")
                _wipe(connection, self.trust)
            if connection.execute(_state_of(self._number)).scalar() is None:
                row = {"id": self._number, "name": facts.clip(self.name), "state": ""}
                connection.execute(sql.insert(schema.SOURCE), [row])
        return False

    def _pass(self, state: str) -> int | None:
        """Compare once, and write what differs; nothing when it must be done again."""
        with self.index.connect() as connection:
            self._state = connection.execute(_state_of(self._number)).scalar() or ""
            known = listing.known(connection, self._number)
        if state and self._state == state:
            # Somebody else has done it meanwhile.
            return len({number for number, _ in known.presence})
        there = listing.of(self._judging.documents, known)
        first = self._judging.first(there)
        carried, sought = _carried(first), set(first.sought)
        if _differs(first, known):
            self._write(first)
        with closing(self._judging.statements(there, self.batch)) as judged:
            for made in judged:
                carried |= _carried(made)
                sought |= made.sought
                self._write(made)
        again = self._remove(_gone(there, known, carried, sought))
        if again:
            return None
        settled = state if not self._has_faults() else ""
        if self._state != settled:
            with self._writing(settled):
                pass
        return len({number for number, _ in there.presence})

    # Writing

    def _write(self, made: Batch) -> None:
        with self._writing() as connection:
            added, refused = Writer(connection, self._number).add(made)
        self.total.added += added
        self.total.refused += refused

    def _remove(self, gone: Gone) -> bool:
        """Take out what is gone, in batches; whether all must be looked at again."""
        carried = sorted(gone.carried)
        again = False
        for start in range(0, max(len(carried), bool(gone.presence or gone.sought)), self.batch):
            piece = Gone(carried=set(carried[start : start + self.batch]))
            if start == 0:
                piece.presence, piece.sought = gone.presence, gone.sought
            with self._writing() as connection:
                removed, more = Remover(connection, self._number).remove(piece)
            self.total.removed += removed
            again |= more
        return again

    @contextmanager
    def _writing(self, state: str | None = None) -> Iterator[Connection]:
        """A transaction on a source that nobody else has changed since it was looked at.

        It leaves a mark there, by which others see that they must look again.

        Raises:
            _Overtaken: somebody else was here.
            StoreError: somebody else is here who believes others.
        """
        mark = f"{_READING}{secrets.token_hex(8)}" if state is None else state
        with self.index.write() as connection:
            if connection.execute(_meta(_TRUST)).scalar() != self._believed:
                msg = f"{self.index.name}: somebody else fills it by another policy, or other keys"
                raise StoreError(msg, "use an index of your own for each policy: --index FILE")
            if (connection.execute(_state_of(self._number)).scalar() or "") != self._state:
                raise _Overtaken
            connection.execute(
                sql.update(schema.SOURCE)
                .where(schema.SOURCE.c.id == self._number)
                .values(state=mark)
            )
            yield connection
        self._state = mark

    def _has_faults(self) -> bool:
        with self.index.connect() as connection:
            return connection.execute(listing.faults(self._number)).first() is not None


def _gone(
    there: Listing,
    known: Known,
    carried: set[tuple[int, str]],
    sought: set[tuple[str, str, str, bool]],
) -> Gone:
    """What is known, and neither there as it was nor what was just written."""
    old = (known.carried.keys() | known.sought.keys()) - there.known
    return Gone(
        presence=known.presence - there.presence,
        carried={(number, each) for each in old for number, _ in known.carried.get(each, ())}
        - carried,
        sought={(each, *row) for each in old for row in known.sought.get(each, ())} - sought,
    )


def _carried(made: Batch) -> set[tuple[int, str]]:
    """Statements with the manifests that carry them."""
    return {(number, manifest) for number, manifest, _ in made.carried}


def _differs(made: Batch, known: Known) -> bool:
    return bool(
        made.artifacts
        or made.presence - known.presence
        or any(
            (number, subject) not in known.carried.get(manifest, ())
            for number, manifest, subject in made.carried
        )
    )


def _state_of(number: int) -> sql.Select[str]:
    return sql.select(schema.SOURCE.c.state).where(schema.SOURCE.c.id == number)


def _meta(key: str) -> sql.Select[str]:
    return sql.select(schema.META.c.value).where(schema.META.c.key == key)


def _wipe(connection: Connection, trust: Trust) -> None:
    """Nothing is in the index any more but its sources, of which nothing was read."""
    kept: Iterable[str] = ("meta", "source")
    for table in reversed(schema.METADATA.sorted_tables):
        if table.name not in kept:
            connection.execute(sql.delete(table))
    connection.execute(sql.update(schema.SOURCE).values(state=""))
    values = {_TRUST: trust.digest(), _POLICY: trust.policy.digest}
    connection.execute(sql.delete(schema.META).where(schema.META.c.key.in_(list(values))))
    rows = [{"key": key, "value": value} for key, value in values.items()]
    connection.execute(sql.insert(schema.META), rows)
