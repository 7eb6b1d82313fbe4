"""``audit``: finds the index of a store, brings it up to date, and lets it be asked."""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from buildkit.audit import database, settled
from buildkit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from pathlib import Path

    from buildkit.audit.database import Index
    from buildkit.audit.judge import Trust
    from buildkit.audit.sync import Synced


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """Which index, of what, by whose word.

    Attributes:
        store: folder of the store.
        index: file or URL; nothing for `database.VARIABLE`, or the file beside the store.
        policy_file: the built-in policy counts when absent.
        keys: folder of the key ring.
        now: with a time zone.
        source: what the store is called in the index; empty for its own name (`source_name`).
        sync: whether the store is read first.
    """

    store: Path
    index: str | None
    policy_file: Path | None
    keys: Path
    now: datetime
    source: str = ""
    sync: bool = True


def nobody(_: str) -> None:
    """Tell nobody."""


@contextmanager
def opened(
    asked: Asked, *, readonly: bool = False, say: Callable[[str], None] = nobody
) -> Iterator[Index]:
    """The index, up to date.

    Where there is no store, but an index was named, it is asked as it is.

    Args:
        asked: which.
        readonly: nothing can be written through it (it is brought up to date before).
        say: told of what takes long.

    Raises:
        StoreError: there is neither a store nor an index, or one cannot be used.
        InputError: the policy or the URL cannot be used.
        SignerError: the key ring cannot be used.
    """
    where = location(asked)
    index = None
    try:
        if _reads_store(asked):
            index = database.open(where)
            if not settled.holds(index, asked.store / "index.json", _by(asked)):
                refresh(asked, index, say=say)
        if index is None or readonly:
            if index is not None:
                index.close()
            index = database.open(where, readonly=True)
        yield index
    finally:
        if index is not None:
            index.close()


def location(asked: Asked) -> str:
    """File or URL of the index."""
    return asked.index or os.environ.get(database.VARIABLE) or str(database.beside(asked.store))


def source_name(asked: Asked) -> str:
    """What the store is called in an index that may have several."""
    if asked.source:
        return asked.source
    if location(asked) == str(database.beside(asked.store)):
        return "store"
    return f"{socket.gethostname()}:{asked.store.absolute()}"


def trust(asked: Asked) -> Trust:
    """Whose word counts.

    Raises:
        InputError: the policy, or a file that it names, cannot be used.
        SignerError: the key ring cannot be used.
    """
    from buildkit.audit.judge import Trust  # noqa: PLC0415 - an index may be asked without
    from buildkit.evidence.keys import KeyRing  # noqa: PLC0415 - as above
    from buildkit.evidence.policytypes import Policy  # noqa: PLC0415 - as above
    from buildkit.evidence.verify import anchors  # noqa: PLC0415 - as above

    ring = KeyRing.load(asked.keys)
    policy, folder = Policy(), ring.folder
    if asked.policy_file is not None:
        from buildkit.evidence import policy as policies  # noqa: PLC0415 - as above

        policy, folder = policies.load(asked.policy_file), asked.policy_file.absolute().parent
    return Trust(policy=policy, anchors=anchors.load(policy, folder, ring, asked.now))


def refresh(
    asked: Asked, index: Index, *, anew: bool = False, say: Callable[[str], None] = nobody
) -> Synced:
    """Read what is new in the store.

    Args:
        asked: the store, and whose word counts.
        index: to be changed.
        anew: empty it first: of all sources, the others wait for their next turn.
        say: told of what takes long.

    Raises:
        StoreError: the store cannot be read, or the index not be written.
        EvidenceError: two texts were made to share a row's number.
        InputError: the policy, or a file that it names, cannot be used.
        SignerError: the key ring cannot be used.
    """
    from buildkit.audit import sync  # noqa: PLC0415 - an index may be asked without
    from buildkit.store import Store  # noqa: PLC0415 - as above

    believed = trust(asked)
    if anew:
        sync.make_anew(index, believed)
    by, entries = _by(asked), asked.store / "index.json"
    done = sync.store(
        index,
        Store.open(asked.store),
        policy=believed.policy,
        anchors=believed.anchors,
        name=by.source,
        say=say,
    )
    policy = believed.policy
    named = (*policy.trust.keys, *policy.rebuilders.keys, *policy.smoke.keys, policy.trust.root)
    folder = asked.policy_file.absolute().parent if asked.policy_file is not None else asked.keys
    files = [*filter(None, (by.policy, by.ring)), *(str(folder / name) for name in named if name)]
    seen = settled.digests_of(files)
    # Whoever changed a key meanwhile is believed the next time.
    if trust(asked).digest() == believed.digest():
        settled.leave(index, entries, by, seen, ages=bool(policy.trust.root))
    return done


def _by(asked: Asked) -> settled.By:
    return settled.By(
        source=source_name(asked),
        policy=str(asked.policy_file.absolute()) if asked.policy_file is not None else "",
        ring=str(asked.keys.absolute() / "ring.json"),
        day=asked.now.date().isoformat(),
    )


def _reads_store(asked: Asked) -> bool:
    if not asked.sync:
        return False
    named = asked.index or os.environ.get(database.VARIABLE)
    if named and not asked.store.exists():
        if asked.policy_file is not None:
            msg = f"{asked.store}: no store to hold against {asked.policy_file}"
            raise InputError(msg, "name it with --store; an index has been judged already")
        return False
    return True
