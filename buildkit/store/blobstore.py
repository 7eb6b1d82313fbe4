"""Blobs on disk with a lease over them: all of the store but its index."""

from __future__ import annotations

import errno
from contextlib import ExitStack, contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any, Self

from buildkit import canonical
from buildkit.errors import StoreError
from buildkit.records import Descriptor
from buildkit.store import layout
from buildkit.store.blobs import DOCUMENT_LIMIT, Blobs
from buildkit.store.files import translated
from buildkit.store.locks import hold

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import BinaryIO

    from buildkit.store.blobs import Incoming

LEASE_WAIT = 600.0


class BlobStore:
    """What `Store` stands on.

    Attributes:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._layout = layout.Layout(root)
        self._blobs = Blobs(self._layout)
        self._leases = 0
        self._counting = Lock()

    @classmethod
    def create(cls, root: Path) -> Self:
        """Open the store at `root`, made first if there is none.

        In a folder ``.buildkit`` a ``.gitignore`` is written as well, unless it has one.

        Raises:
            StoreError: the folder holds something else, a newer layout, or cannot be written.
        """
        store = cls(root)
        layout.create(store._layout)
        return store

    @classmethod
    def open(cls, root: Path) -> Self:
        """Open the store at `root`; nothing is written.

        Raises:
            StoreError: there is none, or it is of a newer layout version.
        """
        store = cls(root)
        layout.verify(store._layout)
        return store

    def put_bytes(
        self,
        data: bytes,
        media_type: str,
        *,
        annotations: Mapping[str, str] | None = None,
        artifact_type: str | None = None,
        platform: str | None = None,
    ) -> Descriptor:
        """Keep `data` as a blob; nothing is written when it is there.

        Args:
            data: the bytes.
            media_type: for the descriptor, like the other arguments; the blob has none.
            annotations: of the descriptor.
            artifact_type: of the manifest that `data` is.
            platform: ``linux/arm64`` of the image manifest that `data` is.

        Raises:
            StoreError: the disk is full, no permission, or the like.
        """
        with self._shared():
            digest = self._blobs.put(data)
        return Descriptor(
            media_type=media_type,
            digest=digest,
            size=len(data),
            annotations=annotations or {},
            artifact_type=artifact_type,
            platform=platform,
        )

    def put_json(
        self, document: Any, media_type: str, *, platform: str | None = None
    ) -> Descriptor:
        """Keep `document` as canonical JSON; see `put_bytes`.

        Raises:
            StoreError: the disk is full, no permission, or the like.
            ValueError, TypeError: `document` is not JSON.
        """
        return self.put_bytes(canonical.dump(document), media_type, platform=platform)

    def put_file(self, file: Path, media_type: str, *, digest: str | None = None) -> Descriptor:
        """Keep a copy of a file's content, whatever its length; see `put_bytes`.

        Args:
            file: to be read; a symbolic link to a file is followed.
            media_type: for the descriptor.
            digest: what the content must be; a new file is then read once in place of twice.

        Raises:
            DigestError: the content is not what `digest` says; nothing is kept.
            StoreError: no such file, the disk is full, no permission, or the like.
        """
        with self._shared():
            found, size = self._blobs.put_file(file, digest)
        return Descriptor(media_type=media_type, digest=found, size=size)

    @contextmanager
    def receive(self, digest: str, size: int) -> Iterator[Incoming]:
        """Write a blob piece by piece, as it comes over a line; it appears when the block ends.

        Raises:
            DigestError: what came is not what `digest` and `size` say; nothing is kept.
            StoreError: the disk is full, no permission, or the like.
        """
        with self._shared(), self._blobs.receive(digest, size) as incoming:
            yield incoming

    def has(self, digest: str) -> bool:
        """Whether there is a blob `digest`; its content is not looked at.

        Raises:
            StoreError: `digest` is malformed.
        """
        return self._blobs.size(digest) is not None

    def size(self, digest: str) -> int | None:
        """Bytes of a blob; nothing when there is none.

        Raises:
            StoreError: `digest` is malformed.
        """
        return self._blobs.size(digest)

    def path(self, digest: str) -> Path:
        """Where a blob is, or would be. Whoever reads from there must check what they read.

        Raises:
            StoreError: `digest` is malformed.
        """
        return self._layout.blob(digest)

    def read(self, digest: str, *, limit: int | None = None) -> bytes:
        """The bytes of a blob, checked.

        Raises:
            DigestError: they are not what the digest says.
            StoreError: the blob is missing, or longer than `limit` bytes.
        """
        return self._blobs.read(digest, limit)

    def read_json(self, digest: str) -> Any:
        """A blob of at most 4 MiB as strict JSON (no key twice in one object), checked.

        Raises:
            DigestError: the bytes are not what the digest says.
            StoreError: the blob is missing, too long, or not JSON.
        """
        data = self._blobs.read(digest, DOCUMENT_LIMIT)
        try:
            return canonical.load(data)
        except ValueError as error:
            msg = f"{digest}: not strict JSON: {error}"
            raise StoreError(msg, "`python -m buildkit show` says what it is") from error

    def copy(self, digest: str, stream: BinaryIO) -> int:
        """Write a blob to `stream`, piece by piece, and give its size.

        Raises:
            DigestError: what was written is not what the digest says.
            StoreError: the blob is missing.
            OSError: `stream` cannot be written.
        """
        return self._blobs.copy(digest, stream.write)

    @contextmanager
    def lease(self) -> Iterator[None]:
        """Keep garbage collections away for the length of the block; others may hold it too.

        Raises:
            StoreError: a garbage collection did not end in time, or the store cannot be written.
        """
        with self._shared():
            with self._counting:
                self._leases += 1
            try:
                yield
            finally:
                with self._counting:
                    self._leases -= 1

    @contextmanager
    def reading(self) -> Iterator[None]:
        """As `lease`, but a store that this user cannot write to is read without it.

        Raises:
            StoreError: a garbage collection did not end in time.
        """
        with self._shared(read_only=True):
            yield

    @contextmanager
    def _shared(self, *, read_only: bool = False) -> Iterator[None]:
        with ExitStack() as stack:
            try:
                # Only the lock's own errors are translated, not those of the block.
                with translated(self.root):
                    stack.enter_context(
                        hold(
                            self._layout.lease,
                            exclusive=False,
                            wait=LEASE_WAIT,
                            purpose="use the store",
                        )
                    )
            except StoreError as error:
                number = getattr(error.__cause__, "errno", None)
                if number in (errno.ENOENT, errno.ENOTDIR):
                    layout.verify(self._layout)  # there is no store, and it says so better
                if not (read_only and number in (errno.EACCES, errno.EPERM, errno.EROFS)):
                    raise
            yield
