"""HTTP for the registry: verified TLS, redirects without credentials, tokens. No more than that."""

from __future__ import annotations

import base64
import http.client
import re
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urljoin, urlsplit

from agent import strict
from agent.errors import AgentError, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT_S = 30.0
_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 5
_LARGEST_TOKEN = 1 << 20
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class Origin:
    """Scheme, host and port: what credentials belong to."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Origin:
        """Of an absolute URL.

        Raises:
            ValueError: it is none of HTTP.
        """
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
            message = f"{url[:200]} is no address of HTTP"
            raise ValueError(message)
        return cls(
            parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme]
        )


class Client:
    """Asks one registry, and whoever it redirects to.

    Args:
        base: of the registry; only its origin ever sees credentials, or the token service that it
            names, which must be as secure.
        user: for basic authentication, and for the token service; may be empty.
        password: of the user.
        authority: PEM of a further certificate authority; may be empty.
    """

    def __init__(self, base: str, user: str, password: str, authority: str) -> None:
        self._home = Origin.of(base)
        self._basic = ""
        if user or password:
            text = base64.b64encode(f"{user}:{password}".encode()).decode()
            self._basic = f"Basic {text}"
        self._authority = authority
        self._context: ssl.SSLContext | None = None
        self._authorization = ""

    def get(self, url: str, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        """The answer to GET, redirects and authentication done; the caller closes it.

        Raises:
            AgentError: of kind ``network``: it asks for what we do not do.
            OSError: the line.
            http.client.HTTPException: the answer is none.
        """
        answer = self._follow(url, headers)
        if answer.status == 401 and Origin.of(url) == self._home:
            challenge = answer.headers.get("WWW-Authenticate", "")
            answer.close()
            self._authorization = self._authorize(challenge)
            answer = self._follow(url, headers)
        return answer

    def _follow(self, url: str, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        for _ in range(_MOST_REDIRECTS + 1):
            origin = Origin.of(url)
            own = {"Authorization": self._authorization} if self._authorization else {}
            answer = self._ask(url, {**headers, **(own if origin == self._home else {})})
            if answer.status not in _REDIRECTS:
                return answer
            target = answer.headers.get("Location", "")
            answer.close()
            url = urljoin(url, target)
            if origin.scheme == "https" and Origin.of(url).scheme != "https":
                raise AgentError(Kind.NETWORK, "the registry redirects from https to http")
        raise AgentError(Kind.NETWORK, f"the registry redirects more than {_MOST_REDIRECTS} times")

    def _ask(self, url: str, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        origin, parts = Origin.of(url), urlsplit(url)
        connection: http.client.HTTPConnection
        if origin.scheme == "https":
            connection = http.client.HTTPSConnection(
                origin.host, origin.port, timeout=TIMEOUT_S, context=self._tls()
            )
        else:
            connection = http.client.HTTPConnection(origin.host, origin.port, timeout=TIMEOUT_S)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        whole = {**headers, "Connection": "close", "User-Agent": "edge-smoke-agent"}
        try:
            connection.request("GET", path, headers=whole)
            return connection.getresponse()
        finally:
            # An answer reads on: its socket ends with whoever of the two closes last.
            if connection.sock is not None:
                connection.sock.close()

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = ssl.create_default_context()
            if self._authority:
                self._context.load_verify_locations(cadata=self._authority)
        return self._context

    def _authorize(self, challenge: str) -> str:
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic" and self._basic:
            return self._basic
        if scheme.lower() != "bearer":
            raise AgentError(Kind.NETWORK, "the registry asks for a user and a password")
        return f"Bearer {self._token(dict(_PARAMETER.findall(rest)))}"

    def _token(self, asked: Mapping[str, str]) -> str:
        """Docker's token protocol: GET the realm, with basic authentication if there is a user."""
        realm = asked.get("realm", "")
        service = Origin.of(realm)
        if self._home.scheme == "https" and service.scheme != "https":
            raise AgentError(Kind.NETWORK, "the registry's token service does not use https")
        query = urlencode({name: asked[name] for name in ("service", "scope") if name in asked})
        headers = {"Authorization": self._basic} if self._basic else {}
        answer = self._ask(f"{realm}{'&' if '?' in realm else '?'}{query}", headers)
        try:
            if answer.status != 200:
                raise AgentError(Kind.NETWORK, f"the token service answered {answer.status}")
            document = strict.obj(strict.load(answer.read(_LARGEST_TOKEN)), "token")
        finally:
            answer.close()
        token = document.get("token") or document.get("access_token")
        return strict.word(token, "token", r"[\x21-\x7e]{1,65536}")
