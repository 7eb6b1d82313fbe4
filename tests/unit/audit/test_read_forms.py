"""A referrer that is like one read before is read as any other, and refused as any other."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import audit_world as worlds
import pytest

from buildkit import digests, media
from buildkit.audit import read, sources
from buildkit.errors import EvidenceError
from buildkit.evidence import bundle as bundles
from buildkit.records import Descriptor

if TYPE_CHECKING:
    from audit_world import World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return worlds.history(tmp_path_factory.mktemp("forms") / "world")


class Bytes(sources.OfStore):
    """One manifest, whatever is asked for."""

    def __init__(self, world: World, data: bytes) -> None:
        super().__init__(world.store)
        self.data = data

    def manifest(self, wanted: Descriptor) -> bytes | None:
        del wanted
        return self.data


def referrers(world: World) -> list[Descriptor]:
    entries = world.store.entries()
    return [each for each in entries if each.artifact_type == bundles.MEDIA_TYPE]


def described(data: bytes) -> Descriptor:
    return Descriptor(media_type=media.MANIFEST, digest=digests.of_bytes(data), size=len(data))


def test_it_is_what_it_would_be_without(world: World) -> None:
    source, forms = sources.OfStore(world.store), read.Forms()
    found = referrers(world)
    assert len(found) > 20
    for each in (*found, *found):
        assert forms.read(source, each) == read.read(source, each)
        assert read.layer(forms.read(source, each)) == read.layer(read.read(source, each))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"size":', b'"size":0'),
        (b'"size":', b'"size":-'),
        (b'"layers":', b'"urls":[],"layers":'),
        (b'"layers":', b'"layers":[],"layers":'),
        (b'"digest":"sha256:', b'"digest":"sha512:'),
        (b'"schemaVersion":2', b'"schemaVersion":3'),
        (b'"subject":{', b'"subject":{"urls":[],'),
    ],
)
def test_what_is_wrong_stays_wrong(world: World, old: bytes, new: bytes) -> None:
    source, forms = sources.OfStore(world.store), read.Forms()
    first = referrers(world)[0]
    forms.read(source, first)
    data = source.manifest(first)
    assert data is not None
    assert old in data
    for wrong in (data.replace(old, new), data.replace(old, new, 1)):
        told = []
        for reader in (read.read, forms.read):
            with pytest.raises(EvidenceError) as caught:
                reader(Bytes(world, wrong), described(wrong))
            told.append((caught.value.reason, caught.value.message))
        assert told[0] == told[1]


def test_a_wrong_length_is_refused(world: World) -> None:
    source, forms = sources.OfStore(world.store), read.Forms()
    first = referrers(world)[0]
    forms.read(source, first)
    with pytest.raises(EvidenceError, match="named with"):
        forms.read(source, replace(first, size=first.size + 1))


def test_a_layer_that_only_looks_like_one_is_no_form(world: World) -> None:
    """A name with a quote in it, before what would be the layer of another."""
    source, forms = sources.OfStore(world.store), read.Forms()
    data = source.manifest(referrers(world)[0])
    assert data is not None
    hidden = data.replace(b'"annotations":{', b'"annotations":{"x\\"layers":"","layers":"",')
    one = forms.read(Bytes(world, hidden), described(hidden))
    layer = read.layer(one)
    other = hidden.replace(layer.digest.encode(), b"sha256:" + b"0" * 64)
    assert read.layer(forms.read(Bytes(world, other), described(other))).digest[7:] == "0" * 64
