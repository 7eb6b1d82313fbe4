"""A small artifact in a store: an image of one platform, its model, and what hangs on them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from buildkit import media
from buildkit.errors import ToolError
from buildkit.registry import Access, Patience
from buildkit.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fake_registry import Fake

    from buildkit.records import Descriptor
    from buildkit.run import Result

# A layer longer than what is sent in one piece, and not the same all over.
LAYER = bytes(range(256)) * 4096
SAID = "application/vnd.example.said.v1+json"


def no_programs(argv: Sequence[str | Path], **_: Any) -> Result:
    msg = f"{argv[0]}: no such program"
    raise ToolError(msg)


def patience(**times: Any) -> Patience:
    """Short pauses; who waits for the end of it says how long."""
    return Patience(**{"first_contact_s": 0.5, "first_s": 0.01, "longest_s": 0.1, **times})


def access(environ: Mapping[str, str] | None = None, **how: Any) -> Access:
    given = {"HOME": "/nonexistent", **(environ or {})}
    return Access(
        **{
            "runner": no_programs,
            "plain_http": True,
            "patience": patience(),
            **how,
            "environ": given,
        }
    )


@dataclass(frozen=True)
class World:
    store: Store
    image: Descriptor
    platform: Descriptor
    models: Descriptor
    layer: Descriptor
    said: tuple[Descriptor, ...]

    def everything(self) -> set[str]:
        """Digests of all that belongs to the image."""
        found = {self.image.digest, self.models.digest}
        for top in (self.image, self.models, *self.store.entries()):
            found |= {node.descriptor.digest for node in self.store.walk(top)}
        return found


def make(root: Path, name: str = "demo:1", layer: bytes = LAYER) -> World:
    store = Store.create(root)
    blob = store.put_bytes(layer, media.LAYER)

    def index(content: Descriptor) -> tuple[Descriptor, Descriptor]:
        config = store.put_json({"of": content.digest}, media.CONFIG)
        manifest = {"schemaVersion": 2, "mediaType": media.MANIFEST, "config": config.to_json()}
        manifest["layers"] = [content.to_json()]
        platform = store.put_json(manifest, media.MANIFEST, platform="linux/arm64")
        document = {"schemaVersion": 2, "mediaType": media.INDEX, "manifests": [platform.to_json()]}
        return store.put_json(document, media.INDEX), platform

    image, platform = index(blob)
    models, _ = index(store.put_bytes(b"weights of " + layer[:10], "application/x-weights"))
    base, _, tag = name.partition(":")
    store.tag(models, f"{base}-model:{tag}")
    image = store.tag(image, name)
    record = (json.dumps({"model_index": models.digest}).encode(), media.BUILD)
    said = [store.attach(image, media.BUILD, [record], annotations={"key": "value"})]
    said += [
        store.attach(each, SAID, [(f"{n}".encode(), SAID)])
        for n, each in enumerate((image, platform, models))
    ]
    said.append(store.attach(said[-1], SAID, [(b"about what is said", SAID)]))
    return World(
        store=store, image=image, platform=platform, models=models, layer=blob, said=tuple(said)
    )


def name_of(fake: Fake, rest: str = "team/demo") -> str:
    return f"{fake.address}/{rest}"
