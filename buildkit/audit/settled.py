"""Whether anything has changed since a store was read, found out without reading it.

To judge evidence costs imports that an answer does not need. So whoever has read a store to its end
leaves in the index what it was read by: digests of the files that say whose word counts.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sql

from buildkit import canonical, digests
from buildkit.audit.schema import META, SOURCE
from buildkit.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from buildkit.audit.database import Index

_KEY = "read by: "
_TRUST = "trust"
# Within one tick of the kernel's clock a file can change twice.
_SETTLES_NS = 100_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class By:
    """What a store was read by.

    Attributes:
        source: what the store is called in the index.
        policy: file of the policy; empty for the built-in one.
        ring: file of the key ring.
        day: on which; a trust root may have become too old since.
    """

    source: str
    policy: str
    ring: str
    day: str


def holds(index: Index, entries: Path, by: By) -> bool:
    """Whether the index is of exactly these entries, read by exactly these files.

    Args:
        index: to look at.
        entries: ``index.json`` of the store.
        by: what it would be read by now.

    Raises:
        StoreError: the index fails.
    """
    with index.connect() as connection:
        state = connection.execute(
            sql.select(SOURCE.c.state).where(SOURCE.c.name == by.source)
        ).scalar()
        wanted = [_TRUST, _KEY + by.source]
        meta = {
            row.key: row.value
            for row in connection.execute(sql.select(META).where(META.c.key.in_(wanted)))
        }
    if not state or _KEY + by.source not in meta:
        return False
    said = json.loads(meta[_KEY + by.source])
    return bool(
        said["trust"] == meta.get(_TRUST)
        and (said["policy"], said["ring"]) == (by.policy, by.ring)
        and said["day"] in ("", by.day)
        and all(_digest(name) == digest for name, digest in said["files"].items())
        # A long list is not hashed again while it is the same file, untouched.
        and (said["untouched"] == _stamp(entries) != "" or state == _digest(str(entries)))
    )


def digests_of(files: Iterable[str]) -> Mapping[str, str]:
    """Files with the digests of what they hold; empty for one that is not there.

    Raises:
        StoreError: one cannot be read.
    """
    return {name: _digest(name) for name in files}


def leave(index: Index, entries: Path, by: By, files: Mapping[str, str], *, ages: bool) -> None:
    """Note what a store was just read by.

    Args:
        index: to be changed.
        entries: ``index.json`` of the store.
        by: what it was read by.
        files: that say whose word counts, with their digests.
        ages: whether that depends on the day.

    Raises:
        StoreError: the index cannot be written.
    """
    before = _stamp(entries)
    digest = _digest(str(entries))
    untouched = before if before == _stamp(entries) else ""
    with index.write() as connection:
        state = connection.execute(
            sql.select(SOURCE.c.state).where(SOURCE.c.name == by.source)
        ).scalar()
        trust = connection.execute(sql.select(META.c.value).where(META.c.key == _TRUST)).scalar()
        said = {
            "trust": trust or "",
            "policy": by.policy,
            "ring": by.ring,
            "day": by.day if ages else "",
            "files": dict(files),
            "untouched": untouched if state == digest else "",
        }
        key, value = _KEY + by.source, canonical.dump(said).decode()
        connection.execute(sql.delete(META).where(META.c.key == key))
        connection.execute(sql.insert(META), [{"key": key, "value": value}])


def _stamp(file: Path) -> str:
    """What changes whenever a file is written or replaced; empty when that is too new to tell."""
    try:
        found = file.stat()
    except OSError:
        return ""
    if time.time_ns() - found.st_ctime_ns < _SETTLES_NS:
        return ""
    parts = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    return " ".join(map(str, parts))


def _digest(name: str) -> str:
    """Of a file; empty when there is none."""
    try:
        return digests.of_file(Path(name))
    except FileNotFoundError:
        return ""
    except OSError as error:
        msg = f"{name}: cannot be read: {error.strerror}"
        raise StoreError(msg, "check who may read it") from error
