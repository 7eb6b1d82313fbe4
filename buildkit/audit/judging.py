"""What a source has, judged: rows to be written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildkit.audit import across, judge, listing, read, workers
from buildkit.audit.rows import Batch
from buildkit.errors import EvidenceError
from buildkit.evidence import journal as journals
from buildkit.evidence.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from buildkit.audit.judge import Opened, Trust
    from buildkit.audit.listing import Channel, Listing
    from buildkit.audit.read import Document
    from buildkit.audit.sources import Source
    from buildkit.records import Descriptor

# Many bundles hang on several manifests one after the other; the rest need not be remembered.
_REMEMBERED = 4
# Manifests that are judged together, and from how many on copies of this process are worth it.
_PIECE = 250
_MANY = 2000


class Judging:
    """Reads and judges what a source has.

    Args:
        source: where from.
        trust: whose word counts.
        processes: that judge what hangs on artifacts; 0 for as many as are of use.
    """

    def __init__(self, source: Source, trust: Trust, processes: int = 0) -> None:
        self._source = source
        self._trust = trust
        self._processes = processes
        self._opened: dict[str, Opened] = {}
        self._parts: tuple[Listing, across.Parts] | None = None
        self.documents = listing.Reader(source)

    def first(self, there: Listing) -> Batch:
        """Artifacts, journals, and what cannot be read."""
        made = self._artifacts(there)
        self._journals(there, made)
        self._faults(there, made)
        return made

    def _artifacts(self, there: Listing) -> Batch:
        made = Batch(presence=set(there.presence))
        for document in there.artifacts:
            row = listing.artifact_row(document)
            made.artifacts[row["id"]] = row
            for role, digest in listing.parts(document):
                made.parts[row["id"], made.name(digest)] = role
        return made

    def _faults(self, there: Listing, made: Batch) -> None:
        """Manifests that cannot be read, or do not hold together."""
        for descriptor, error in there.broken:
            row = judge.statement_row(judge.refused_name("", descriptor.digest), None, error)
            number = made.state(row, None, None)
            made.carried.add((number, descriptor.digest, made.name(descriptor.digest)))

    def statements(self, there: Listing, size: int) -> Generator[Batch]:
        """What hangs on artifacts, judged, in batches of `size`."""
        made = Batch()
        for piece in self._pieces(there, min(size, _PIECE)):
            made.take(piece)
            if len(made.carried) >= size:
                yield made
                made = Batch()
        if made.carried:
            yield made

    def _pieces(self, there: Listing, size: int) -> Iterator[Batch]:
        """The same by so many manifests; where they are many, all processors share the work."""
        found = there.referrers
        count = -(-len(found) // size)

        def judged(number: int) -> Batch:
            made = Batch()
            for referrer in found[number * size : (number + 1) * size]:
                self._referrer(referrer, there, made)
            return made

        processes = self._processes
        if not processes:
            is_worth_it = self._source.is_files() and len(found) >= _MANY
            processes = workers.possible() if is_worth_it else 1
        return workers.spread(judged, count, processes)

    def _referrer(self, descriptor: Descriptor, there: Listing, made: Batch) -> None:
        """One manifest that carries a bundle, judged."""
        opened: Opened | None = None
        beside = self._beside(there)
        beside.sought = {}
        bundle = ""
        subject = ""
        try:
            carrier = self.documents.document(descriptor)
            about = carrier.manifest.links.subject
            if about is None or about.digest not in there.digests:
                # What it hangs on is not here: nobody asks for it.
                return
            subject = about.digest
            layer, data = self._bundle(carrier)
            bundle = layer.digest
            opened = self._open(bundle, data)
            error = opened.error
            name = bundle
            if error is None:
                on = self._subject(there, subject)
                error = judge.refuses(opened, carrier, on) or across.refuses(opened, on, beside)
                name = bundle if error is None else judge.refused_name(bundle, descriptor.digest)
        except EvidenceError as caught:
            error, name = caught, judge.refused_name(bundle, descriptor.digest)
        row = judge.statement_row(name, opened, error)
        signer = opened.signer if opened is not None else None
        number = made.state(row, signer, opened.facts if opened and error is None else None)
        where = made.name(subject or descriptor.digest)
        made.carried.add((number, descriptor.digest, where))
        # What a true statement agrees with may go: it stays true.
        made.sought |= {
            (descriptor.digest, digest, kind, found)
            for (digest, kind), found in beside.sought.items()
            if error is not None or not found
        }

    def _beside(self, there: Listing) -> across.Parts:
        """What else is there, and was read of it."""
        if self._parts is None or self._parts[0] is not there:
            self._parts = there, across.Parts(self.documents, there.digests)
        return self._parts[1]

    def _bundle(self, carrier: Document) -> tuple[Descriptor, bytes]:
        layer = read.layer(carrier)
        if layer.digest in self._opened:
            return layer, b""
        return layer, read.blob(self._source, layer)

    def _open(self, digest: str, data: bytes) -> Opened:
        found = self._opened.get(digest)
        if found is None:
            found = judge.opened(data, digest, self._trust)
            if len(self._opened) >= _REMEMBERED:
                self._opened.clear()
            self._opened[digest] = found
        return found

    def _subject(self, there: Listing, digest: str) -> Document:
        """What a bundle hangs on.

        Raises:
            EvidenceError: it cannot be read.
        """
        return self.documents.document(there.digests[digest])

    def _journals(self, there: Listing, made: Batch) -> None:
        for channel in there.channels:
            manifest = channel.descriptor.digest
            newest = ""
            for name, opened, error in self._records(channel, there):
                if not newest and opened is not None and opened.facts is not None and not error:
                    newest = opened.facts.artifacts[0]
                row = judge.statement_row(name, opened, error)
                signer = opened.signer if opened is not None else None
                said = opened.facts if opened is not None and error is None else None
                number = made.state(row, signer, said)
                made.carried.add((number, manifest, None))
            if newest and newest != channel.pointed:
                number = made.state(judge.elsewhere_row(channel, newest), None, None)
                made.carried.add((number, manifest, None))

    def _records(
        self, channel: Channel, there: Listing
    ) -> Iterator[tuple[str, Opened | None, EvidenceError | None]]:
        """Each record of a journal: its name in the index, and why it is refused if it is."""
        digest = channel.descriptor.digest
        try:
            data = self.documents.manifest(channel.descriptor)
            found = journals.parse(data, f"journal {digest}").settled(channel.pointed)
        except EvidenceError as error:
            yield judge.refused_name("", digest), None, error
            return
        whole: EvidenceError | None = None
        try:
            journals.opened(
                found.records,
                lambda each: read.blob(self._source, each),
                channel=channel.name,
                place=channel.place,
                policy=self._trust.policy,
                anchors=self._trust.anchors,
            )
        except EvidenceError as error:
            whole = error
        for each in found.records:
            try:
                opened = self._open(each.digest, read.blob(self._source, each))
            except EvidenceError as error:
                yield judge.refused_name(each.digest, digest), None, error
                continue
            if opened.error is not None:
                yield each.digest, opened, opened.error
            elif whole is not None or not judge.is_record(opened):
                # Who refuses one record of a journal, believes none of it.
                what = f"record {each.digest} of {channel.place}:{channel.name}"
                why = whole or EvidenceError(Reason.PREDICATE_TYPE, f"{what}: no such record")
                yield judge.refused_name(each.digest, digest), opened, why
            else:
                otherwise = across.promotes_otherwise(opened, self._beside(there))
                name = judge.refused_name(each.digest, digest) if otherwise else each.digest
                yield name, opened, otherwise
