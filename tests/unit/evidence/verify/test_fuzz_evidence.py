"""Nothing that somebody else wrote brings a parser, or the verifier, down.

A quick look in every run. For longer: ``EDGE_BUILDKIT_FUZZ_SECONDS=3600 pytest -k asked``; an input
that does harm belongs into ``corpus/`` afterwards.
"""

from __future__ import annotations

import base64
import os
import shutil
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import signed_world
from fuzzing import CORPUS, TARGETS, corpus, mutated
from hypothesis import given, settings
from hypothesis import strategies as st
from smoke_world import passed

from buildkit import canonical
from buildkit.errors import BuildkitError, Fault
from buildkit.evidence.keys import KeyRing
from buildkit.evidence.verify import Artifact, Report, verify_ref

if TYPE_CHECKING:
    from pathlib import Path

    from signed_world import World

_ASKED = os.environ.get("EDGE_BUILDKIT_FUZZ_SECONDS")
SECONDS = float(_ASKED or "3")
# The same in every run, unless somebody has time for more.
FIRST = int(time.time()) if _ASKED else 1
_MOST = 256 * 1024
# Of a generator: what one draws byte by byte is more than Hypothesis wants to remember.
SEEDS = st.integers(0, 2**64 - 1)


def _random(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - the same again


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = signed_world.build(tmp_path_factory.mktemp("fuzz") / "world")
    passed(world)
    return world


def _feed(target: str, data: bytes) -> None:
    _, parse = TARGETS[target]
    try:
        parse(data)
    except Fault:
        raise
    except BuildkitError as error:
        if not error.message:
            raise
    except Exception as error:
        error.add_note(f"{target} was fed base64 {base64.b64encode(data).decode()}")
        raise


@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus_does_no_harm(target: str) -> None:
    for data in corpus(TARGETS[target][0]):
        _feed(target, data)


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=60)
@given(seed=SEEDS)
def test_what_others_wrote_is_read_or_refused(target: str, seed: int) -> None:
    _feed(target, mutated(_random(seed), corpus(TARGETS[target][0])))


@settings(max_examples=40)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for target in TARGETS:
        _feed(target, data)


def _verify(world: World) -> Report | None:
    ring = KeyRing.load(world.root / "keys")
    try:
        return verify_ref(world.store, world.ref, ring=ring, now=datetime.now(UTC))
    except Fault:
        raise
    except BuildkitError:
        return None


def _parts(world: World) -> list[str]:
    """All that a verification of the image looks at."""
    found = set(world.made.everything()) | {world.made.lock_digest}
    for digest in tuple(found):
        for entry in world.bundles(digest):
            found |= {entry["digest"], world.json(entry["digest"])["layers"][0]["digest"]}
    for digest in (*world.made.platforms.values(), *world.made.variants.values()):
        document = world.json(digest)
        found |= {each["digest"] for each in (document["config"], *document["layers"])}
    return sorted(found)


def _mutate(world: World, random: Random) -> str:
    """Change one blob of the store, in one of three ways; what was done."""
    digest = random.choice(_parts(world))
    before = world.read(digest)
    data = mutated(random, [before])
    while data == before or _same(data, before):
        data = mutated(random, [before])
    how = random.choice(("damage", "remake", "carry", "sign"))
    if how == "damage":
        world.write(digest, data)
    elif how == "sign":
        world.replace(digest, data)
        try:
            world.resign()
        except (ValueError, KeyError, TypeError, AttributeError, AssertionError):
            return "broken"  # our own store-maker needs more order than that
    else:
        world.replace(digest, data, carry=how == "carry")
    return how


def _same(one: bytes, two: bytes) -> bool:
    """Whether two readers of JSON see no difference: another spelling is another digest."""
    try:
        return bool(canonical.load(one) == canonical.load(two)) and one == two
    except ValueError:
        return False


OPTIONAL = ("test-result", "verdict")

_answers: dict[Path, tuple[Artifact, ...]] = {}


def _honest_answer(honest: World) -> tuple[Artifact, ...]:
    if honest.root not in _answers:
        report = _verify(honest)
        assert report is not None
        _answers[honest.root] = report.artifacts
    return _answers[honest.root]


def _compare(
    found: tuple[Artifact, ...], honest: tuple[Artifact, ...], where: tuple[str, Any]
) -> None:
    """Nothing else is said; of what nobody has to have said, a part may be missing."""
    for mine, theirs in zip(found, honest, strict=True):
        assert replace(mine, evidence={}) == replace(theirs, evidence={}), where
        for kind in {*mine.evidence, *theirs.evidence}:
            said, before = (set(each.evidence.get(kind, ())) for each in (mine, theirs))
            assert said <= before if kind in OPTIONAL else said == before, (*where, kind)


def _spoil(honest: World, folder: Path, seed: int) -> None:
    random = _random(seed)
    world = honest.copied(folder)
    try:
        how = _mutate(world, random)
        report = _verify(world)
        if how == "damage":
            assert report is None or not report.holds, seed
        elif how in ("remake", "carry") and report is not None and report.holds:
            # Nobody signs the outside of a bundle: only that may be written in other words.
            _compare(report.artifacts, _honest_answer(honest), (how, seed))
    finally:
        shutil.rmtree(folder)


@settings(max_examples=60)
@given(seed=SEEDS)
def test_no_change_to_a_store_is_accepted_or_does_harm(
    honest: World, tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    _spoil(honest, tmp_path_factory.mktemp("spoilt") / "world", seed)


@settings(max_examples=60)
@given(seed=SEEDS)
def test_an_index_of_any_kind_does_no_harm(
    honest: World, tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("index") / "world"
    world = honest.copied(folder)
    before = (world.root / "store/index.json").read_bytes()
    world.save_raw_index(mutated(_random(seed), [before]))
    _verify(world)
    shutil.rmtree(folder)


def test_for_as_long_as_asked(honest: World, tmp_path: Path) -> None:
    seeds = {kind: corpus(kind) for kind, _ in TARGETS.values()}
    end, count = time.monotonic() + SECONDS, 0
    while time.monotonic() < end:
        random = _random(FIRST + count)
        for target, (kind, _) in TARGETS.items():
            _feed(target, mutated(random, seeds[kind]))
        if count % 10 == 0:
            _spoil(honest, tmp_path / "world", FIRST + count)
        count += 1
    sys.stdout.write(f"{count} rounds of {len(TARGETS)} targets from seed {FIRST}\n")


def test_the_corpus_stays_small() -> None:
    assert sum(file.stat().st_size for file in CORPUS.rglob("*") if file.is_file()) < _MOST
