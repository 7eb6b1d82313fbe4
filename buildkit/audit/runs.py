"""Test results: one row for all who signed the same bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sql

from buildkit.audit import schema
from buildkit.audit.schema import chunks
from buildkit.evidence import kinds

if TYPE_CHECKING:
    from buildkit.audit.facts import Row
    from buildkit.audit.rows import Rows


def settle(rows: Rows, contents: dict[str, Row]) -> None:
    """See to it that each test result has its one row, on the bundle that it belongs to.

    Args:
        rows: of the index.
        contents: digest of the signed bytes → row, of those that are new, or whose statement went.
    """
    at, who = schema.STATEMENT.c, schema.SIGNER.c
    signed: dict[str, list[tuple[bool, int, int | None]]] = {}
    there: dict[str, Row] = {}
    for chunk in chunks(contents):
        for one, payload, signer, kind in rows.connection.execute(
            sql.select(at.id, at.payload, at.signer, who.kind)
            .join(schema.SIGNER, who.id == at.signer)
            .where(at.payload.in_(chunk), at.kind == kinds.TEST_RESULT.name, at.reason == "")
        ):
            is_device = kind == "device"
            signed.setdefault(payload, []).append(
                (not is_device, one, signer if is_device else None)
            )
        query = (
            sql.select(at.payload, schema.RUN)
            .join(schema.STATEMENT, at.id == schema.RUN.c.statement)
            .where(at.payload.in_(chunk))
        )
        for found in rows.connection.execute(query).mappings():
            row = dict(found)
            there[row.pop("payload")] = row
    wanted, moved = [], []
    for payload, signers in signed.items():
        _, one, device = min(signers, key=lambda each: each[:2])
        known = there.get(payload)
        row = {**(known or contents[payload]), "statement": one, "device": device}
        if row != known:
            wanted.append(row)
            moved += [known["statement"]] if known else []
    rows.delete(schema.RUN, schema.RUN.c.statement, moved)
    rows.insert(schema.RUN, wanted)
