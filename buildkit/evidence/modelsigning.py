"""A model's files in the statement of OpenSSF Model Signing, for those who check with its tools.

It is one more statement in the same bundle, but it cannot hang on the model in the store: it must
have one subject alone, which is the hash over the files' hashes and no digest that a registry
knows. So it is written beside a model's files when somebody asks for them (``model.sig``).

Source: ossf/model-signing-spec v1.0, and the package ``model-signing`` 1.1.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from buildkit import digests
from buildkit.errors import InputError
from buildkit.evidence import bundle
from buildkit.evidence.keys.public import ECDSA_P256
from buildkit.evidence.statement import Statement, Subject

if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildkit.evidence.keys import PublicKey

PREDICATE_TYPE = "https://model_signing/signature/v1.0"
FILE = "model.sig"


def statement(name: str, files: Mapping[str, str]) -> Statement:
    """What is said about a model's files.

    Args:
        name: of the model, for people.
        files: path below the model's folder, with ``/`` → digest.

    Raises:
        InputError: there are no files, or one has the signature's own name.
    """
    if not files or FILE in files:
        msg = f"{name}: {f'{FILE} would sign itself' if files else 'there are no files to sign'}"
        raise InputError(msg, "name the model's own files")
    # The order decides the hash, and is that of the paths.
    listed = sorted(files.items(), key=lambda item: tuple(item[0].split("/")))
    whole = hashlib.sha256(b"".join(bytes.fromhex(digests.hex_of(digest)) for _, digest in listed))
    return Statement(
        subjects=(Subject(name=name, digest=f"sha256:{whole.hexdigest()}"),),
        predicate_type=PREDICATE_TYPE,
        predicate={
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": [FILE],
            },
            "resources": [
                {"name": path, "algorithm": "sha256", "digest": digests.hex_of(digest)}
                for path, digest in listed
            ],
        },
    )


def signature(bundled: bytes, key: PublicKey) -> bytes:
    """The bytes of ``model.sig``: a bundle of ours, with the hint that those tools look for.

    They name a key by SHA-256 over its PEM, in hex. A hint is not signed, so nothing is signed
    anew.

    Args:
        bundled: what `Signer.bundle` gave for the payload of `statement`.
        key: whose signature it is.

    Raises:
        InputError: those tools know no key of this kind.
        EvidenceError: not a bundle, or not one by `key`.
    """
    read = bundle.parse(bundled, FILE)
    key.verify(read.envelope.signature, read.envelope.signed())
    if key.algorithm != ECDSA_P256:
        msg = f"key {key.id}: model-signing knows no {key.algorithm}"
        raise InputError(msg, f"sign with an {ECDSA_P256} key: --signer key:NAME")
    return bundle.with_key(read.envelope, hashlib.sha256(key.pem).hexdigest())
