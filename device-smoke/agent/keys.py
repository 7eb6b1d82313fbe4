"""The device's own key, which never leaves it, and the keys whose signatures count here."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from agent import places as files
from agent import strict
from agent.errors import AgentError, Kind
from agent.openssl import OpenSsl, PublicKey

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from agent.places import Places
    from agent.programs import Programs

_MOST_TRUSTED = 64


class Keys:
    """Key and trust of this device."""

    def __init__(self, places: Places, programs: Programs) -> None:
        self._places = places
        self._openssl = OpenSsl(programs)

    @property
    def private(self) -> Path:
        """The private key's file."""
        return self._places.device / "key.pem"

    @property
    def _public(self) -> Path:
        # Beside it, so that asking for facts does not start a program.
        return self._places.device / "key.pub"

    def own(self) -> PublicKey | None:
        """The device's public key; nothing before it was enrolled."""
        if not self.private.exists():
            return None
        with suppress(OSError, ValueError):
            return PublicKey.parse(self._public.read_bytes())
        found = self._openssl.public(self.private)
        files.write(self._public, found.pem.encode(), 0o644)
        return found

    def trusted(self) -> dict[str, PublicKey]:
        """The trusted keys by their id.

        Raises:
            AgentError: one of the files is not what its name says.
        """
        found = {}
        for name in files.names(self._places.trusted):
            if not name.endswith(".pem"):
                continue
            file = self._places.trusted / name
            try:
                key = PublicKey.parse(file.read_bytes())
            except ValueError as error:
                raise AgentError(
                    Kind.DEVICE, f"{file}: {error}", "enrol the device again"
                ) from error
            if f"{key.id}.pem" != name:
                raise AgentError(Kind.DEVICE, f"{file} holds another key", "enrol the device again")
            found[key.id] = key
        return found

    def enroll(self, request: dict[str, Any]) -> dict[str, Any]:
        """Make the key if there is none, and trust the given keys and no others."""
        try:
            strict.obj(request, "request", {"trusted"})
            listed = strict.array(request.get("trusted"), "trusted", _MOST_TRUSTED)
            keys = [
                PublicKey.parse(strict.text(pem, f"trusted[{at}]", 1 << 14).encode())
                for at, pem in enumerate(listed)
            ]
        except ValueError as error:
            raise AgentError(Kind.USAGE, str(error)) from error
        if not keys:
            raise AgentError(Kind.USAGE, "trusted: nobody's signature would count")
        for key in keys:
            if not self._openssl.valid(key):
                raise AgentError(Kind.USAGE, f"trusted: {key.id} is no valid key")
        self._make()
        wanted = {f"{key.id}.pem": key for key in keys}
        files.folder(self._places.trusted)
        for name, key in wanted.items():
            files.write(self._places.trusted / name, key.pem.encode(), 0o644)
        for name in files.names(self._places.trusted):
            if name not in wanted:
                (self._places.trusted / name).unlink()
        files.sync(self._places.trusted)
        own = self.own()
        if own is None:
            raise AgentError(Kind.DEVICE, f"{self.private} has gone")
        return {"key": {"id": own.id, "pem": own.pem}, "trusted": sorted(k.id for k in keys)}

    def sign(self, data: bytes) -> bytes:
        """DER of the device's signature."""
        return self._openssl.sign(self.private, data)

    def verify(self, key: PublicKey, signature: bytes, signed: bytes) -> bool:
        """Whether a signature is of `key`."""
        return self._openssl.verify(key, signature, signed)

    def _make(self) -> None:
        if self.private.exists():
            return
        files.folder(self._places.device)
        fresh = self._places.device / f".key.{os.getpid()}"
        try:
            files.write(fresh, self._openssl.generate())
            # A link, which never replaces a key that another call has just made.
            with suppress(FileExistsError):
                os.link(fresh, self.private)
        finally:
            with suppress(FileNotFoundError):
                fresh.unlink()
        files.sync(self._places.device)
