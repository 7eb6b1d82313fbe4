"""What a policy says, as records; `buildkit.evidence.policy` makes them from ``policy.toml``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import datetime as dt

SCHEMA_VERSION = 1
BUILT_IN = "built in"

Statements = Literal["v1", "v0.1"]
Others = Literal["refuse", "ignore"]

REQUIRED = ("cyclonedx", "spdx", "provenance", "run")


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """Somebody who signs without a key of their own.

    Attributes:
        issuer: of the identity token, exactly.
        subject: mail address or workflow; ``*`` stands for any characters.
    """

    issuer: str
    subject: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Trust:
    """Whose signatures count.

    Attributes:
        own_keys: whether those of the user's own key ring do; when it does not say, they do only
            if nobody else is named.
        keys: files of public keys.
        identities: who signs by certificate.
        root: trust root that certificates are held against.
        root_digest: of that file; any when empty.
        root_obtained: the day on which it was got from its owner.
        root_max_age: days.
    """

    own_keys: bool | None = None
    keys: tuple[str, ...] = ()
    identities: tuple[Identity, ...] = ()
    root: str = ""
    root_digest: str = ""
    root_obtained: dt.date | None = None
    root_max_age: int = 90

    @property
    def counts_own(self) -> bool:
        """Whether the user's own keys count."""
        return self.own_keys if self.own_keys is not None else not (self.keys or self.identities)


@dataclass(frozen=True, kw_only=True, slots=True)
class Require:
    """What must be there.

    Attributes:
        evidence: kinds that every platform and model needs (the index: those about builds).
        platforms: that the image must have.
        signatures: distinct signers of each piece of evidence.
        model: whether an image must name its model, and the model be there.
    """

    evidence: tuple[str, ...] = REQUIRED
    platforms: tuple[str, ...] = ()
    signatures: int = 1
    model: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Rebuilders:
    """Who must have built the same thing again, and found the same bytes.

    Attributes:
        needed: how many of them, each other than who signed the provenance.
        keys: files of public keys; when nobody is named, whoever `Trust` names.
        identities: who signs by certificate.
    """

    needed: int = 0
    keys: tuple[str, ...] = ()
    identities: tuple[Identity, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Materials:
    """What may go in: package URLs without qualifiers, Debian suites."""

    allow: tuple[str, ...] = ()
    forbid: tuple[str, ...] = ()
    suites: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Builder:
    """Who may have built it; anyone when `ids` is empty."""

    ids: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """What it may be made of: names of recipes; any when `names` is empty."""

    names: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Accept:
    """What is let pass although it is not ours.

    Attributes:
        others: what to do with what strangers rightly signed, and with kinds nobody knows.
        statements: versions of in-toto statements.
        predicate_types: further kinds of evidence that trusted signers may add.
    """

    others: Others = "refuse"
    statements: tuple[Statements, ...] = ("v1",)
    predicate_types: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Smoke:
    """On what it must have run before, and how that is to be known.

    Attributes:
        targets: kinds of device, all of which must hold.
        devices: distinct device keys of each target; 0 does not ask.
        days: that a verdict may be old.
        keys: files of public keys of devices; those of the user's key ring when empty.
        standins: whether runs on stand-ins count.
        countersigned: whether a trusted signer must have signed the same test result.
        fail_blocks: whether a verdict FAIL takes away what passed before it.
    """

    targets: tuple[str, ...] = ()
    devices: int = 0
    days: int = 30
    keys: tuple[str, ...] = ()
    standins: bool = False
    countersigned: bool = True
    fail_blocks: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """A policy without mistakes; without arguments, the one that is built in.

    Attributes:
        name: its file, or `BUILT_IN`.
        digest: of the file's bytes; empty when built in.
    """

    name: str = BUILT_IN
    digest: str = ""
    trust: Trust = field(default_factory=Trust)
    require: Require = field(default_factory=Require)
    rebuilders: Rebuilders = field(default_factory=Rebuilders)
    materials: Materials = field(default_factory=Materials)
    builder: Builder = field(default_factory=Builder)
    recipe: Made = field(default_factory=Made)
    smoke: Smoke = field(default_factory=Smoke)
    accept: Accept = field(default_factory=Accept)
