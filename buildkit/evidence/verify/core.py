"""The verification itself: bytes in, findings out. No clock, no environment, no files."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from buildkit import canonical, media
from buildkit.errors import EvidenceError, LockError
from buildkit.evidence import bundle as bundles
from buildkit.evidence import kinds, names, provenance, referrers, statement
from buildkit.evidence.reasons import Reason
from buildkit.evidence.verify import belong, contents, documents, tested
from buildkit.evidence.verify.parts import Blobs, Part, PartReader, role_of
from buildkit.evidence.verify.report import Artifact, Notebook, Report
from buildkit.evidence.verify.signatures import Said, open_bundle
from buildkit.lock import codec

if TYPE_CHECKING:
    from concurrent.futures import Future
    from datetime import datetime

    from buildkit.evidence.policytypes import Policy
    from buildkit.evidence.verify.signatures import Anchors
    from buildkit.evidence.verify.source import Source
    from buildkit.lock.types import Lock
    from buildkit.records import Descriptor

_LARGEST_BUNDLE = 32 << 20
_LARGEST_LOCK = 16 << 20
_MOST_BUNDLES = 256
_THREADS = 4
_UNNAMED = "whom the policy does not name"


def verify(
    source: Source,
    top: Descriptor,
    *,
    policy: Policy,
    anchors: Anchors,
    now: datetime,
    ref: str = "",
) -> Report:
    """Hold an image or a model, and all that is said about it, against a policy.

    Args:
        source: where the bytes are.
        top: image index, platform's manifest, index of models, or model.
        policy: whose word counts, and what must be said.
        anchors: the keys and the trust root that the policy means.
        now: with a time zone; the age of verdicts is counted from there.
        ref: the name that led here, if it was a name.

    Returns:
        What was checked, and every reason to refuse.

    Raises:
        StoreError: something cannot be read although it is there.
    """
    with ThreadPoolExecutor(_THREADS, "verify") as pool:
        return _Verification(source, policy, anchors, pool).run(top, ref, now)


class _Verification:
    def __init__(
        self, source: Source, policy: Policy, anchors: Anchors, pool: ThreadPoolExecutor
    ) -> None:
        self._source = source
        self._policy = policy
        self._anchors = anchors
        self._pool = pool
        self._notebook = Notebook()
        self._ignored = Notebook()
        self._blobs = Blobs(self._notebook)
        self._opened: dict[tuple[str, int], Said | EvidenceError] = {}
        self._hashing: dict[str, Future[int]] = {}
        self._packages = 0

    def run(self, top: Descriptor, ref: str, now: datetime) -> Report:
        parts = self._parts(top)
        whole = not self._notebook.findings()
        self._hash()
        artifacts: list[Artifact] = []
        materials = 0
        tests = tested.Tests()
        if parts:
            lock_digest = parts[0].note(media.LOCK_DIGEST)
            lock = self._lock(parts[0], lock_digest)
            scene = belong.Scene(
                top=parts[0],
                parts=parts,
                lock=lock,
                lock_digest=lock_digest,
                policy=self._policy,
                whole=whole,
            )
            self._check_name(parts[0], ref)
            belong.check_parts(scene, self._notebook)
            said = {part.digest: self._evidence(part) for part in parts}
            self._check_one_build(scene, said)
            self._check_rebuilds(scene, said)
            for part in parts:
                self._check_said(scene, part, said[part.digest])
                artifacts.append(_artifact(part, said[part.digest]))
            tests = tested.check(scene, said, now, self._notebook)
            materials = 0 if lock is None else len(provenance.materials(lock))
            for entry, error in self._source.broken():
                self._notebook.caught(error, entry.digest)
        self._hash()
        total = self._hashed()
        return Report(
            artifact=top.digest,
            name=_name(parts[0]) if parts else "",
            policy=self._policy.name,
            policy_digest=self._policy.digest,
            artifacts=tuple(artifacts),
            blobs=(len(self._hashing), total),
            signatures=sum(isinstance(each, Said) for each in self._opened.values()),
            packages=self._packages,
            materials=materials,
            ignored=self._ignored.findings(),
            findings=self._notebook.findings(),
            tests=tests.found,
            devices=tests.devices,
        )

    def _parts(self, top: Descriptor) -> tuple[Part, ...]:
        """All parts, the one that was asked for first; none when that one cannot be read."""
        reader = PartReader(self._source, self._notebook, self._blobs)
        parts: list[Part] = []
        try:
            manifest = documents.read(self._source, top)
            role = role_of(manifest)
            for part in reader.read(manifest, role):
                parts.append(part)  # noqa: PERF402 - those before an error count
        except EvidenceError as error:
            self._notebook.caught(error, top.digest)
            return tuple(parts)
        if role in ("image", "platform"):
            parts += self._model(parts[0], reader)
        return tuple(parts)

    def _model(self, image: Part, reader: PartReader) -> list[Part]:
        """The parts of the model that an image names."""
        digest = image.note(media.MODEL_DIGEST)
        parts: list[Part] = []
        if not digest:
            if self._policy.require.model:
                self._notebook.add(Reason.MODEL, image.digest, "the image names no model")
            return parts
        try:
            manifest = documents.read(self._source, self._source.locate(digest))
            if role_of(manifest) != "models":
                self._notebook.add(Reason.MODEL, image.digest, f"{digest} is no index of models")
                return parts
            for part in reader.models(manifest):
                parts.append(part)  # noqa: PERF402 - those before an error count
        except EvidenceError as error:
            self._notebook.caught(error, digest)
        return parts

    def _lock(self, top: Part, digest: str) -> Lock | None:
        if not digest:
            self._notebook.add(Reason.SBOM, top.digest, "it names no lock")
            return None
        try:
            data = self._source.read(digest, _LARGEST_LOCK)
            return codec.parse(data, f"lock {digest}")
        except EvidenceError as error:
            self._notebook.caught(error, top.digest)
        except LockError as error:
            self._notebook.add(Reason.MATERIAL, top.digest, error.message)
        return None

    def _check_name(self, top: Part, ref: str) -> None:
        """A name like ours must lead to what has it: a store may call an old version the new."""
        called = names.misleads(
            ref,
            title=top.note(media.TITLE),
            version=top.note(media.VERSION),
            is_model=top.role in ("model", "models"),
        )
        if called:
            self._notebook.add(Reason.NAME, top.digest, f"{ref!r} leads to {called}")

    def _evidence(self, part: Part) -> dict[str, list[Said]]:
        """What trusted signers say about a part, by kind."""
        found: dict[str, list[Said]] = {}
        hanging = self._source.bundles().get(part.digest, ())
        if len(hanging) > _MOST_BUNDLES:
            msg = f"{len(hanging)} bundles hang on it; {_MOST_BUNDLES} are allowed"
            self._notebook.add(Reason.TOO_LARGE, part.digest, msg)
        for entry in hanging[:_MOST_BUNDLES]:
            try:
                said = self._one(part, entry)
            except EvidenceError as error:
                if error.reason == Reason.SIGNER_UNKNOWN:
                    self._stranger(error.reason, part, error.message)
                else:
                    self._notebook.caught(error, part.digest)
                continue
            if said is not None and said.kind is not None:
                found.setdefault(said.kind.name, []).append(said)
        return found

    def _one(self, part: Part, entry: Descriptor) -> Said | None:
        """One bundle that hangs on a part; nothing when it is not evidence that counts.

        Raises:
            EvidenceError: it is refused.
        """
        layer, said = self._carried(part, entry)
        what = f"bundle {layer.digest}"
        if not said.statement.is_about(part.digest):
            msg = f"{what}: a statement about something else hangs on this"
            raise EvidenceError(Reason.SUBJECT, msg)
        if said.retired:
            msg = f"{what}: signed with {said.signer}, which was retired"
            raise EvidenceError(Reason.SIGNER_RETIRED, msg)
        if not said.counts:
            why = "which counts for test results alone" if said.device else _UNNAMED
            msg = f"{what}: signed by {said.signer}, {why}"
            raise EvidenceError(Reason.SIGNER_UNKNOWN, msg)
        if said.kind is None:
            if said.statement.predicate_type not in self._policy.accept.predicate_types:
                msg = f"a statement of an unknown kind {said.statement.predicate_type!r}"
                self._stranger(Reason.PREDICATE_TYPE, part, msg)
        elif not contents.applies(said.kind, part):
            msg = f"{what}: a {said.kind.name} is not about this"
            raise EvidenceError(Reason.SUBJECT, msg)
        return said

    def _carried(self, part: Part, entry: Descriptor) -> tuple[Descriptor, Said]:
        """The bundle that a referrer carries, which must be what the referrer announces.

        Raises:
            EvidenceError: it is refused.
        """
        manifest = documents.read(self._source, entry)
        what = f"referrer {entry.digest}"
        subject = manifest.links.subject
        top = part.manifest.descriptor
        if subject is None or (subject.size, subject.media_type) != (top.size, top.media_type):
            msg = f"{what}: its subject is described otherwise than it is"
            raise EvidenceError(Reason.MANIFEST, msg)
        layers = manifest.layers()
        if [each.media_type for each in layers] != [bundles.MEDIA_TYPE]:
            raise EvidenceError(Reason.MANIFEST, f"{what}: its layers are not one bundle")
        self._blobs.need(manifest.config(), part.digest)
        notes = manifest.links.annotations
        if notes.get(referrers.CONTENT) not in (None, referrers.ENVELOPE):
            msg = f"{what}: announced as {notes[referrers.CONTENT]!r}, not as an envelope"
            raise EvidenceError(Reason.BUNDLE, msg)
        said = self._open(layers[0])
        announced = notes.get(referrers.PREDICATE_TYPE)
        if announced not in (None, said.statement.predicate_type):
            msg = f"{what}: announced as {announced!r}, it is {said.statement.predicate_type!r}"
            raise EvidenceError(Reason.PREDICATE_TYPE, msg)
        return layers[0], said

    def _open(self, layer: Descriptor) -> Said:
        """The statement of a bundle, checked once however often it hangs somewhere.

        Raises:
            EvidenceError: it is refused.
        """
        key = (layer.digest, layer.size)
        found = self._opened.get(key)
        if found is None:
            try:
                data = documents.sized(self._source, layer, _LARGEST_BUNDLE)
                what = f"bundle {layer.digest}"
                found = open_bundle(data, what, self._policy, self._anchors)
            except EvidenceError as error:
                found = error
            self._opened[key] = found
        if isinstance(found, EvidenceError):
            raise found
        return found

    def _stranger(self, reason: str, part: Part, message: str) -> None:
        ignored = self._policy.accept.others == "ignore"
        (self._ignored if ignored else self._notebook).add(reason, part.digest, message)

    def _check_said(self, scene: belong.Scene, part: Part, found: dict[str, list[Said]]) -> None:
        """Whether all that must be said about a part is said, once, and true."""
        for name in self._policy.require.evidence:
            kind = kinds.BY_NAME[name]
            if not contents.applies(kind, part):
                continue
            signers = {each.signer for each in found.get(name, ())}
            needed = self._policy.require.signatures
            if len(signers) < needed:
                what = f"{part.role} {part.name}".strip()
                msg = f"{what} has no {name}"
                if signers or needed > 1:
                    msg = f"{what}: {len(signers)} of {needed} signers for its {name}"
                self._notebook.add(Reason.EVIDENCE_MISSING, part.digest, msg)
        for name, all_said in found.items():
            if kinds.BY_NAME[name].reproducible and _differ(all_said):
                msg = f"statements of kind {name} that differ, by {_signers(all_said)}"
                self._notebook.add(Reason.EVIDENCE_AMBIGUOUS, part.digest, msg)
            for each in {each.payload: each for each in all_said}.values():
                contents.check_said(scene, part, each, self._notebook)
        contents.check_agreement(part, found, self._notebook)
        if "cyclonedx" in found or "spdx" in found:
            self._packages += len(contents.pins(scene, part))

    def _check_one_build(self, scene: belong.Scene, said: dict[str, dict[str, list[Said]]]) -> None:
        """All parts must come out of the same build."""
        found = [each for kinds_ in said.values() for each in kinds_.get(kinds.PROVENANCE.name, ())]
        if _differ(found):
            msg = f"provenances of its parts differ, by {_signers(found)}"
            self._notebook.add(Reason.EVIDENCE_AMBIGUOUS, scene.top.digest, msg)

    def _check_rebuilds(self, scene: belong.Scene, said: dict[str, dict[str, list[Said]]]) -> None:
        needed = self._policy.rebuilders.needed
        if not needed:
            return
        found = said[scene.top.digest]
        builders = {each.signer for each in found.get(kinds.PROVENANCE.name, ())}
        signers = {
            each.signer for each in found.get(kinds.REBUILD.name, ()) if each.rebuilds
        } - builders
        if len(signers) < needed:
            msg = f"{len(signers)} of {needed} independent rebuilds"
            self._notebook.add(Reason.EVIDENCE_MISSING, scene.top.digest, msg)

    def _hash(self) -> None:
        """Begin to hash what is named and was not yet: it goes on beside everything else."""
        for digest in self._blobs.sizes:
            if digest not in self._hashing:
                self._hashing[digest] = self._pool.submit(self._source.measure, digest)

    def _hashed(self) -> int:
        total = 0
        for digest, future in self._hashing.items():
            owner, promised = self._blobs.owners[digest], self._blobs.sizes[digest]
            try:
                size = future.result()
            except EvidenceError as error:
                self._notebook.caught(error, owner)
                continue
            total += size
            if size != promised:
                msg = f"blob {digest}: {size} bytes, but named with {promised}"
                self._notebook.add(Reason.BLOB_DIGEST, owner, msg)
        return total


def _differ(all_said: list[Said]) -> bool:
    """Whether statements say different things.

    Ours must be the same bytes. Those of version 0.1 are written as others like, so that what they
    say is compared.
    """
    if len({each.payload for each in all_said}) < 2:
        return False
    ours = {each.payload for each in all_said if each.statement.type == statement.TYPE}
    meant = {
        (
            tuple(sorted(subject.digest for subject in each.statement.subjects)),
            canonical.dump(each.statement.predicate),
        )
        for each in all_said
    }
    return len(ours) > 1 or len(meant) > 1


def _signers(all_said: list[Said]) -> str:
    return belong.listed({each.signer for each in all_said})


def _artifact(part: Part, found: dict[str, list[Said]]) -> Artifact:
    return Artifact(
        role=part.role,
        name=part.name,
        digest=part.digest,
        evidence={
            kind: tuple(sorted({each.signer for each in all_said}))
            for kind, all_said in sorted(found.items())
        },
    )


def _name(top: Part) -> str:
    return ":".join(filter(None, (top.note(media.TITLE), top.note(media.VERSION))))
