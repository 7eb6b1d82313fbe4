"""The tamper matrix on a store that a real build wrote; its rows are those of the unit tests."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tiny_project

from buildkit import media
from buildkit.cli import main
from buildkit.evidence import builds
from buildkit.evidence.keys import KeyRing, location, public_key
from buildkit.lock import codec

sys.path.append(str(Path(__file__).parents[1] / "unit/evidence/verify"))

import signed_world
import tamper_rows
from signed_world import Made, World
from tamper import CASES, CONTROLS, Case

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = [pytest.mark.nix, pytest.mark.engine]

assert tamper_rows.GROUPS

# These need nothing that only the made-up store has: no second recipe, no second platform.
GROUPS = (
    "Bytes of blobs",
    "Bundles and envelopes",
    "Statements, rightly signed",
    "Referrers removed, doubled and moved",
    "Signers",
)
NEEDS_MORE = {
    "other-weight-under-digest",
    "other-index-under-digest",
    "other-platform-gone",
    "moved-platform",
    "moved-variant",
    "moved-other-provenance",
    "moved-other-run",
    "moved-other-bom",
    "replaced-by-other",
    "swapped-boms",
    "subjects-other",
    "two-provenances",
    "two-provenances-below",
    "mixed-provenances",
    "two-boms",
    "two-names",
    "bom-of-index",
    "stranger-all",
    "stranger-beside",
    "retired-beside",
}
HARMLESS = (
    "nothing",
    "entries-reversed",
    "entries-sorted",
    "entries-doubled",
    "index-spaces",
    "entries-bare",
    "index-more",
    "more-blobs",
    "by-digest",
    "by-prefix",
    "one-platform",
    "one-model",
    "one-variant",
    "no-annotations",
    "other-artifact",
    "own-name",
)
ROWS = [case for case in CASES if case.group in GROUPS and case.name not in NEEDS_MORE]
SAME = [case for case in CONTROLS if case.name in HARMLESS]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The tiny recipe's store, with the builder's key and those of the matrix in one ring."""
    tiny = tiny_project.locked(tmp_path_factory.mktemp)
    root = tmp_path_factory.mktemp("real") / "world"
    root.mkdir()
    shutil.copytree(tiny.store.root, root / "store")
    signed_world.ring(root / "keys")
    # The matrix's own keys sign as well as the builder's.
    found = KeyRing.load(root / "keys")
    builder = [
        public_key(key.pem, f"builder-{at}") for at, key in enumerate(KeyRing.load(location()).keys)
    ]
    ring = KeyRing(folder=found.folder, keys=(*found.keys, *builder))
    (root / "keys/ring.json").write_bytes(ring.dump())
    made = _made(tiny)
    return World(root=root, made=made, other=made)


def _made(tiny: tiny_project.Tiny) -> Made:
    """What the build made; its one platform and target under the names that the rows use."""
    store = tiny.store
    build = builds.find(store, store.resolve("tiny:1.0.0").digest)
    result: Mapping[str, Any] = build.result
    (platform,), (model,) = result["image"]["platforms"], result["models"]
    lock = codec.parse(build.lock, "recipe.lock")
    return Made(
        lock=lock,
        lock_digest=codec.digest(lock),
        image=result["image"]["digest"],
        platforms={"linux/arm64": platform["digest"]},
        models=store.links(store.resolve(result["image"]["digest"])).annotations[
            media.MODEL_DIGEST
        ],
        variants={"pi5": model["digest"]},
        weight=f"sha256:{model['file_sha256']}",
    )


def _answer(
    case: Case, real: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> tuple[int, Any]:
    world = real.copied(tmp_path / "world")
    try:
        case.attack(world)
        status = main(world.command())
    finally:
        shutil.rmtree(world.root)
    said = capsys.readouterr()
    assert said.err == ""
    return status, json.loads(said.out)


@pytest.mark.parametrize("case", ROWS, ids=lambda case: str(case.name))
def test_tampering_with_a_real_store_is_refused(
    case: Case, real: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, answer = _answer(case, real, tmp_path, capsys)
    assert status == 1
    found = sorted({each["reason"] for each in answer["findings"]})
    assert tuple(found) == case.reasons, answer["findings"]


@pytest.mark.parametrize("case", SAME, ids=lambda case: str(case.name))
def test_what_changes_nothing_in_a_real_store_is_not_refused(
    case: Case, real: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, answer = _answer(case, real, tmp_path, capsys)
    assert (status, answer["findings"]) == (0, [])


def test_the_real_store_gets_most_of_the_matrix() -> None:
    assert len(ROWS) >= 200
    assert len(SAME) == len(HARMLESS)
    assert {case.name for case in CASES} >= NEEDS_MORE
