"""Whether a statement agrees with the parts that it is about, and with the lock they name.

A verification holds the whole of one image against a policy; here each statement is held against
what it names itself, as far as the source has it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from buildkit import media
from buildkit.audit import facts, read, sources
from buildkit.errors import EvidenceError, LockError
from buildkit.evidence import kinds, provenance
from buildkit.evidence.reasons import Reason
from buildkit.evidence.sbom import check as sbom
from buildkit.evidence.verify import contents
from buildkit.evidence.verify.belong import listed
from buildkit.lock import codec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from buildkit.audit.facts import Facts
    from buildkit.audit.judge import Opened
    from buildkit.audit.listing import Reader
    from buildkit.audit.read import Document
    from buildkit.audit.sources import Source
    from buildkit.evidence.kinds import Kind
    from buildkit.evidence.verify.signatures import Said
    from buildkit.lock.types import Lock
    from buildkit.records import Descriptor

# What was sought, and whether it was there; see `Parts`.
Sought = dict[tuple[str, str], bool]

# One build's lock is asked for by all that hangs on its parts, one after the other.
_REMEMBERED = 16


class Parts:
    """What a source has of the things that statements name.

    Args:
        documents: of the source.
        known: digest → descriptor, of the manifests and indexes that are there.

    Attributes:
        sought: (digest, ``manifest`` or ``blob``) → whether it was there; of all that was asked for
            since it was emptied.
    """

    def __init__(self, documents: Reader, known: Mapping[str, Descriptor]) -> None:
        self._documents = documents
        self._known = known
        self._locks: dict[str, Lock | EvidenceError | None] = {}
        self._golden: dict[str, tuple[str, Sought]] = {}
        self._said: dict[tuple[str, str], tuple[str, Sought]] = {}
        self.sought: Sought = {}

    def document(self, digest: str) -> Document | None:
        """A manifest or an index; nothing when it is not here, or cannot be read."""
        known = self._known.get(digest)
        found = None
        if known is not None:
            with suppress(EvidenceError):
                found = self._documents.document(known)
        if digest:
            self.sought[digest, read.MANIFEST] = found is not None
        return found

    def lock(self, digest: str) -> Lock | None:
        """A lock; nothing when it is not here.

        Raises:
            EvidenceError: it is altered, or no lock.
            StoreError, RegistryError: it cannot be known.
        """
        if digest not in self._locks:
            _make_room(self._locks)
            try:
                self._locks[digest] = _lock(self._documents.source, digest)
            except EvidenceError as error:
                self._locks[digest] = error
        found = self._locks[digest]
        if digest:
            self.sought[digest, read.BLOB] = found is not None
        if isinstance(found, EvidenceError):
            raise found
        return found

    def golden(self, model: Document) -> str:
        """Digest of the golden data that a model's card names; empty when it names none.

        Raises:
            StoreError, RegistryError: it cannot be known.
        """
        if model.digest not in self._golden:
            _make_room(self._golden)
            self._golden[model.digest] = _golden(self._documents.source, model)
        golden, sought = self._golden[model.digest]
        self.sought |= sought
        return golden

    def once(self, bundle: str, of: str, why: Callable[[], str]) -> str:
        """The answer of `why`, which is the same wherever a bundle hangs."""
        key = (bundle, of)
        if key not in self._said:
            _make_room(self._said)
            before, self.sought = self.sought, {}
            try:
                self._said[key] = why(), self.sought
            finally:
                self.sought = before
        answer, sought = self._said[key]
        self.sought |= sought
        return answer


def refuses(opened: Opened, subject: Document, parts: Parts) -> EvidenceError | None:
    """Why a statement contradicts what it hangs on, or what else it names.

    Args:
        opened: the bundle, not refused.
        subject: what it hangs on, and is about.
        parts: what else is there.

    Raises:
        StoreError, RegistryError: it cannot be known.
    """
    said, rows = opened.said, opened.facts
    assert said is not None and rows is not None  # noqa: PT018, S101 - whoever calls has looked
    kind, what = said.kind, f"bundle {opened.digest}"
    try:
        if kind in (kinds.CYCLONEDX, kinds.SPDX):
            _check_bom(kind, said, subject, parts, what)
        elif kind in (kinds.PROVENANCE, kinds.RUN):
            _check_build(opened, said, subject, parts, what)
        elif kind == kinds.TEST_RESULT:
            _check_test(said, rows, subject, parts, what)
        elif kind == kinds.VERDICT:
            _check_role(rows.verdict, subject, what)
            image, model = (each.digest for each in said.statement.subjects)
            _check_pair(image, model, "", parts, what)
    except EvidenceError as error:
        return error
    return None


def promotes_otherwise(opened: Opened, parts: Parts) -> EvidenceError | None:
    """Why a record of a channel contradicts the image that it names."""
    assert opened.facts is not None  # noqa: S101 - whoever calls has looked
    image, models = opened.facts.artifacts
    found = parts.document(image)
    if found is None or (found.what == "image" and found.note(media.MODEL_DIGEST) == models):
        return None
    named = found.note(media.MODEL_DIGEST) or "none"
    msg = f"bundle {opened.digest}: with models {models}, the image names {named}"
    return EvidenceError(Reason.SUBJECT, msg)


# SBOMs ------------------------------------------------------------------------------------------


def _check_bom(kind: Kind, said: Said, subject: Document, parts: Parts, what: str) -> None:
    document = said.statement.predicate
    wanted = {subject.digest, subject.weight} - {""}
    if {each.digest for each in said.statement.subjects} != wanted:
        msg = f"{what}: a {kind.name} about more, or less, than this"
        raise EvidenceError(Reason.SUBJECT, msg)
    about = sbom.about(document, kind)
    if about not in wanted:
        raise EvidenceError(Reason.SBOM, f"{what}: a {kind.name} that describes {about}")
    lock = parts.lock(subject.note(media.LOCK_DIGEST))
    platform = "" if subject.what == "model" else subject.variant
    pins = () if lock is None else contents.pinned(lock, platform)
    # Without a lock it is still read whole, as strictly as a verification does.
    if missing := sbom.missing(document, kind, pins):
        msg = f"{what}: it does not name {listed(missing)}, which the lock does"
        raise EvidenceError(Reason.SBOM, msg)


# Builds -----------------------------------------------------------------------------------------


def _check_build(opened: Opened, said: Said, subject: Document, parts: Parts, what: str) -> None:
    why = parts.once(opened.digest, "", lambda: _not_one_build(said, parts))
    if why:
        raise EvidenceError(Reason.SUBJECT, f"{what}: {why}")
    if said.kind != kinds.PROVENANCE:
        return
    build = (opened.facts.build if opened.facts is not None else None) or {}
    named = subject.note(media.LOCK_DIGEST)
    if named != build["lock"]:
        msg = f"{what}: built from lock {build['lock']}, what it hangs on names {named or 'none'}"
        raise EvidenceError(Reason.MATERIAL, msg)
    made, called = (
        ":".join(map(facts.clip, each))
        for each in (
            (build["recipe"], build["version"]),
            (subject.note(media.TITLE), subject.note(media.VERSION)),
        )
    )
    if made != called:
        msg = f"{what}: {made} was built, what it hangs on calls itself {called}"
        raise EvidenceError(Reason.NAME, msg)
    lock = parts.lock(named)
    if lock is None:
        return
    if subject.weight not in ("", f"sha256:{lock.model.quantized_sha256}"):
        msg = f"{what}: {subject.weight} is not the model that the lock was made with"
        raise EvidenceError(Reason.MODEL, msg)

    def differs() -> str:
        found = provenance.read(said.statement.predicate, what)
        return next(contents.made_otherwise(found, lock), "")

    if why := parts.once(opened.digest, named, differs):
        raise EvidenceError(Reason.MATERIAL, f"{what}: {why}")


def _not_one_build(said: Said, parts: Parts) -> str:
    """Why a statement is not about all that one build made, and no more; else empty."""
    about = {each.digest for each in said.statement.subjects}
    found = [parts.document(digest) for digest in sorted(about)]
    images = [each for each in found if each is not None and each.what == "image"]
    if len(images) > 1:
        return "it is about several images"
    if not images:
        # Of a model alone, the image need not be here.
        return ""
    wanted, is_whole = _made_with(images[0], parts)
    if not about >= wanted or (is_whole and about != wanted):
        return f"it is not about image and model together: {listed(about ^ wanted)}"
    return ""


def _made_with(image: Document, parts: Parts) -> tuple[set[str], bool]:
    """An image, its platforms, its models and their files; and whether all of them are here."""
    wanted = {image.digest, *(each.digest for each in image.children())}
    named = image.note(media.MODEL_DIGEST)
    if not named:
        return wanted, True
    wanted.add(named)
    models = parts.document(named)
    if models is None:
        return wanted, False
    is_whole = True
    for each in models.children():
        wanted.add(each.digest)
        model = parts.document(each.digest)
        is_whole = is_whole and model is not None
        wanted |= {model.weight} - {""} if model is not None else set()
    return wanted, is_whole


# Tests ------------------------------------------------------------------------------------------


def _check_test(said: Said, rows: Facts, subject: Document, parts: Parts, what: str) -> None:
    _check_role(rows.run, subject, what)
    run: Any = said.statement.predicate["run"]
    image, model = run["image"]["manifest"], run["model"]["manifest"]
    _check_pair(image, model, run["model"]["index"], parts, what)
    index = parts.document(run["image"]["index"])
    if index is not None and not (
        index.what == "image"
        and _has(index, image)
        and index.note(media.MODEL_DIGEST) == run["model"]["index"]
    ):
        msg = f"{what}: as part of another image index, {index.digest}"
        raise EvidenceError(Reason.SUBJECT, msg)
    variant = parts.document(model)
    if variant is None:
        return
    if run["target"] != variant.variant:
        msg = f"{what}: tested as {run['target']!r}, made for {variant.variant!r}"
        raise EvidenceError(Reason.MODEL, msg)
    report = run["report"] or {}
    named = report.get("model")
    sha256 = named.get("sha256") if isinstance(named, dict) else None
    if isinstance(sha256, str) and sha256 and f"sha256:{sha256}" != variant.weight:
        raise EvidenceError(Reason.MODEL, f"{what}: its report is of another model file")
    golden = parts.golden(variant)
    listed_: Any = said.statement.predicate["configuration"]
    used = next(each["digest"]["sha256"] for each in listed_ if each["name"] == "golden")
    if golden and golden != f"sha256:{used}":
        msg = f"{what}: with golden data sha256:{used}, which the model's card does not name"
        raise EvidenceError(Reason.MODEL, msg)


def _check_role(row: Mapping[str, Any] | None, subject: Document, what: str) -> None:
    role = "model" if subject.what == "model" else "image"
    if (row or {}).get(role) != facts.artifact(subject.digest):
        msg = f"{what}: image and model are exchanged"
        raise EvidenceError(Reason.SUBJECT, msg)


def _check_pair(image: str, model: str, models: str, parts: Parts, what: str) -> None:
    """Whether an image's platform and a model are of one build; `models` is empty if not told."""
    platform, variant = parts.document(image), parts.document(model)
    for found, role in ((platform, "platform"), (variant, "model")):
        if found is not None and found.what != role:
            msg = f"{what}: {found.digest} is no {role}"
            raise EvidenceError(Reason.SUBJECT, msg)
    if platform is not None:
        named = platform.note(media.MODEL_DIGEST)
        if not named or named != (models or named):
            msg = f"{what}: with model {models or model}, the image names {named or 'none'}"
            raise EvidenceError(Reason.SUBJECT, msg)
        models = named
    index = parts.document(models)
    if index is not None and not (index.what == "models" and _has(index, model)):
        msg = f"{what}: model {model} is not among those of the image, {index.digest}"
        raise EvidenceError(Reason.SUBJECT, msg)


def _has(index: Document, digest: str) -> bool:
    return any(each.digest == digest for each in index.children())


# What is read -----------------------------------------------------------------------------------


def _lock(source: Source, digest: str) -> Lock | None:
    data = sources.short(source, digest) if digest else None
    if data is None:
        return None
    try:
        return codec.parse(data, f"lock {digest}")
    except LockError as error:
        raise EvidenceError(Reason.MATERIAL, error.message) from error


def _golden(source: Source, model: Document) -> tuple[str, Sought]:
    card = model.manifest.layers()[1]
    key = (card.digest, read.BLOB)
    try:
        golden = read.json_blob(source, card, f"card {card.digest}").get("golden")
    except EvidenceError as error:
        # Whatever is wrong with the card, this is no word about it.
        return "", {key: error.reason not in (Reason.BLOB_MISSING, Reason.BLOB_DIGEST)}
    digest = golden.get("digest") if isinstance(golden, dict) else None
    return digest if isinstance(digest, str) else "", {key: True}


def _make_room(kept: dict[Any, Any]) -> None:
    if len(kept) >= _REMEMBERED:
        kept.clear()
