"""Blobs into a repository: in one piece, and after a cut in chunks from where the registry is.

A line that is not cut needs no chunks, and they cost: docker-registry syncs each to its disk. A
long blob is a chunk at first, as there are registries that keep what came of it before a cut.

Source: OCI distribution-spec 1.1, "Pushing Blobs".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import urlencode, urlsplit

from buildkit.errors import DigestError, RegistryError
from buildkit.registry.patience import Again
from buildkit.registry.section import Section
from buildkit.registry.transport import Answer, Body, Request, joined, place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from buildkit.records import Descriptor
    from buildkit.registry.repository import Repository

WHOLE = 128 << 20
CHUNK = 16 << 20
_MOST_MINIMUM = 1 << 30
_RANGE = re.compile(r"(?:bytes=)?0-(\d{1,18})")
# A proxy in front may take no more than so many bytes in one request (413).
_BEGIN_ANEW = frozenset({400, 404, 405, 410, 413, 416})


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """What one blob took.

    Attributes:
        bytes: that went over the line, those of cut tries included.
        mounted: whether the registry had it in another repository.
        skipped: whether it was there.
    """

    bytes: int = 0
    mounted: bool = False
    skipped: bool = False


def put(
    repository: Repository,
    blob: Descriptor,
    opened: Callable[[int], AbstractContextManager[Iterable[bytes | Section]]],
    *,
    mount: str = "",
    whole: int = WHOLE,
    chunk: int = CHUNK,
) -> Sent:
    """See to it that a blob is there.

    Args:
        repository: where to.
        blob: which.
        opened: gives its bytes from an offset on.
        mount: another repository of the same registry that has it.
        whole: up to so many bytes it goes in the request that ends the upload.
        chunk: after a cut, it goes in chunks of so many bytes.

    Raises:
        DigestError: the bytes are not what the digest says.
        RegistryError: the registry does not take it.
    """
    if repository.has_blob(blob):
        return Sent(skipped=True)
    upload = _Upload(repository, blob, opened, mount, whole=whole, chunk=chunk)
    return repository.persist(upload.attempt, lambda: upload.furthest)


class _Upload:
    """One blob, over all its tries."""

    def __init__(
        self,
        repository: Repository,
        blob: Descriptor,
        opened: Callable[[int], AbstractContextManager[Iterable[bytes | Section]]],
        mount: str,
        *,
        whole: int,
        chunk: int,
    ) -> None:
        self._repository = repository
        self._blob = blob
        self._opened = opened
        self._mount = mount
        self._whole = whole
        self._chunk = chunk
        self._location = ""
        self._offset = 0
        self._tried = False
        self._sent = 0
        self.furthest = 0

    def attempt(self) -> Sent:
        """One try, from where the one before ended.

        Raises:
            Again: worth another.
        """
        first, self._tried = not self._tried, True
        if not first:
            # The line may have been cut after the registry had all of it.
            if self._repository.has_blob(self._blob):
                return Sent(bytes=self._sent)
            if self._location:
                self._ask()
        if not self._location and self._begin():
            return Sent(mounted=True)
        if self._offset == 0 and self._blob.size <= (self._whole if first else self._chunk):
            self._finish(self._blob.size)
            return Sent(bytes=self._sent)
        while self._offset < self._blob.size:
            try:
                self._patch(self._blob.size if first else self._offset + self._chunk)
            except Again:
                # What was sent took its time; patience is for what comes after it.
                self.furthest = max(self.furthest, min(self._sent, 1))
                raise
        self._finish(0)
        return Sent(bytes=self._sent)

    def _begin(self) -> bool:
        """Open an upload; whether a mount has made that needless."""
        query = {"mount": self._blob.digest, "from": self._mount} if self._mount else {}
        url = self._repository.url("blobs", "uploads", "")
        if query:
            url += "?" + urlencode(query)
        with self._repository.send(Request(method="POST", url=url)) as answer:
            if answer.status == 201 and self._mount:
                return True
            if answer.status != 202:
                self._repository.refuse(answer, "an upload")
            self._move(answer, 0)
            least = answer.headers.get("OCI-Chunk-Min-Length", "")
            if least.isdecimal() and least.isascii():
                self._chunk = max(self._chunk, min(int(least[:12]), _MOST_MINIMUM))
        self._mount = ""
        return False

    def _ask(self) -> None:
        """Where the registry is; if it does not know, all begins anew."""
        with self._repository.send(Request(method="GET", url=self._location)) as answer:
            if answer.status in (202, 204):
                at = self._told(answer)
                if at is not None and at <= self._blob.size:
                    self._move(answer, at)
                    return
            elif answer.status not in _BEGIN_ANEW:
                self._repository.refuse(answer, "the state of an upload")
        self._location, self._offset = "", 0

    def _patch(self, end: int) -> None:
        start, end = self._offset, min(end, self._blob.size)
        request = Request(
            method="PATCH",
            url=self._location,
            headers={
                "Content-Type": "application/octet-stream",
                "Content-Range": f"{start}-{end - 1}",
            },
            body=Body(size=end - start, pieces=lambda: self._pieces(start, end)),
        )
        with self._repository.send(request) as answer:
            if answer.status in _BEGIN_ANEW:
                self._anew(answer)
            if answer.status not in (201, 202, 204):
                self._repository.refuse(answer, f"blob {self._blob.digest}")
            at = self._told(answer)
            if at is not None and not start < at <= end:
                self._location = ""
                msg = f"{self._repository}: {self._blob.digest}: sent up to {end}, it has {at}"
                raise Again(msg)
            self._move(answer, end if at is None else at)

    def _finish(self, size: int) -> None:
        """End the upload, with all bytes or with none."""
        mark = "&" if urlsplit(self._location).query else "?"
        request = Request(
            method="PUT",
            url=self._location + mark + urlencode({"digest": self._blob.digest}),
            headers={"Content-Type": "application/octet-stream"},
            body=Body(size=size, pieces=lambda: self._pieces(0, size)),
            read_s=self._repository.patience.commit_s,
        )
        with self._repository.send(request) as answer:
            if answer.status in (200, 201, 204):
                self.furthest = self._blob.size
                given = answer.headers.get("Docker-Content-Digest", self._blob.digest)
                if given != self._blob.digest:
                    msg = f"{self._repository}: took blob {self._blob.digest} for {given[:80]}"
                    raise DigestError(msg, "do not trust this registry")
                return
            if answer.status in _BEGIN_ANEW:
                self._anew(answer)
            self._repository.refuse(answer, f"blob {self._blob.digest}")

    def _anew(self, answer: Answer) -> NoReturn:
        """The upload is lost, or its bytes are wrong: whose fault, and whether to try again."""
        self._check_source()
        self._location, self._offset = "", 0
        try:
            self._repository.refuse(answer, f"blob {self._blob.digest}")
        except RegistryError as error:
            raise Again(error.message) from error

    def _check_source(self) -> None:
        """Not to blame the registry for what is wrong on our side."""
        import hashlib  # noqa: PLC0415 - only when an upload was refused

        state = hashlib.sha256()
        with self._opened(0) as pieces:
            for piece in pieces:
                state.update(bytes(piece))
        if f"sha256:{state.hexdigest()}" != self._blob.digest:
            msg = f"{self._blob.digest}: the bytes here have digest sha256:{state.hexdigest()}"
            raise DigestError(msg, "`python -m buildkit show --verify` names all damage")

    def _pieces(self, start: int, end: int) -> Iterator[bytes | Section]:
        left = end - start
        if not left:
            return
        with self._opened(start) as pieces:
            for piece in pieces:
                self._repository.patience.look()
                part = piece.first(left) if isinstance(piece, Section) else piece[:left]
                self._sent += len(part)
                left -= len(part)
                yield part
                if not left:
                    return
        msg = f"{self._blob.digest}: {left} bytes are missing at its end"
        raise DigestError(msg, "`python -m buildkit show --verify` names all damage")

    def _told(self, answer: Answer) -> int | None:
        """Up to where the registry has it, if it says so: ``Range: 0-N`` means N + 1 bytes."""
        found = _RANGE.fullmatch(answer.headers.get("Range", "").strip())
        # `0-0` is both one byte and, with many registries, none.
        return None if found is None else (int(found[1]) + 1 if int(found[1]) else 0)

    def _move(self, answer: Answer, offset: int) -> None:
        target = answer.headers.get("Location", "")
        if not target:
            if not self._location:
                msg = f"{place(answer.url)}: an upload without a place for it"
                raise RegistryError(msg, "do not trust this registry")
            target = self._location
        self._location = joined(answer.url, target)
        self._offset = offset
        self.furthest = max(self.furthest, offset)
