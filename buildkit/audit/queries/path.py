"""``path``: the shortest chain of evidence between two things."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import sqlalchemy as sql

from buildkit.audit.queries import find, nodes
from buildkit.audit.queries.nodes import Node
from buildkit.audit.schema import MATERIAL, PACKAGE, SIGNER, STATEMENT
from buildkit.audit.types import Answer, Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Connection

    from buildkit.audit.queries.find import Number, Opened
    from buildkit.audit.queries.nodes import Edge

    # Thing → table and number of the one that it was reached from, how, and by whose word; nothing
    # for those one starts at.
    Reached = dict[Node, tuple[str, Number, nodes.Step, Number | None] | None]

DEPTH = 12
MOST = 2000
"""Things of one kind that are followed at once; a chain behind more is not found."""


def path(index: Opened, one: str, other: str) -> Answer[Step]:
    """The shortest chain of evidence between two things, each step proven by a bundle or by digest.

    It goes over artifacts, their parts and what counts of what is said about them. Where there is
    none, it may also go over inputs and devices that both have in common.

    Args:
        index: to ask.
        one: an artifact, a bundle, an input (commit, package, file), a package, a signer (a
            device), or a channel.
        other: likewise.

    Returns:
        Steps from one to the other; none when there is no chain. With `more`, not everything was
        looked at: there may be a chain, or a shorter one.

    Raises:
        InputError: one of them is nothing in the index.
        StoreError: the index fails.
    """
    with index.connect() as connection:
        first, second = nodes.named(connection, one), nodes.named(connection, other)
        cut = False
        for steps in (nodes.BETWEEN, nodes.SHARED):
            search = _Search(connection, steps, (first, second))
            found = search.run()
            cut = cut or search.cut
            if found:
                return Answer(rows=_steps(connection, found), more=cut)
    return Answer(rows=(), more=cut)


class _Search:
    """Breadth first from both ends, always where less is new."""

    def __init__(
        self,
        connection: Connection,
        steps: Mapping[str, tuple[nodes.Step, ...]],
        ends: tuple[Iterable[Node], Iterable[Node]],
    ) -> None:
        self._connection = connection
        self._steps = steps
        self._reached: tuple[Reached, Reached] = (
            dict.fromkeys(ends[0]),
            dict.fromkeys(ends[1]),
        )
        self.cut = False

    def run(self) -> list[tuple[Node, Edge | None]]:
        """The chain, each thing with how the one before it leads there; empty if there is none."""
        fresh = [list(each) for each in self._reached]
        if meeting := self._meeting(fresh[0], 1):
            return self._chain(meeting)
        for depth in range(DEPTH):
            # Each end must be left once: inputs, packages and signers are no way through.
            side = depth if depth < 2 else min((0, 1), key=lambda each: len(fresh[each]) or 1 << 30)
            if not fresh[side] and depth >= 2:
                break
            fresh[side] = self._grow(side, fresh[side], is_end=depth < 2)
            if meeting := self._meeting(fresh[side], 1 - side):
                return self._chain(meeting)
        return []

    def _grow(self, side: int, fresh: list[Node], *, is_end: bool) -> list[Node]:
        reached = self._reached[side]
        following: list[Node] = []
        by_table: dict[str, list[int]] = {}
        for node in fresh:
            by_table.setdefault(node.table, []).append(node.id)
        for table, ids in by_table.items():
            steps = self._steps.get(table, ())
            if is_end:
                steps = tuple(dict.fromkeys((*steps, *nodes.ENDS.get(table, ()))))
            # In their order: of two ways that are as short, every database takes the same.
            rows = nodes.follow(self._connection, steps, ids, MOST) if steps else ()
            count = Counter(at for at, _, _, _ in rows)
            self.cut = self.cut or max(count.values(), default=0) >= MOST
            for at, near, far, statement in rows:
                step = steps[at]
                if (step.to, far) not in reached:
                    to = Node(step.to, far)
                    reached[to] = (table, near, step, statement)
                    following.append(to)
        return following

    def _meeting(self, fresh: list[Node], other: int) -> Node | None:
        return min((each for each in fresh if each in self._reached[other]), default=None)

    def _chain(self, meeting: Node) -> list[tuple[Node, Edge | None]]:
        head: list[tuple[Node, Edge | None]] = []
        node = meeting
        while (came := self._reached[0][node]) is not None:
            before, edge = _edge(node, came)
            head.append((node, edge))
            node = before
        chain: list[tuple[Node, Edge | None]] = [(node, None), *reversed(head)]
        node = meeting
        while (came := self._reached[1][node]) is not None:
            before, edge = _edge(node, came)
            turned = edge._replace(word=edge.back, back=edge.word)
            chain.append((before, turned))
            node = before
        return chain


def _edge(to: Node, came: tuple[str, Number, nodes.Step, Number | None]) -> tuple[Node, Edge]:
    table, near, step, statement = came
    return Node(table, near), nodes.Edge(near, to, step.word, step.back, statement)


def _steps(connection: Connection, chain: list[tuple[Node, Edge | None]]) -> tuple[Step, ...]:
    shown = _shown(connection, {node for node, _ in chain})
    proofs = find.bundles(
        connection, {edge.statement for _, edge in chain if edge and edge.statement is not None}
    )
    rows = []
    before = ""
    for node, edge in chain:
        kind, name, identity = shown[node]
        proof: tuple[str, ...] = ()
        if edge is not None and edge.statement is not None:
            proof = (proofs[edge.statement],)
        elif edge is not None:
            # The whole names its parts by digest.
            proof = (identity if edge.word == "part of" else before,)
        rows.append(
            Step(
                by=edge.word if edge is not None else "",
                kind=kind,
                name=name,
                id=identity,
                evidence=proof,
            )
        )
        before = identity
    return tuple(rows)


def _shown(connection: Connection, wanted: set[Node]) -> dict[Node, tuple[str, str, str]]:
    """Kind, name for people, and digest (or what else names it) of things."""
    found: dict[Node, tuple[str, str, str]] = {}
    ids: dict[str, set[int]] = {}
    for node in wanted:
        ids.setdefault(node.table, set()).add(node.id)

    for number, thing in find.things(connection, ids.get("artifact", ())).items():
        found[Node("artifact", number)] = (thing.role, find.called(thing), thing.digest)
    for row in find.rows(
        connection,
        sql.select(STATEMENT, SIGNER.c.name).outerjoin(SIGNER, SIGNER.c.id == STATEMENT.c.signer),
        STATEMENT.c.id,
        ids.get("statement", ()),
    ):
        found[Node("statement", row.id)] = (row.kind, f"by {row.name or 'nobody'}", row.bundle)
    for row in find.rows(connection, sql.select(MATERIAL), MATERIAL.c.id, ids.get("material", ())):
        identity = row.commit or row.digest or row.uri
        found[Node("material", row.id)] = ("material", row.name, identity)
    for row in find.rows(connection, sql.select(PACKAGE), PACKAGE.c.id, ids.get("package", ())):
        found[Node("package", row.id)] = ("package", f"{row.name} {row.version}".strip(), row.purl)
    for row in find.rows(connection, sql.select(SIGNER), SIGNER.c.id, ids.get("signer", ())):
        found[Node("signer", row.id)] = (row.kind, find.device_name(row), row.subject or row.name)
    return found
