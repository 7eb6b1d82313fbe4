"""What nobody has shown of an artifact. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildkit.audit.queries.gaps import NEEDED
from buildkit.audit.report.types import Gap
from buildkit.evidence import kinds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from buildkit.audit.report.types import Artifact, Run, Signed, Verdict

_SENTENCES = {
    kinds.PROVENANCE.name: "nobody says what it was made from (no provenance)",
    kinds.RUN.name: "nobody says who built it, when and where",
    kinds.CYCLONEDX.name: "no SBOM in CycloneDX",
    kinds.SPDX.name: "no SBOM in SPDX",
    kinds.TEST_RESULT.name: "nobody ran it",
    kinds.VERDICT.name: "no gate decided about it",
    kinds.REBUILD.name: "nobody says that they made it again",
}


def find(
    artifacts: Sequence[Artifact],
    *,
    signed: Sequence[Signed],
    verdicts: Sequence[Verdict],
    runs: Sequence[Run],
) -> tuple[Gap, ...]:
    """Kinds of evidence that are missing, and for which artifacts.

    Args:
        artifacts: what the report is about, and its parts.
        signed: all that is believed of them.
        verdicts: of gates.
        runs: test results.
    """
    return tuple(_gaps(artifacts, signed, verdicts, runs))


def _gaps(
    artifacts: Sequence[Artifact],
    signed: Sequence[Signed],
    verdicts: Sequence[Verdict],
    runs: Sequence[Run],
) -> Iterator[Gap]:
    said = {(each.kind, label) for each in signed for label in each.about}
    # Those hang on one artifact, and are about two.
    said |= {(kinds.TEST_RESULT.name, label) for run in runs for label in (run.image, run.model)}
    said |= {(kinds.VERDICT.name, label) for each in verdicts for label in each.about}
    for kind, roles in NEEDED.items():
        lacking = [
            each.label
            for each in artifacts
            if each.role in roles and (kind, each.label) not in said
        ]
        if lacking:
            yield Gap(what=_SENTENCES.get(kind, f"no {kind}"), about=tuple(lacking))
    top = (artifacts[0].label,)
    if runs and not any(run.mark == "" and run.key for run in runs):
        yield Gap(what="no real board ran it", about=top)
    judged = {label for each in verdicts for label in each.about}
    passed = {label for each in verdicts if each.outcome == "PASS" for label in each.about}
    if refused := sorted(judged - passed):
        yield Gap(what="no gate let it pass", about=tuple(refused))
