"""An OSV database as a table by package, so that a question need not read 30,000 files.

The table is a file beside the index, made from what stands on the disk and kept until that changes
(`osvread.fingerprint`). It can be thrown away at will. What was found about a package URL is kept
in it too, since it follows from both.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import sqlite3
import time
from typing import TYPE_CHECKING, Any, Self

from buildkit.audit import cvss, osvread, osvtable, versions
from buildkit.audit.osvpackages import Lookup, lookup
from buildkit.audit.osvranges import judge
from buildkit.audit.osvtypes import Contents, Match, Undecided
from buildkit.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from pathlib import Path
    from types import TracebackType


_FORGOTTEN_S = 86_400
# Up to so many package URLs are asked for by name.
_FEW = 1000
_UNSCORED = -1.0


def cache_file(folder: Path, place: Path) -> Path:
    """Where the table of an OSV database is kept: how the names of its files begin.

    Args:
        folder: that the index is in.
        place: where the user has the database.
    """
    name = hashlib.sha256(os.fsencode(place.absolute())).hexdigest()[:16]
    return folder / f"audit-osv-{name}"


class Database:
    """An OSV database that is ready to be asked; close it, or use it in `with`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @classmethod
    def open(
        cls,
        place: Path,
        cache: Path,
        say: Callable[[str], None] = lambda _: None,
        *,
        state: Callable[[], str] | None = None,
    ) -> Self:
        """Make the table, if what stands there is not what it was made from.

        Args:
            place: a folder of records or archives, or one of these.
            cache: how the table's file begins (`cache_file`); where none can be written, nothing is
                kept.
            say: told when it takes long.
            state: gives `osvread.fingerprint` of the place, where somebody has begun it already.

        Raises:
            InputError: there are no OSV records.
            StoreError: the disk fails.
        """
        found = state() if state is not None else osvread.fingerprint(place)
        # Never replaced: SQLite knows a file's journal by the file's name.
        file = cache.with_name(f"{cache.name}-{found[:16]}.sqlite")
        with _translated(file):
            if (known := _opened(file, found)) is not None:
                return cls(known)
            say(f"reading the OSV records in {place} …")
            draft = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
            try:
                osvtable.made(str(draft), place, found).close()
                _publish(draft, file, found)
                known = _opened(file, found)
            except (sqlite3.OperationalError, PermissionError):
                known = None
            finally:
                _remove(draft)
            if known is not None:
                _sweep(cache, file)
            return cls(known or osvtable.made(":memory:", place, found))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def contents(self) -> Contents:
        """What is in it."""
        told = dict(self._connection.execute("SELECT key, value FROM meta"))
        return Contents(
            records=int(told["records"]),
            ecosystems=tuple(json.loads(told["ecosystems"])),
            newest=told["newest"],
            unreadable=tuple(json.loads(told["unreadable"])),
            broken=int(told["broken"]),
        )

    def look(self, purls: Collection[str]) -> tuple[tuple[str, ...], tuple[Undecided, ...]]:
        """Hold package URLs against all records; those that were held before, not again.

        Returns:
            Those whose source package nobody names, and what cannot be decided; both sorted.

        Raises:
            StoreError: the disk fails.
        """
        with _translated(None):
            known = self._known(purls)
            if new := [each for each in sorted(purls) if each not in known]:
                self._judge(new)
                known = self._known(purls)
            assumed = [purl for purl in purls if known[purl][0]]
            undecided = [
                Undecided(package=purl, id="", why=known[purl][1])
                for purl in purls
                if known[purl][1]
            ]
            undecided += [
                Undecided(package=purl, id=record, why=why)
                for purl, record, why in self._connection.execute(
                    "SELECT purl, id, why FROM found JOIN record ON number = record WHERE why != ''"
                )
                if purl in purls
            ]
        undecided.sort(key=lambda each: (each.package, each.id))
        return tuple(sorted(assumed)), tuple(undecided)

    def matches(self, purls: Collection[str]) -> Iterator[Match]:
        """What was found about them by `look`, the gravest first."""
        query = (
            "SELECT found.purl, id, aliases, upstream, summary, found.severity, score,"
            " found.ecosystem, name, version, fixed, assumed FROM found"
            " JOIN looked ON looked.purl = found.purl JOIN record ON number = record"
            " WHERE found.why = ''"
        )
        order = " ORDER BY score DESC, record, found.purl"
        if len(purls) <= _FEW:
            which = f" AND found.{_among(purls)}"
            rows = self._connection.execute(query + which + order, tuple(purls))
        else:
            rows = self._connection.execute(query + order)
        for row in rows:
            if row[0] in purls:
                yield _match(row)

    def _known(self, purls: Collection[str]) -> dict[str, tuple[bool, str]]:
        query = "SELECT purl, assumed, why FROM looked"
        if len(purls) <= _FEW:
            rows = self._connection.execute(f"{query} WHERE {_among(purls)}", tuple(purls))
        else:
            rows = self._connection.execute(query)
        return {purl: (bool(assumed), why) for purl, assumed, why in rows.fetchall()}

    def _judge(self, purls: Iterable[str]) -> None:
        looked, found = [], []
        # Packages of many architectures come from one source package.
        before: dict[Lookup, list[tuple[Any, ...]]] = {}
        for purl in purls:
            asked = lookup(versions.parse_url(purl))
            if isinstance(asked, str):
                looked.append((purl, "", "", "", False, asked))
                continue
            if asked not in before:
                before[asked] = list(self._found(asked))
            found += [(purl, *rest) for rest in before[asked]]
            looked.append((purl, asked.ecosystems[0], asked.name, asked.version, asked.assumed, ""))
        with osvtable.writing(self._connection):
            self._connection.executemany(
                "INSERT OR REPLACE INTO found VALUES (?,?,?,?,?,?,?)", found
            )
            self._connection.executemany(
                "INSERT OR REPLACE INTO looked VALUES (?,?,?,?,?,?)", looked
            )

    def _found(self, asked: Lookup) -> Iterator[tuple[Any, ...]]:
        """Record, ecosystem, fixed, severity, score and doubt of all that say something."""
        query = (
            "SELECT record, ecosystem, body, severity, word FROM affects"
            " JOIN record ON number = record WHERE name = ? AND ecosystem = ?"
        )
        certain: dict[int, tuple[Any, ...]] = {}
        for ecosystem in asked.ecosystems:
            rows = self._connection.execute(query, (asked.name, ecosystem))
            for record, where, body, severity, word in rows:
                said = osvtable.affected(body)
                answer = judge(asked.version, said, where)
                if answer.affected is False:
                    continue
                text, score = _gravity(said.severity or tuple(json.loads(severity)), word)
                row = (record, where, json.dumps(answer.fixed), text, score, answer.why)
                # What one entry of a record is sure of, another's doubt does not take away.
                if answer.affected or record not in certain:
                    certain[record] = row
        return iter(certain.values())


def _opened(cache: Path, state: str) -> sqlite3.Connection | None:
    """The table, if it was made from what stands there now."""
    if not cache.is_file():
        return None
    try:
        connection = osvtable.connected(str(cache))
    except sqlite3.Error:
        return None
    with contextlib.suppress(sqlite3.DatabaseError):
        told = dict(connection.execute("SELECT key, value FROM meta"))
        writable = os.access(cache, os.W_OK) and os.access(cache.parent, os.W_OK)
        if writable and (told.get("version"), told.get("state")) == (osvtable.VERSION, state):
            return connection
    connection.close()
    return None


def _publish(draft: Path, file: Path, state: str) -> None:
    """Give the table its name, unless somebody else has made it meanwhile."""
    if (known := _opened(file, state)) is not None:
        known.close()
        return
    # Spoilt, or of another version.
    _remove(file)
    with contextlib.suppress(FileExistsError):
        os.link(draft, file)


def _sweep(cache: Path, file: Path) -> None:
    """Remove the tables of what stood there before, and drafts of those who were killed."""
    for each in cache.parent.glob(f"{cache.name}-*"):
        with contextlib.suppress(OSError):
            is_draft = each.suffix != ".sqlite"
            old = each.stat().st_mtime < time.time() - _FORGOTTEN_S
            if not each.name.startswith(file.name) and (old or not is_draft):
                _remove(each)


def _remove(file: Path) -> None:
    for name in (file.name, f"{file.name}-journal"):
        file.with_name(name).unlink(missing_ok=True)


def _gravity(severity: tuple[tuple[str, str], ...], word: str) -> tuple[str, float]:
    """What to show, and what to sort by."""
    scored = [(found, text) for _, text in severity if (found := cvss.score(text)) is not None]
    if scored:
        best, text = max(scored)
        return text, best
    return (severity[0][1] if severity else word), _UNSCORED


def _among(purls: Collection[str]) -> str:
    return f"purl IN ({','.join('?' * len(purls))})"


def _match(row: tuple[Any, ...]) -> Match:
    purl, name, aliases, upstream, summary, severity, score, ecosystem, package, *rest = row
    version, fixed, assumed = rest
    return Match(
        id=name,
        aliases=tuple(json.loads(aliases)),
        upstream=tuple(json.loads(upstream)),
        summary=summary,
        severity=severity,
        score=None if score == _UNSCORED else score,
        package=purl,
        ecosystem=ecosystem,
        name=package,
        version=version,
        fixed=tuple(json.loads(fixed)),
        assumed=bool(assumed),
    )


@contextlib.contextmanager
def _translated(cache: Path | None) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        msg = f"{cache or 'the table of OSV records'}: cannot be used: {error}"
        raise StoreError(msg, "remove the file, it can be made again") from error
