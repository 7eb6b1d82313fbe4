"""Who we are to a registry: out of the user's Docker configuration, else out of the environment.

Source: docker/cli, ``config.json`` (``auths``, ``credHelpers``, ``credsStore``), and
docker/docker-credential-helpers (the protocol of ``docker-credential-*``). Secrets are never in a
message, in a ``repr`` or in argv: a helper is told the host on its standard input.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from buildkit import canonical
from buildkit.errors import RegistryError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildkit.run import Runner

USER, PASSWORD = "EDGE_BUILDKIT_REGISTRY_USER", "EDGE_BUILDKIT_REGISTRY_PASSWORD"

_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_HELPER_S = 60.0
_NO_USER = "<token>"
_LOGIN = "log in again with `docker login`, or correct the file"
_LARGEST = 16 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Login:
    """What a registry, or its token service, is shown.

    Attributes:
        user: name; empty with an identity token.
        password: of that user.
        identity_token: an OAuth 2 refresh token in the place of both.
        registry_token: a bearer token as it is.
    """

    user: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Keychain:
    """Where logins are looked up.

    Attributes:
        environ: names the Docker configuration, and may have a user and a password.
        runner: starts credential helpers.
        use_environment: whether user and password of the environment count.
    """

    environ: Mapping[str, str]
    runner: Runner
    use_environment: bool = True

    def login(self, host: str) -> Login | None:
        """Who we are to `host` (with its port); nothing for an unknown user.

        Raises:
            RegistryError: the configuration cannot be read, or a helper fails.
        """
        found = self._of_docker(host)
        if found is None and self.use_environment:
            found = of_environment(self.environ)
        return found

    def _of_docker(self, host: str) -> Login | None:
        file = self._file()
        document = _read(file)
        helpers = _table(document, "credHelpers", file)
        for known, helper in helpers.items():
            if _host(known) == host:
                return self._ask(helper, known, file)
        for known, entry in _table(document, "auths", file).items():
            if _host(known) == host and (found := _plain(entry, known, file)) is not None:
                return found
        store = document.get("credsStore")
        return self._ask(store, host, file) if store else None

    def _file(self) -> Path:
        folder = self.environ.get("DOCKER_CONFIG")
        home = self.environ.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 (a text, for Path)
        return (Path(folder) if folder else Path(home) / ".docker") / "config.json"

    def _ask(self, helper: Any, host: str, file: Path) -> Login | None:
        if not isinstance(helper, str) or _HELPER.fullmatch(helper) is None:
            raise _broken(file, "the name of a credential helper is not a word")
        program = f"docker-credential-{helper}"
        answer = self.runner(
            [program, "get"], stdin=host.encode() + b"\n", deadline=_HELPER_S, check=False
        )
        if answer.code != 0:
            if b"credentials not found" in answer.stdout:
                return None
            # Not a word of what it said: a secret may be in it.
            msg = f"{program} could not tell the credentials for {host} (status {answer.code})"
            raise RegistryError(msg, f"try it by hand: echo {host} | {program} get")
        try:
            document = canonical.load(answer.stdout)
            user, secret = document["Username"], document["Secret"]
        except (ValueError, KeyError, TypeError):
            user = secret = None
        if not (isinstance(user, str) and isinstance(secret, str)):
            msg = f"{program} answered for {host}, but not as a credential helper does"
            raise RegistryError(msg, f"try it by hand: echo {host} | {program} get")
        if user == _NO_USER:
            return Login(identity_token=secret)
        return Login(user=user, password=secret) if user or secret else None


def of_environment(environ: Mapping[str, str] = os.environ) -> Login | None:
    """User and password of ``EDGE_BUILDKIT_REGISTRY_USER`` and ``…_PASSWORD``, if they are set."""
    user, password = environ.get(USER, ""), environ.get(PASSWORD, "")
    return Login(user=user, password=password) if user or password else None


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            data = stream.read(_LARGEST)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise _broken(file, f"cannot be read: {error.strerror}") from error
    try:
        document = canonical.load(data)
    except ValueError as error:
        # Not what the parser says: it may quote the file.
        raise _broken(file, "not JSON") from error.__cause__
    if not isinstance(document, dict):
        raise _broken(file, "not an object")
    return document


def _table(document: Mapping[str, Any], key: str, file: Path) -> dict[str, Any]:
    found = document.get(key)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise _broken(file, f"`{key}` is not an object")
    return found


def _plain(entry: Any, host: str, file: Path) -> Login | None:
    """A login that stands in the file itself; an empty entry says that a helper has it."""
    if not isinstance(entry, dict):
        raise _broken(file, f"the entry of {host} is not an object")
    texts = {key: entry.get(key) or "" for key in ("identitytoken", "registrytoken", "auth")}
    texts |= {key: entry.get(key) or "" for key in ("username", "password")}
    if not all(isinstance(text, str) for text in texts.values()):
        raise _broken(file, f"the entry of {host} is not made of texts")
    if texts["registrytoken"]:
        return Login(registry_token=texts["registrytoken"])
    if texts["identitytoken"]:
        return Login(identity_token=texts["identitytoken"])
    if texts["auth"]:
        try:
            # Some tools end the password with NUL.
            both = base64.b64decode(texts["auth"], validate=True).decode().rstrip("\0")
        except (binascii.Error, ValueError):
            both = ""
        user, colon, password = both.partition(":")
        if not colon:
            raise _broken(file, f"`auth` of {host} is not base64 of USER:PASSWORD") from None
        return Login(user=user, password=password)
    if texts["username"] or texts["password"]:
        return Login(user=texts["username"], password=texts["password"])
    return None


def _host(known: str) -> str:
    """``https://host:port/v1/`` → ``host:port``, as older Docker wrote it."""
    return (
        known.partition("://")[2].partition("/")[0] if "://" in known else known.partition("/")[0]
    )


def _broken(file: Path, why: str) -> RegistryError:
    return RegistryError(f"{file}: {why}", _LOGIN)
