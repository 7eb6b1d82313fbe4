"""``sign``: sign what a build said, later or by somebody else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from buildkit.errors import InputError
from buildkit.evidence import builds, signing
from buildkit.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from buildkit.evidence.signer import Who
    from buildkit.records import Descriptor


@dataclass(frozen=True, kw_only=True, slots=True)
class Signed:
    """What was signed: by whom, how many statements, and the referrers that hold them."""

    signer: str
    statements: int
    referrers: tuple[Descriptor, ...]


def sign(ref: str, *, store: Path, signer: Who) -> Signed:
    """Sign every statement of the newest build that made `ref`.

    Args:
        ref: an image index, a platform of it, a model or the index of models.
        store: folder of the store.
        signer: who signs.

    Raises:
        InputError: nobody is to sign.
        SignerError: it cannot be signed.
        StoreError: no build in the store made it.
    """
    shelf = Store.open(store)
    build = builds.find(shelf, shelf.resolve(ref).digest)
    who = signer.ready()
    if who is None:
        msg = "there is nobody to sign"
        raise InputError(msg, "name a signer: --signer key")
    with shelf.lease():
        attached = signing.sign(shelf, who, build.statements, builds.artifacts(shelf, build.result))
    return Signed(signer=who.name, statements=len(build.statements), referrers=attached)
