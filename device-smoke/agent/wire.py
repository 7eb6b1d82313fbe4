"""The line to the host: one request in, JSON lines out; raw bytes where a command takes them."""

from __future__ import annotations

import os
import select
import sys
import time
from typing import Any

from agent import strict
from agent.errors import AgentError, Kind, Stopped

LONGEST_REQUEST = 4 * 1024 * 1024
CHUNK = 1 << 20
IDLE_S = 120.0
_EVERY_S = 0.5


class Wire:
    """Standard input and output of one call.

    Args:
        source: file descriptor that is read.
        sink: file descriptor that is written.
    """

    def __init__(self, source: int = 0, sink: int = 1) -> None:
        self.source = source
        self._sink = sink
        self._ahead = b""
        self._told = 0.0

    def request(self) -> dict[str, Any]:
        """The first line.

        Raises:
            AgentError: it is no JSON object, or it does not come.
        """
        parts: list[bytes] = []
        size = 0
        while True:
            piece = self._receive(1 << 16)
            if not piece:
                raise AgentError(Kind.NETWORK, "standard input ended before the request did")
            head, newline, rest = piece.partition(b"\n")
            parts.append(head)
            size += len(head)
            if size > LONGEST_REQUEST:
                raise AgentError(Kind.USAGE, f"a request of more than {LONGEST_REQUEST} bytes")
            if newline:
                self._ahead = rest
                break
        try:
            return strict.obj(strict.load(b"".join(parts)), "request")
        except ValueError as error:
            raise AgentError(Kind.USAGE, f"request: {error}") from error

    def read(self, most: int) -> bytes:
        """Up to `most` bytes behind the request.

        Raises:
            AgentError: the line ended, or nothing came for two minutes.
        """
        if self._ahead:
            found, self._ahead = self._ahead[:most], self._ahead[most:]
            return found
        found = self._receive(min(most, CHUNK))
        if not found:
            raise AgentError(Kind.NETWORK, "standard input ended in the middle of a blob")
        return found

    def _receive(self, most: int) -> bytes:
        if not select.select([self.source], [], [], IDLE_S)[0]:
            raise AgentError(Kind.NETWORK, f"nothing came from the host for {IDLE_S:g} s")
        return os.read(self.source, most)

    def progress(self, *, now: bool = False, **fields: Any) -> None:
        """Tell the host how far it is; at most twice a second, unless it has to be `now`."""
        moment = time.monotonic()
        if now or moment - self._told >= _EVERY_S:
            self._told = moment
            self._send({"progress": fields})

    def done(self, document: dict[str, Any]) -> None:
        """The last line of a call that went well."""
        self._send({"done": document})

    def error(self, error: AgentError) -> None:
        """The last line of one that did not; also on standard error when nobody reads it."""
        try:
            self._send({"error": error.document()})
        except (Stopped, OSError):
            sys.stderr.write(f"{error}\n")

    def _send(self, document: dict[str, Any]) -> None:
        line = strict.dump(document) + b"\n"
        try:
            while line:
                line = line[os.write(self._sink, line) :]
        except BrokenPipeError as error:
            why = "the host no longer reads"
            raise Stopped(why) from error
