"""A small store, honestly built and signed, and everything that somebody who owns it can do to it.

The bytes are made up (layers hold no files, the model is no model): what is verified is how they
hang together. `build` makes the store once, `World.copied` gives each test its own.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import shutil
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from world_boms import cyclonedx, spdx

from buildkit import canonical, digests, media
from buildkit.evidence import bundle as bundles
from buildkit.evidence import kinds, provenance, referrers
from buildkit.evidence.dsse import Envelope, pae
from buildkit.evidence.keys import KeyRing, PublicKey, public_key
from buildkit.evidence.statement import PAYLOAD_TYPE, TYPE, Statement, Subject
from buildkit.lock import codec
from buildkit.lock.types import (
    DebianPin,
    FilePin,
    HostPins,
    Lock,
    ModelPins,
    PlatformPins,
    WheelPin,
)
from buildkit.records import PLATFORMS, Descriptor, architecture
from buildkit.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MODEL = "application/vnd.cncf.model.manifest.v1+json"
TARGETS = {"pi5": "linux/arm64", "amd64": "linux/amd64"}
EPOCH = 1767225600
EMPTY = b"{}"
GOLDEN = digests.of_bytes(b"golden data")
_NAMES = (
    *("good", "older", "retired", "friend", "stranger", "second", "ed25519"),
    *("board", "board2"),
)


def _hex(text: str) -> str:
    return digests.hex_of(digests.of_bytes(text.encode()))


# Keys -------------------------------------------------------------------------------------------


@cache
def private(name: str) -> Any:
    """A key of this test run; the same name is the same key."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    if name.startswith("ed25519"):
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(ec.SECP256R1())


def pem(name: str) -> bytes:
    """Its public half."""
    from cryptography.hazmat.primitives import serialization as form

    found: bytes = (
        private(name)
        .public_key()
        .public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    )
    return found


def signature(name: str, data: bytes) -> bytes:
    """A signature with the key `name`."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key = private(name)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(data, ec.ECDSA(hashes.SHA256()))
    found: bytes = key.sign(data)
    return found


def signed(payload: bytes, name: str = "good", kind: str = PAYLOAD_TYPE) -> bytes:
    """A bundle by the key `name`."""
    envelope = Envelope(
        payload=payload, payload_type=kind, signature=signature(name, pae(kind, payload))
    )
    return bundles.with_key(envelope, public_key(pem(name), name).hint)


def ring(folder: Path) -> Path:
    """A key ring with a key in every state: two that are active, and those of two devices."""
    states: Mapping[str, Any] = {
        "good": "active",
        "older": "old",
        "retired": "retired",
        "friend": "imported",
        "ed25519": "active",
        "board": "device",
        "board2": "device",
    }
    keys: list[PublicKey] = [
        public_key(pem(name), name, state=state, retired=int(state == "retired"))
        for name, state in states.items()
    ]
    folder.mkdir(mode=0o700)
    (folder / "ring.json").write_bytes(KeyRing(folder=folder, keys=tuple(keys)).dump())
    return folder


# What a build makes -----------------------------------------------------------------------------


def make_lock(name: str, version: str) -> Lock:
    """A lock of two platforms; another name or version is another lock."""

    def debian(package: str, arch: str, suite: str = "bookworm") -> DebianPin:
        return DebianPin(
            name=package,
            version="1.0-1",
            architecture=arch,
            suite=suite,
            file=f"{package}_1.0-1_{arch}.deb",
            sha256=_hex(f"{package} {arch}"),
            size=100,
        )

    def wheel(package: str, arch: str) -> WheelPin:
        file = f"{package}-2.0-py3-none-{arch}.whl"
        return WheelPin(name=package, version="2.0", file=file, sha256=_hex(file))

    document = {
        "schema": 1,
        "name": name,
        "version": version,
        "platforms": list(PLATFORMS),
        "targets": sorted(TARGETS),
    }
    host = HostPins(
        seed=debian("busybox-static", "amd64"),
        seed_nar_sha256=_hex("seed"),
        builder_debian=(debian("python3.11-minimal", "amd64"),),
        builder_wheels=(wheel("onnx", "amd64"),),
        engine_debian=(debian("containerd", "amd64", "trixie"),),
        tools_debian=(debian("cosign", "amd64", "trixie"),),
    )
    return Lock(
        recipe_name=name,
        recipe_digest=digests.of_bytes(canonical.dump(document)),
        recipe=document,
        hosts={"amd64": host},
        platforms={
            platform: PlatformPins(
                debian=(
                    debian("libc6", architecture(platform), "bookworm-security"),
                    debian("python3.11-minimal", architecture(platform)),
                ),
                wheels=(wheel("numpy", architecture(platform)),),
            )
            for platform in PLATFORMS
        },
        model=ModelPins(
            files=(FilePin(path="train.py", sha256=_hex("train.py"), size=8),),
            artifact="",
            commit="",
            seed=1,
            onnxruntime="1.31.1",
            float_sha256=_hex(f"float {name} {version}"),
            calibration="exact",
            ranges={"x": (-1.0, 1.0)},
            quantized_sha256=_hex(_weight(name, version)),
        ),
    )


def _weight(name: str, version: str) -> str:
    return f"the quantised model {name} {version}"


@dataclass(frozen=True, kw_only=True)
class Made:
    """Digests of what one build put into a store.

    Attributes:
        lock: what it was made from.
        lock_digest: of it.
        image: index.
        platforms: platform → manifest.
        models: index.
        variants: target → manifest.
        weight: ``model.onnx``.
    """

    lock: Lock
    lock_digest: str
    image: str
    platforms: Mapping[str, str]
    models: str
    variants: Mapping[str, str]
    weight: str

    def everything(self) -> tuple[str, ...]:
        return (
            self.image,
            *self.platforms.values(),
            self.models,
            *self.variants.values(),
            self.weight,
        )


def put_artifacts(store: Store, name: str = "tiny", version: str = "1.0.0") -> Made:
    """What a build publishes, without evidence."""
    lock = make_lock(name, version)
    lock_digest = store.put_bytes(codec.dump(lock), media.BUILD_LOCK).digest
    notes = {media.TITLE: name, media.VERSION: version, media.LOCK_DIGEST: lock_digest}
    models, variants, weight = _put_models(store, lock, notes)
    labels = {**notes, media.MODEL_DIGEST: models.digest}
    found = {}
    for platform in PLATFORMS:
        layers, ids = [], []
        for layer in ("debian", "python", "app"):
            content = f"{layer} of {name} {version} for {platform}".encode() * 20
            data = gzip.compress(content, mtime=0)
            layers.append(store.put_bytes(data, media.LAYER))
            ids.append(digests.of_bytes(content))
        config = {
            "architecture": architecture(platform),
            "os": "linux",
            "config": {"Entrypoint": ["/app"], "Labels": labels},
            "rootfs": {"type": "layers", "diff_ids": ids},
            "history": [{"created_by": each} for each in ("debian", "python", "app")],
        }
        document = {
            "schemaVersion": 2,
            "mediaType": media.MANIFEST,
            "config": store.put_json(config, media.CONFIG).to_json(),
            "layers": [each.to_json() for each in layers],
            "annotations": labels,
        }
        found[platform] = store.put_json(document, media.MANIFEST, platform=platform)
    index = {
        "schemaVersion": 2,
        "mediaType": media.INDEX,
        "manifests": [each.to_json() for each in found.values()],
        "annotations": labels,
    }
    image = store.put_json(index, media.INDEX)
    store.tag(models, f"{name}-model:{version}")
    store.tag(image, f"{name}:{version}")
    made = Made(
        lock=lock,
        lock_digest=lock_digest,
        image=image.digest,
        platforms={platform: each.digest for platform, each in found.items()},
        models=models.digest,
        variants=variants,
        weight=weight,
    )
    record = {"image": {"digest": image.digest}}
    store.attach(
        image,
        media.BUILD,
        [(canonical.dump(record), media.BUILD), (codec.dump(lock), media.BUILD_LOCK)],
        annotations={"io.edge-buildkit.build.key": lock_digest},
    )
    return made


def _put_models(
    store: Store, lock: Lock, notes: Mapping[str, str]
) -> tuple[Descriptor, dict[str, str], str]:
    weight = store.put_bytes(
        _weight(lock.recipe_name, lock.recipe["version"]).encode(),
        "application/vnd.cncf.model.weight.v1.raw",
    )
    data = digests.of_bytes(b"data")
    shared = {**notes, media.MODEL_CHECKSUM: weight.digest, media.MODEL_DATA_DIGEST: data}
    entries, variants = [], {}
    for target, platform in TARGETS.items():
        card = store.put_json(
            {
                "schema": "buildkit/model/v1",
                "name": lock.recipe_name,
                "version": lock.recipe["version"],
                "file": {"name": "model.onnx", "digest": weight.digest, "size": weight.size},
                "training": {"data_digest": data, "float_sha256": lock.model.float_sha256},
                "golden": {"digest": GOLDEN, "size": 9},
                "runtime": {"target": target, "platform": platform},
            },
            "application/vnd.cncf.model.weight.config.v1.raw",
        )
        config = store.put_json(
            {"modelfs": {"type": "layers", "diffIds": [weight.digest, card.digest]}},
            "application/vnd.cncf.model.config.v1+json",
        )
        named = [
            {**each.to_json(), "annotations": {media.FILE_PATH: path, media.TITLE: path}}
            for each, path in ((weight, "model.onnx"), (card, "model.json"))
        ]
        manifest = store.put_json(
            {
                "schemaVersion": 2,
                "mediaType": media.MANIFEST,
                "artifactType": MODEL,
                "config": config.to_json(),
                "layers": named,
                "annotations": {**shared, media.MODEL_TARGET: target},
            },
            media.MANIFEST,
        )
        variants[target] = manifest.digest
        entries.append(
            {
                **manifest.to_json(),
                "artifactType": MODEL,
                "annotations": {media.MODEL_TARGET: target},
            }
        )
    index = {
        "schemaVersion": 2,
        "mediaType": media.INDEX,
        "artifactType": MODEL,
        "manifests": entries,
        "annotations": shared,
    }
    return store.put_json(index, media.INDEX), variants, weight.digest


def statements(made: Made) -> dict[str, Statement]:
    """All that an honest build says, by a word for each: ``provenance``, ``spdx linux/arm64``…"""
    whole = tuple(
        Subject(name=f"part {at}", digest=digest) for at, digest in enumerate(made.everything())
    )
    found = {
        "provenance": Statement(
            subjects=whole,
            predicate_type=kinds.PROVENANCE.predicate_type,
            predicate=provenance.predicate(facts(made)),
        ),
        "run": Statement(
            subjects=whole,
            predicate_type=kinds.RUN.predicate_type,
            predicate={"started": "2026-11-21T05:00:00Z", "seconds": {"nix": 1.5}},
        ),
    }
    for platform, digest in made.platforms.items():
        pins = made.lock.platforms.get(platform) or PlatformPins(debian=(), wheels=())
        for kind, write in ((kinds.CYCLONEDX, cyclonedx), (kinds.SPDX, spdx)):
            found[f"{kind.name} {platform}"] = Statement(
                subjects=(Subject(name=platform, digest=digest),),
                predicate_type=kind.predicate_type,
                predicate=write("tiny", digest, (*pins.debian, *pins.wheels)),
            )
    wheels = [pin for host in made.lock.hosts.values() for pin in host.builder_wheels]
    for target, digest in made.variants.items():
        for kind, write in ((kinds.CYCLONEDX, cyclonedx), (kinds.SPDX, spdx)):
            found[f"{kind.name} {target}"] = Statement(
                subjects=(
                    Subject(name=target, digest=digest),
                    Subject(name="model.onnx", digest=made.weight),
                ),
                predicate_type=kind.predicate_type,
                predicate=write("model", digest, (*made.lock.model.files, *wheels)),
            )
    return found


def facts(made: Made) -> provenance.Build:
    """What provenance is made from."""
    return provenance.Build(
        recipe={
            "name": made.lock.recipe_name,
            "version": made.lock.recipe["version"],
            "digest": made.lock.recipe_digest,
        },
        lock=made.lock,
        lock_digest=made.lock_digest,
        sources={"recipe.toml": digests.of_bytes(b"recipe")},
        repository="https://example.org/tiny",
        revision="0" * 40,
        epoch=EPOCH,
        code=digests.of_bytes(b"code"),
        builder="",
        closures={"amd64": {"builder": f"/nix/store/{'a' * 32}-builder"}},
        byproducts=(),
    )


def attach(store: Store, made: Made, statement: Statement, bundle: bytes) -> None:
    """Hang a bundle on every manifest that its statement is about."""
    referrers.attach(
        store,
        [
            referrers.Signed(
                subject=store.resolve(each.digest),
                predicate_type=statement.predicate_type,
                bundle=bundle,
            )
            for each in statement.subjects
            if each.digest in made.everything() and each.digest != made.weight
        ],
    )


# What an attacker can do ------------------------------------------------------------------------


@dataclass(kw_only=True)
class World:
    """A store in somebody else's hands.

    Attributes:
        root: folder with ``store``, ``keys`` and a policy.
        made: the honest build.
        other: an honest build of another recipe, in the same store, by the same key.
        ref: what the user asks for.
        policy: text of a policy; the built-in one when empty.
    """

    root: Path
    made: Made
    other: Made
    ref: str = "tiny:1.0.0"
    policy: str = ""

    @property
    def store(self) -> Store:
        return Store.open(self.root / "store")

    def copied(self, root: Path) -> World:
        """The same in another folder; blobs are hard links, which nothing here writes into."""
        shutil.copytree(self.root, root, copy_function=_link, symlinks=True)
        return replace(self, root=root)

    # Bytes

    def path(self, digest: str) -> Path:
        return self.root / "store/blobs/sha256" / digests.hex_of(digest)

    def read(self, digest: str) -> bytes:
        return self.path(digest).read_bytes()

    def write(self, digest: str, data: bytes) -> None:
        """Put other bytes under a digest."""
        path = self.path(digest)
        path.unlink(missing_ok=True)
        path.write_bytes(data)

    def put(self, data: bytes) -> str:
        digest = digests.of_bytes(data)
        if not self.path(digest).exists():
            self.path(digest).write_bytes(data)
        return digest

    def flip(self, digest: str, at: int = -3) -> None:
        """Change one bit."""
        data = bytearray(self.read(digest))
        data[at] ^= 1
        self.write(digest, bytes(data))

    def json(self, digest: str) -> Any:
        return json.loads(self.read(digest))

    # index.json

    def index(self) -> Any:
        return json.loads((self.root / "store/index.json").read_bytes())

    def save_index(self, document: Any) -> None:
        self.save_raw_index(json.dumps(document).encode())

    def save_raw_index(self, data: bytes) -> None:
        path = self.root / "store/index.json"
        path.unlink()
        path.write_bytes(data)

    def entries(self, change: Callable[[list[Any]], list[Any] | None]) -> None:
        """Change the list of entries."""
        document = self.index()
        found = change(document["manifests"])
        if found is not None:
            document["manifests"] = found
        self.save_index(document)

    # Documents, with everything above them recomputed

    def remake(self, digest: str, change: Callable[[Any], Any], *, carry: bool = False) -> str:
        """Change a JSON blob, and make all that names it name the new one; the new digest.

        Args:
            digest: of the blob.
            change: changes the document in place, or gives another one, or bytes.
            carry: let what hung on the old manifests hang on the new ones.
        """
        document = self.json(digest)
        found = change(document)
        document = document if found is None else found
        data = document if isinstance(document, bytes) else canonical.dump(document)
        return self.replace(digest, data, carry=carry)

    def replace(self, digest: str, data: bytes, *, carry: bool = False) -> str:
        """Other bytes in the place of a blob, and all that names it names them."""
        new = self.put(data)
        moved = {digest: (new, len(data))}
        document = self.index()
        done: set[str] = set()
        for entry in document["manifests"]:
            self._follow(entry["digest"], moved, done, carry=carry)
        self.save_index(_renamed(document, moved, subject=carry))
        self.made = _moved(self.made, {old: found for old, (found, _) in moved.items()})
        return new

    def _follow(
        self, digest: str, moved: dict[str, tuple[str, int]], done: set[str], *, carry: bool
    ) -> None:
        """Make a document again if anything that it names was made again: that first."""
        if digest in moved or digest in done or not self.path(digest).exists():
            return
        done.add(digest)
        try:
            document = self.json(digest)
        except ValueError:
            return
        for inner in _digests(document, subject=carry):
            self._follow(inner, moved, done, carry=carry)
        found = _renamed(document, moved, subject=carry)
        if found != document:
            data = canonical.dump(found)
            moved[digest] = (self.put(data), len(data))

    def resign(self, lock: Lock | None = None, key: str = "good", **instead: Statement) -> None:
        """Honest evidence for what is there now, by whoever has the key.

        Args:
            lock: what it is made from now.
            key: who signs.
            instead: statements to sign in the place of the honest ones.
        """
        if lock is not None:
            self.made = replace(self.made, lock=lock)
        gone = {
            each["digest"]
            for each in self.index()["manifests"]
            if each.get("artifactType") == bundles.MEDIA_TYPE
            and self.json(each["digest"])["subject"]["digest"] not in self.other.everything()
        }
        self.entries(lambda entries: [each for each in entries if each["digest"] not in gone])
        for statement in (statements(self.made) | instead).values():
            self.say(statement, key=key)

    def relock(self, change: Callable[[Lock], Lock]) -> None:
        """Another lock, and everything made, named and signed again as if it had always been."""
        lock = change(self.made.lock)
        self.replace(self.made.lock_digest, codec.dump(lock))
        self.resign(lock)

    # Evidence

    def bundles(self, digest: str, kind: str = "") -> list[Any]:
        """The entries of bundles that hang on a manifest, those of one kind if given."""
        wanted = kinds.BY_NAME[kind].predicate_type if kind else None
        found = []
        for entry in self.index()["manifests"]:
            if not self.path(entry["digest"]).exists():
                continue
            document = self.json(entry["digest"])
            if (
                document.get("artifactType") == bundles.MEDIA_TYPE
                and document["subject"]["digest"] == digest
                and wanted in (None, document["annotations"][referrers.PREDICATE_TYPE])
            ):
                found.append(entry)
        return found

    def bundle(self, digest: str, kind: str) -> str:
        """The digest of the one bundle of a kind that hangs on a manifest."""
        (entry,) = self.bundles(digest, kind)
        found: str = self.json(entry["digest"])["layers"][0]["digest"]
        return found

    def rebundle(self, digest: str, kind: str, change: Callable[[Any], Any]) -> None:
        """Change the JSON of every copy of a bundle (the same one may hang on several parts)."""
        self.remake(self.bundle(digest, kind), change)

    def resay(
        self,
        digest: str,
        kind: str,
        change: Callable[[Any], Any],
        *,
        key: str | None = "good",
        canonical_bytes: bool = True,
    ) -> None:
        """Change a statement; signed with `key`, or under the old signature when that is None."""

        def changed(document: Any) -> Any:
            envelope = document["dsseEnvelope"]
            statement = json.loads(base64.b64decode(envelope["payload"]))
            found = change(statement)
            statement = statement if found is None else found
            if isinstance(statement, bytes):
                payload = statement
            elif canonical_bytes:
                payload = canonical.dump(statement)
            else:
                payload = json.dumps(statement).encode()
            if key is not None:
                return signed(payload, key)
            envelope["payload"] = base64.b64encode(payload).decode()
            return None

        self.rebundle(digest, kind, changed)

    def drop(self, digest: str, kind: str = "") -> None:
        """Take bundles away from a manifest."""
        gone = {each["digest"] for each in self.bundles(digest, kind)}
        assert gone
        self.entries(lambda entries: [each for each in entries if each["digest"] not in gone])

    def hang(
        self,
        digest: str,
        bundle: bytes,
        predicate_type: str,
        *,
        manifest: Mapping[str, Any] | None = None,
    ) -> None:
        """Attach a bundle, in a manifest of which some keys may be other than they should."""
        data = self.read(digest)
        document: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": media.MANIFEST,
            "artifactType": bundles.MEDIA_TYPE,
            "config": {"mediaType": media.EMPTY, "digest": self.put(EMPTY), "size": 2},
            "layers": [
                {
                    "mediaType": bundles.MEDIA_TYPE,
                    "digest": self.put(bundle),
                    "size": len(bundle),
                }
            ],
            "subject": {
                "mediaType": json.loads(data).get("mediaType", media.INDEX),
                "digest": digest,
                "size": len(data),
            },
            "annotations": {
                referrers.CONTENT: "dsse-envelope",
                referrers.PREDICATE_TYPE: predicate_type,
            },
            **(manifest or {}),
        }
        remade = canonical.dump(document)
        entry = {
            "mediaType": media.MANIFEST,
            "digest": self.put(remade),
            "size": len(remade),
            "artifactType": bundles.MEDIA_TYPE,
            "annotations": document["annotations"],
        }
        self.entries(lambda entries: [*entries, entry])

    def say(
        self,
        statement: Statement,
        *,
        on: str | None = None,
        key: str = "good",
        payload: bytes | None = None,
    ) -> None:
        """Sign a statement and hang it on `on`, or on all that it is about."""
        bundle = signed(statement.payload() if payload is None else payload, key)
        for digest in [on] if on else [each.digest for each in statement.subjects]:
            if digest != self.made.weight and self.path(digest).exists():
                self.hang(digest, bundle, statement.predicate_type)

    def statement(self, name: str) -> Statement:
        """What the honest build says, as things are now."""
        return statements(self.made)[name]

    def use_policy(self, text: str) -> None:
        """A policy; keys can be named as ``NAME.pub``."""
        self.policy = text
        (self.root / "policy.toml").write_text("schema = 1\n" + text)
        for name in _NAMES:
            if f"{name}.pub" in text:
                (self.root / f"{name}.pub").write_bytes(pem(name))

    def command(self) -> list[str]:
        """The words of the command line."""
        words = ["verify", self.ref, "--json"]
        words += ["--store", str(self.root / "store"), "--keys", str(self.root / "keys")]
        return words + (["--policy", str(self.root / "policy.toml")] if self.policy else [])


def _link(source: str, target: str) -> None:
    if Path(source).name in ("index.json", "ring.json", ".lease", "index.json.lock"):
        shutil.copy2(source, target)
    else:
        os.link(source, target)


def _digests(document: Any, *, subject: bool) -> Iterator[str]:
    if isinstance(document, str) and digests.is_digest(document):
        yield document
    elif isinstance(document, list):
        for each in document:
            yield from _digests(each, subject=subject)
    elif isinstance(document, dict):
        for key, value in document.items():
            if subject or key != "subject":
                yield from _digests(value, subject=subject)


def _renamed(document: Any, moved: Mapping[str, tuple[str, int]], *, subject: bool) -> Any:
    """A document with new digests in the place of old ones, wherever they stand."""
    if isinstance(document, str):
        return moved[document][0] if document in moved else document
    if isinstance(document, list):
        return [_renamed(each, moved, subject=subject) for each in document]
    if not isinstance(document, dict):
        return document
    found = {
        key: value if key == "subject" and not subject else _renamed(value, moved, subject=subject)
        for key, value in document.items()
    }
    digest = document.get("digest")
    if isinstance(digest, str) and digest in moved and "size" in document:
        found["size"] = moved[digest][1]
    return found


def _moved(made: Made, moved: Mapping[str, str]) -> Made:
    def new(digest: str) -> str:
        return moved.get(digest, digest)

    return replace(
        made,
        image=new(made.image),
        platforms={name: new(digest) for name, digest in made.platforms.items()},
        models=new(made.models),
        variants={name: new(digest) for name, digest in made.variants.items()},
        weight=new(made.weight),
        lock_digest=new(made.lock_digest),
    )


def build(root: Path) -> World:
    """The honest store: two recipes, built and signed, with a key ring beside it."""
    root.mkdir(parents=True)
    store = Store.create(root / "store")
    found = []
    for name in ("tiny", "other"):
        made = put_artifacts(store, name)
        for statement in statements(made).values():
            attach(store, made, statement, signed(statement.payload()))
        found.append(made)
    ring(root / "keys")
    return World(root=root, made=found[0], other=found[1])


__all__ = ["TYPE", "Made", "World", "build", "signed", "statements"]
