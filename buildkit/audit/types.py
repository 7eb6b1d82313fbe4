"""What queries answer with: frozen records, every one with the digests of the evidence it rests on.

Times are whole seconds since 1970 as the signed record says them. `evidence` holds digests of
bundles, sorted; ``evidence --about`` shows one, and ``verify`` holds it against a policy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

LIMIT = 200

Row = TypeVar("Row")


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer(Generic[Row]):
    """Rows that a query found.

    Attributes:
        rows: at most as many as were asked for.
        more: whether there are more.
    """

    rows: tuple[Row, ...]
    more: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Thing:
    """A manifest or an index.

    Attributes:
        role: ``image``, ``platform``, ``models`` or ``model``.
        name: of the recipe, with its version.
        version: of the recipe.
        variant: platform of a platform, target of a model; else empty.
        digest: its own.
    """

    role: str
    name: str
    version: str
    variant: str
    digest: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Holder:
    """Something that holds a package.

    Attributes:
        what: ``channel``, ``device``, ``image`` or ``model``.
        name: ``digits``; of a channel ``digits:canary``; of a device what people call it.
        version: of image or model.
        variant: platform or target.
        digest: manifest of the platform or the model that holds it.
        image: index of the image that this is a part of; empty where none is known.
        at: when the channel was moved there, or the device was seen with it; else nothing.
        package: package URL.
        licence: SPDX expression; may be empty.
        sha256: of the package's file; may be empty.
        mark: of a channel, where its tag leads now, if its newest record says otherwise.
        evidence: SBOMs; and test results of a device, the record of a channel.
    """

    what: str
    name: str
    version: str
    variant: str
    digest: str
    image: str
    at: int | None
    package: str
    licence: str
    sha256: str
    mark: str
    evidence: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """Something that was made from an input.

    Attributes:
        role: ``image`` or ``model``.
        name: of the recipe.
        version: of the recipe.
        variant: target of a model.
        digest: index of the image, or manifest of the model.
        input: name of the material; empty when the builder was asked for.
        uri: of the material, or the builder.
        input_digest: of the material.
        commit: likewise.
        uses: what it was for.
        evidence: provenance.
    """

    role: str
    name: str
    version: str
    variant: str
    digest: str
    input: str
    uri: str
    input_digest: str
    commit: str
    uses: str
    evidence: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Something that an artifact was made from.

    Attributes:
        name: package, distribution, file, ``recipe.lock``, or part of the builder.
        uri: package URL or place; empty for a file.
        digest: ``sha256:…`` or ``nix:…``; empty for a commit.
        commit: of a git repository.
        uses: what it was for: ``host amd64 seed``, …
        depth: 1 for what the artifact was made from, 2 for what that was made from, …
        of: digest of the artifact that was made from it.
        evidence: provenance.
    """

    name: str
    uri: str
    digest: str
    commit: str
    uses: str
    depth: int
    of: str
    evidence: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Signed:
    """A statement that somebody signed.

    Attributes:
        time: that it names; nothing where it names none.
        kind: of evidence.
        about: digests of what it is about.
        names: what these are called, in the same order.
        signer: who.
        state: of the signer's key.
        reason: why it does not count; empty when it does.
        evidence: the bundle.
    """

    time: int | None
    kind: str
    about: tuple[str, ...]
    names: tuple[str, ...]
    signer: str
    state: str
    reason: str
    evidence: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What a device saw of an image and its model.

    Attributes:
        device: as it is called; empty for a run on no device.
        key: id of its key.
        target: kind of device.
        result: ``PASSED``, ``WARNED`` or ``FAILED``.
        verdict: of the newest gate that judged it; empty when none did.
        mark: ``local``, ``stand-in``, or empty for a board.
        board: model of the board.
        kernel: its version.
        firmware: its version.
        began: when.
        ended: when.
        p50_ns: median latency in nanoseconds.
        p95_ns: 95th percentile of it.
        image: manifest of the platform.
        model: manifest of the variant.
        runs: of this device and target with it; this is the newest.
        evidence: bundles of device and host, and of the verdict.
    """

    device: str
    key: str
    target: str
    result: str
    verdict: str
    mark: str
    board: str
    kernel: str
    firmware: str
    began: int
    ended: int
    p50_ns: int | None
    p95_ns: int | None
    image: str
    model: str
    runs: int
    evidence: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Passed:
    """That a gate let an image and a model pass.

    Attributes:
        name: of the recipe.
        version: of the recipe.
        target: kind of device.
        devices: that signed a test result of it, which the verdict names, and did not see it fail;
            stand-ins do not count. `devices` names them.
        named: devices that the gate says it judged; 0 where it ran on none.
        mark: ``local`` or ``stand-in``, or both, where test results behind it are; else empty.
        at: when.
        runs: test results that it was made from, which the verdict names by digest.
        image: manifest of the platform.
        model: manifest of the variant.
        evidence: the verdict.
    """

    name: str
    version: str
    target: str
    devices: int
    named: int
    mark: str
    at: int
    runs: int
    image: str
    model: str
    evidence: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """Where a channel was let lead.

    Attributes:
        channel: ``digits:canary``, ``HOST/repository:canary``.
        number: of the record, 1 for the first.
        at: when.
        name: of the recipe.
        version: of the recipe.
        image: index of the image.
        models: index of its models.
        restores: number of the record that a roll-back goes back to; else 0.
        policy: digest of the policy that it was held against.
        signer: who moved it.
        mark: where the channel's tag leads now, if the newest record says otherwise; else empty.
        evidence: the record.
    """

    channel: str
    number: int
    at: int
    name: str
    version: str
    image: str
    models: str
    restores: int
    policy: str
    signer: str
    mark: str
    evidence: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Word:
    """What one signer says of one kind about an artifact or a part of it.

    Attributes:
        signer: who; empty when that could not be found out.
        state: of the signer's key.
        kind: of evidence.
        reason: why it does not count; empty when it does.
        role: of what it is about.
        variant: likewise.
        about: its digest.
        count: statements.
        first: the earliest time that they name.
        last: the latest.
        evidence: the bundles.
    """

    signer: str
    state: str
    kind: str
    reason: str
    role: str
    variant: str
    about: str
    count: int
    first: int | None
    last: int | None
    evidence: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One thing on a way, and how the one before it leads there.

    Attributes:
        by: ``about``, ``made from``, …; empty for the first.
        kind: ``image``, ``test-result``, ``material``, ``device``, …
        name: for people.
        id: digest, commit, package URL, key or channel.
        evidence: what proves `by`.
    """

    by: str
    kind: str
    name: str
    id: str
    evidence: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """Evidence that is not there, does not count, or contradicts itself.

    Attributes:
        gap: ``no-provenance``, ``no-rebuild``, ``retired``, ``refused``, ``differ``, …
        role: of the artifact.
        name: of the recipe.
        version: of the recipe.
        variant: platform or target.
        digest: of the artifact.
        detail: a sentence.
        evidence: bundles that do not count, or that differ; none where nothing is said.
    """

    gap: str
    role: str
    name: str
    version: str
    variant: str
    digest: str
    detail: str
    evidence: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Cells:
    """What a statement of SQL answers.

    Attributes:
        columns: their names.
        rows: values as the database has them.
        more: whether there are more.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[int | float | str | bytes | None, ...], ...]
    more: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Counted:
    """How many there are of something."""

    name: str
    count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """What an index is of.

    Attributes:
        name: file or URL.
        policy: digest of the policy whose signers count; empty for the built-in one.
        sources: stores and repositories.
        unfinished: those of them that were not read to their end, or have damaged blobs.
        rows: of each table.
        refused: statements that do not count, by reason.
    """

    name: str
    policy: str
    sources: tuple[str, ...]
    unfinished: tuple[str, ...]
    rows: tuple[Counted, ...]
    refused: tuple[Counted, ...]
