"""What hangs on an artifact: attached once, found again, and never a traceback."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from buildkit import canonical, media
from buildkit.errors import EvidenceError, StoreError
from buildkit.evidence import builds, bundle, kinds, referrers, signing
from buildkit.evidence.dsse import Envelope
from buildkit.evidence.reasons import Reason
from buildkit.evidence.statement import PAYLOAD_TYPE, Statement, Subject
from buildkit.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from buildkit.records import Descriptor

KIND = kinds.PROVENANCE.predicate_type


class Stamp:
    """Signs with a word; nothing here checks signatures."""

    name = "stamp"

    def bundle(self, payload: bytes) -> bytes:
        signed = Envelope(payload=payload, payload_type=PAYLOAD_TYPE, signature=b"stamped")
        return bundle.with_key(signed, "c3RhbXA=")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store")


def artifact(store: Store, name: str) -> Descriptor:
    document = {
        "schemaVersion": 2,
        "mediaType": media.INDEX,
        "manifests": [],
        "annotations": {media.TITLE: name},
    }
    return store.tag(store.put_json(document, media.INDEX), name)


def about(*subjects: Descriptor) -> bytes:
    return Statement(
        subjects=tuple(Subject(name="x", digest=each.digest) for each in subjects),
        predicate_type=KIND,
        predicate={"said": True},
    ).payload()


def test_one_bundle_hangs_on_everything_it_is_about(store: Store) -> None:
    image, model, other = (artifact(store, name) for name in ("image", "model", "other"))
    file = store.put_bytes(b"weights", "application/octet-stream")
    payload = about(image, model, file)
    among = {each.digest: each for each in (image, model, other)}
    attached = signing.sign(store, Stamp(), [payload], among)
    assert len(attached) == 2
    for subject in (image, model):
        (found,) = referrers.find(store, subject.digest)
        assert isinstance(found, referrers.Found)
        assert found.announced == KIND
        assert bundle.parse(found.bundle, "it").envelope.payload == payload
    assert referrers.find(store, other.digest) == ()
    # Signed again by the same signer, nothing is added.
    assert signing.sign(store, Stamp(), [payload], among) == attached
    assert len(store.entries()) == 5


def test_a_bundle_that_was_changed_has_a_reason(store: Store) -> None:
    image = artifact(store, "image")
    signing.sign(store, Stamp(), [about(image)], {image.digest: image})
    (found,) = referrers.find(store, image.digest)
    assert isinstance(found, referrers.Found)
    path = store.path(found.digest)
    path.chmod(0o644)
    path.write_bytes(found.bundle.replace(b"c3RhbXA=", b"c3RhbXB="))
    (changed,) = referrers.find(store, image.digest)
    assert isinstance(changed, EvidenceError)
    assert changed.reason == Reason.BLOB_DIGEST
    path.unlink()
    (missing,) = referrers.find(store, image.digest)
    assert isinstance(missing, EvidenceError)
    assert missing.reason == Reason.BLOB_MISSING


def test_the_newest_build_that_made_it_is_found(store: Store) -> None:
    image, models = artifact(store, "image"), artifact(store, "models")
    result = {
        "image": {"digest": image.digest, "platforms": []},
        "model_index": models.digest,
        "models": [],
    }
    kept = [
        store.put_json(result, media.BUILD),
        store.put_bytes(b"lock", media.BUILD_LOCK),
        store.put_json({"schema": "buildkit/sources/v1"}, media.BUILD_SOURCES),
    ]
    for number in (1, 2):
        said = (about(image) + b" " * number, media.STATEMENT)
        store.attach(image, media.BUILD, [*kept, said], annotations={"n": str(number)})
    build = builds.find(store, models.digest)
    assert build.subject.digest == image.digest
    assert build.lock == b"lock"
    assert build.statements == (about(image) + b"  ",)
    assert set(builds.artifacts(store, build.result)) == {image.digest, models.digest}


@pytest.mark.parametrize(
    "result",
    [
        {},
        {"image": [], "model_index": "", "models": []},
        {"image": {"digest": 7, "platforms": []}, "model_index": 7, "models": []},
        {"image": {"digest": None, "platforms": [{}]}, "model_index": None, "models": []},
    ],
)
def test_a_record_that_does_not_hold_together_is_an_error(store: Store, result: object) -> None:
    image = artifact(store, "image")
    if isinstance(result, dict) and isinstance(result.get("image"), dict):
        result["image"]["digest"] = image.digest
    store.attach(image, media.BUILD, [(canonical.dump(result), media.BUILD)])
    with pytest.raises(StoreError):
        builds.find(store, image.digest)
