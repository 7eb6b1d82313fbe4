"""How this machine and this user reach a registry."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from buildkit.registry.credentials import Keychain
from buildkit.registry.patience import Patience
from buildkit.registry.repository import Repository
from buildkit.registry.tokens import Authorizer
from buildkit.registry.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from buildkit.registry.reference import Reference
    from buildkit.run import Runner


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """What a command line says about the way to a registry.

    Attributes:
        runner: starts credential helpers.
        plain_http: without TLS; never chosen by itself.
        ca: file of certificates in PEM, trusted besides those of the machine.
        environ: has the Docker configuration's folder, proxies, and perhaps a user and a password.
        use_environment: whether that user and password are for this registry.
        patience: times.
    """

    runner: Runner
    plain_http: bool = False
    ca: Path | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    use_environment: bool = True
    patience: Patience = field(default_factory=Patience)

    def repository(
        self, reference: Reference, *, write: bool = False, mount: str = ""
    ) -> Repository:
        """A repository; nothing is asked yet.

        Args:
            reference: where it is.
            write: whether anything will be written.
            mount: another repository of the same registry, to be read.

        Raises:
            RegistryError: `ca` cannot be read.
        """
        transport = Transport(
            plain_http=self.plain_http, ca=self.ca, environ=self.environ, patience=self.patience
        )
        keychain = Keychain(
            environ=self.environ, runner=self.runner, use_environment=self.use_environment
        )
        scope = f"repository:{reference.repository}:pull{',push' if write else ''}"
        return Repository(
            reference,
            transport,
            Authorizer(
                reference.host,
                transport,
                lambda: keychain.login(reference.host),
                self.patience.now,
            ),
            self.patience,
            plain_http=self.plain_http,
            scope=f"{scope} repository:{mount}:pull" if mount else scope,
        )
