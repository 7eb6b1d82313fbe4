"""A random life of a store, against a model of it in plain sets."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule
from store_samples import SBOM_TYPE, image, index, names_in

from buildkit.records import Descriptor
from buildkit.store import REF_NAME, Store
from buildkit.store.documents import EMPTY

REFS = st.sampled_from(["a:1", "a:2", "b:1"])
NOTES = st.dictionaries(st.sampled_from("kl"), st.sampled_from("xy"), max_size=2)


class LifeOfAStore(RuleBasedStateMachine):
    """Entries are known by digest; what each needs, and what it is about, by what made it."""

    tops = Bundle("tops")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.store = Store.create(self.folder / "store")
        self.blobs: set[str] = set()
        self.parts: dict[str, set[str]] = {}
        self.about: dict[str, str] = {}
        self.entered: set[str] = set()
        self.names: dict[str, str] = {}

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def know(self, top: Descriptor, parts: set[str]) -> Descriptor:
        self.parts[top.digest] = {top.digest, *parts}
        self.blobs |= self.parts[top.digest]
        return top

    def is_whole(self, top: Descriptor) -> bool:
        return self.parts[top.digest] <= self.blobs

    @rule(content=st.sampled_from([b"1", b"2", b"3"]))
    def put_debris(self, content: bytes) -> None:
        self.blobs.add(self.store.put_bytes(content, "text/plain").digest)

    @rule(target=tops, content=st.sampled_from([b"1", b"2", b"3"]))
    def put_image(self, content: bytes) -> Descriptor:
        top = image(self.store, content)
        return self.know(top, {each.digest for _, each in self.store.links(top).children})

    @rule(target=tops, inner=st.lists(tops, max_size=2))
    def put_index(self, inner: list[Descriptor]) -> object:
        if not all(self.is_whole(each) and each.digest not in self.about for each in inner):
            return multiple()
        bare = [
            Descriptor(media_type=each.media_type, digest=each.digest, size=each.size)
            for each in inner
        ]
        parts = {digest for each in inner for digest in self.parts[each.digest]}
        try:
            return self.know(index(self.store, *bare), parts)
        finally:
            assert self.store.gc(dry_run=True).entries == ()

    @rule(top=tops, ref=st.none() | REFS, notes=NOTES)
    def tag(self, top: Descriptor, ref: str | None, notes: dict[str, str]) -> None:
        if not self.is_whole(top):
            return
        found = self.store.tag(top, ref, notes)
        wanted = {**notes, **({} if ref is None else {REF_NAME: ref})}
        assert found.digest == top.digest
        assert wanted.items() <= found.annotations.items()
        if wanted:
            assert self.store.find(wanted) == found
        assert self.store.tag(top, ref, notes) == found
        self.entered.add(top.digest)
        if ref is not None:
            self.names[ref] = top.digest

    @rule(ref=REFS)
    def untag(self, ref: str) -> None:
        if ref in self.names:
            self.store.untag(ref)
            del self.names[ref]

    @rule(target=tops, subject=tops, content=st.sampled_from([b"1", b"2"]))
    def attach(self, subject: Descriptor, content: bytes) -> object:
        if not self.is_whole(subject):
            return multiple()
        found = self.store.attach(subject, SBOM_TYPE, [(content, SBOM_TYPE)])
        layer = self.store.put_bytes(content, SBOM_TYPE)
        self.about[found.digest] = subject.digest
        self.entered.add(found.digest)
        return self.know(found, {layer.digest, EMPTY.digest})

    @rule(untagged=st.booleans())
    def collect(self, *, untagged: bool) -> None:
        if untagged:
            self.entered = self.named_and_about()
        needed = {digest for top in self.entered for digest in self.parts[top]}
        told = self.store.gc(untagged=untagged, dry_run=True)
        done = self.store.gc(untagged=untagged)
        assert (told.blobs, told.size, told.entries) == (done.blobs, done.size, done.entries)
        assert done.blobs == len(self.blobs - needed)
        self.blobs &= needed

    def named_and_about(self) -> set[str]:
        reached = {digest for top in self.names.values() for digest in self.parts[top]}
        before = -1
        while before != len(reached):
            before = len(reached)
            for top in self.entered:
                if top in reached or self.about.get(top) in reached:
                    reached |= self.parts[top]
        return self.entered & reached

    @invariant()
    def blobs_agree(self) -> None:
        assert names_in(self.store) == self.blobs

    @invariant()
    def entries_agree(self) -> None:
        found = self.store.entries()
        assert {each.digest for each in found} == self.entered
        named = [each for each in found if REF_NAME in each.annotations]
        assert {each.annotations[REF_NAME]: each.digest for each in named} == self.names
        assert len(named) == len(self.names)

    @invariant()
    def nothing_is_wrong(self) -> None:
        assert Store.open(self.store.root).check() == ()

    @invariant()
    def referrers_agree(self) -> None:
        for subject in set(self.about.values()):
            found = {each.digest for each in self.store.referrers(subject)}
            reachable = {digest for top in self.entered for digest in self.parts[top]}
            assert found == {
                top for top, about in self.about.items() if about == subject and top in reachable
            }


TestLifeOfAStore = LifeOfAStore.TestCase
TestLifeOfAStore.settings = settings(
    max_examples=60,
    stateful_step_count=15,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
