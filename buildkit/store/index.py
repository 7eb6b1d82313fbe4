"""``index.json``: read at any time without a lock, replaced whole under one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildkit import disk
from buildkit.errors import StoreError
from buildkit.store import entries
from buildkit.store.files import translated, write_whole
from buildkit.store.layout import INDEX_WAIT
from buildkit.store.locks import hold

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit.store.entries import Document
    from buildkit.store.layout import Layout

_LIMIT = 64 << 20
_FULL = (
    "use another store from now on (--store), and keep this one for audits; "
    "`python -m buildkit gc --untagged` removes what has no name, evidence about it included"
)


def load(layout: Layout) -> Document:
    """The document as it is now.

    Raises:
        StoreError: it is missing, cannot be read, or is malformed.
    """
    path = layout.index
    with translated(layout.root):
        try:
            with path.open("rb") as stream:
                data = stream.read(_LIMIT + 1)
        except (FileNotFoundError, NotADirectoryError) as error:
            msg = f"{layout.root}: there is no store here (no index.json)"
            raise StoreError(msg, "`python -m buildkit build` makes one") from error
    if len(data) > _LIMIT:
        msg = f"{path}: more than {_LIMIT >> 20} MiB"
        raise StoreError(msg, "this program has not written it: take the store from a backup")
    return entries.parse(data, str(path))


def update(layout: Layout, change: Callable[[Document], bool]) -> None:
    """Read, change and replace the document while nobody else does.

    Args:
        layout: whose index.
        change: changes the document in place and says whether it did; if not, nothing is written.

    Raises:
        StoreError: it cannot be read or written, others held it for too long, or it would become
            longer than anybody reads.
    """
    with (
        translated(layout.root),
        hold(layout.index_lock, exclusive=True, wait=INDEX_WAIT, purpose="change the index"),
    ):
        document = load(layout)
        if change(document):
            data = entries.dump(document, str(layout.index))
            if len(data) > _LIMIT:
                msg = f"{layout.root}: its list of entries is full ({_LIMIT >> 20} MiB)"
                raise StoreError(msg, _FULL)
            # For all blobs since the last time: the index must not name what a power cut loses.
            if layout.blobs.is_dir():
                disk.sync_folder(layout.blobs)
            write_whole(layout.index, data, layout.ingest)
