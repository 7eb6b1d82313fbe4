"""A part of a file, as the body of a request: the kernel sends it, nothing is copied here."""

from __future__ import annotations

import errno
import math
import os
import select
import time
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

# So short that a slow line sends each within the time for one.
PIECE = 1 << 16
# The file system has no way for it.
_UNABLE = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A part of an open file.

    Attributes:
        file: open until it is sent.
        offset: of its first byte.
        size: in bytes.
    """

    file: BinaryIO
    offset: int
    size: int

    def __len__(self) -> int:
        return self.size

    def __bytes__(self) -> bytes:
        return os.pread(self.file.fileno(), self.size, self.offset)

    def first(self, size: int) -> Section:
        """Its first `size` bytes, or all when it has no more."""
        return Section(file=self.file, offset=self.offset, size=min(size, self.size))


def cut(data: bytes) -> Iterator[memoryview]:
    """In pieces of `PIECE` bytes."""
    view = memoryview(data)
    return (view[at : at + PIECE] for at in range(0, len(view), PIECE))


def through(line: socket.socket, section: Section) -> None:
    """Send it by sendfile(2); every `PIECE` within the timeout of `line`.

    Raises:
        OSError: the line is cut, or the file system cannot do it; nothing is sent then.
        TimeoutError: the other side takes too little.
    """
    most = line.gettimeout() or math.inf
    poll = select.poll()
    poll.register(line, select.POLLOUT)
    sent, mark, end = 0, PIECE, time.monotonic() + most
    while sent < section.size:
        at, left = section.offset + sent, section.size - sent
        try:
            count = os.sendfile(line.fileno(), section.file.fileno(), at, left)
        except BlockingIOError:
            pause = end - time.monotonic()
            if pause <= 0 or not poll.poll(pause * 1000):
                msg = "timed out"
                raise TimeoutError(msg) from None
            continue
        if not count:
            msg = "the file became shorter"
            raise OSError(msg)
        sent += count
        if sent >= mark:
            mark, end = sent + PIECE, time.monotonic() + most


@cache
def pools() -> dict[str, Any]:
    """By scheme, pools of urllib3 whose requests may have a `Section` in their bodies."""
    from urllib3 import connection, connectionpool  # noqa: PLC0415 - with the first request

    class Plain(connection.HTTPConnection):
        def send(self, data: Any) -> None:
            if not isinstance(data, Section):
                super().send(data)
                return
            try:
                through(self.sock, data)
            except OSError as error:
                if error.errno not in _UNABLE:
                    raise
                for piece in cut(bytes(data)):
                    super().send(piece)

    class Tls(connection.HTTPSConnection):
        def send(self, data: Any) -> None:
            for piece in cut(bytes(data)) if isinstance(data, Section) else (data,):
                super().send(piece)

    class PlainPool(connectionpool.HTTPConnectionPool):
        ConnectionCls = Plain

    class TlsPool(connectionpool.HTTPSConnectionPool):
        ConnectionCls = Tls

    return {"http": PlainPool, "https": TlsPool}
