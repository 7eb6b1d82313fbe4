"""Keys: those of one's own, kept in a folder, and public ones of others that are trusted.

`KeyRing.load` is what a verifier needs; `buildkit.evidence.keys.change` is what changes a ring.
"""

from buildkit.evidence.keys.public import ALGORITHMS, DEFAULT_ALGORITHM, PublicKey, public_key
from buildkit.evidence.keys.ring import DEFAULT_NAME, KeyRing, location

__all__ = [
    "ALGORITHMS",
    "DEFAULT_ALGORITHM",
    "DEFAULT_NAME",
    "KeyRing",
    "PublicKey",
    "location",
    "public_key",
]
