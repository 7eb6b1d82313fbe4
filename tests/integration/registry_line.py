"""A line to a registry that can be cut, and that counts."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress

PIECE = 65536


class Line:
    """A proxy that cuts all its connections whenever so many more bytes have gone through.

    Attributes:
        address: to connect to in the registry's place.
        made: cuts so far.
        up: bytes that the registry was sent.
        down: bytes that it sent.
    """

    def __init__(self, address: str, cuts: list[int]) -> None:
        host, _, port = address.partition(":")
        self._far = (host, int(port))
        self._cuts = cuts
        self._server = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._every: list[socket.socket] = []
        self._passed = 0
        self.made = self.up = self.down = 0
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def left(self) -> int:
        """Cuts that are still to come."""
        return len(self._cuts)

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for each in self._every:
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            far = socket.create_connection(self._far)
            with self._lock:
                self._open |= {near, far}
                self._every += [near, far]
            for pair in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(PIECE):
                with self._lock:
                    if target.getpeername() == self._far:
                        self.up += len(data)
                    else:
                        self.down += len(data)
                    self._passed += len(data)
                    if self._cuts and self._passed > self._cuts[0]:
                        self._cut()
                        return
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def _cut(self) -> None:
        self.made += 1
        self._cuts.pop(0)
        self._passed = 0
        for each in self._open:
            # With a FIN alone the other end could go on sending until nobody reads.
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with suppress(OSError):
                each.shutdown(socket.SHUT_RD)
            each.close()
        self._open.clear()
