"""Damage to blobs: nothing is recomputed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tamper import Group

if TYPE_CHECKING:
    from collections.abc import Callable

    from signed_world import World

group = Group("Bytes of blobs")

ARM = "linux/arm64"


def _layer(number: int) -> Callable[[World], str]:
    def find(world: World) -> str:
        found: str = world.json(world.made.platforms[ARM])["layers"][number]["digest"]
        return found

    return find


def _config(world: World) -> str:
    found: str = world.json(world.made.platforms[ARM])["config"]["digest"]
    return found


def _model_config(world: World) -> str:
    found: str = world.json(world.made.variants["pi5"])["config"]["digest"]
    return found


def _card(world: World) -> str:
    found: str = world.json(world.made.variants["pi5"])["layers"][1]["digest"]
    return found


def _referrer(world: World) -> str:
    found: str = world.bundles(world.made.image, "provenance")[0]["digest"]
    return found


def _bundle(kind: str, part: Callable[[World], str]) -> Callable[[World], str]:
    return lambda world: world.bundle(part(world), kind)


def _arm(world: World) -> str:
    return world.made.platforms[ARM]


BLOBS: dict[str, tuple[str, Callable[[World], str]]] = {
    "index": ("the image index", lambda world: world.made.image),
    "manifest": ("a platform's manifest", _arm),
    "config": ("a platform's configuration", _config),
    "debian-layer": ("the layer of Debian packages", _layer(0)),
    "python-layer": ("the layer of wheels", _layer(1)),
    "app-layer": ("the app layer", _layer(2)),
    "models": ("the index of models", lambda world: world.made.models),
    "model": ("a model's manifest", lambda world: world.made.variants["pi5"]),
    "model-config": ("a model's configuration", _model_config),
    "weight": ("`model.onnx`", lambda world: world.made.weight),
    "card": ("a model's card", _card),
    "lock": ("the lock", lambda world: world.made.lock_digest),
    "referrer": ("the manifest of a referrer", _referrer),
    "bundle-provenance": (
        "the bundle of the provenance",
        _bundle("provenance", lambda world: world.made.image),
    ),
    "bundle-run": ("the bundle of the run", _bundle("run", lambda world: world.made.image)),
    "bundle-cyclonedx": ("the bundle of a CycloneDX SBOM", _bundle("cyclonedx", _arm)),
    "bundle-spdx": ("the bundle of an SPDX SBOM", _bundle("spdx", _arm)),
    "bundle-model": (
        "the bundle of a model's SBOM",
        _bundle("cyclonedx", lambda world: world.made.variants["pi5"]),
    ),
}


def _bit(world: World, digest: str) -> None:
    world.flip(digest)


def _first_bit(world: World, digest: str) -> None:
    world.flip(digest, 0)


def _cut(world: World, digest: str) -> None:
    world.write(digest, world.read(digest)[:-1])


def _longer(world: World, digest: str) -> None:
    world.write(digest, world.read(digest) + b"\n")


def _empty(world: World, digest: str) -> None:
    world.write(digest, b"")


def _gone(world: World, digest: str) -> None:
    world.path(digest).unlink()


def _link(world: World, digest: str) -> None:
    """To the very same bytes: what it leads to tomorrow nobody knows."""
    away = world.root / "elsewhere"
    away.write_bytes(world.read(digest))
    world.path(digest).unlink()
    world.path(digest).symlink_to(away)


DAMAGE: dict[str, tuple[str, str, Callable[[World, str], None]]] = {
    "bit": ("one bit changed in", "blob-digest", _bit),
    "cut": ("the last byte cut from", "blob-digest", _cut),
    "gone": ("deleted:", "blob-missing", _gone),
    "link": ("replaced by a symbolic link to the same bytes:", "name", _link),
}
# What follows from the damage besides: evidence that cannot be read is evidence that is not there.
ALSO = {
    "referrer": "evidence-missing",
    "bundle-provenance": "evidence-missing",
    "bundle-run": "evidence-missing",
    "bundle-cyclonedx": "evidence-missing",
    "bundle-spdx": "evidence-missing",
    "bundle-model": "evidence-missing",
}


def _damage(
    how: Callable[[World, str], None], find: Callable[[World], str]
) -> Callable[[World], None]:
    return lambda world: how(world, find(world))


for _blob, (_called, _find) in BLOBS.items():
    for _name, (_words, _reason, _how) in DAMAGE.items():
        group.add(
            f"{_name}-{_blob}",
            f"{_words} {_called}",
            f"{_reason} {ALSO.get(_blob, '')}",
            _damage(_how, _find),
        )

for _blob in ("index", "app-layer", "weight", "bundle-provenance"):
    _called, _find = BLOBS[_blob]
    for _name, _words, _how in (
        ("first-bit", "the first bit changed in", _first_bit),
        ("longer", "a line break added to", _longer),
        ("empty", "emptied:", _empty),
    ):
        group.add(
            f"{_name}-{_blob}",
            f"{_words} {_called}",
            f"blob-digest {ALSO.get(_blob, '')}",
            _damage(_how, _find),
        )


@group("a layer's bytes put under the digest of another layer", "blob-digest")
def swapped_layers(world: World) -> None:
    first, second = _layer(0)(world), _layer(1)(world)
    data = world.read(first)
    world.write(first, world.read(second))
    world.write(second, data)


@group("another recipe's `model.onnx` put under the digest of this one", "blob-digest")
def other_weight_under_digest(world: World) -> None:
    world.write(world.made.weight, world.read(world.other.weight))


@group("another recipe's index put under the digest of this one", "blob-digest")
def other_index_under_digest(world: World) -> None:
    world.write(world.made.image, world.read(world.other.image))


@group("a layer replaced by a folder", "name")
def layer_is_folder(world: World) -> None:
    path = world.path(_layer(2)(world))
    path.unlink()
    path.mkdir()


@group("a layer replaced by a pipe that never answers", "name")
def layer_is_pipe(world: World) -> None:
    path = world.path(_layer(2)(world))
    path.unlink()
    os.mkfifo(path)


@group("the lock replaced by a pipe that never answers", "name")
def lock_is_pipe(world: World) -> None:
    path = world.path(world.made.lock_digest)
    path.unlink()
    os.mkfifo(path)


@group("a layer replaced by a link to a device without an end", "name")
def layer_is_device(world: World) -> None:
    path = world.path(_layer(2)(world))
    path.unlink()
    path.symlink_to("/dev/zero")


@group("the image asked for by digest, one bit changed in its index", "blob-digest")
def by_digest_bit(world: World) -> None:
    world.ref = world.made.image
    world.flip(world.made.image)


@group("a platform asked for by digest, one bit changed in a layer", "blob-digest")
def platform_by_digest_bit(world: World) -> None:
    world.ref = world.made.platforms[ARM]
    world.flip(_layer(1)(world))


@group("a platform asked for by digest, one bit changed in its manifest", "blob-digest")
def platform_manifest_by_digest_bit(world: World) -> None:
    world.ref = world.made.platforms[ARM]
    world.flip(world.made.platforms[ARM])


@group("a layer asked for, which is no artifact", "manifest")
def layer_by_digest(world: World) -> None:
    world.ref = _layer(0)(world)


@group("the model asked for, one bit changed in `model.onnx`", "blob-digest")
def model_by_name_bit(world: World) -> None:
    world.ref = "tiny-model:1.0.0"
    world.flip(world.made.weight)


@group("every blob of the image deleted but its index", "blob-missing")
def all_but_index(world: World) -> None:
    for digest in (*world.made.platforms.values(), world.made.models, world.made.lock_digest):
        world.path(digest).unlink()


@group("the other platform's blobs deleted: an image is whole or it is not", "blob-missing")
def other_platform_gone(world: World) -> None:
    world.path(world.made.platforms["linux/amd64"]).unlink()


@group("the empty configuration of a referrer changed", "blob-digest")
def empty_config(world: World) -> None:
    (entry,) = world.bundles(world.made.image, "provenance")
    world.write(world.json(entry["digest"])["config"]["digest"], b"[]")
