"""Where things stand in an OCI image layout (image-spec v1.1, image-layout.md), and making one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from buildkit import canonical, digests, media
from buildkit.errors import StoreError
from buildkit.store.files import make_folder, translated, write_whole
from buildkit.store.locks import hold

if TYPE_CHECKING:
    from pathlib import Path

VERSION = "1.0.0"
MARKER = canonical.dump({"imageLayoutVersion": VERSION})
EMPTY_INDEX = canonical.dump({"manifests": [], "mediaType": media.INDEX, "schemaVersion": 2})
INDEX_WAIT = 60.0

_PLACE = ".buildkit/store"
_NEWEST = (1, 0)
_ELSEWHERE = "name another folder with --store"


def nearest(here: Path) -> Path:
    """The store of the project that a folder is in: of the nearest folder above that has one.

    Args:
        here: the folder; where none has a store, that folder's own is named.
    """
    known = (folder / _PLACE for folder in (here, *here.parents))
    return next((store for store in known if store.is_dir()), here / _PLACE)


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one layout; making one does no I/O.

    ``oci-layout``, ``index.json`` and ``blobs/`` are the specification's. Ours are ``.ingest/``
    (files being written), ``.lease`` (held by builds and by `gc`) and ``index.json.lock``, which
    has the name that BuildKit uses for the same purpose, so that the two exclude each other.
    """

    root: Path

    @property
    def marker(self) -> Path:
        """The file that makes the folder a layout."""
        return self.root / "oci-layout"

    @property
    def index(self) -> Path:
        """The list of entries."""
        return self.root / "index.json"

    @property
    def index_lock(self) -> Path:
        """Held while ``index.json`` is replaced."""
        return self.root / "index.json.lock"

    @property
    def blobs(self) -> Path:
        """The folder of all blobs."""
        return self.root / "blobs" / "sha256"

    @property
    def ingest(self) -> Path:
        """The folder of files that are being written."""
        return self.root / ".ingest"

    @property
    def lease(self) -> Path:
        """Held shared by whoever writes, alone by the garbage collection."""
        return self.root / ".lease"

    def blob(self, digest: str) -> Path:
        """The path of a blob.

        Raises:
            StoreError: `digest` is not a SHA-256 digest.
        """
        if not digests.is_digest(digest):
            msg = f"{digest!r} is not a SHA-256 digest"
            raise StoreError(msg, "a digest is `sha256:` and 64 hex digits, in lower case")
        return self.blobs / digests.hex_of(digest)


def create(layout: Layout) -> None:
    """Make the layout if it is not there; processes that do so at once do not disturb each other.

    Raises:
        StoreError: the folder holds something else, or cannot be written.
    """
    root = layout.root
    with translated(root):
        if not layout.marker.exists():
            _refuse_strangers(layout)
            make_folder(layout.ingest)
            # First of all: a folder with anything else but without this file is not ours.
            write_whole(layout.marker, MARKER, layout.ingest)
        if not layout.blobs.is_dir():
            make_folder(layout.blobs)
        if not layout.index.exists():
            with hold(layout.index_lock, exclusive=True, wait=INDEX_WAIT, purpose="make the store"):
                if not layout.index.exists():
                    write_whole(layout.index, EMPTY_INDEX, layout.ingest)
        if root.parent.name == ".buildkit":
            ignored = root.parent / ".gitignore"
            if not ignored.exists():
                write_whole(ignored, b"*\n", layout.ingest)
    verify(layout)


def verify(layout: Layout) -> None:
    """Refuse a folder that is not a layout, or one that we cannot read.

    Raises:
        StoreError: as said.
    """
    root = layout.root
    with translated(root):
        if not root.is_dir():
            msg = f"{root}: there is no store here"
            raise StoreError(msg, f"`python -m buildkit build` makes one; or {_ELSEWHERE}")
        if not layout.marker.is_file():
            msg = f"{root}: not a store (an OCI image layout has a file `oci-layout`)"
            raise StoreError(msg, _ELSEWHERE)
        _check_version(layout, layout.marker.read_bytes())
        if not layout.index.is_file():
            msg = f"{root}: the store has no index.json"
            raise StoreError(msg, "run `python -m buildkit build` again, it makes an empty one")
        for folder in (layout.blobs.parent, layout.blobs):
            if folder.is_symlink():
                msg = f"{folder}: the folder of blobs is a symbolic link"
                raise StoreError(msg, "move the whole store, and link to that if need be")


def _refuse_strangers(layout: Layout) -> None:
    if not layout.root.exists():
        return
    ours = {layout.ingest.name, layout.lease.name, layout.index_lock.name}
    found = sorted({path.name for path in layout.root.iterdir()} - ours)
    # Another process may have made the marker and more since the caller looked.
    if found and not layout.marker.exists():
        msg = f"{layout.root}: holds other files ({', '.join(found[:3])}), so no store is made here"
        raise StoreError(msg, f"{_ELSEWHERE}, or empty this one")


def _check_version(layout: Layout, data: bytes) -> None:
    version: Any = None
    try:
        document = canonical.load(data)
        version = document["imageLayoutVersion"]
        found = re.fullmatch(r"(\d{1,6})\.(\d{1,6})\.\d+\S*", version)
    except (ValueError, TypeError, KeyError):
        found = None
    if found is None:
        msg = f"{layout.marker}: no image layout version in it"
        raise StoreError(msg, _ELSEWHERE)
    if (int(found[1]), int(found[2])) > _NEWEST:
        msg = (
            f"{layout.root}: image layout version {version} is newer than {VERSION}, the last known"
        )
        raise StoreError(msg, f"update edge-buildkit, or {_ELSEWHERE}")
