"""Writes `history` as a store with a key ring beside it: every statement real, and really signed.

    .venv/bin/python benchmarks/history_store.py FOLDER [--small] [--seed N]

What a store of our own would do in months must be there in two minutes, so files are written
without waiting for the disk, and a report hangs on the platform's image alone, not on the model
too: else the index of 100,000 reports would be larger than a store reads.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import sys
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from history import CHANNELS, SMALL, TARGETS, History, Size, hexadecimal, lock_bytes

from buildkit import canonical, digests, media
from buildkit.evidence import bundle as bundles
from buildkit.evidence import kinds, provenance, sbom, smoke
from buildkit.evidence.dsse import Envelope, pae
from buildkit.evidence.journal import Journal
from buildkit.evidence.keys import KeyRing, PublicKey, public_key
from buildkit.evidence.keys.private import PrivateKey
from buildkit.evidence.promotion import Promotion
from buildkit.evidence.referrers import CONTENT, ENVELOPE, PREDICATE_TYPE
from buildkit.evidence.statement import PAYLOAD_TYPE, Statement, Subject
from buildkit.records import Descriptor, architecture
from buildkit.store import REF_NAME
from buildkit.store.documents import EMPTY_BLOB, artifact
from buildkit.store.layout import Layout, create

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from history import Release, Report

MODEL = "application/vnd.cncf.model.manifest.v1+json"
_HOST, _RETIRED = "host", "host-before"
_TOOL = sbom.Tool(name="syft", version="1.44.0")


class Writer:
    """Blobs and entries of one layout, fast."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)
        create(self.layout)
        self._entries: list[bytes] = []
        self._folder = str(self.layout.blobs)
        self.put(EMPTY_BLOB)

    def put(self, data: bytes, media_type: str = "", **more: Any) -> Descriptor:
        """Keep bytes."""
        digest = digests.of_bytes(data)
        with open(f"{self._folder}/{digest[7:]}", "wb", 0) as stream:  # noqa: PTH123 - 200,000 times
            stream.write(data)
        return Descriptor(media_type=media_type, digest=digest, size=len(data), **more)

    def document(self, value: Any, media_type: str, **more: Any) -> Descriptor:
        """Keep JSON."""
        return self.put(canonical.dump(value), media_type, **more)

    def entry(self, what: Descriptor, name: str = "") -> None:
        """Make it an entry of the index."""
        found = what.to_json()
        found.pop("platform", None)
        if name:
            found["annotations"] = {REF_NAME: name}
        self._entries.append(canonical.dump(found))

    def hang(self, bundle: Descriptor, subject: Descriptor, predicate_type: str) -> None:
        """Hang a bundle on something."""
        notes = {CONTENT: ENVELOPE, PREDICATE_TYPE: predicate_type}
        data = artifact(
            artifact_type=bundles.MEDIA_TYPE, layers=[bundle], subject=subject, annotations=notes
        )
        self.entry(
            self.put(data, media.MANIFEST, artifact_type=bundles.MEDIA_TYPE, annotations=notes)
        )

    def close(self) -> None:
        """Write the index."""
        whole = b'{"manifests":[%s],"mediaType":"%s","schemaVersion":2}'
        self.layout.index.write_bytes(whole % (b",".join(self._entries), media.INDEX.encode()))


@cache
def key(name: str, seed: int) -> PrivateKey:
    """A key that this name always has: good for nothing but this."""
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - heavy

    from buildkit.evidence.keys.public import pem_of  # noqa: PLC0415 - heavy

    secret = ec.derive_private_key(int(hexadecimal(seed, "key", name), 16) >> 1, ec.SECP256R1())
    return PrivateKey(public=public_key(pem_of(secret.public_key()), name), secret=secret)


def ring(folder: Path, history: History) -> None:
    """The key ring of whoever knows the host and all devices."""
    from dataclasses import replace  # noqa: PLC0415 - here alone

    states = {_HOST: "active", _RETIRED: "retired"}
    names = [*states, *(f"board-{at:04}" for at in range(history.size.devices))]
    keys: list[PublicKey] = []
    for name in names:
        state: Any = states.get(name, "device")
        public = key(name, history.seed).public
        keys.append(replace(public, state=state, retired=int(state == "retired")))
    folder.mkdir(mode=0o700)
    (folder / "ring.json").write_bytes(KeyRing(folder=folder, keys=tuple(keys)).dump())


class _Made:
    """What one release is, by descriptors."""

    def __init__(self, writer: Writer, release: Release) -> None:
        self.release = release
        lock = writer.put(lock_bytes(release.lock), media.BUILD_LOCK)
        self.lock = lock.digest
        notes = {
            media.TITLE: release.name,
            media.VERSION: release.version,
            media.LOCK_DIGEST: lock.digest,
            media.REVISION: release.revision,
        }
        self.variants: dict[str, Descriptor] = {}
        self.cards: dict[str, dict[str, Any]] = {}
        self.weight = f"sha256:{release.lock.model.quantized_sha256}"
        self.models = self._put_models(writer, notes)
        self.platforms: dict[str, Descriptor] = {}
        self.layers: dict[str, tuple[sbom.Layer, ...]] = {}
        self.image = self._put_image(writer, {**notes, media.MODEL_DIGEST: self.models.digest})

    def _put_models(self, writer: Writer, notes: dict[str, str]) -> Descriptor:
        release = self.release
        data = f"sha256:{hexadecimal('data', release.name)}"
        shared = {**notes, media.MODEL_CHECKSUM: self.weight, media.MODEL_DATA_DIGEST: data}
        for target, platform in TARGETS.items():
            card = _card(release, target, platform, self.weight, data)
            self.cards[target] = card
            kept = writer.document(card, "application/vnd.cncf.model.weight.config.v1.raw")
            config = {"modelfs": {"diffIds": [self.weight, kept.digest], "type": "layers"}}
            weight = {
                "mediaType": "application/vnd.cncf.model.weight.v1.raw",
                "digest": self.weight,
                "size": 3_798_275,
                "annotations": {media.FILE_PATH: "model.onnx", media.TITLE: "model.onnx"},
            }
            document = {
                "schemaVersion": 2,
                "mediaType": media.MANIFEST,
                "artifactType": MODEL,
                "config": writer.document(
                    config, "application/vnd.cncf.model.config.v1+json"
                ).to_json(),
                "layers": [weight, kept.to_json()],
                "annotations": {**shared, media.MODEL_TARGET: target},
            }
            self.variants[target] = writer.document(document, media.MANIFEST)
        index = {
            "schemaVersion": 2,
            "mediaType": media.INDEX,
            "artifactType": MODEL,
            "manifests": [
                {
                    **each.to_json(),
                    "artifactType": MODEL,
                    "annotations": {media.MODEL_TARGET: target},
                }
                for target, each in self.variants.items()
            ],
            "annotations": shared,
        }
        return writer.document(index, media.INDEX)

    def _put_image(self, writer: Writer, labels: dict[str, str]) -> Descriptor:
        for platform in self.release.lock.platforms:
            parts = ("debian", "python", "app")
            found = tuple(
                sbom.Layer(
                    digest=f"sha256:{hexadecimal('layer', part, platform, self.lock)}",
                    diff_id=f"sha256:{hexadecimal('diff', part, platform, self.lock)}",
                )
                for part in parts
            )
            config = {
                "architecture": architecture(platform),
                "os": "linux",
                "config": {"Entrypoint": ["/app"], "Labels": labels},
                "rootfs": {"type": "layers", "diff_ids": [each.diff_id for each in found]},
                "history": [{"created_by": part} for part in parts],
            }
            document = {
                "schemaVersion": 2,
                "mediaType": media.MANIFEST,
                "config": writer.document(config, media.CONFIG).to_json(),
                "layers": [
                    {"mediaType": media.LAYER, "digest": each.digest, "size": 9_000_000}
                    for each in found
                ],
                "annotations": labels,
            }
            self.layers[platform] = found
            self.platforms[platform] = writer.document(document, media.MANIFEST, platform=platform)
        index = {
            "schemaVersion": 2,
            "mediaType": media.INDEX,
            "manifests": [each.to_json() for each in self.platforms.values()],
            "annotations": labels,
        }
        return writer.document(index, media.INDEX)

    def everything(self) -> list[Descriptor]:
        """All that statements about the build hang on."""
        return [self.image, *self.platforms.values(), self.models, *self.variants.values()]


class _Story:
    """Writes one history."""

    def __init__(self, root: Path, history: History, *, signed: bool) -> None:
        self.history = history
        self.signed = signed
        self.writer = Writer(root / "store")
        self.bundles = 0
        self._noise = random.Random(f"{history.seed} noise")  # noqa: S311 - no secret
        self._journals: dict[tuple[str, str], list[tuple[Promotion, str, Descriptor]]] = {}
        self._heads: dict[tuple[str, str], Descriptor] = {}

    def write(self) -> None:
        for number in range(self.history.size.releases):
            release = self.history.release(number)
            made = _Made(self.writer, release)
            self.writer.entry(made.models, f"{release.name}-model:{release.version}")
            self.writer.entry(made.image, f"{release.name}:{release.version}")
            self._say_build(made)
            payloads = self._say_reports(made)
            self._say_verdicts(made, payloads)
            self._promote(made)
        for (name, channel), records in self._journals.items():
            journal = Journal(records=tuple(bundle for _, _, bundle in reversed(records)))
            where = self.writer.put(journal.dump(), media.MANIFEST, artifact_type=media.CHANNEL)
            self.writer.entry(where, f"{name}:{channel}.channel")
            self.writer.entry(self._heads[name, channel], f"{name}:{channel}")
        self.writer.close()

    def _bundle(self, payload: bytes, name: str) -> Descriptor:
        who = key(name, self.history.seed)
        signature = who.sign(pae(PAYLOAD_TYPE, payload)) if self.signed else b"none"
        envelope = Envelope(payload=payload, payload_type=PAYLOAD_TYPE, signature=signature)
        self.bundles += 1
        return self.writer.put(bundles.with_key(envelope, who.public.hint), bundles.MEDIA_TYPE)

    def _say(self, said: Statement, about: Sequence[Descriptor], name: str = _HOST) -> None:
        bundle = self._bundle(said.payload(), name)
        for each in about:
            self.writer.hang(bundle, each, said.predicate_type)

    def _say_build(self, made: _Made) -> None:
        release = made.release
        # One in fifty was signed by a key that has been retired since.
        name = _RETIRED if release.number % 50 == 49 else _HOST
        about = made.everything()
        whole = tuple(
            Subject(name=f"part {at}", digest=digest)
            for at, digest in enumerate((*(each.digest for each in about), made.weight))
        )
        build = provenance.Build(
            recipe={
                "name": release.name,
                "version": release.version,
                "digest": release.lock.recipe_digest,
            },
            lock=release.lock,
            lock_digest=made.lock,
            sources={"recipe.toml": f"sha256:{hexadecimal('recipe', release.number)}"},
            repository="https://example.org/shelf",
            revision=release.revision,
            epoch=release.at,
            code=f"sha256:{hexadecimal('code', release.number // 100)}",
            builder="",
            closures={
                "amd64": {
                    part: f"/nix/store/{hexadecimal(part, release.number // 50)[:32]}-{part}"
                    for part in ("builder", "engine", "site", "syft", "tools")
                }
            },
            byproducts=(),
        )
        run = {
            "schema": "buildkit/run/v1",
            "recipe": build.recipe,
            "lock": made.lock,
            "started": canonical.timestamp(release.at),
            "finished": canonical.timestamp(release.at + 90),
            "seconds": {"nix": 40.5, "image": 12.25, "evidence": 0.5},
            "builder": "",
            "by": {"user": "ci", "host": "runner", "tool": "edge-buildkit 0.1.0", "ci": {}},
        }
        for kind, predicate in (
            (kinds.PROVENANCE, provenance.predicate(build)),
            (kinds.RUN, run),
        ):
            said = Statement(
                subjects=whole, predicate_type=kind.predicate_type, predicate=predicate
            )
            self._say(said, about, name)
        self._say_boms(made, name)

    def _say_boms(self, made: _Made, name: str) -> None:
        release = made.release
        for platform, manifest in made.platforms.items():
            pins = release.lock.platforms[platform]
            described = sbom.Described(
                name=release.name,
                version=release.version,
                platform=platform,
                digest=manifest.digest,
                layers=made.layers[platform],
                licence="Apache-2.0",
            )
            documents = sbom.image(
                described=described,
                pins=pins,
                base=self.history.seen(pins.debian, pins.wheels),
                app=(),
                epoch=release.at,
                tools=(_TOOL,),
            )
            self._say_both(documents, platform, manifest, (), name)
        for target, manifest in made.variants.items():
            model = sbom.model(
                digest=manifest.digest,
                card=made.cards[target],
                lock=release.lock,
                epoch=release.at,
                tools=(_TOOL,),
            )
            more = (Subject(name="model.onnx", digest=made.weight),)
            self._say_both(model, target, manifest, more, name)

    def _say_both(
        self,
        documents: sbom.ImageSbom | sbom.ModelSbom,
        what: str,
        manifest: Descriptor,
        more: tuple[Subject, ...],
        name: str,
    ) -> None:
        for kind, predicate in (
            (kinds.CYCLONEDX, documents.cyclonedx),
            (kinds.SPDX, documents.spdx),
        ):
            said = Statement(
                subjects=(Subject(name=what, digest=manifest.digest), *more),
                predicate_type=kind.predicate_type,
                predicate=predicate,
            )
            self._say(said, [manifest], name)

    def _say_reports(self, made: _Made) -> dict[str, bytes]:
        forms = {target: _pieces(made, target, platform) for target, platform in TARGETS.items()}
        found = {}
        for report in self.history.reports(made.release):
            payload = b"".join(self._filled(piece, report) for piece in forms[report.target])
            found[report.nonce] = payload
            subject = made.platforms[TARGETS[report.target]]
            names = [f"board-{report.device:04}"] + [_HOST] * report.countersigned
            for name in names:
                bundle = self._bundle(payload, name)
                self.writer.hang(bundle, subject, kinds.TEST_RESULT.predicate_type)
        return found

    def _filled(self, piece: bytes, report: Report) -> bytes:
        if not piece.startswith(b"@"):
            return piece
        word = piece[1:].decode()
        if word.startswith("data"):
            count = self.history.size.samples * int(word[4:]) // 100
            return base64.b64encode(self._noise.randbytes(count))
        failed = {"PASSED": "", "WARNED": "", "FAILED": '"steady"'}[report.result]
        warned = '"conditions"' if report.result == "WARNED" else ""
        rest = [name for name in smoke.TESTS if f'"{name}"' not in (failed, warned)]
        values: dict[str, Any] = {
            "nonce": report.nonce,
            "result": report.result,
            "failed": f"[{failed}]",
            "warned": f"[{warned}]",
            "passed": json.dumps(rest, separators=(",", ":")),
            "began": canonical.timestamp(report.ended - 15),
            "ended": canonical.timestamp(report.ended),
            "started": canonical.timestamp(report.ended - 12).replace("Z", ".000Z"),
            "p50": report.p50_ns,
            "p95": report.p95_ns,
            "kernel": f"6.12.{report.device % 40}+rpt-rpi-2712",
            "firmware": f"2026-{1 + report.device % 9:02}-01 5a6b7c8d",
        }
        return str(values[word]).encode()

    def _say_verdicts(self, made: _Made, payloads: dict[str, bytes]) -> None:
        for target, outcome, at, reports in self.history.verdicts(made.release):
            image, model = made.platforms[TARGETS[target]], made.variants[target]
            rows = [
                {
                    "board": "Raspberry Pi 5 Model B Rev 1.0",
                    "key": key(f"board-{each.device:04}", self.history.seed).public.id,
                    "local": False,
                    "name": f"board-{each.device:04}",
                    "standin": "",
                    "target": target,
                }
                for each in reports
            ]
            name = f"{made.release.name}:{made.release.version}"
            said = smoke.verdict(
                image=Subject(name=name, digest=image.digest),
                model=Subject(name=name, digest=model.digest),
                verifier="urn:edge-buildkit:gate",
                at=at,
                resource=f"urn:edge-buildkit:image:{made.image.digest}",
                inputs=[payloads[each.nonce] for each in reports],
                gate={
                    "outcome": outcome,
                    "findings": [] if outcome == "PASS" else [{"rule": "min_accuracy"}],
                    "rules": {"profile": "smoke", "target": target, "min_accuracy": 95.0},
                    "devices": rows,
                },
            )
            self._say(said, [image, model])

    def _promote(self, made: _Made) -> None:
        release = made.release
        for channel in CHANNELS:
            if not self.history.promoted(channel, release.number):
                continue
            records = self._journals.setdefault((release.name, channel), [])
            said = Promotion(
                channel=channel,
                place=release.name,
                number=len(records) + 1,
                name=f"{release.name}:{release.version}",
                image=made.image.digest,
                models=made.models.digest,
                at=_time(release.at + 86400),
                previous=records[-1][1] if records else "",
                restores=0,
                policy=f"sha256:{hexadecimal('policy')}",
                devices={"pi5": (key("board-0001", self.history.seed).public.id,)},
            )
            payload = said.statement().payload()
            bundle = self._bundle(payload, _HOST)
            records.append((said, smoke.payload_digest(payload), bundle))
            self._heads[release.name, channel] = made.image


def _time(epoch: int) -> datetime:
    from datetime import UTC, datetime  # noqa: PLC0415 - here alone

    return datetime.fromtimestamp(epoch, UTC)


def _pieces(made: _Made, target: str, platform: str) -> list[bytes]:
    """A statement in pieces, of which those that begin with ``@`` differ between reports."""
    from history_report import predicate  # noqa: PLC0415 - beside the others

    image, model = made.platforms[platform], made.variants[target]
    said = Statement(
        subjects=(
            Subject(name="image", digest=image.digest),
            Subject(name="model", digest=model.digest),
        ),
        predicate_type=kinds.TEST_RESULT.predicate_type,
        predicate=predicate(
            target=target,
            machine="aarch64" if target == "pi5" else "x86_64",
            image={"index": made.image.digest, "manifest": image.digest},
            model={"index": made.models.digest, "manifest": model.digest},
            weight=digests.hex_of(made.weight),
        ),
    )
    text = said.payload().replace(b'"<@', b"<@").replace(b'@>"', b"@>")
    pieces = text.replace(b"<=@", b"\0@").replace(b"@=>", b"\0")
    return pieces.replace(b"<@", b"\0@").replace(b"@>", b"\0").split(b"\0")


def _card(release: Release, target: str, platform: str, weight: str, data: str) -> dict[str, Any]:
    """A ``model.json``."""
    return {
        "schema": "buildkit/model/v1",
        "name": release.name,
        "version": release.version,
        "task": "image-classification",
        "file": {"name": "model.onnx", "digest": weight, "size": 3_798_275},
        "golden": {"digest": f"sha256:{hexadecimal('golden')}", "size": 38_536_186},
        "accuracy": {
            "agreement": 99.8,
            "drop": 0.2,
            "float": 97.4,
            "quantised": 97.2,
            "samples": 500,
        },
        "answers": {"same_on_every_cpu": True, "sha256": hexadecimal("answers", release.number)},
        "quantization": {
            "calibration": {"method": "minmax", "way": "exact"},
            "mode": "static-int8",
            "onnxruntime": "1.31.1",
            "per_channel": True,
        },
        "runtime": {"target": target, "platform": platform, "engine": "onnxruntime-cpu"},
        "signature": {
            "inputs": [{"name": "input", "dtype": "float32", "shape": ["batch", 3, 224, 224]}],
            "outputs": [{"name": "logits", "dtype": "float32", "shape": ["batch", 10]}],
            "opset": 17,
            "parameters": 3_500_000,
        },
        "training": {
            "commit": release.revision,
            "data_digest": data,
            "float_sha256": release.lock.model.float_sha256,
            "seed": 1,
        },
    }


def write(root: Path, size: Size, seed: int = 1, *, signed: bool = True) -> int:
    """Make ``root/store`` and ``root/keys``; how many bundles there are."""
    root.mkdir(parents=True, exist_ok=True)
    history = History(size, seed)
    ring(root / "keys", history)
    story = _Story(root, history, signed=signed)
    story.write()
    return story.bundles


def main() -> None:
    """Write one, and say how long it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--unsigned", action="store_true")
    chosen = parser.parse_args()
    began = time.monotonic()
    size = SMALL if chosen.small else Size()
    count = write(chosen.folder, size, chosen.seed, signed=not chosen.unsigned)
    print(f"{count} bundles in {time.monotonic() - began:.1f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
