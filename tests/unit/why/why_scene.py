"""Locks, layers and stores to compare, made in memory."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from buildkit import canonical, digests, media
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
from buildkit.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from buildkit.records import Descriptor

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCUMENT = {
    "name": "digits",
    "platforms": ["linux/amd64", "linux/arm64"],
    "image": {
        "context": "app",
        "dockerfile": "app/Dockerfile",
        "prune": ["usr/share/man/*"],
        "python": {"requirements": ["numpy==2.4.6", "onnxruntime==1.31.1"]},
    },
    "model": {
        "train": {"script": "train.py", "inputs": ["exact.py"], "seed": 1},
        "calibration": {"data": "calibration.npz", "method": "minmax"},
        "golden": {"data": "golden.npz", "max_drop": 0.5},
    },
}


def hexes(*words: object) -> str:
    return hashlib.sha256(repr(words).encode()).hexdigest()


def debian(name: str, arch: str, *, version: str = "1.0") -> DebianPin:
    return DebianPin(
        name=name,
        version=version,
        architecture=arch,
        suite="bookworm",
        file=f"{name}_{version}_{arch}.deb",
        sha256=hexes(name, arch, version),
        size=1000,
    )


def wheel(name: str, version: str, arch: str) -> WheelPin:
    return WheelPin(
        name=name,
        version=version,
        file=f"{name}-{version}-{arch}.whl",
        sha256=hexes(name, version, arch),
    )


def pinned(path: str) -> FilePin:
    return FilePin(path=path, sha256=hexes(path), size=10)


def with_recipe(lock: Lock, document: Mapping[str, Any]) -> Lock:
    digest = digests.of_bytes(canonical.dump(document))
    return replace(
        lock, recipe=document, recipe_digest=digest, recipe_name=str(document.get("name"))
    )


def sample() -> Lock:
    """A small lock with something in each place."""
    lock = Lock(
        recipe_name="digits",
        recipe_digest="",
        recipe={},
        hosts={
            arch: HostPins(
                seed=debian("busybox-static", arch),
                seed_nar_sha256=hexes("nar", arch),
                builder_debian=(debian("libc6", arch), debian("python3.11", arch)),
                builder_wheels=(
                    wheel("numpy", "2.4.6", arch),
                    wheel("onnxruntime", "1.31.1", arch),
                ),
                engine_debian=(debian("runc", arch),),
                tools_debian=(debian("docker-buildx", arch),),
                asked=f"sha256:{hexes('asked', arch)}",
            )
            for arch in ("amd64", "arm64")
        },
        platforms={
            f"linux/{arch}": PlatformPins(
                debian=(debian("libc6", arch), debian("zlib1g", arch)),
                wheels=(wheel("numpy", "2.4.6", arch), wheel("onnxruntime", "1.31.1", arch)),
                asked=f"sha256:{hexes('asked')}",
            )
            for arch in ("amd64", "arm64")
        },
        model=ModelPins(
            files=tuple(
                map(pinned, ("calibration.npz", "exact.py", "golden.npz", "train.py")),
            ),
            artifact="",
            commit="0" * 40,
            seed=1,
            onnxruntime="1.31.1",
            float_sha256=hexes("float"),
            calibration="exact",
            ranges={"input": (0.0, 1.0), "logits": (-2.5, 4.0)},
            quantized_sha256=hexes("quantised"),
        ),
    )
    return with_recipe(lock, DOCUMENT)


def touched(lock: Lock, path: str) -> Lock:
    """The lock after one byte of a file beside the recipe was changed."""
    files = tuple(
        replace(pin, sha256=hexes(pin.sha256)) if pin.path == path else pin
        for pin in lock.model.files
    )
    return replace(lock, model=replace(lock.model, files=files))


def repinned(lock: Lock, platform: str, name: str) -> Lock:
    """The lock after one byte of a package of a platform was changed."""
    pins = lock.platforms[platform]
    new = replace(
        pins,
        debian=tuple(
            replace(pin, sha256=hexes(pin.sha256)) if pin.name == name else pin
            for pin in pins.debian
        ),
        wheels=tuple(
            replace(pin, sha256=hexes(pin.sha256)) if pin.name == name else pin
            for pin in pins.wheels
        ),
    )
    return replace(lock, platforms={**lock.platforms, platform: new})


def entry(name: str, data: bytes = b"", **facts: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in facts.items():
        setattr(info, key, value)
    return info, data


def archive(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def packed(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    return gzip.compress(archive(*entries), mtime=0)


@dataclass(frozen=True, kw_only=True)
class Made:
    """What `put_image` makes an image of: platform → (title, layer) each, and what else it says."""

    layers: Mapping[str, tuple[tuple[str, bytes], ...]]
    config: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


def put_image(store: Store, made: Made) -> Descriptor:
    """An image index, tagged with nothing."""
    manifests = []
    for platform, layers in made.layers.items():
        system, arch = platform.split("/")
        config = {
            "architecture": arch,
            "os": system,
            "config": {**made.config, "Labels": dict(made.labels)},
            "rootfs": {
                "type": "layers",
                "diff_ids": [digests.of_bytes(data) for _, data in layers],
            },
            "history": [{"created_by": title} for title, _ in layers],
        }
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": store.put_json(config, CONFIG).to_json(),
            "layers": [store.put_bytes(data, LAYER).to_json() for _, data in layers],
            "annotations": dict(made.labels),
        }
        manifests.append(store.put_json(document, MANIFEST, platform=platform).to_json())
    index = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": manifests,
        "annotations": dict(made.labels),
    }
    return store.tag(store.put_json(index, INDEX))


def attach_build(
    store: Store, image: Descriptor, lock: Lock, sources: Mapping[str, Any]
) -> Descriptor:
    """What a build leaves beside its result."""
    children = store.read_json(image.digest)["manifests"]
    record = {
        "image": {
            "digest": image.digest,
            "platforms": [{"digest": each["digest"]} for each in children],
        },
        "models": [],
    }
    kept = [
        store.put_json(record, media.BUILD),
        store.put_bytes(codec.dump(lock), media.BUILD_LOCK),
        store.put_json(dict(sources), media.BUILD_SOURCES),
    ]
    return store.attach(image, media.BUILD, kept)


def sources(**files: str) -> dict[str, Any]:
    """A list of sources; names have ``__`` for a slash and ``_`` for a dot."""
    return {
        "schema": "buildkit/sources/v1",
        "recipe": "recipe.toml",
        "files": {
            name.replace("__", "/").replace("_", "."): {
                "digest": f"sha256:{hexes(text)}",
                "size": len(text),
                "executable": False,
            }
            for name, text in files.items()
        },
        "revision": "1" * 40,
        "epoch": 0,
        "code": "sha256:code",
        "builder": None,
    }


def new_store(folder: Path) -> Store:
    return Store.create(folder / "store")
