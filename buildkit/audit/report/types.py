"""What a report says, as frozen records: `facts` fills them, `page` shows them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact:
    """A manifest or an index.

    Attributes:
        digest: of it.
        role: ``image``, ``platform``, ``models`` or ``model``.
        name: of the recipe.
        version: of the recipe.
        variant: platform, or target of a model; else empty.
        size: in bytes, with all that it names.
        lock: digest of the lock that it was made from; may be empty.
        names: under which sources hold it: ``digits:1.0.0 in store``.
    """

    digest: str
    role: str
    name: str
    version: str
    variant: str = ""
    size: int = 0
    lock: str = ""
    names: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """``platform linux/arm64``, ``image``; the digest of what is only mentioned."""
        return f"{self.role} {self.variant}".strip() or self.digest


@dataclass(frozen=True, kw_only=True, slots=True)
class Signer:
    """Who signed.

    Attributes:
        kind: ``key``, ``identity`` or ``device``.
        subject: id of the key; mail address or workflow of an identity.
        issuer: of an identity.
        label: what people call it.
        state: ``active``, ``old``, ``retired``, ``device``, ``named`` or ``unknown``.
    """

    kind: str
    subject: str
    issuer: str = ""
    label: str = ""
    state: str = ""

    @property
    def text(self) -> str:
        """In one line."""
        if self.kind == "identity":
            return f"{self.subject} (by {self.issuer})" if self.issuer else self.subject
        return " ".join(filter(None, (self.kind, self.label, self.subject)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Build:
    """One provenance statement that is true.

    Attributes:
        recipe: name of the recipe.
        version: of the recipe.
        recipe_digest: of the recipe.
        lock: digest of the lock.
        builder: URI of the builder.
        revision: commit, with ``-dirty`` where files differed from it; may be empty.
        evidence: digests of its bundles.
    """

    recipe: str
    version: str
    recipe_digest: str
    lock: str
    builder: str
    revision: str
    evidence: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Material:
    """Something that went into the build.

    Attributes:
        name: package, distribution, or path.
        uri: package URL, source location, or ``nix:…``; may be empty.
        digest: of it; empty for a commit.
        commit: of a git repository; else empty.
        uses: what for: ``platform linux/arm64 debian``; may be empty.
    """

    name: str
    uri: str = ""
    digest: str = ""
    commit: str = ""
    uses: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """Something inside, as SBOMs name it.

    Attributes:
        type: ``deb``, ``pypi``, ``generic``, …
        name: of the package.
        version: of the package.
        licence: SPDX expression; empty when nobody knows.
        purl: package URL; may be empty.
        sha256: of its file; may be empty.
        inside: labels of the artifacts that hold it.
    """

    type: str
    name: str
    version: str
    licence: str = ""
    purl: str = ""
    sha256: str = ""
    inside: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """What the model's own card (``model.json``) says of quantisation and accuracy.

    The card is a layer of a manifest, so that whoever signed that manifest signed it as well.

    Attributes:
        target: of the variant.
        digest: of the card.
        task: what it is for; may be empty.
        engine: that runs it.
        mode: ``static-int8``.
        settings: the rest of the quantisation, as (name, value).
        size: of the file in bytes, and that of the float model, where it is known.
        float_size: as above.
        parameters: how many; nothing when it is not known.
        opset: of ONNX.
        samples: golden inputs.
        float_accuracy: percent that the float model gets right.
        accuracy: percent that this model gets right.
        agreement: percent with the same answer.
        drop: in percentage points.
        same_on_every_cpu: whether its answers are; ``why`` says the reason.
        why: as above.
        seed: of the training.
        commit: of the training; may be empty.
        data: digest over all that it learned or was calibrated from.
    """

    target: str
    digest: str
    task: str
    engine: str
    mode: str
    settings: tuple[tuple[str, str], ...]
    size: int
    float_size: int | None
    parameters: int | None
    opset: int | None
    samples: int | None
    float_accuracy: float | None
    accuracy: float | None
    agreement: float | None
    drop: float | None
    same_on_every_cpu: bool | None
    why: str
    seed: int | None
    commit: str
    data: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One test result.

    Attributes:
        at: when it ended, by the device's clock, seconds since 1970.
        target: kind of device.
        device: what people call it; empty for a run on none.
        key: id of its key; may be empty.
        result: ``PASSED``, ``WARNED`` or ``FAILED``.
        mark: ``local``, ``stand-in``, or empty for a board.
        board: model of the board.
        kernel: release.
        firmware: of the board.
        p50_ns: median latency; nothing when none was measured.
        p95_ns: its 95th percentile.
        profile: ``quick``, ``smoke``, ``release``.
        image: label of the platform that ran; empty when it is no part of what is shown.
        model: label of the model that ran; likewise.
        evidence: digest of the bundle.
    """

    at: int
    target: str
    device: str
    key: str
    result: str
    mark: str
    board: str = ""
    kernel: str = ""
    firmware: str = ""
    p50_ns: int | None = None
    p95_ns: int | None = None
    profile: str = ""
    image: str = ""
    model: str = ""
    evidence: str = ""

    @property
    def where(self) -> str:
        """The device, or what it was instead."""
        return self.device or self.key or self.mark or "no device that signed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What a gate decided.

    Attributes:
        at: when, seconds since 1970.
        outcome: ``PASS``, ``FAIL`` or ``INCONCLUSIVE``.
        devices: (target, device, id of its key) that it is about.
        about: labels of the platform and the model that it is about.
        evidence: digest of the bundle.
    """

    at: int
    outcome: str
    devices: tuple[tuple[str, str, str], ...]
    about: tuple[str, ...]
    evidence: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Promotion:
    """A move of a channel to this artifact.

    Attributes:
        channel: ``canary``.
        place: repository, or name in a store.
        number: of the record.
        at: when, seconds since 1970.
        restores: number of the record that it went back to; 0 for any other move.
        until: when the channel moved on; nothing while it leads here.
        signer: who moved it.
        evidence: digest of the bundle.
        mark: where its tag leads now, if this newest record says otherwise; else empty.
    """

    channel: str
    place: str
    number: int
    at: int
    restores: int
    until: int | None
    signer: str
    evidence: str
    mark: str = ""

    @property
    def leads_here(self) -> bool:
        """Whether the channel does now, by its record and by its tag."""
        return self.until is None and not self.mark


@dataclass(frozen=True, kw_only=True, slots=True)
class Signed:
    """All statements of one kind by one signer.

    Attributes:
        kind: of evidence.
        signer: who.
        about: labels of the artifacts.
        count: of statements.
        first: earliest time that one says of itself; nothing when none does.
        last: latest.
        evidence: digests of the bundles, the first of many.
    """

    kind: str
    signer: Signer
    about: tuple[str, ...]
    count: int
    first: int | None
    last: int | None
    evidence: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """Evidence that is not believed.

    Attributes:
        reason: word of `buildkit.evidence.reasons`.
        message: a sentence.
        kind: what it says that it is; may be empty.
        signer: who signed, when that is known; else empty.
        about: labels of what it hangs on.
        evidence: digest of the bundle.
    """

    reason: str
    message: str
    kind: str
    signer: str
    about: tuple[str, ...]
    evidence: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """Something that nobody has shown.

    Attributes:
        what: what is missing, in a sentence.
        about: labels of the artifacts.
    """

    what: str
    about: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """How much there is of what a page shows only the newest or first of.

    Attributes:
        runs: test results.
        verdicts: of gates.
        packages: inside.
        materials: of the builds.
        refused: pieces of evidence.
    """

    runs: int = 0
    verdicts: int = 0
    packages: int = 0
    materials: int = 0
    refused: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """All that is known of one artifact.

    Attributes:
        top: what it is about: an image, or an index of models.
        policy: digest of the policy that says whose word counts; empty for the built-in one.
        parts: platforms, index of models and models.
        used_by: images that carry it, for an index of models.
        builds: that made it.
        materials: of these builds.
        packages: inside.
        runs: newest first.
        verdicts: newest first.
        promotions: newest first.
        signed: by kind and signer.
        refused: evidence that is not believed.
        gaps: evidence that is missing.
        total: how much there is of all that.
        cards: of its models.
        cards_unread: why there is none; empty when there are.
    """

    top: Artifact
    policy: str = ""
    parts: tuple[Artifact, ...] = ()
    used_by: tuple[Artifact, ...] = ()
    builds: tuple[Build, ...] = ()
    materials: tuple[Material, ...] = ()
    packages: tuple[Package, ...] = ()
    runs: tuple[Run, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    promotions: tuple[Promotion, ...] = ()
    signed: tuple[Signed, ...] = ()
    refused: tuple[Refused, ...] = ()
    gaps: tuple[Gap, ...] = ()
    total: Cut = Cut()
    cards: tuple[Card, ...] = ()
    cards_unread: str = ""

    @property
    def title(self) -> str:
        """``digits 1.0.0``."""
        return " ".join(filter(None, (self.top.name, self.top.version))) or self.top.digest

    @property
    def models(self) -> list[Artifact]:
        """Those among the top and its parts."""
        return [each for each in (self.top, *self.parts) if each.role == "model"]
