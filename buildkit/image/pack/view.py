"""What syft is shown of an image, and what is kept of its answer.

Runs in the Nix sandbox as a program, apart from the other modules of this folder so that a change
of one does not run the other's stages; on the host it is imported.

    view.py show FOLDER ARCHITECTURE LAYER…    an OCI layout of one image; LAYER as `pack` writes it
    view.py keep FILE                          syft's JSON from standard input, normalised

Formats: OCI image-spec 1.1 (image-layout.md, manifest.md, config.md); syft's JSON, schema 16.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
# The rest names the machine (folders of the user, the time, the path of the layout), or is long
# and belongs to files and not to packages.
_KEPT = ("foundBy", "locations", "licenses", "cpes", "purl", "type", "name", "version", "language")
_METADATA = ("architecture", "source", "sourceVersion", "maintainer")


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """A packed layer: the file that holds it, its digest, that of its tar, its size in bytes."""

    file: Path
    digest: str
    diff_id: str
    size: int


def show(folder: Path, architecture: str, layers: Sequence[Layer]) -> None:
    """Write an OCI layout with exactly one image, which is what syft's ``oci-dir:`` wants.

    Args:
        folder: is made.
        architecture: Debian's name of the processor.
        layers: lowest first; the layout has links to them.
    """
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for layer in {layer.digest: layer for layer in layers}.values():
        (blobs / layer.digest.removeprefix("sha256:")).symlink_to(layer.file.absolute())
    config = {
        "architecture": architecture,
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": _put(blobs, config, _CONFIG),
        "layers": [
            {"mediaType": _LAYER, "digest": layer.digest, "size": layer.size} for layer in layers
        ],
    }
    index = {"schemaVersion": 2, "manifests": [_put(blobs, manifest, _MANIFEST)]}
    (folder / "index.json").write_bytes(_dump(index))
    (folder / "oci-layout").write_bytes(_dump({"imageLayoutVersion": "1.0.0"}))


def keep(raw: bytes) -> bytes:
    """The packages in syft's answer, in the form of syft's JSON, the same for the same layers.

    Args:
        raw: syft's JSON.

    Raises:
        ValueError: it is not.
    """
    document = json.loads(raw)
    try:
        artifacts = [_artifact(each) for each in document["artifacts"]]
        tool = {key: document["descriptor"][key] for key in ("name", "version")}
        schema = {"version": document["schema"]["version"]}
        searched = document["descriptor"]["configuration"]["catalogers"]["used"]
    except (KeyError, TypeError, AttributeError) as error:
        msg = f"not what syft writes: {error!r}"
        raise ValueError(msg) from error
    return _dump(
        {
            "artifacts": sorted(artifacts, key=_dump),
            "descriptor": {**tool, "configuration": {"catalogers": {"used": sorted(searched)}}},
            "distro": document.get("distro", {}),
            "schema": schema,
        }
    )


def _artifact(value: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value[key] for key in _KEPT if value.get(key)}
    for key in ("locations", "licenses", "cpes"):
        if key in kept:
            kept[key] = sorted(kept[key], key=_dump)
    metadata = value.get("metadata") or {}
    own = {key: metadata[key] for key in _METADATA if metadata.get(key)}
    return {**kept, "metadata": own} if own else kept


def _put(blobs: Path, document: dict[str, Any], media_type: str) -> dict[str, Any]:
    data = _dump(document)
    name = hashlib.sha256(data).hexdigest()
    (blobs / name).write_bytes(data)
    return {"mediaType": media_type, "digest": f"sha256:{name}", "size": len(data)}


def _dump(value: Any) -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def _layer(folder: Path) -> Layer:
    said = json.loads((folder / "layer.json").read_bytes())
    return Layer(
        file=folder / "layer.tar.gz",
        digest=said["digest"],
        diff_id=said["diff_id"],
        size=said["size"],
    )


def main(words: list[str]) -> int:
    """Run one step."""
    step, place, *rest = words
    if step == "show":
        show(Path(place), rest[0], [_layer(Path(name)) for name in rest[1:]])
    else:
        Path(place).write_bytes(keep(sys.stdin.buffer.read()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
