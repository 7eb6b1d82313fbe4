"""Test results: one row for each device that signed the same bytes, or for all hosts."""

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
    """See to it that each test result has its rows, on the bundles that they belong to.

    A device that signs what another saw takes nothing away from that one.

    Args:
        rows: of the index.
        contents: digest of the signed bytes → row, of those that are new, or whose statement went.
    """
    at, who = schema.STATEMENT.c, schema.SIGNER.c
    signed: dict[str, dict[int | None, int]] = {}
    there: dict[str, dict[int, Row]] = {}
    for chunk in chunks(contents):
        for one, payload, signer, kind in rows.connection.execute(
            sql.select(at.id, at.payload, at.signer, who.kind)
            .join(schema.SIGNER, who.id == at.signer)
            .where(at.payload.in_(chunk), at.kind == kinds.TEST_RESULT.name, at.reason == "")
        ):
            device = signer if kind == "device" else None
            first = signed.setdefault(payload, {})
            first[device] = min(one, first.get(device, one))
        query = (
            sql.select(at.payload, schema.RUN)
            .join(schema.STATEMENT, at.id == schema.RUN.c.statement)
            .where(at.payload.in_(chunk))
        )
        for found in rows.connection.execute(query).mappings():
            row = dict(found)
            there.setdefault(row.pop("payload"), {})[row["statement"]] = row
    wanted: list[Row] = []
    gone: list[int] = []
    for payload, signers in signed.items():
        if len(signers) > 1:
            # Of the host alone is what no device signed.
            signers.pop(None, None)
        known = there.get(payload, {})
        content = next(iter(known.values()), contents[payload])
        for device, one in signers.items():
            row = {**content, "statement": one, "device": device}
            if row != known.pop(one, None):
                wanted.append(row)
                gone.append(one)
        gone += known
    rows.delete(schema.RUN, schema.RUN.c.statement, gone)
    rows.insert(schema.RUN, wanted)
