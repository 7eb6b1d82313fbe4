"""Manifests, indexes and configurations made again, with every digest above them recomputed.

In the first table the attacker has no key: old evidence hangs on what it was about, or is made to
hang on the new. In the second somebody with the right key signed it, and it still must not pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from signed_world import MODEL
from tamper import Group
from tamper_bytes import ARM

from buildkit import canonical, digests, media

if TYPE_CHECKING:
    from collections.abc import Callable

    from signed_world import World


def index(world: World) -> str:
    return world.made.image


def manifest(world: World) -> str:
    return world.made.platforms[ARM]


def config(world: World) -> str:
    found: str = world.json(manifest(world))["config"]["digest"]
    return found


def models(world: World) -> str:
    return world.made.models


def model(world: World) -> str:
    return world.made.variants["pi5"]


def card(world: World) -> str:
    found: str = world.json(model(world))["layers"][1]["digest"]
    return found


def pack(world: World) -> str:
    found: str = world.json(model(world))["config"]["digest"]
    return found


# Without the key --------------------------------------------------------------------------------

stolen = Group("Artifacts made again, without the key")


def _entrypoint(_: World, document: Any) -> None:
    document["config"]["Entrypoint"] = ["/evil"]


def _user(_: World, document: Any) -> None:
    document["config"]["User"] = "0"


def _new_layer(world: World, document: Any) -> None:
    data = b"an evil layer"
    document["layers"][2] = {
        "mediaType": media.LAYER,
        "digest": world.put(data),
        "size": len(data),
    }


def _version(_: World, document: Any) -> None:
    document["annotations"][media.VERSION] = "9.9.9"


def _card_accuracy(_: World, document: Any) -> None:
    document["accuracy"] = {"quantised": 100.0}


UNSIGNED: dict[str, tuple[str, Callable[[World], str], Callable[[World, Any], Any], str]] = {
    "entrypoint": ("another entry point in a configuration", config, _entrypoint, ""),
    "user": ("root as the user in a configuration", config, _user, ""),
    "layer": ("another app layer", manifest, _new_layer, ""),
    "card": ("a better accuracy in a model's card", card, _card_accuracy, ""),
}


def _remake(
    find: Callable[[World], str], change: Callable[[World, Any], Any], *, carry: bool
) -> Callable[[World], None]:
    def attack(world: World) -> None:
        world.remake(find(world), lambda document: change(world, document), carry=carry)

    return attack


for _name, (_what, _find, _change, _also) in UNSIGNED.items():
    stolen.add(
        f"unsigned-{_name}",
        _what,
        f"evidence-missing subject {_also}",
        _remake(_find, _change, carry=False),
    )
    stolen.add(
        f"carried-{_name}",
        f"{_what}, and the old evidence hung on it",
        f"evidence-missing subject {_also}",
        _remake(_find, _change, carry=True),
    )


def _stranger(find: Callable[[World], str], change: Callable[[World, Any], Any]) -> Any:
    def attack(world: World) -> None:
        world.remake(find(world), lambda document: change(world, document))
        world.resign(key="stranger")

    return attack


for _name, (_what, _find, _change, _also) in UNSIGNED.items():
    stolen.add(
        f"resigned-{_name}",
        f"{_what}, and all evidence made and signed again with a key of the attacker's",
        f"evidence-missing signer-unknown {_also}",
        _stranger(_find, _change),
    )


def _weight_swapped(world: World, *, carry: bool) -> None:
    """Everything that names the file's digest follows: card, manifest, index, image."""
    world.replace(world.made.weight, b"an evil model with other weights", carry=carry)


@stolen("another `model.onnx`, named everywhere", "evidence-missing model")
def unsigned_weight(world: World) -> None:
    world.remake(card(world), lambda document: document["file"].update(size=32))
    _weight_swapped(world, carry=False)


@stolen(
    "another `model.onnx`, named everywhere, old evidence hung on it",
    "evidence-missing model subject",
)
def carried_weight(world: World) -> None:
    world.remake(card(world), lambda document: document["file"].update(size=32), carry=True)
    _weight_swapped(world, carry=True)


@stolen("a list in the place of a platform's manifest", "evidence-missing manifest subject")
def unsigned_list(world: World) -> None:
    world.remake(manifest(world), lambda _: [])


# With the key -----------------------------------------------------------------------------------

own = Group("Artifacts that do not hold together, rightly signed")


def _signed(
    find: Callable[[World], str], change: Callable[[World, Any], Any]
) -> Callable[[World], None]:
    def attack(world: World) -> None:
        world.remake(find(world), lambda document: change(world, document))
        world.resign()

    return attack


def _set(**values: Any) -> Callable[[World, Any], None]:
    return lambda _, document: document.update(values)


def _drop(*path: Any) -> Callable[[World, Any], None]:
    def change(_: World, document: Any) -> None:
        for key in path[:-1]:
            document = document[key]
        del document[path[-1]]

    return change


def _put(*path: Any) -> Callable[[World, Any], None]:
    """The last of `path` is the value."""

    def change(_: World, document: Any) -> None:
        for key in path[:-2]:
            document = document[key]
        document[path[-2]] = path[-1]

    return change


def _swap_platforms(_: World, document: Any) -> None:
    one, two = document["manifests"]
    one["platform"], two["platform"] = two["platform"], one["platform"]


def _doubled(_: World, document: Any) -> None:
    document["manifests"].append(document["manifests"][0])


def _twice_one_platform(world: World, document: Any) -> None:
    other = canonical.load(world.read(document["manifests"][1]["digest"]))
    other["annotations"]["x"] = "another one"
    data = canonical.dump(other)
    document["manifests"].append(
        {**document["manifests"][1], "digest": world.put(data), "size": len(data)}
    )


def _model_in_image(world: World, document: Any) -> None:
    found = model(world)
    document["manifests"].append(
        {
            "mediaType": media.MANIFEST,
            "digest": found,
            "size": len(world.read(found)),
            "platform": {"os": "linux", "architecture": "riscv64"},
        }
    )


def _nested(world: World, document: Any) -> None:
    data = world.read(world.other.image)
    document["manifests"].append(
        {
            "mediaType": media.INDEX,
            "digest": world.other.image,
            "size": len(data),
            "platform": {"os": "linux", "architecture": "riscv64"},
        }
    )


def _layer_key(key: str, value: Any) -> Callable[[World, Any], None]:
    return lambda _, document: document["layers"][0].update({key: value})


def _extra_diff_id(_: World, document: Any) -> None:
    document["rootfs"]["diff_ids"].append(digests.of_bytes(b"one more"))


def _about(world: World, document: Any) -> None:
    data = world.read(world.other.image)
    document["subject"] = {
        "mediaType": media.INDEX,
        "digest": world.other.image,
        "size": len(data),
    }


ROWS: dict[str, tuple[str, str, Callable[[World], str], Callable[[World, Any], Any]]] = {
    # the image index
    "index-empty": ("an index of nothing", "manifest", index, _set(manifests=[])),
    "index-subject": (
        "an image index that is about another",
        "manifest",
        index,
        _about,
    ),
    "index-platform-twice": (
        "two manifests of one platform",
        "evidence-missing platform subject",
        index,
        _twice_one_platform,
    ),
    "index-doubled": ("one platform's entry twice", "manifest", index, _doubled),
    "index-model": ("a model among the platforms", "manifest", index, _model_in_image),
    "index-nested": ("another index among the platforms", "manifest", index, _nested),
    "index-swapped": ("the platforms of two entries swapped", "platform", index, _swap_platforms),
    "index-no-platform": (
        "an entry without a platform",
        "platform",
        index,
        _drop("manifests", 0, "platform"),
    ),
    "index-unknown-platform": (
        "an entry of platform unknown/unknown",
        "platform",
        index,
        _put("manifests", 0, "platform", {"os": "unknown", "architecture": "unknown"}),
    ),
    "index-os-version": (
        "a platform with a version of an operating system",
        "platform",
        index,
        _put("manifests", 0, "platform", "os.version", "10"),
    ),
    "index-variant": (
        "a platform with a variant that its configuration does not have",
        "platform",
        index,
        _put("manifests", 0, "platform", "variant", "v9"),
    ),
    "index-extra-key": ("a key that no image index has", "manifest", index, _set(layers=[])),
    "index-manifest-too": (
        "an index that is a manifest as well (CVE-2021-41190)",
        "manifest",
        index,
        _set(config={"mediaType": media.CONFIG, "digest": digests.of_bytes(b""), "size": 0}),
    ),
    "index-schema": ("schema version 1", "manifest", index, _set(schemaVersion=1)),
    "index-schema-text": ('schema version "2", a text', "manifest", index, _set(schemaVersion="2")),
    "index-no-type": ("an index without its media type", "manifest", index, _drop("mediaType")),
    "index-other-type": (
        "an index that calls itself a manifest",
        "manifest",
        index,
        _set(mediaType=media.MANIFEST),
    ),
    "index-annotation-list": (
        "an annotation that is a list",
        "manifest",
        index,
        _put("annotations", media.TITLE, ["tiny"]),
    ),
    "index-children-object": ("`manifests` is an object", "manifest", index, _set(manifests={})),
    "index-child-text": ("an entry is a text", "manifest", index, _set(manifests=["x"])),
    "index-no-lock": (
        "an index that names no lock",
        "material model sbom",
        index,
        _drop("annotations", media.LOCK_DIGEST),
    ),
    "index-no-model": (
        "an index that names no model",
        "model",
        index,
        _drop("annotations", media.MODEL_DIGEST),
    ),
    "index-other-model": (
        "an index that names another recipe's model",
        "evidence-ambiguous material model name subject",
        index,
        lambda world, document: document["annotations"].update(
            {media.MODEL_DIGEST: world.other.models}
        ),
    ),
    "index-model-is-image": (
        "an index that names an image as its model",
        "model",
        index,
        lambda world, document: document["annotations"].update(
            {media.MODEL_DIGEST: world.other.image}
        ),
    ),
    "index-model-unknown": (
        "an index that names a model which is nowhere",
        "blob-missing model",
        index,
        _put("annotations", media.MODEL_DIGEST, digests.of_bytes(b"nowhere")),
    ),
    "index-other-lock": (
        "an index that names another recipe's lock",
        "material model name sbom",
        index,
        lambda world, document: document["annotations"].update(
            {media.LOCK_DIGEST: world.other.lock_digest}
        ),
    ),
    "index-version": (
        "an index that calls itself a newer version",
        "name",
        index,
        _version,
    ),
    # a platform
    "manifest-sha512": (
        "a layer by another hash function",
        "manifest",
        manifest,
        _layer_key("digest", "sha512:" + "0" * 128),
    ),
    "manifest-upper": (
        "a digest in capital letters",
        "manifest",
        manifest,
        _layer_key("digest", "sha256:" + "A" * 64),
    ),
    "manifest-size-negative": (
        "a layer of a negative length",
        "manifest",
        manifest,
        _layer_key("size", -1),
    ),
    "manifest-size-float": ("a layer of 1.5 bytes", "manifest", manifest, _layer_key("size", 1.5)),
    "manifest-size-true": (
        "a layer of `true` bytes",
        "manifest",
        manifest,
        _layer_key("size", value=True),
    ),
    "manifest-size": (
        "a layer named with another length",
        "blob-digest",
        manifest,
        _layer_key("size", 7),
    ),
    "manifest-huge-size": (
        "a layer named with 8 exabytes",
        "blob-digest",
        manifest,
        _layer_key("size", 2**63),
    ),
    "manifest-data": (
        "a layer that carries other bytes along (`data`)",
        "manifest",
        manifest,
        _layer_key("data", "ZXZpbA=="),
    ),
    "manifest-two-sizes": (
        "one layer twice, with two lengths",
        "blob-digest",
        manifest,
        lambda _, document: document["layers"].__setitem__(
            1, {**document["layers"][0], "size": document["layers"][0]["size"] + 1}
        ),
    ),
    "manifest-no-layers": ("a manifest without layers", "manifest", manifest, _set(layers=[])),
    "manifest-no-config": (
        "a manifest without a configuration",
        "manifest",
        manifest,
        _drop("config"),
    ),
    "manifest-layer-type": (
        "a layer that is not a tar archive",
        "manifest",
        manifest,
        _layer_key("mediaType", "application/octet-stream"),
    ),
    "manifest-foreign-layer": (
        "a layer that need not be distributed",
        "manifest",
        manifest,
        _layer_key("mediaType", "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"),
    ),
    "manifest-artifact": (
        "a platform's manifest that is an artifact",
        "manifest",
        manifest,
        _set(artifactType="application/vnd.example"),
    ),
    "manifest-is-model": (
        "a platform's manifest that says it is a model",
        "manifest",
        manifest,
        _set(artifactType=MODEL),
    ),
    "manifest-other-lock": (
        "a platform that names another lock than the index",
        "sbom",
        manifest,
        lambda world, document: document["annotations"].update(
            {media.LOCK_DIGEST: world.other.lock_digest}
        ),
    ),
    "manifest-other-model": (
        "a platform that names another model than the index",
        "model",
        manifest,
        lambda world, document: document["annotations"].update(
            {media.MODEL_DIGEST: world.other.models}
        ),
    ),
    "manifest-version": (
        "a platform of another version than the index",
        "manifest name",
        manifest,
        _version,
    ),
    # a configuration
    "config-arch": (
        "a configuration of another platform than the index says",
        "platform",
        config,
        _set(architecture="riscv64"),
    ),
    "config-os": ("a configuration of another system", "platform", config, _set(os="windows")),
    "config-arch-list": (
        "an architecture that is a list",
        "platform",
        config,
        _set(architecture=[]),
    ),
    "config-more": (
        "one layer more in the configuration than there are",
        "manifest",
        config,
        _extra_diff_id,
    ),
    "config-fewer": (
        "one layer fewer in the configuration than there are",
        "manifest",
        config,
        _drop("rootfs", "diff_ids", 0),
    ),
    "config-no-rootfs": ("a configuration without layers", "manifest", config, _drop("rootfs")),
    "config-diff-id": (
        "a layer's id that is a path",
        "manifest",
        config,
        _put("rootfs", "diff_ids", 0, "../../etc/passwd"),
    ),
    "config-label-lock": (
        "a label that names another lock",
        "sbom",
        config,
        _put("config", "Labels", media.LOCK_DIGEST, digests.of_bytes(b"other")),
    ),
    "config-label-model": (
        "a label that names another model",
        "model",
        config,
        _put("config", "Labels", media.MODEL_DIGEST, digests.of_bytes(b"other")),
    ),
    "config-label-version": (
        "a label of another version",
        "manifest",
        config,
        _put("config", "Labels", media.VERSION, "9.9.9"),
    ),
    "config-no-labels": (
        "a configuration without labels",
        "manifest model sbom",
        config,
        _drop("config", "Labels"),
    ),
    "config-list": ("a configuration that is a list", "manifest", config, lambda _, __: []),
    # the model
    "models-empty": ("an index of no models", "manifest", models, _set(manifests=[])),
    "models-subject": ("an index of models that is about an image", "manifest", models, _about),
    "model-subject": ("a model that is about an image", "manifest", model, _about),
    "models-doubled": ("one variant's entry twice", "manifest", models, _doubled),
    "models-target": (
        "a variant that the index calls by another target",
        "model",
        models,
        _put("manifests", 0, "annotations", media.MODEL_TARGET, "jetson-nano"),
    ),
    "models-target-twice": (
        "two variants that the index calls by one target",
        "model",
        models,
        _put("manifests", 0, "annotations", media.MODEL_TARGET, "amd64"),
    ),
    "models-one-less": ("a variant left out", "model subject", models, _drop("manifests", 0)),
    "models-image": (
        "an image among the variants",
        "model",
        models,
        lambda world, document: document["manifests"].append(
            {
                "mediaType": media.MANIFEST,
                "digest": world.other.platforms[ARM],
                "size": len(world.read(world.other.platforms[ARM])),
            }
        ),
    ),
    "models-other-lock": (
        "an index of models from another lock than the image",
        "model",
        models,
        lambda world, document: document["annotations"].update(
            {media.LOCK_DIGEST: world.other.lock_digest}
        ),
    ),
    "model-other-lock": (
        "a variant from another lock than the image",
        "model",
        model,
        lambda world, document: document["annotations"].update(
            {media.LOCK_DIGEST: world.other.lock_digest}
        ),
    ),
    "model-checksum": (
        "a variant whose annotation names another file",
        "model",
        model,
        _put("annotations", media.MODEL_CHECKSUM, digests.of_bytes(b"other")),
    ),
    "model-data": (
        "a variant whose annotation names other data than its card",
        "model",
        model,
        _put("annotations", media.MODEL_DATA_DIGEST, digests.of_bytes(b"other")),
    ),
    "model-no-card": ("a model without its card", "model", model, _drop("layers", 1)),
    "model-two-weights": (
        "a model of two files",
        "model",
        model,
        lambda _, document: document["layers"].append(document["layers"][0]),
    ),
    "model-reordered": (
        "card and file in the other order",
        "model",
        model,
        lambda _, document: document["layers"].reverse(),
    ),
    "model-config-type": (
        "a model with an image's configuration",
        "model",
        model,
        _put("config", "mediaType", media.CONFIG),
    ),
    "model-version": ("a variant of another version than the image", "model name", model, _version),
    "pack-ids": (
        "a model's configuration that names other layers",
        "model",
        pack,
        _put("modelfs", "diffIds", 0, digests.of_bytes(b"other")),
    ),
    "card-file": (
        "a card that describes another file",
        "model",
        card,
        _put("file", "digest", digests.of_bytes(b"other")),
    ),
    "card-size": ("a card with another length of the file", "model", card, _put("file", "size", 1)),
    "card-target": (
        "a card for another device",
        "model",
        card,
        _put("runtime", "target", "jetson-nano"),
    ),
    "card-platform": (
        "a card for a platform that the image has not",
        "model",
        card,
        _put("runtime", "platform", "linux/riscv64"),
    ),
    "card-schema": ("a card of a later schema", "model", card, _set(schema="buildkit/model/v2")),
    "card-name": ("a card of another recipe", "model", card, _set(name="other")),
    "card-float": (
        "a card that names another float model than the lock",
        "model",
        card,
        _put("training", "float_sha256", "0" * 64),
    ),
    "card-list": ("a card that is a list", "manifest", card, lambda _, __: []),
}

for _row, (_what, _reasons, _find, _change) in ROWS.items():
    own.add(_row, _what, _reasons, _signed(_find, _change))


@own("another `model.onnx` than the lock was made with, named everywhere", "model")
def signed_weight(world: World) -> None:
    data = world.read(world.made.weight)
    world.replace(world.made.weight, data[::-1])
    world.resign()


# Names ------------------------------------------------------------------------------------------

names = Group("Names and paths that lead elsewhere")

for _at, (_path, _called) in enumerate(
    (
        ("sha256:../../../../etc/passwd", "a relative path"),
        ("/etc/passwd", "an absolute path"),
        ("sha256:..\\..\\windows", "a path with backslashes"),
        ("sha256:" + "0" * 63 + "/", "a slash at its end"),
    )
):
    names.add(
        f"digest-path-{_at}",
        f"a layer's digest that is {_called}",
        "name",
        _signed(manifest, _layer_key("digest", _path)),
    )

for _at, _path in enumerate(("../model.onnx", "/etc/cron.d/x", "a/../../x", "..\\x", "x\x00.onnx")):
    names.add(
        f"file-path-{_at}",
        f"a model's file called `{_path!r}`".replace("'", ""),
        "name",
        _signed(model, _put("layers", 0, "annotations", media.FILE_PATH, _path)),
    )
    names.add(
        f"title-path-{_at}",
        f"a model's file with the title `{_path!r}`".replace("'", ""),
        "name",
        _signed(model, _put("layers", 0, "annotations", media.TITLE, _path)),
    )

names.add(
    "file-renamed",
    "a model's file called `model.json`",
    "name",
    _signed(model, _put("layers", 0, "annotations", media.FILE_PATH, "model.json")),
)
names.add(
    "layer-url",
    "a layer that is to be had from a URL",
    "name",
    _signed(manifest, _layer_key("urls", ["https://example.org/layer"])),
)
names.add(
    "config-url",
    "a configuration that is to be had from a URL",
    "name",
    _signed(manifest, _put("config", "urls", ["https://example.org/config"])),
)
names.add(
    "child-url",
    "a platform that is to be had from a URL",
    "name",
    _signed(index, _put("manifests", 0, "urls", ["https://example.org/platform"])),
)


@names("the name of this recipe given to another recipe's image", "name")
def retagged_other(world: World) -> None:
    retag(world, world.other.image)


@names("the name of the image given to its model", "name")
def retagged_model(world: World) -> None:
    retag(world, world.made.models)


@names("the name of a new version given to an old one: a roll-back", "name")
def rolled_back(world: World) -> None:
    def rename(entries: list[Any]) -> None:
        for entry in entries:
            notes = entry.get("annotations", {})
            if entry["digest"] == world.made.image:
                notes["org.opencontainers.image.ref.name"] = "tiny:2.0.0"

    world.entries(rename)
    world.ref = "tiny:2.0.0"


@names("the name of the image given to a bundle", "manifest")
def retagged_bundle(world: World) -> None:
    retag(world, world.bundles(world.made.image, "run")[0]["digest"])


@names("the entry of the image with another length", "blob-digest")
def entry_size(world: World) -> None:
    _entry(world, size=7)


@names("the entry of the image with another media type", "manifest")
def entry_type(world: World) -> None:
    _entry(world, mediaType=media.MANIFEST)


@names("the entry of the image as an older kind of list", "manifest")
def entry_docker(world: World) -> None:
    _entry(world, mediaType="application/vnd.docker.distribution.manifest.list.v2+json")


@names("the entry of the image called a blob", "manifest")
def entry_blob(world: World) -> None:
    _entry(world, mediaType="application/octet-stream")


def _entry(world: World, **values: Any) -> None:
    def change(entries: list[Any]) -> None:
        for entry in entries:
            if entry["digest"] == world.made.image:
                entry.update(values)

    world.entries(change)


def retag(world: World, digest: str) -> None:
    data = world.read(digest)
    ref = "org.opencontainers.image.ref.name"

    def change(entries: list[Any]) -> list[Any]:
        for entry in entries:
            entry.get("annotations", {}).pop(ref, None)
        media_type = canonical.load(data)["mediaType"]
        return [
            *entries,
            {
                "mediaType": media_type,
                "digest": digest,
                "size": len(data),
                "annotations": {ref: "tiny:1.0.0"},
            },
        ]

    world.entries(change)
