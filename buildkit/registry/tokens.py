"""From a challenge to a header ``Authorization``: basic, and bearer tokens with their renewal.

Source: docker/distribution, ``docs/spec/auth/token.md`` and ``oauth.md``.
"""

from __future__ import annotations

import base64
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from buildkit import canonical
from buildkit.errors import RegistryError
from buildkit.registry.credentials import PASSWORD, USER
from buildkit.registry.transport import Body, Request, Transport, origin, place

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit.registry.credentials import Login

_LARGEST = 1 << 20
_DEFAULT_S = 60.0
# A token that ends while a request is under way is as good as none.
_EARLY_S = 10.0


class Authorizer:
    """Knows what one registry wants to see.

    Args:
        host: of the registry, with its port.
        transport: asks the token service.
        login: looks up who we are, when that is asked for.
        now: the clock.
    """

    def __init__(
        self,
        host: str,
        transport: Transport,
        login: Callable[[], Login | None],
        now: Callable[[], float],
    ) -> None:
        self._host = host
        self._transport = transport
        self._find = login
        self._now = now
        self._login: Login | None = None
        self._looked = False
        self._lock = Lock()
        self._headers: dict[str, tuple[str, float]] = {}
        self._basic = ""

    @property
    def remedy(self) -> str:
        """For whoever is not let in."""
        return f"log in with `docker login {self._host}`, or set {USER} and {PASSWORD}"

    def header(self, scope: str) -> str | None:
        """What to show for `scope`, as far as it is known."""
        with self._lock:
            return self._known(scope)

    def fresh(self, scope: str, asked: str, stale: str | None) -> str:
        """What to show after a 401.

        Args:
            scope: ``repository:name:pull,push``, or several with spaces between.
            asked: the header ``WWW-Authenticate``.
            stale: what was shown and refused.

        Raises:
            Again: the token service does not answer.
            RegistryError: it refuses, or there is no way that we know.
        """
        from buildkit.registry import challenge  # noqa: PLC0415 - only when we are asked who we are

        with self._lock:
            known = self._known(scope)
            if known is not None and known != stale:
                return known  # another thread was quicker
            found = {each.scheme: each.parameters for each in challenge.parse(asked)}
            if "bearer" in found:
                token, seconds = self._token(dict(found["bearer"]), scope)
                self._headers[scope] = (f"Bearer {token}", self._now() + seconds - _EARLY_S)
                return f"Bearer {token}"
            if "basic" in found:
                login = self._who()
                if login is None or not (login.user or login.password) or stale is not None:
                    raise self._refused(login)
                self._basic = _basic(login)
                return self._basic
        msg = f"{self._host} asks for a way to log in that is not known here"
        raise RegistryError(msg, "bearer tokens and basic authentication are")

    def _known(self, scope: str) -> str | None:
        if self._basic:
            return self._basic
        header, end = self._headers.get(scope, ("", 0.0))
        return header if header and self._now() < end else None

    def _who(self) -> Login | None:
        if not self._looked:
            self._login, self._looked = self._find(), True
        return self._login

    def _token(self, asked: dict[str, str], scope: str) -> tuple[str, float]:
        login = self._who()
        if login is not None and login.registry_token:
            return login.registry_token, _DEFAULT_S
        realm = asked.get("realm", "")
        if not realm:
            msg = f"{self._host} names no token service"
            raise RegistryError(msg, "do not trust this registry")
        origin(realm)
        # Its own idea of a scope too: some name repositories otherwise inside.
        scopes = list(dict.fromkeys([*scope.split(" "), *asked.get("scope", "").split(" ")]))
        fields = [("service", asked["service"])] if asked.get("service") else []
        if login is not None and login.identity_token:
            fields += [("grant_type", "refresh_token"), ("client_id", "edge-buildkit")]
            fields += [("refresh_token", login.identity_token), ("scope", " ".join(scopes).strip())]
            data = urlencode(fields).encode()
            request = Request(
                method="POST",
                url=realm,
                headers={"Content-Type": "application/x-www-form-urlencoded"},
                body=Body(size=len(data), pieces=lambda: [data]),
            )
            shown = None
        else:
            fields += [("scope", each) for each in scopes if each]
            mark = "&" if urlsplit(realm).query else "?"
            request = Request(method="GET", url=realm + mark + urlencode(fields))
            shown = None if login is None else _basic(login)
        with self._transport.send(request, shown) as answer:
            if answer.status in (400, 401, 403):
                raise self._refused(login)
            if answer.status != 200:
                msg = f"{place(realm)}: the token service answers {answer.status}"
                raise RegistryError(msg)
            return _read(answer.document(_LARGEST), realm)

    def _refused(self, login: Login | None) -> RegistryError:
        remedy = self.remedy
        if login is None:
            return RegistryError(f"{self._host} wants to know who asks", remedy)
        return RegistryError(f"{self._host} does not accept these credentials", remedy)


def _basic(login: Login) -> str:
    return "Basic " + base64.b64encode(f"{login.user}:{login.password}".encode()).decode()


def _read(data: bytes, realm: str) -> tuple[str, float]:
    document: Any = None
    try:
        document = canonical.load(data)
        token = document.get("token") or document.get("access_token")
        seconds = document.get("expires_in") or _DEFAULT_S
    except (ValueError, AttributeError):
        token = seconds = None
    # A header must not be broken by what stands in it.
    good = isinstance(token, str) and token.isascii() and token.isprintable() and " " not in token
    if not good or isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        msg = f"{place(realm)}: the token service gives no token"
        raise RegistryError(msg)
    return str(token), max(float(seconds), 2 * _EARLY_S)
