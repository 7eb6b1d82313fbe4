"""HTTP as a registry client needs it: verified, streamed, bounded; one try at a time.

What cannot work is a `RegistryError`; what may work another time is `Again`.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from threading import Lock
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urljoin, urlsplit

from buildkit import __version__
from buildkit.errors import DigestError, RegistryError
from buildkit.registry.patience import Again, Patience
from buildkit.registry.section import Section, cut, pools

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    import urllib3

PIECE = 1 << 20
RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})

_MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SAME_METHOD = frozenset({307, 308})
_DRAINED = 1 << 16
_WINDOW_S = 30.0
_DAY_S = 86_400.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Body:
    """What a request carries; it can be sent more than once.

    Attributes:
        size: in bytes.
        pieces: gives it from its beginning.
    """

    size: int
    pieces: Callable[[], Iterable[bytes | Section]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One request.

    Attributes:
        method: of HTTP.
        url: where to.
        headers: of ours, without credentials.
        body: what it carries.
        read_s: seconds for the answer to begin.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    read_s: float | None = None


class Answer:
    """A response whose body has not been read yet; leave its block to let the connection go."""

    def __init__(self, response: urllib3.BaseHTTPResponse, url: str, patience: Patience) -> None:
        self._response = response
        self._patience = patience
        self.url = url
        self.status = response.status
        self.headers = response.headers
        # A chunked body says itself where it ends; without either, an end may be a cut.
        self.says_end = "chunked" in self.headers.get("Transfer-Encoding", "").lower()

    @property
    def length(self) -> int | None:
        """``Content-Length``, if there is one that is a number."""
        text = self.headers.get("Content-Length", "")
        return int(text) if text.isdecimal() and text.isascii() and len(text) < 19 else None

    def pieces(self) -> Iterator[bytes]:
        """The body as it comes.

        Raises:
            Again: the line was cut, or is too slow.
        """
        with translated(self.url):
            since, count = self._patience.now(), 0
            while piece := self._response.read1(PIECE, decode_content=False):
                self._patience.look()
                yield piece
                count += len(piece)
                now = self._patience.now()
                if now - since > _WINDOW_S:
                    if count < self._patience.slowest * (now - since):
                        msg = f"{place(self.url)} sends fewer than {self._patience.slowest} bytes/s"
                        raise Again(msg)
                    since, count = now, 0

    def document(self, limit: int) -> bytes:
        """The whole body.

        Raises:
            Again: the line was cut.
            RegistryError: it is longer than `limit` bytes, compressed, or takes too long.
        """
        if self.headers.get("Content-Encoding", "identity").lower() != "identity":
            msg = f"{place(self.url)}: the answer is compressed, which nobody asked for"
            raise RegistryError(msg)
        end = self._patience.now() + self._patience.document_s
        found = bytearray()
        for piece in self.pieces():
            found += piece
            if len(found) > limit:
                msg = f"{place(self.url)}: the answer is longer than {limit} bytes"
                raise RegistryError(msg)
            if self._patience.now() > end:
                msg = f"{place(self.url)}: {len(found)} bytes in {self._patience.document_s:.0f} s"
                raise Again(msg)
        return bytes(found)

    def close(self) -> None:
        """Keep the connection when the rest of the body is short, else let go of it."""
        from urllib3.exceptions import HTTPError  # noqa: PLC0415 - loaded with the first request

        try:
            left = self.length
            if left is not None and left <= _DRAINED:
                while self._response.read1(_DRAINED, decode_content=False):
                    pass
                self._response.release_conn()
        except (HTTPError, OSError):
            pass
        self._response.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Transport:
    """Connections, kept and shared between threads.

    Args:
        plain_http: whether URLs without TLS are allowed.
        ca: certificates in PEM that are trusted besides those of the machine.
        environ: names proxies (``https_proxy``, ``no_proxy``).
        patience: times.

    Raises:
        RegistryError: `ca` cannot be read.
    """

    def __init__(
        self, *, plain_http: bool, ca: Path | None, environ: Mapping[str, str], patience: Patience
    ) -> None:
        self._plain = plain_http
        self._environ = environ
        self._patience = patience
        # Reading the machine's own takes as long as many requests.
        self._tls = None if plain_http and ca is None else _context(ca)
        self._managers: dict[str, Any] = {}
        self._lock = Lock()
        self._met: set[tuple[str, str, int]] = set()

    def send(self, request: Request, authorization: str | None = None) -> Answer:
        """One request; redirects are followed, with credentials for the first origin alone.

        Raises:
            Again: the line was cut, the registry is busy, or it does not answer.
            RegistryError: TLS does not hold, or it leads somewhere where nobody should go.
        """
        home = origin(request.url)
        url, method, body = request.url, request.method, request.body
        for _ in range(_MOST_REDIRECTS + 1):
            self._allow(url, home)
            headers = {
                "User-Agent": f"edge-buildkit/{__version__}",
                "Accept-Encoding": "identity",
                **request.headers,
            }
            if authorization is not None and origin(url) == home:
                headers["Authorization"] = authorization
            answer = self._once(method, url, headers, body, request.read_s)
            target = answer.headers.get("Location")
            if answer.status not in _REDIRECTS or target is None:
                return _unless_busy(answer)
            answer.close()
            if method not in ("GET", "HEAD") and answer.status not in _SAME_METHOD:
                msg = f"{place(url)} answers {method} with {answer.status}, which no registry may"
                raise RegistryError(msg)
            url = joined(url, target)
        msg = f"{place(request.url)} leads from one place to the next, {_MOST_REDIRECTS} times"
        raise RegistryError(msg)

    def close(self) -> None:
        """Let go of all connections."""
        for manager in self._managers.values():
            manager.clear()

    def _once(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        body: Body | None,
        read_s: float | None,
    ) -> Answer:
        import urllib3  # noqa: PLC0415 - 0.1 s that only commands with a registry should pay

        carried: Any = None
        if body is not None:
            headers["Content-Length"] = str(body.size)
            carried = b"" if body.size == 0 else _cut(body.pieces())
        elif method in ("POST", "PUT", "PATCH"):
            headers["Content-Length"] = "0"
        waiting = self._patience
        with translated(url, met=origin(url) in self._met):
            response = self._manager(url).urlopen(
                method,
                url,
                body=carried,
                headers=headers,
                redirect=False,
                retries=False,
                preload_content=False,
                timeout=urllib3.Timeout(connect=waiting.connect_s, read=read_s or waiting.read_s),
            )
        self._met.add(origin(url))
        return Answer(response, url, waiting)

    def _allow(self, url: str, home: tuple[str, str, int]) -> None:
        scheme = urlsplit(url).scheme
        if scheme == "https" or (scheme == "http" and self._plain and home[0] == "http"):
            return
        if scheme == "http":
            msg = f"{place(url)}: a way without TLS, which was not asked for"
            raise RegistryError(
                msg, "only for a registry in a network that you trust: --plain-http"
            )
        msg = f"the registry leads to a {scheme[:20]!r} address"
        raise RegistryError(msg, "do not trust this registry")

    def _manager(self, url: str) -> Any:
        import urllib3  # noqa: PLC0415 - as above

        proxy = self._proxy(url)
        with self._lock:
            # Also a registry without TLS may lead to where there is.
            if self._tls is None and (proxy or url.startswith("https:")):
                self._tls = _context(None)
                self._managers.clear()
            if proxy not in self._managers:
                options: dict[str, Any] = {"maxsize": 8, "ssl_context": self._tls}
                manager = (
                    urllib3.ProxyManager(proxy, **options)
                    if proxy
                    else urllib3.PoolManager(**options)
                )
                manager.pool_classes_by_scheme = pools()
                self._managers[proxy] = manager
            return self._managers[proxy]

    def _proxy(self, url: str) -> str:
        parts = urlsplit(url)
        get = self._environ.get
        names = (f"{parts.scheme}_proxy", "all_proxy")
        found = next((get(n) or get(n.upper()) for n in names if get(n) or get(n.upper())), None)
        if not found:
            return ""
        if _is_direct(parts.hostname or "", get("no_proxy") or get("NO_PROXY") or ""):
            return ""
        return found if "://" in found else f"http://{found}"


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port.

    Raises:
        RegistryError: it is no address of a host.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if not host:
        msg = f"the registry leads to what is no address of a host ({url.partition(':')[0][:20]!r})"
        raise RegistryError(msg, "do not trust this registry")
    return parts.scheme, host, port or (443 if parts.scheme == "https" else 80)


def joined(url: str, target: str) -> str:
    """Where a registry leads from `url`.

    Raises:
        RegistryError: it is no address.
    """
    try:
        found = urljoin(url, target)
        urlsplit(found)
    except ValueError as error:
        msg = f"{place(url)} leads to what is no address"
        raise RegistryError(msg, "do not trust this registry") from error
    return found


def place(url: str) -> str:
    """A URL for a message: without the query, which may hold a key, and without a user."""
    parts = urlsplit(url)
    return f"{parts.netloc.rpartition('@')[2]}{parts.path}"[:300]


def _is_direct(host: str, exceptions: str) -> bool:
    """Whether ``no_proxy`` names a host: it, a domain that it is in, or ``*`` for all."""
    names = [each.strip().lower().lstrip(".") for each in exceptions.split(",")]
    return any(name and (name in ("*", host) or host.endswith(f".{name}")) for name in names)


def _context(ca: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca is not None:
        try:
            context.load_verify_locations(cafile=ca)
        except (OSError, ssl.SSLError) as error:
            msg = f"{ca}: no certificates in PEM"
            remedy = "name a file that begins with -----BEGIN CERTIFICATE-----"
            raise RegistryError(msg, remedy) from error
    return context


def _cut(pieces: Iterable[bytes | Section]) -> Iterator[memoryview | Section]:
    for piece in pieces:
        if isinstance(piece, Section):
            yield piece
        else:
            yield from cut(piece)


def _unless_busy(answer: Answer) -> Answer:
    if answer.status not in RETRIED:
        return answer
    answer.close()
    after = _seconds(answer.headers.get("Retry-After", ""))
    msg = f"{place(answer.url)}: the registry answers {answer.status}"
    raise Again(msg, after=after)


def _seconds(text: str) -> float | None:
    """``Retry-After``, in seconds or as a date (RFC 9110, 10.2.3)."""
    import time  # noqa: PLC0415 - for dates only

    if text.isdecimal() and text.isascii():
        return min(float(text[:9]), _DAY_S)
    try:
        when = parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(0.0, when - time.time()), _DAY_S)


class translated:  # noqa: N801 - used like a function
    """Turn what goes wrong on the line into our errors."""

    def __init__(self, url: str, *, met: bool = True) -> None:
        self._url = url
        self._met = met

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is None or isinstance(error, (Again, DigestError, RegistryError)):
            return
        import http.client  # noqa: PLC0415 - only when there is an error

        from urllib3 import exceptions  # noqa: PLC0415 - as above

        where = place(self._url)
        if isinstance(error, (exceptions.SSLError, ssl.SSLError)):
            raise _of_tls(where, error) from error
        if isinstance(error, exceptions.ProxyError):
            msg = f"{where}: the proxy of this machine does not let us through: {_said(error)}"
            raise RegistryError(msg, "check https_proxy and no_proxy") from error
        if isinstance(error, exceptions.LocationValueError):
            msg = f"the registry leads to what is no address ({where})"
            raise RegistryError(msg, "do not trust this registry") from error
        if isinstance(error, (exceptions.NewConnectionError, exceptions.ConnectTimeoutError)):
            msg = f"{where}: cannot be reached: {_said(error)}"
            raise Again(msg, met=self._met) from error
        if isinstance(error, (exceptions.HTTPError, http.client.HTTPException, OSError)):
            msg = f"{where}: the line was cut: {_said(error)}"
            raise Again(msg, met=self._met) from error


def _of_tls(where: str, error: Exception) -> RegistryError:
    said = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in said or "certificate" in said.lower():
        msg = f"{where}: its certificate does not hold: {_said(error)}"
        return RegistryError(
            msg, "if a private authority signed it, name its certificate: --ca FILE"
        )
    msg = f"{where}: no TLS: {_said(error)}"
    return RegistryError(
        msg, "for a registry without TLS, in a network that you trust: --plain-http"
    )


def _said(error: BaseException) -> str:
    """The last reason, short: libraries put whole objects into their messages."""
    reason = getattr(error, "reason", None) or error.__cause__ or error.__context__ or error
    text = getattr(reason, "strerror", None) or str(reason) or type(error).__name__
    return str(text).rpartition(">: ")[2].replace("\n", " ")[:200]
