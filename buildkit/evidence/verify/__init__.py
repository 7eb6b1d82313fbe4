"""Holds an image or a model against a policy: ``docs/verify.md``.

`core` decides: bytes in, findings out. `source` reads the store, `anchors` keys and trust root.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildkit import digests
from buildkit.errors import EvidenceError, StoreError
from buildkit.evidence.policytypes import Policy
from buildkit.evidence.verify import anchors
from buildkit.evidence.verify.core import verify
from buildkit.evidence.verify.report import SCHEMA, Artifact, Finding, Report
from buildkit.evidence.verify.signatures import Anchors
from buildkit.evidence.verify.source import Source, StoreSource

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from buildkit.evidence.keys import KeyRing
    from buildkit.records import Descriptor
    from buildkit.store import Store

__all__ = [
    "SCHEMA",
    "Anchors",
    "Artifact",
    "Finding",
    "Report",
    "Source",
    "StoreSource",
    "verify",
    "verify_ref",
]


def verify_ref(
    store: Store, ref: str, *, ring: KeyRing, now: datetime, policy_file: Path | None = None
) -> Report:
    """Verify what a user names.

    Args:
        store: where it is.
        ref: name, digest, or the first digits of one, of an image or a model.
        ring: the user's own keys.
        now: with a time zone.
        policy_file: the built-in policy counts when absent.

    Raises:
        StoreError: there is no such thing in the store, or the store cannot be read.
        InputError: the policy, or a file that it names, cannot be used.
        SignerError: the key ring cannot be used.
    """
    policy, folder = Policy(), ring.folder
    if policy_file is not None:
        # The built-in policy needs none of the tables that read one.
        from buildkit.evidence import policy as policies  # noqa: PLC0415

        policy, folder = policies.load(policy_file), policy_file.absolute().parent
    believed = anchors.load(policy, folder, ring, now)
    with store.reading():
        source = StoreSource(store)
        try:
            top = _resolve(store, source, ref)
        except EvidenceError as error:
            finding = Finding(reason=error.reason, digest=ref, message=error.message)
            return Report.of_nothing(ref, policy, finding)
        return verify(source, top, policy=policy, anchors=believed, now=now, ref=ref)


def _resolve(store: Store, source: Source, ref: str) -> Descriptor:
    """What `ref` means; of a whole digest it is known what it should be, even when it is not."""
    try:
        return store.resolve(ref)
    except StoreError:
        if not digests.is_digest(ref) or not store.has(ref):
            raise
    return source.locate(ref)
