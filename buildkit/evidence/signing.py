"""From statements to signed referrers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildkit.evidence import referrers, statement

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from buildkit.evidence.signer import Signer
    from buildkit.records import Descriptor
    from buildkit.store import Store


def sign(
    store: Store, signer: Signer, payloads: Iterable[bytes], among: Mapping[str, Descriptor]
) -> tuple[Descriptor, ...]:
    """Sign statements, and attach each to everything in the store that it is about.

    Args:
        store: where the artifacts are.
        signer: who signs.
        payloads: canonical bytes of the statements.
        among: digest → manifest or index; other subjects (``model.onnx``) get no referrer.

    Returns:
        The referrers' entries.

    Raises:
        SignerError: it cannot be signed; nothing was attached.
        EvidenceError: a payload is not a statement.
        StoreError: the store cannot be written.
    """
    signed = []
    for payload in payloads:
        said = statement.parse(payload, "a statement")
        bundle = signer.bundle(payload)
        signed += [
            referrers.Signed(
                subject=among[each.digest], predicate_type=said.predicate_type, bundle=bundle
            )
            for each in said.subjects
            if each.digest in among
        ]
    return referrers.attach(store, signed)
