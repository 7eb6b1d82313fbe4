"""The seam between what is said and who signs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from buildkit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable


class Signer(Protocol):
    """Somebody who can sign statements: a key of one's own, a program, an identity."""

    @property
    def name(self) -> str:
        """For people: ``key 3f2a9c…``, ``https://… (issuer https://…)``."""

    def bundle(self, payload: bytes) -> bytes:
        """Sign a statement.

        Args:
            payload: canonical bytes of an in-toto statement (`Statement.payload`).

        Returns:
            The canonical bytes of a Sigstore bundle v0.3.

        Raises:
            SignerError: it cannot be signed.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Who:
    """Who is to sign, before they were asked.

    Attributes:
        spec: as a user says it (`buildkit.evidence.signers.SPECS`).
        ready: makes the signer, unlocked and able to sign; nobody for ``none``. It may ask for a
            passphrase, so it is called before long work begins, and only if there is any.
    """

    spec: str
    ready: Callable[[], Signer | None]

    def somebody(self) -> Signer:
        """The signer, where there must be one.

        Raises:
            InputError: it is nobody.
            SignerError: it cannot sign.
        """
        found = self.ready()
        if found is None:
            msg = "there is nobody to sign"
            raise InputError(msg, "name a signer: --signer key")
        return found


NOBODY = Who(spec="none", ready=lambda: None)
