"""The kinds of evidence, by the predicate type that the statement carries. Data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """One kind of evidence.

    Attributes:
        name: the word that people and policies use.
        predicate_type: in-toto predicate type, as other tools know it.
        about: what its statements are about: ``image`` (index and platforms), ``platform``,
            ``model`` or ``build`` (image and models together).
        reproducible: whether the same build gives the same bytes.
    """

    name: str
    predicate_type: str
    about: tuple[str, ...]
    reproducible: bool


CYCLONEDX = Kind(
    name="cyclonedx",
    predicate_type="https://cyclonedx.org/bom",
    about=("platform", "model"),
    reproducible=True,
)
SPDX = Kind(
    name="spdx",
    predicate_type="https://spdx.dev/Document",
    about=("platform", "model"),
    reproducible=True,
)
PROVENANCE = Kind(
    name="provenance",
    predicate_type="https://slsa.dev/provenance/v1",
    about=("build",),
    reproducible=True,
)
# Ours, since no standard predicate keeps wall-clock facts apart. docs/provenance.md is its text.
RUN = Kind(
    name="run",
    predicate_type="urn:edge-buildkit:predicate:run:v1",
    about=("build",),
    reproducible=False,
)
REBUILD = Kind(
    name="rebuild",
    predicate_type="urn:edge-buildkit:predicate:rebuild:v1",
    about=("build",),
    reproducible=False,
)
# What a device saw, signed by its own key, and by the host that asked for it.
TEST_RESULT = Kind(
    name="test-result",
    predicate_type="https://in-toto.io/attestation/test-result/v0.1",
    about=("platform", "model"),
    reproducible=False,
)
# What a gate decided about test results.
VERDICT = Kind(
    name="verdict",
    predicate_type="https://slsa.dev/verification_summary/v1",
    about=("platform", "model"),
    reproducible=False,
)

KINDS = (CYCLONEDX, SPDX, PROVENANCE, RUN, REBUILD, TEST_RESULT, VERDICT)
BY_TYPE = {kind.predicate_type: kind for kind in KINDS}
BY_NAME = {kind.name: kind for kind in KINDS}
