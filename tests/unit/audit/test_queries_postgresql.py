"""PostgreSQL answers every question as SQLite does."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import postgres
import pytest
from audit_world import key_id
from test_queries_plans import QUESTIONS

from buildkit import audit
from buildkit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from audit_world import World

    from buildkit.audit import Index


@pytest.fixture(scope="module")
def remote(built: World) -> Iterator[Index]:
    # The path of a socket is short, and the server is another user.
    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        Path(folder).chmod(0o755)
        with postgres.serving(Path(folder) / "c") as cluster:
            index = built.index(cluster.fresh("queries"))
            built.sync(index)
            yield index
            index.close()


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_same_answer(index: Index, remote: Index, question: str) -> None:
    assert QUESTIONS[question](remote) == QUESTIONS[question](index)


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_the_same_of_more(index: Index, remote: Index, limit: int) -> None:
    for one, other in (
        (audit.contains(each, "numpy", limit=limit) for each in (index, remote)),
        (audit.made_from(each, "numpy", limit=limit) for each in (index, remote)),
        (audit.signed_by(each, key_id("good"), limit=limit) for each in (index, remote)),
        (audit.gaps(each, limit=limit) for each in (index, remote)),
        (audit.devices(each, "tiny:1.1.0", limit=limit) for each in (index, remote)),
    ):
        assert one == other


def test_sql(remote: Index) -> None:
    found = audit.sql(remote, "SELECT target, count(*) AS runs FROM run GROUP BY target;")
    assert found.columns == ("target", "runs")
    assert found.rows == (("pi5", 7),)
    assert audit.sql(remote, "SELECT generate_series(1, 9)", limit=2).more
    assert audit.sql(remote, "SELECT 'a%s', 1.5::numeric").rows == (("a%s", "1.5"),)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM run",
        "WITH a AS (DELETE FROM run RETURNING 1) SELECT * FROM a",
        "SELECT 1; DELETE FROM run",
        "SELECT 1; COMMIT; DELETE FROM run",
        "COMMIT",
        "SET TRANSACTION READ WRITE",
        "CREATE TABLE mine (a int)",
        "CREATE TEMP TABLE mine (a int)",
        "COPY run TO '/tmp/run'",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "DO $$ BEGIN DELETE FROM run; END $$",
        "SELECT set_config('transaction_read_only', 'off', false)",
        "SELECT * FROM no_such_table",
        "SELECT 1 FROM run FOR UPDATE",
        "not sql",
        "",
    ],
)
def test_all_else_is_refused(remote: Index, statement: str) -> None:
    with pytest.raises(InputError):
        audit.sql(remote, statement)
    assert audit.sql(remote, "SELECT count(*) FROM run").rows == ((7,),)


def test_it_ends_in_time(remote: Index) -> None:
    with pytest.raises(InputError, match="no answer within"):
        audit.sql(remote, "SELECT pg_sleep(60)", seconds=0.2)
