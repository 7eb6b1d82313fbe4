"""What is not as it was signed does not run: the device itself refuses it, before anything else."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from trial_parts import rules, signer_of
from wrong_models import (
    PI5,
    amd64_image,
    other_golden,
    signed,
    tampered_image,
    tampered_model,
    unsigned,
)

from buildkit import digests
from buildkit.evidence import kinds, referrers
from buildkit.evidence.referrers import Found
from buildkit.pipeline import candidate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trial_parts import Bench
    from wrong_models import Unsigned

pytestmark = [pytest.mark.nix, pytest.mark.engine]

IMAGE = "digits:1.0.0"
_FLIP = """
from pathlib import Path
file = Path.home() / ".local/share/edge-buildkit/blobs/sha256/{}"
with file.open("r+b") as stream:
    stream.seek(file.stat().st_size // 2)
    byte = stream.read(1)
    stream.seek(-1, 1)
    stream.write(bytes([byte[0] ^ 1]))
"""
NOBODY = "no bundle is provenance of image and model by a key that is trusted here"


@dataclass(frozen=True, kw_only=True)
class Quiet:
    """A board on which nothing is to be started or unpacked.

    Attributes:
        bench: it, and the project.
        before: what was on it.
    """

    bench: Bench
    before: dict[str, Any]

    def refuses(self, what: str, says: str) -> None:
        """Try it: nothing happens on the board, and nothing is said about it."""
        store = self.bench.store
        subjects = candidate.find(store, what, PI5).subjects
        said = [referrers.find(store, each.digest) for each in subjects]
        trial = self.bench.smoke(what, status=1)
        assert rules(trial) == {("refused", "artifact")}
        (finding,) = trial["findings"]
        assert says in finding["message"]
        assert (trial["referrers"], trial["rows"], trial["attempts"]) == ([], [], 1)
        after = self.bench.board.look()
        for name in ("touched", "images", "runs", "containers", "agents"):
            assert after[name] == self.before[name], name
        assert [referrers.find(store, each.digest) for each in subjects] == said


@pytest.fixture(scope="module")
def quiet(bench: Bench) -> Quiet:
    return Quiet(bench=bench, before=bench.board.look())


def provenance(bench: Bench, name: str) -> bytes:
    """The bundle that vouches for an image."""
    found = referrers.find(bench.store, bench.store.resolve(name).digest)
    (bundle,) = (
        each.bundle
        for each in found
        if isinstance(each, Found) and each.announced == kinds.PROVENANCE.predicate_type
    )
    return bundle


def spoiled(bundle: bytes, part: str) -> bytes:
    """A bundle with one byte of its payload or of its signature changed."""
    document: dict[str, Any] = json.loads(bundle)
    envelope = document["dsseEnvelope"]
    place, key = (envelope, "payload") if part == "payload" else (envelope["signatures"][0], "sig")
    data = bytearray(base64.b64decode(place[key]))
    # In the midst of the name of a subject, so that it is a statement all the same.
    at = data.index(b'"name":"') + 8 if part == "payload" else len(data) - 1
    data[at] ^= 1
    place[key] = base64.b64encode(data).decode()
    return json.dumps(document).encode()


@dataclass(frozen=True, kw_only=True)
class Case:
    """Something that is not as it was signed.

    Attributes:
        make: puts it into the store, with what its forger has of evidence.
        says: why it is refused.
    """

    make: Callable[[Bench, Path], Unsigned]
    says: str


def image_changed(bench: Bench, _: Path) -> Unsigned:
    """A layer made anew, under the signature of the index that had the old one."""
    forged = unsigned(bench.store, "image-changed", image=tampered_image(bench.store))
    forged.attach(bench.store, provenance(bench, IMAGE))
    return forged


def model_changed(bench: Bench, _: Path) -> Unsigned:
    changed = tampered_model(bench.store, card_too=False)
    forged = unsigned(bench.store, "model-changed", manifest=changed)
    forged.attach(bench.store, provenance(bench, IMAGE))
    return forged


def golden_swapped(bench: Bench, _: Path) -> Unsigned:
    manifest, golden = other_golden(bench.store)
    forged = unsigned(bench.store, "golden-swapped", manifest=manifest, golden=golden)
    forged.attach(bench.store, provenance(bench, IMAGE))
    return forged


def payload_changed(bench: Bench, _: Path) -> Unsigned:
    forged = unsigned(bench.store, "payload-changed")
    forged.attach(bench.store, spoiled(bench.signer.bundle(forged.payload()), "payload"))
    return forged


def signature_changed(bench: Bench, _: Path) -> Unsigned:
    forged = unsigned(bench.store, "signature-changed")
    forged.attach(bench.store, spoiled(bench.signer.bundle(forged.payload()), "signature"))
    return forged


def stranger(bench: Bench, folder: Path) -> Unsigned:
    """Signed, and well: by somebody whom the board does not know."""
    forged = unsigned(bench.store, "stranger")
    forged.attach(bench.store, signer_of(folder / "others").bundle(forged.payload()))
    return forged


def replayed(bench: Bench, _: Path) -> Unsigned:
    """Each of its parts is vouched for, by two bundles of two other artifacts."""
    other = tampered_model(bench.store, card_too=True)
    signed(bench.store, bench.signer, unsigned(bench.store, "other", manifest=other))
    forged = unsigned(bench.store, "replayed")
    forged.attach(bench.store, provenance(bench, IMAGE))
    forged.attach(bench.store, provenance(bench, "other:1.0.0"))
    return forged


CASES = (
    Case(make=image_changed, says=NOBODY),
    Case(make=model_changed, says="model.json names the file sha256:"),
    Case(make=golden_swapped, says=NOBODY),
    Case(make=payload_changed, says="its signature is not of the key"),
    Case(make=signature_changed, says="its signature is not of the key"),
    Case(make=stranger, says=NOBODY),
    Case(make=replayed, says=NOBODY),
)


@pytest.mark.parametrize("case", CASES, ids=[case.make.__name__ for case in CASES])
def test_what_nobody_vouches_for_is_refused(quiet: Quiet, tmp_path: Path, case: Case) -> None:
    quiet.refuses(case.make(quiet.bench, tmp_path).name, case.says)


def test_an_image_of_another_architecture_is_refused(quiet: Quiet) -> None:
    """Signed, and well: its index says that the image for amd64 is for arm64."""
    store = quiet.bench.store
    wrong = unsigned(store, "mislabelled", image=amd64_image(store))
    signed(store, quiet.bench.signer, wrong)
    quiet.refuses(wrong.name, "says linux/amd64; this board is linux/arm64")


def test_what_was_changed_on_the_device_is_refused(quiet: Quiet) -> None:
    """One byte of what had been checked when it came; the next run brings it anew."""
    store = quiet.bench.store
    found = candidate.find(store, IMAGE, PI5)
    layer, weight = (
        store.read_json(each.digest)["layers"][0]["digest"] for each in (found.image, found.model)
    )
    # Brings whatever is lacking.
    quiet.refuses(unsigned(store, "nobodys").name, NOBODY)
    for digest in (layer, weight, found.golden.digest):
        quiet.bench.board.python(_FLIP.format(digests.hex_of(digest)))
        quiet.refuses(IMAGE, f"{digest}: the device holds other bytes under this name")
