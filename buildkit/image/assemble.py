"""Images in the store: base and app layers, manifests, the index."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from buildkit import canonical, media
from buildkit.errors import InputError
from buildkit.image import context, graft
from buildkit.records import Descriptor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from buildkit.image.buildx import Built
    from buildkit.run import Runner
    from buildkit.store import Store

_MADE_BY = {"debian": media.MADE_BY_DEBIAN, "python": media.MADE_BY_PYTHON}


@dataclass(frozen=True, kw_only=True, slots=True)
class Base:
    """The base image of every platform.

    Attributes:
        index: of all platforms; not tagged.
        configs: platform → configuration.
        layers: platform → layers, lowest first.
    """

    index: Descriptor
    configs: Mapping[str, Mapping[str, Any]]
    layers: Mapping[str, tuple[graft.Layer, ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class App:
    """App layers of one platform, packed again: configuration of the build, files and diff_ids."""

    config: Mapping[str, Any]
    layers: tuple[tuple[Path, graft.Layer], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Platform:
    """One platform's manifest: its digest, and the compressed bytes of all that it names."""

    platform: str
    digest: str
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """An image index and its platforms, sorted."""

    index: Descriptor
    platforms: tuple[Platform, ...]


def put_base(store: Store, folders: Mapping[str, Mapping[str, Path]]) -> Base:
    """Put the layers that Nix made, and a base image of them.

    Args:
        store: where to.
        folders: platform → ``debian`` and ``python`` → folder with the layer and its record.
    """
    configs, layers, manifests = {}, {}, []
    for platform, kinds in sorted(folders.items()):
        stack = []
        for kind, made_by in _MADE_BY.items():
            record = canonical.load((kinds[kind] / "layer.json").read_bytes())
            blob = store.put_file(
                kinds[kind] / "layer.tar.gz", media.LAYER, digest=record["digest"]
            )
            stack.append(
                graft.Layer(descriptor=blob, diff_id=record["diff_id"], created_by=made_by)
            )
        layers[platform] = tuple(stack)
        configs[platform] = graft.base_config(platform, stack)
        config = store.put_json(configs[platform], media.CONFIG)
        document = graft.manifest(config, [layer.descriptor for layer in stack], {})
        manifests.append(store.put_json(document, media.MANIFEST, platform=platform))
    index = store.put_json(graft.index(manifests, {}), media.INDEX)
    return Base(index=index, configs=configs, layers=layers)


def normalise(
    built: Mapping[str, Built],
    base: Base,
    dockerfile: bytes,
    *,
    packer: Mapping[str, Any],
    physical: Callable[[str], Path],
    epoch: int,
    scratch: Path,
    runner: Runner,
) -> dict[str, App]:
    """Pack the app layers of every platform again, with the builder's own Python.

    Args:
        built: platform → what BuildKit left.
        base: what it may stand on.
        dockerfile: tells whether it does.
        packer: the builder's Python with our code, as ``nix/default.nix`` describes it.
        physical: store path → path on this machine.
        epoch: time of every file.
        scratch: folder for the packed layers.
        runner: starts the builder's Python.
    """
    on_base = context.final_stage(dockerfile) == "base"
    app: dict[str, list[Path]] = {}
    for platform, result in built.items():
        below = graft.base_layers_in(result.config, base.configs[platform], on_base=on_base)
        app[platform] = list(result.layers[below:])
    out = scratch / "packed"
    out.mkdir()
    files = [file for layers in app.values() for file in layers]
    request = {"epoch": epoch, "out": str(out), "layers": [str(file) for file in files]}
    (scratch / "pack.json").write_text(json.dumps(request))
    # An option is not a path, and `physical` leaves it alone.
    command = [physical(word) if word.startswith("/") else word for word in packer["command"]]
    runner(
        [*command, "-B", "-m", "pack", "app", scratch / "pack.json"],
        env={
            "PYTHONHOME": str(physical(packer["home"])) if packer["home"] else "",
            "PYTHONPATH": ":".join(str(physical(path)) for path in packer["path"]),
            "PYTHONHASHSEED": "0",
        },
    )
    records = iter(enumerate(json.loads((out / "layers.json").read_text())))
    return {
        platform: App(
            config=built[platform].config,
            layers=tuple(_packed(out, *next(records)) for _ in layers),
        )
        for platform, layers in app.items()
    }


def _packed(out: Path, number: int, record: Mapping[str, Any]) -> tuple[Path, graft.Layer]:
    blob = Descriptor(media_type=media.LAYER, digest=record["digest"], size=record["size"])
    layer = graft.Layer(descriptor=blob, diff_id=record["diff_id"], created_by="")
    return out / f"{number}.tar.gz", layer


def put_image(
    store: Store,
    base: Base,
    apps: Mapping[str, App],
    *,
    labels: Mapping[str, str],
    epoch: int,
) -> Image:
    """Put manifests and index of the base with app layers on top; tags nothing."""
    manifests, platforms = [], []
    for platform, app in sorted(apps.items()):
        for file, layer in app.layers:
            store.put_file(file, media.LAYER, digest=layer.descriptor.digest)
        document = graft.graft(
            base.configs[platform],
            app.config,
            [layer.diff_id for _, layer in app.layers],
            labels=labels,
            epoch=epoch,
        )
        _check_entrypoint(document)
        config = store.put_json(document, media.CONFIG)
        layers = [layer.descriptor for layer in base.layers[platform]]
        layers += [layer.descriptor for _, layer in app.layers]
        document = graft.manifest(config, layers, labels)
        manifest = store.put_json(document, media.MANIFEST, platform=platform)
        manifests.append(manifest)
        size = manifest.size + config.size + sum(layer.size for layer in layers)
        platforms.append(Platform(platform=platform, digest=manifest.digest, size=size))
    index = store.put_json(graft.index(manifests, labels), media.INDEX)
    return Image(index=index, platforms=tuple(platforms))


def _check_entrypoint(config: Mapping[str, Any]) -> None:
    settings = config["config"]
    if not (settings.get("Entrypoint") or settings.get("Cmd")):
        msg = "the Dockerfile gives the image neither an ENTRYPOINT nor a CMD"
        raise InputError(msg, 'add ENTRYPOINT ["/usr/bin/python3.11", "/app/main.py"]')
