"""``index status``: of what an index is, and how much is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sql

from buildkit.audit.schema import META, METADATA, SOURCE, STATEMENT
from buildkit.audit.types import Counted, Status

if TYPE_CHECKING:
    from buildkit.audit.database import Index


def status(index: Index) -> Status:
    """What an index is of, and how many rows it has. Every row is counted: not for each question.

    Args:
        index: to look at.

    Raises:
        StoreError: the index fails.
    """
    with index.connect() as connection:
        meta = {row.key: row.value for row in connection.execute(sql.select(META))}
        sources = connection.execute(sql.select(SOURCE).order_by(SOURCE.c.name)).all()
        rows = {
            table.name: connection.execute(
                sql.select(sql.func.count()).select_from(table)
            ).scalar_one()
            for table in METADATA.sorted_tables
        }
        refused = connection.execute(
            sql.select(STATEMENT.c.reason, sql.func.count())
            .where(STATEMENT.c.reason > "")
            .group_by(STATEMENT.c.reason)
            .order_by(STATEMENT.c.reason)
        ).all()
    return Status(
        name=index.name,
        policy=meta.get("policy", ""),
        sources=tuple(row.name for row in sources),
        unfinished=tuple(
            row.name for row in sources if not row.state or row.state.startswith("reading ")
        ),
        rows=tuple(Counted(name=name, count=count) for name, count in sorted(rows.items())),
        refused=tuple(Counted(name=reason, count=count) for reason, count in refused),
    )
