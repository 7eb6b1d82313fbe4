"""A store with an image and a model for the Pi 5, and devices that say what they saw of them.

The bytes are made up, and the report is one real run of the smoke test (`gate_parts`).
"""

from __future__ import annotations

import copy
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.append(str(Path(__file__).parents[1] / "gate"))
sys.path.append(str(Path(__file__).parents[1] / "evidence/verify"))

from gate_parts import EXPECTED, calm
from signed_world import pem, ring, signed

from buildkit import canonical, digests, media
from buildkit.evidence import kinds, referrers, smoke
from buildkit.evidence.keys import KeyRing, public_key
from buildkit.evidence.statement import Statement, Subject
from buildkit.pipeline import candidate
from buildkit.pipeline.trials import Asked
from buildkit.pipeline.verdicts import Shelf
from buildkit.recipe import TARGETS, SmokeSpec
from buildkit.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from buildkit.pipeline.candidate import Candidate
    from buildkit.records import Descriptor

NOW = 1_800_000_000
DAY = 86_400
REF = "tiny:1.0.0"
AGENT = digests.of_bytes(b"agent")


class Good:
    """Signs with the key that is one's own."""

    name = "key good"

    def bundle(self, payload: bytes) -> bytes:
        return signed(payload, "good")


@dataclass(frozen=True)
class World:
    """A store, and a key ring: `good` is one's own, `board` and `board2` are devices."""

    store: Store
    keys: Path

    @property
    def ring(self) -> KeyRing:
        return KeyRing.load(self.keys)

    @property
    def shelf(self) -> Shelf:
        return Shelf(store=self.store, signer=Good())

    def asked(self, ref: str = REF, **limits: Any) -> Asked:
        limits = {"profile": "quick", "threads": 1, **limits}
        return Asked(store=self.store, ref=ref, limits=SmokeSpec(**limits))

    def candidate(self, ref: str = REF) -> Candidate:
        return candidate.find(self.store, ref, TARGETS["pi5"])

    def report(self, nonce: str, ref: str = REF, golden: str = "", weight: str = "") -> Any:
        """A calm run of the model of `ref`."""
        what, report = self.candidate(ref), copy.deepcopy(calm())
        report["nonce"] = nonce
        report["model"]["sha256"] = digests.hex_of(weight or what.weight.digest)
        report["golden"]["sha256"] = digests.hex_of(golden or what.golden.digest)
        return report

    def saw(
        self,
        *,
        nonce: str = "0001",
        ended: int = NOW - DAY,
        ref: str = REF,
        keys: Sequence[str] = ("board", "good"),
        change: Callable[[dict[str, Any]], Any] = lambda _: None,
        wrong: Callable[[dict[str, Any]], Any] = lambda _: None,
        **which: str,
    ) -> str:
        """Hang a test result on image and model; digest of its payload.

        Args:
            nonce: of the order.
            ended: when, by the device's clock.
            ref: image.
            keys: who signed it.
            change: gets the predicate.
            wrong: gets the report.
            which: other data than that of `ref`.
        """
        what, report = self.candidate(ref), self.report(nonce, ref, **which)
        wrong(report)
        golden = which.get("golden", what.golden.digest)
        at = canonical.timestamp(ended)
        tools = {"golden": golden, "smoke": digests.of_bytes(b"smoke"), "agent": AGENT}
        predicate: dict[str, Any] = {
            "result": "PASSED",
            "configuration": [
                {"name": name, "digest": {"sha256": digests.hex_of(digest)}}
                for name, digest in tools.items()
            ],
            "passedTests": list(smoke.TESTS),
            "warnedTests": [],
            "failedTests": [],
            "run": {
                "schema": smoke.RUN_SCHEMA,
                "nonce": nonce,
                "target": "pi5",
                "local": False,
                "began": at,
                "ended": at,
                "image": {"index": what.index.digest, "manifest": what.image.digest},
                "model": {"index": what.model_index.digest, "manifest": what.model.digest},
                "agent": AGENT,
                "runtime": {"name": "crun", "version": "1.8"},
                "limits": {},
                "settings": {},
                "governor": None,
                "failure": None,
                "report": report,
            },
        }
        change(predicate)
        said = Statement(
            subjects=tuple(Subject(name="part", digest=each.digest) for each in what.subjects),
            predicate_type=kinds.TEST_RESULT.predicate_type,
            predicate=predicate,
        )
        for key in keys:
            self.hang(signed(said.payload(), key), ref)
        return smoke.payload_digest(said.payload())

    def hang(self, bundle: bytes, ref: str = REF) -> None:
        """Hang a bundle on image and model."""
        kind = kinds.TEST_RESULT.predicate_type
        referrers.attach(
            self.store,
            [
                referrers.Signed(subject=each, predicate_type=kind, bundle=bundle)
                for each in self.candidate(ref).subjects
            ],
        )


def signed_by(name: str, payload: bytes) -> bytes:
    """A bundle."""
    return signed(payload, name)


def key_id(name: str) -> str:
    return public_key(pem(name), name).id


def local(predicate: dict[str, Any]) -> None:
    """On no device."""
    predicate["run"] |= {"local": True, "agent": None}
    predicate["configuration"].pop()


def build(root: Path) -> World:
    """A store and a ring in `root`."""
    store = Store.create(root / "store")
    publish(store, REF)
    return World(store=store, keys=ring(root / "keys"))


def publish(store: Store, ref: str) -> None:
    """An image and its model for the Pi 5."""

    def put(text: str, media_type: str) -> Descriptor:
        return store.put_bytes(f"{text} of {ref}".encode(), media_type)

    weight, golden = put("model", media.WEIGHT), put("golden", "application/octet-stream")
    card = store.put_json(
        {
            "file": {"digest": weight.digest, "size": weight.size},
            "golden": {"digest": golden.digest},
            "accuracy": {
                "samples": EXPECTED.samples,
                "correct": {"quantised": EXPECTED.correct},
            },
            "answers": {"same_on_every_cpu": EXPECTED.same_answers},
        },
        media.CARD,
    )
    layers = [
        {**each.to_json(), "annotations": {media.TITLE: name}}
        for each, name in ((weight, "model.onnx"), (card, "model.json"))
    ]
    notes = {media.MODEL_TARGET: "pi5"}
    model = _manifest(store, layers, artifactType=media.MODEL, annotations=notes)
    models = _index(store, {**model.to_json(), "annotations": notes}, artifactType=media.MODEL)
    store.attach(models, media.GOLDEN, [golden])
    image = _manifest(store, [put("layer", media.LAYER).to_json()])
    platform = {"os": "linux", "architecture": "arm64"}
    labels = {media.MODEL_DIGEST: models.digest}
    index = _index(store, {**image.to_json(), "platform": platform}, annotations=labels)
    store.tag(models, ref.replace(":", "-model:"))
    store.tag(index, ref)


def _manifest(store: Store, layers: list[Any], **more: Any) -> Descriptor:
    config = store.put_json({"architecture": "arm64", "os": "linux"}, media.CONFIG)
    document = {
        "schemaVersion": 2,
        "mediaType": media.MANIFEST,
        "config": config.to_json(),
        "layers": layers,
        **more,
    }
    return store.put_json(document, media.MANIFEST)


def _index(store: Store, entry: dict[str, Any], **more: Any) -> Descriptor:
    document = {"schemaVersion": 2, "mediaType": media.INDEX, "manifests": [entry], **more}
    return store.put_json(document, media.INDEX)
