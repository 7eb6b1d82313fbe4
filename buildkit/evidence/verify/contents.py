"""What evidence says, held against lock, image, model and policy. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from buildkit import media
from buildkit.errors import EvidenceError
from buildkit.evidence import kinds, provenance, smoke
from buildkit.evidence.reasons import Reason
from buildkit.evidence.sbom import check as sbom
from buildkit.evidence.verify.belong import listed
from buildkit.evidence.verify.boms import packages
from buildkit.evidence.verify.signatures import matches

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from buildkit.evidence.kinds import Kind
    from buildkit.evidence.provenance import Provenance
    from buildkit.evidence.verify.belong import Scene
    from buildkit.evidence.verify.parts import Part
    from buildkit.evidence.verify.report import Notebook
    from buildkit.evidence.verify.signatures import Said
    from buildkit.lock.types import Lock


def check_said(scene: Scene, part: Part, said: Said, notebook: Notebook) -> None:
    """Whether one statement about a part is true, as far as that can be known.

    Args:
        scene: what it is held against.
        part: what it hangs on.
        said: a statement by a trusted signer, of a kind that is known.
        notebook: takes the findings.
    """
    kind = said.kind
    try:
        if kind in (kinds.CYCLONEDX, kinds.SPDX):
            _check_bom(scene, part, said, kind, notebook)
        elif kind in (kinds.PROVENANCE, kinds.RUN):
            _check_subjects(scene, part, said, kind, notebook)
            if kind == kinds.PROVENANCE:
                _check_provenance(scene, part, said, notebook)
        elif kind == kinds.TEST_RESULT:
            _check_test(scene, part, said, notebook)
        elif kind == kinds.VERDICT:
            smoke.read_verdict(said.statement, f"a verdict about {part.digest}")
            _check_pair(scene, part, said, notebook)
        elif kind == kinds.REBUILD and not _is_identical(said):
            why = f"{said.signer} built it again, and it was different"
            notebook.add(Reason.PREDICATE, part.digest, why)
    except EvidenceError as error:
        notebook.caught(error, part.digest)


def check_agreement(part: Part, found: Mapping[str, Iterable[Said]], notebook: Notebook) -> None:
    """Whether both SBOMs of a part name the same packages."""
    try:
        named = {
            kind: {
                each
                for said in found.get(kind.name, ())
                for each in packages(said.statement.predicate, kind)
            }
            for kind in (kinds.CYCLONEDX, kinds.SPDX)
        }
    except EvidenceError as error:
        notebook.caught(error, part.digest)
        return
    here, there = named[kinds.CYCLONEDX], named[kinds.SPDX]
    if here and there and here != there:
        why = f"CycloneDX and SPDX differ: {listed(here ^ there)}"
        notebook.add(Reason.SBOM, part.digest, why)


def applies(kind: Kind, part: Part) -> bool:
    """Whether a kind of evidence is about such a part."""
    return "build" in kind.about or part.role in kind.about


def pins(scene: Scene, part: Part) -> tuple[Any, ...]:
    """The entries of the lock that the SBOM of a part must name."""
    platform = "" if part.role == "model" else part.name
    return () if scene.lock is None else pinned(scene.lock, platform)


def pinned(lock: Lock, platform: str) -> tuple[Any, ...]:
    """The entries of a lock that an SBOM must name.

    Args:
        lock: what was built from.
        platform: that the SBOM is of; empty for a model.
    """
    if not platform:
        wheels = {pin for host in lock.hosts.values() for pin in host.builder_wheels}
        return (*lock.model.files, *sorted(wheels))
    found = lock.platforms.get(platform)
    return (*found.debian, *found.wheels) if found is not None else ()


def _check_bom(scene: Scene, part: Part, said: Said, kind: Kind, notebook: Notebook) -> None:
    document = said.statement.predicate
    wanted = {part.digest, part.weight} - {""}
    if {each.digest for each in said.statement.subjects} != wanted:
        why = f"a {kind.name} about more, or less, than this"
        notebook.add(Reason.SUBJECT, part.digest, why)
    about = sbom.about(document, kind)
    if about not in wanted:
        why = f"a {kind.name} that describes {about}"
        notebook.add(Reason.SBOM, part.digest, why)
    if missing := sbom.missing(document, kind, pins(scene, part)):
        why = f"the {kind.name} does not name {listed(missing)}, which the lock does"
        notebook.add(Reason.SBOM, part.digest, why)


def _check_subjects(scene: Scene, part: Part, said: Said, kind: Kind, notebook: Notebook) -> None:
    about = {each.digest for each in said.statement.subjects}
    wanted = {each.digest for each in scene.parts} | {each.weight for each in scene.parts} - {""}
    # Only from the index can everything be seen that one build made.
    is_all = scene.top.role == "image" and scene.whole
    if not about >= wanted or (is_all and about != wanted):
        why = f"its {kind.name} is not about image and model together: {listed(about ^ wanted)}"
        notebook.add(Reason.SUBJECT, part.digest, why)


def _check_provenance(scene: Scene, part: Part, said: Said, notebook: Notebook) -> None:
    found = provenance.read(said.statement.predicate, f"provenance of {part.digest}")
    ids = scene.policy.builder.ids
    if ids and not any(matches(each, found.builder) for each in ids):
        why = f"built by {found.builder!r}, which the policy does not allow"
        notebook.add(Reason.BUILDER, part.digest, why)
    if found.lock_digest != scene.lock_digest:
        why = f"built from lock {found.lock_digest}, the image names {scene.lock_digest}"
        notebook.add(Reason.MATERIAL, part.digest, why)
    if scene.lock is not None:
        for why in made_otherwise(found, scene.lock):
            notebook.add(Reason.MATERIAL, part.digest, why)


def made_otherwise(found: Provenance, lock: Lock) -> Iterator[str]:
    """In what a provenance and the lock that it names disagree."""
    recipe = {
        "name": lock.recipe_name,
        "version": lock.recipe.get("version"),
        "digest": lock.recipe_digest,
    }
    if dict(found.recipe) != recipe:
        yield "its provenance is of another recipe"
    wanted = set(provenance.materials(lock))
    named = set(found.materials)
    if absent := wanted - named:
        yield f"its provenance does not name {listed(each.name for each in absent)}"
    # The lock itself, and what stands beside the recipe.
    rest = {
        each
        for each in named - wanted
        if each.uses not in (("lock",), ("source",)) or each.uri.startswith("pkg:")
    }
    if rest:
        names = listed(each.name for each in rest)
        yield f"made with {names}, which the lock does not name"


def _check_test(scene: Scene, part: Part, said: Said, notebook: Notebook) -> None:
    what = f"a test result about {part.digest}"
    found = smoke.read_result(said.statement, what)
    if part.digest != (found.model if part.role == "model" else found.image):
        notebook.add(Reason.SUBJECT, part.digest, f"{what}: image and model are exchanged")
    _check_pair(scene, part, said, notebook)
    named = part.note(media.MODEL_DIGEST)
    if part.role == "platform" and found.model_index != named:
        why = f"{what}: with model {found.model_index}, the image names {named or 'none'}"
        notebook.add(Reason.SUBJECT, part.digest, why)
    if scene.top.role == "image" and found.image_index != scene.top.digest:
        why = f"{what}: as part of another image index, {found.image_index}"
        notebook.add(Reason.SUBJECT, part.digest, why)
    if part.role != "model":
        return
    if found.target != part.name:
        why = f"{what}: tested as {found.target!r}, made for {part.name!r}"
        notebook.add(Reason.MODEL, part.digest, why)
    golden = part.card.get("golden")
    if isinstance(golden, dict) and golden.get("digest") != found.golden:
        why = f"{what}: with golden data {found.golden}, which its card does not name"
        notebook.add(Reason.MODEL, part.digest, why)
    if found.model_sha256 and f"sha256:{found.model_sha256}" != part.weight:
        notebook.add(Reason.MODEL, part.digest, f"{what}: its report is of another model file")


def _check_pair(scene: Scene, part: Part, said: Said, notebook: Notebook) -> None:
    """Whether a test is about one image and one model, of those that are here."""
    about = {each.digest for each in said.statement.subjects} - {part.digest}
    known = {each.digest: each.role for each in scene.parts}
    roles = {known.get(digest, "") for digest in about}
    other = "model" if part.role == "platform" else "platform"
    # Without the index above, further platforms need not be here.
    unseen = not scene.whole or (other == "platform" and scene.top.role != "image")
    if roles != {other} and not (unseen and roles == {""}):
        kind = said.kind.name if said.kind is not None else "statement"
        why = f"a {kind} about something else than this {part.role} and a {other} of its build"
        notebook.add(Reason.SUBJECT, part.digest, why)


def _is_identical(said: Said) -> bool:
    return said.statement.predicate.get("identical") is True
