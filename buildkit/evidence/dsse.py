"""DSSE envelopes: the bytes that are signed, and who signed them.

Source: DSSE protocol.md v1.0.2 (pre-authentication encoding) and envelope.md.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Envelope:
    """An envelope with the one signature that a Sigstore bundle may hold.

    Attributes:
        payload: what is signed.
        payload_type: its media type, which is signed too.
        signature: the raw bytes.
    """

    payload: bytes
    payload_type: str
    signature: bytes

    def signed(self) -> bytes:
        """The bytes under the signature."""
        return pae(self.payload_type, self.payload)


def pae(payload_type: str, payload: bytes) -> bytes:
    """Pre-authentication encoding: ``DSSEv1 LEN(type) type LEN(payload) payload``."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
