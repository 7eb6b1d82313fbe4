"""Who signs: from the words after ``--signer`` to a `Signer`.

The seam for key services and tokens is a program (``exec:PROGRAM``): it has the key, we do not.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from buildkit.errors import EvidenceError, InputError, SignerError, ToolError
from buildkit.evidence import bundle
from buildkit.evidence.dsse import Envelope, pae
from buildkit.evidence.statement import PAYLOAD_TYPE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from buildkit.evidence.keys import PublicKey
    from buildkit.evidence.keys.private import PrivateKey
    from buildkit.evidence.signer import Signer
    from buildkit.run import Runner

VARIABLE = "EDGE_BUILDKIT_SIGNER"
DEFAULT = "key"
SPECS = ("key", "key:NAME", "keyless", "exec:PROGRAM", "none")

# A token may wait for a finger, a service may be far away.
_DEADLINE = 120.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What the signers need from outside.

    Attributes:
        keys: folder of the key ring.
        epoch: now, seconds since 1970; when a key is made, that is written down.
        runner: starts programs.
        passphrase: asked for once, and only for a key that is encrypted (``None``: there is none)
            or that is about to be made (``None``: leave it unencrypted).
        note: told when a key is made.
        trust_config: of the Sigstore instance, for ``keyless``; the public one when absent.
        identity_token: for ``keyless``; ambient or by browser when absent.
    """

    keys: Path
    epoch: int
    runner: Runner
    passphrase: Callable[[PublicKey | None], bytes | None]
    note: Callable[[str], None] = lambda _: None
    trust_config: Path | None = None
    identity_token: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class KeySigner:
    """Signs with a key of one's own."""

    key: PrivateKey

    @property
    def name(self) -> str:
        """``key 3f2a…``."""
        return f"key {self.key.public.id}"

    def bundle(self, payload: bytes) -> bytes:
        """See `Signer.bundle`; the same payload always gives the same bytes."""
        signature = self.key.sign(pae(PAYLOAD_TYPE, payload))
        return _bundle(payload, signature, self.key.public)


@dataclass(frozen=True, kw_only=True, slots=True)
class ProgramSigner:
    """Lets a program sign, which has the key, or knows the way to it.

    ``PROGRAM public-key`` prints the public key in PEM; ``PROGRAM sign`` reads the bytes to sign
    from standard input and writes the raw signature: with ECDSA on P-256 the DER form over SHA-256,
    with Ed25519 the 64 bytes.

    Attributes:
        program: as it is started.
        key: what it said its public key is.
        runner: starts it.
    """

    program: str
    key: PublicKey
    runner: Runner

    @property
    def name(self) -> str:
        """``key 3f2a… of PROGRAM``."""
        return f"key {self.key.id} of {self.program}"

    def bundle(self, payload: bytes) -> bytes:
        """See `Signer.bundle`; a signature that does not fit the public key is not used."""
        signed = pae(PAYLOAD_TYPE, payload)
        signature = _ask(self.runner, self.program, "sign", signed)
        try:
            self.key.verify(signature, signed)
        except EvidenceError as error:
            msg = f"{self.program} sign: {len(signature)} bytes that are no signature by its key"
            remedy = (
                f"it must sign all of standard input with {self.key.algorithm}, "
                "and write the signature alone, not as text"
            )
            raise SignerError(msg, remedy) from error
        return _bundle(payload, signature, self.key)


def key_of(signer: Signer) -> PublicKey | None:
    """The public key that fits a signer's signatures; nothing where a certificate does."""
    if isinstance(signer, KeySigner):
        return signer.key.public
    return signer.key if isinstance(signer, ProgramSigner) else None


def check(spec: str) -> None:
    """Whether `spec` can mean a signer at all; nothing is looked up.

    Raises:
        InputError: it cannot.
    """
    kind, colon, rest = spec.partition(":")
    if spec in ("key", "keyless", "none") or (kind in ("key", "exec") and colon and rest):
        return
    msg = f"{spec!r} is no signer"
    raise InputError(msg, f"use one of: {', '.join(SPECS)}")


def signer(spec: str, settings: Settings) -> Signer | None:
    """The signer that `spec` means, ready to sign: a key is unlocked, a program has answered.

    Made before the work begins, so that a wrong passphrase costs no build.

    Args:
        spec: one of `SPECS`.
        settings: where keys are, and the rest.

    Returns:
        Nothing for ``none``.

    Raises:
        InputError: no such signer, or no such key.
        SignerError: it cannot sign.
    """
    check(spec)
    kind, _, rest = spec.partition(":")
    if kind == "key":
        return _key(rest, settings)
    if kind == "exec":
        return _program(rest, settings.runner)
    if kind == "keyless":
        from buildkit.evidence import keyless  # noqa: PLC0415 - sigstore is heavy

        return keyless.signer(
            trust_config=settings.trust_config, identity_token=settings.identity_token
        )
    return None


def _key(which: str, settings: Settings) -> KeySigner:
    from buildkit.evidence.keys import KeyRing, change, private  # noqa: PLC0415 - only when asked

    ring = KeyRing.load(settings.keys)
    public = ring.find(which) if which else ring.active()
    if public is None:
        never = not ring.names()
        word = settings.passphrase(None) if never else None
        public, made = change.first(settings.keys, epoch=settings.epoch, passphrase=word)
        if made:
            how = "encrypted with your passphrase" if word else "not encrypted"
            settings.note(f"made key {public.id} in {settings.keys} ({how})")
    if public.state != "active":
        msg = f"key {public.id} ({public.name}) is {public.state}: it does not sign"
        raise SignerError(msg, "`python -m buildkit keys` lists those that are active")
    return KeySigner(
        key=private.load(
            change.private_file(settings.keys, public),
            public,
            lambda: settings.passphrase(public),
        )
    )


def _program(program: str, runner: Runner) -> ProgramSigner:
    from buildkit.evidence.keys import public_key  # noqa: PLC0415 - only when asked

    # Looked up here, since the runner's remedy for a missing program is that of our own tools.
    found = shutil.which(program)
    if found is None:
        msg = f"exec:{program}: there is no such program"
        raise SignerError(msg, "give the path of a file that may be executed")
    pem = _ask(runner, found, "public-key", None)
    try:
        key = public_key(pem, f"{program} public-key")
    except InputError as error:
        raise SignerError(error.message, "it must print an ECDSA P-256 or Ed25519 key") from error
    return ProgramSigner(program=found, key=key, runner=runner)


def _ask(runner: Runner, program: str, what: str, stdin: bytes | None) -> bytes:
    try:
        answer = runner([program, what], stdin=stdin, deadline=_DEADLINE).stdout
    except ToolError as error:
        msg = f"{program} {what}: {error.message}"
        raise SignerError(msg, "correct the program, or its access to the key") from error
    if not answer:
        msg = f"{program} {what}: it answered nothing"
        raise SignerError(msg, "correct the program, or its access to the key")
    return answer


def _bundle(payload: bytes, signature: bytes, key: PublicKey) -> bytes:
    envelope = Envelope(payload=payload, payload_type=PAYLOAD_TYPE, signature=signature)
    return bundle.with_key(envelope, key.hint)
