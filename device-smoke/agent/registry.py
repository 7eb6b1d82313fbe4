"""OCI distribution 1.1, as much of it as pulling by digest needs."""

from __future__ import annotations

import http.client
import ssl
import time
from typing import TYPE_CHECKING, Any

from agent import strict
from agent.client import Client, Origin
from agent.errors import AgentError, Kind

if TYPE_CHECKING:
    from agent.blobs import Blob, Blobs, Writer
    from agent.wire import Wire

MANIFESTS = frozenset(
    {
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    }
)
PAUSES_S = (0.5, 1.0, 2.0, 4.0)
_CHUNK = 1 << 20
_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_KEYS = {"registry", "repository", "blobs", "user", "password", "ca"}
_NAME = r"[a-z0-9]+(?:(?:\.|_|__|-+|/)[a-z0-9]+)*"
_REMEDY = "look at the device's network, or stream from the store instead"


class _Again(Exception):
    """Worth another try."""


class Registry:
    """One repository of one registry.

    Args:
        base: ``https://host:port``.
        repository: its name.
        client: that asks it.
    """

    def __init__(self, base: str, repository: str, client: Client) -> None:
        self._base = base.rstrip("/")
        self._repository = repository
        self._client = client

    @classmethod
    def parse(cls, request: dict[str, Any]) -> Registry:
        """Read a request of ``pull``.

        Raises:
            AgentError: it makes no sense.
        """
        try:
            strict.obj(request, "request", _KEYS)
            base = strict.word(request.get("registry"), "registry", r"https?://[^/?#@\s]+/?")
            Origin.of(base)
            repository = strict.word(request.get("repository"), "repository", _NAME)
            user = strict.text(request.get("user", ""), "user")
            password = strict.text(request.get("password", ""), "password", 1 << 16)
            authority = strict.text(request.get("ca", ""), "ca", 1 << 20)
        except ValueError as error:
            raise AgentError(Kind.USAGE, str(error)) from error
        return cls(base, repository, Client(base, user, password, authority))

    def pull(self, blob: Blob, store: Blobs, wire: Wire) -> None:
        """Bring one blob, going on where an earlier call, or try, ended.

        Raises:
            AgentError: of kind ``network``: not there, not reachable, or other bytes.
        """
        why = ""
        for pause in (0.0, *PAUSES_S):
            time.sleep(pause)
            try:
                with store.writer(blob, store.have(blob)) as writer:
                    if writer.left:
                        self._fetch(blob, writer, wire)
                    writer.finish()
            except (_Again, ConnectionError, TimeoutError, http.client.HTTPException) as error:
                why = str(error) or type(error).__name__
            except ssl.SSLError as error:
                message = f"{self._base}: {error.reason or error}"
                raise AgentError(Kind.NETWORK, message, "give the registry's authority") from error
            except ValueError as error:
                raise AgentError(Kind.NETWORK, f"{self._base}: {error}") from error
            except OSError as error:
                if error.filename is not None or not _of_network(error):
                    raise
                why = str(error)
            else:
                return
        raise AgentError(Kind.NETWORK, f"{self._base}: {blob.digest}: {why}", _REMEDY)

    def _fetch(self, blob: Blob, writer: Writer, wire: Wire) -> None:
        kind = "manifests" if blob.media_type in MANIFESTS else "blobs"
        headers = {"Accept": blob.media_type if kind == "manifests" else "*/*"}
        if writer.size:
            headers["Range"] = f"bytes={writer.size}-"
        url = f"{self._base}/v2/{self._repository}/{kind}/{blob.digest}"
        answer = self._client.get(url, headers)
        try:
            if answer.status in _AGAIN:
                message = f"the registry answered {answer.status}"
                raise _Again(message)
            if answer.status not in {200, 206}:
                message = f"{url}: the registry answered {answer.status} {answer.reason[:80]}"
                raise AgentError(Kind.NETWORK, message)
            self._skip(answer, writer)
            while writer.left:
                # One more than is left: an answer that is too long is a wrong answer.
                piece = answer.read(min(_CHUNK, writer.left + 1))
                if not piece:
                    message = f"the answer ended after {writer.size} of {blob.size} bytes"
                    raise _Again(message)
                writer.write(piece)
                wire.progress(digest=blob.digest, bytes=writer.size)
        finally:
            answer.close()

    @staticmethod
    def _skip(answer: http.client.HTTPResponse, writer: Writer) -> None:
        """Leave out what is here already, when the registry did not."""
        if answer.status == 206:
            given = answer.headers.get("Content-Range", "")
            if not given.startswith(f"bytes {writer.size}-"):
                message = f"asked from byte {writer.size} on, the registry gave {given[:80]!r}"
                raise AgentError(Kind.NETWORK, message)
            return
        skip = writer.size
        while skip:
            piece = answer.read(min(_CHUNK, skip))
            if not piece:
                message = "the answer is shorter than what is here of it"
                raise _Again(message)
            skip -= len(piece)


def _of_network(error: OSError) -> bool:
    import errno
    import socket

    unreachable = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN}
    return isinstance(error, socket.gaierror) or error.errno in unreachable
