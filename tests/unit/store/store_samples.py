"""Small images and artifacts for the tests of the store."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from typing import TYPE_CHECKING, Any

from buildkit import media

if TYPE_CHECKING:
    from pathlib import Path

    from buildkit.records import Descriptor
    from buildkit.store import Store

LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
SBOM_TYPE = "application/spdx+json"
SIGNATURE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"


def layer_of(content: bytes) -> tuple[bytes, str]:
    """A compressed layer with one file, and the digest of its uncompressed form."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("hello")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    raw = buffer.getvalue()
    return gzip.compress(raw, mtime=0), "sha256:" + hashlib.sha256(raw).hexdigest()


def image(store: Store, content: bytes = b"hi", platform: str = "linux/amd64") -> Descriptor:
    """Put an image of one platform into the store."""
    data, diff_id = layer_of(content)
    layer = store.put_bytes(data, LAYER_TYPE)
    system, architecture = platform.split("/")
    config = store.put_json(
        {
            "os": system,
            "architecture": architecture,
            "config": {"Cmd": ["/hello"]},
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        },
        media.CONFIG,
    )
    document = {
        "schemaVersion": 2,
        "mediaType": media.MANIFEST,
        "config": config.to_json(),
        "layers": [layer.to_json()],
    }
    return store.put_json(document, media.MANIFEST, platform=platform)


def index(store: Store, *manifests: Descriptor) -> Descriptor:
    """Put an index of images into the store."""
    document = {
        "schemaVersion": 2,
        "mediaType": media.INDEX,
        "manifests": [each.to_json() for each in manifests],
    }
    return store.put_json(document, media.INDEX)


def multi_arch(store: Store, content: bytes = b"hi") -> Descriptor:
    """Put an image of two platforms into the store."""
    return index(
        store,
        image(store, content + b" arm64", "linux/arm64"),
        image(store, content + b" amd64", "linux/amd64"),
    )


def files_below(folder: Path) -> dict[str, bytes]:
    """All files below a folder with their content."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def names_in(store: Store) -> set[str]:
    """The digests of all blobs on disk."""
    return {f"sha256:{path.name}" for path in (store.root / "blobs" / "sha256").iterdir()}


def overwrite(store: Store, digest: str, data: bytes) -> None:
    """Damage a blob."""
    path = store.path(digest)
    path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(0o444)


def manifest_of(store: Store, descriptor: Descriptor) -> Any:
    """The parsed manifest."""
    return store.read_json(descriptor.digest)
