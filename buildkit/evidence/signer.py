"""The seam between what is said and who signs it."""

from __future__ import annotations

from typing import Protocol


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
