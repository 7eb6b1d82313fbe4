"""Puts what devices reported, and what a gate made of it, into the store: signed, or not at all."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from buildkit.evidence import kinds, referrers, signing
from buildkit.evidence.referrers import Signed as Attached

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit.device.types import Signed
    from buildkit.evidence.signer import Signer
    from buildkit.evidence.statement import Statement
    from buildkit.records import Descriptor
    from buildkit.store import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Shelf:
    """A store that several devices' threads write evidence to.

    Attributes:
        store: the store.
        signer: countersigns and signs verdicts; nobody does when absent.
    """

    store: Store
    signer: Signer | None
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def keep(self, signed: Signed, subjects: Sequence[Descriptor]) -> tuple[Descriptor, ...]:
        """A device's report, on image and model; and the same bytes, signed by this host.

        Raises:
            SignerError: it cannot be signed.
            StoreError: the store cannot be written.
        """
        with self._turn:
            kept = referrers.attach(
                self.store,
                [
                    Attached(
                        subject=each,
                        predicate_type=kinds.TEST_RESULT.predicate_type,
                        bundle=signed.bundle,
                    )
                    for each in subjects
                ],
            )
            if self.signer is None:
                return kept
            among = {each.digest: each for each in subjects}
            return kept + signing.sign(self.store, self.signer, [signed.payload], among)

    def say(self, said: Statement, subjects: Sequence[Descriptor]) -> tuple[Descriptor, ...]:
        """A statement of this host's own, signed, on image and model; none without a signer.

        Raises:
            SignerError: it cannot be signed.
            StoreError: the store cannot be written.
        """
        if self.signer is None:
            return ()
        among = {each.digest: each for each in subjects}
        with self._turn:
            return signing.sign(self.store, self.signer, [said.payload()], among)
