"""``sign``: sign what a build said, later or by somebody else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from buildkit import media
from buildkit.errors import InputError
from buildkit.evidence import builds, modelsigning, signers, signing
from buildkit.evidence import classic as older
from buildkit.store import Store

if TYPE_CHECKING:
    from buildkit.evidence.signer import Who
    from buildkit.records import Descriptor
    from buildkit.store import Node

_LARGEST = 1 << 33


@dataclass(frozen=True, kw_only=True, slots=True)
class Signed:
    """What was signed: by whom, how many statements, and the referrers that hold them."""

    signer: str
    statements: int
    referrers: tuple[Descriptor, ...]


def sign(ref: str, *, store: Path, signer: Who, classic: bool = False) -> Signed:
    """Sign every statement of the newest build that made `ref`.

    Args:
        ref: an image index, a platform of it, a model or the index of models.
        store: folder of the store.
        signer: who signs.
        classic: write the form that cosign had before bundles as well.

    Raises:
        InputError: nobody is to sign.
        SignerError: it cannot be signed.
        StoreError: no build in the store made it.
    """
    shelf = Store.open(store)
    build = builds.find(shelf, shelf.resolve(ref).digest)
    who = signer.somebody()
    artifacts = builds.artifacts(shelf, build.result)
    with shelf.lease():
        attached = signing.sign(shelf, who, build.statements, artifacts)
        if classic:
            attached += tuple(older.classic(shelf, each) for each in artifacts.values())
    return Signed(signer=who.name, statements=len(build.statements), referrers=attached)


def model_files(ref: str, *, store: Path, signer: Who, out: Path) -> tuple[Path, ...]:
    """Write a model's files, signed as OpenSSF Model Signing does it (``model.sig``).

    Args:
        ref: one variant of a model, or an index with one.
        store: folder of the store.
        signer: who signs.
        out: folder that is not there yet, or is empty.

    Returns:
        The files.

    Raises:
        InputError: not one model; nobody is to sign; `out` holds something.
        SignerError: it cannot be signed.
        StoreError: it is not in the store.
    """
    shelf = Store.open(store)
    top = shelf.resolve(ref)
    found = [node for node in shelf.walk(top) if _is_model(node)]
    if len(found) != 1:
        msg = f"{ref}: {len(found)} models, not one"
        listed = ", ".join(node.descriptor.digest for node in found)
        raise InputError(msg, f"name one of: {listed}" if listed else "name a model")
    if out.exists() and any(out.iterdir()):
        msg = f"{out} is not empty"
        raise InputError(msg, "name a folder that is not there yet")
    who = signer.somebody()
    layers = shelf.read_json(found[0].descriptor.digest)["layers"]
    names = {str(layer["annotations"][media.TITLE]): str(layer["digest"]) for layer in layers}
    said = modelsigning.statement(ref, names)
    signature = who.bundle(said.payload())
    key = signers.key_of(who)
    if key is not None:
        signature = modelsigning.signature(signature, key)
    out.mkdir(parents=True, exist_ok=True)
    for name, digest in names.items():
        if name != Path(name).name:
            msg = f"{ref}: a file named {name!r} leads out of its folder"
            raise InputError(msg, "do not trust this store")
        (out / name).write_bytes(shelf.read(digest, limit=_LARGEST))
    (out / modelsigning.FILE).write_bytes(signature)
    return tuple(out / name for name in (*names, modelsigning.FILE))


def _is_model(node: Node) -> bool:
    return (
        node.links is not None
        and node.role == "manifest"
        and node.links.artifact_type == media.MODEL
    )
