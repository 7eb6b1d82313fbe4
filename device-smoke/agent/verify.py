"""Whether an order may run: the four checks of docs/device-protocol.md, in their order. Pure.

Takes functions that give bytes and check signatures; starts nothing, writes nothing, and ends with
a plan or with a refusal that names the check.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

from agent import dsse, strict
from agent.errors import AgentError, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent.openssl import PublicKey
    from agent.order import Order

    Read = Callable[[str, int, Optional[int]], bytes]
    Check = Callable[[str, Optional[int]], None]
    Verify = Callable[[PublicKey, bytes, bytes], bool]

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
MODEL_DIGEST = "io.edge-buildkit.model.digest"
FILE_PATH = "org.cncf.model.filepath"

_DOCUMENT = 4 * 1024 * 1024
_ARCHITECTURES = {
    "aarch64": "arm64",
    "arm64": "arm64",
    "armv7l": "arm",
    "armv6l": "arm",
    "x86_64": "amd64",
    "riscv64": "riscv64",
}


@dataclass(frozen=True)
class Descriptor:
    """What a manifest says of a blob."""

    digest: str
    size: int
    media_type: str
    annotations: Mapping[str, Any]


@dataclass(frozen=True)
class Plan:
    """What may run.

    Attributes:
        manifest: descriptor of the image's manifest.
        config: of its configuration.
        layers: of its layers, lowest first.
        settings: ``config`` of the configuration: user, environment, entry point.
        model: digest of ``model.onnx``.
        signers: ids of the trusted keys that signed the provenance.
    """

    manifest: Descriptor
    config: Descriptor
    layers: tuple[Descriptor, ...]
    settings: Mapping[str, Any]
    model: str
    signers: tuple[str, ...]


@dataclass(frozen=True)
class _Image:
    index: dict[str, Any]
    document: dict[str, Any]
    config: dict[str, Any]
    config_at: Descriptor
    layers: tuple[Descriptor, ...]


def architecture(machine: str) -> str:
    """The OCI name of what ``uname -m`` says."""
    return _ARCHITECTURES.get(machine, machine)


def plan(
    order: Order,
    machine: str,
    trusted: Mapping[str, PublicKey],
    *,
    read: Read,
    check: Check,
    verify: Verify,
) -> Plan:
    """Check an order.

    Args:
        order: what shall run.
        machine: what ``uname -m`` says.
        trusted: keys whose signatures count.
        read: bytes of a blob (digest, most bytes, size if known), hashed.
        check: hash a blob (digest, size if known).
        verify: whether a signature (key, signature, signed bytes) fits.

    Raises:
        AgentError: of kind ``refused``; or of whatever `read` and the others raise.
    """
    # 1: all bytes are there, and are what their digests say.
    image = _image(order, read)
    for layer in image.layers:
        check(layer.digest, layer.size)
    model_index = _document(read, order.model_index, INDEX, "the model's index")
    model = _document(read, order.model_manifest, MANIFEST, "the model's manifest")
    weight, card_at = _model_file(model, "model.onnx"), _model_file(model, "model.json")
    check(weight.digest, weight.size)
    card = _json(read(card_at.digest, _DOCUMENT, card_at.size), "model.json")
    check(order.golden, None)
    bundles = {digest: read(digest, strict.LARGEST, None) for digest in order.bundles}
    check(order.smoke, None)
    # 2: the indexes list the manifests, and all is of this board's architecture.
    listed = _listed(image.index, order.image_manifest, "image")
    _listed(model_index, order.model_manifest, "model")
    _refuse_architecture(listed, image.config, machine)
    # 3: the image names the model, and the model its file and its golden data.
    _refuse_strangers(order, image.index, card, weight)
    # 4: somebody who is trusted here vouches for both.
    wanted = {order.image_index, order.image_manifest, order.model_index, order.model_manifest}
    signers = _signers(bundles, wanted, trusted, verify)
    size = strict.number(listed.get("size"), "size")
    settings = image.config.get("config") or {}
    return Plan(
        manifest=Descriptor(order.image_manifest, size, MANIFEST, {}),
        config=image.config_at,
        layers=image.layers,
        settings=_object(settings, "the image's configuration: config"),
        model=weight.digest,
        signers=signers,
    )


def _image(order: Order, read: Read) -> _Image:
    index = _document(read, order.image_index, INDEX, "the image's index")
    document = _document(read, order.image_manifest, MANIFEST, "the image's manifest")
    config_at = _descriptor(document.get("config"), "the image's manifest: config")
    if config_at.media_type != CONFIG:
        raise AgentError(
            Kind.REFUSED,
            f"the image's manifest: its configuration is of type {config_at.media_type}",
        )
    config = _json(read(config_at.digest, _DOCUMENT, config_at.size), "the image's configuration")
    layers = _layers(document, "the image's manifest")
    for layer in layers:
        if not layer.media_type.startswith(LAYER):
            raise AgentError(
                Kind.REFUSED, f"the image's manifest: a layer of type {layer.media_type}"
            )
    return _Image(index, document, config, config_at, layers)


def _document(read: Read, digest: str, media_type: str, what: str) -> dict[str, Any]:
    found = _json(read(digest, _DOCUMENT, None), what)
    if found.get("schemaVersion") != 2 or found.get("mediaType", media_type) != media_type:
        raise AgentError(Kind.REFUSED, f"{what} {digest} is not of type {media_type}")
    return found


def _json(data: bytes, what: str) -> dict[str, Any]:
    try:
        return strict.obj(strict.load(data), what)
    except ValueError as error:
        raise AgentError(Kind.REFUSED, f"{what}: {error}") from error


def _object(value: Any, what: str) -> dict[str, Any]:
    try:
        return strict.obj(value, what)
    except ValueError as error:
        raise AgentError(Kind.REFUSED, str(error)) from error


def _descriptor(value: Any, where: str) -> Descriptor:
    try:
        found = strict.obj(value, where)
        return Descriptor(
            digest=strict.digest(found.get("digest"), f"{where}.digest"),
            size=strict.number(found.get("size"), f"{where}.size"),
            media_type=strict.text(found.get("mediaType"), f"{where}.mediaType"),
            annotations=strict.obj(found.get("annotations", {}), f"{where}.annotations"),
        )
    except ValueError as error:
        raise AgentError(Kind.REFUSED, str(error)) from error


def _layers(manifest: dict[str, Any], what: str) -> tuple[Descriptor, ...]:
    try:
        listed = strict.array(manifest.get("layers"), f"{what}: layers", 512)
    except ValueError as error:
        raise AgentError(Kind.REFUSED, str(error)) from error
    return tuple(_descriptor(each, f"{what}: layers[{at}]") for at, each in enumerate(listed))


def _model_file(manifest: dict[str, Any], name: str) -> Descriptor:
    layers = _layers(manifest, "the model's manifest")
    found = [layer for layer in layers if layer.annotations.get(FILE_PATH) == name]
    if len(found) != 1:
        raise AgentError(
            Kind.REFUSED, f"the model's manifest has {len(found)} layers named {name}, not one"
        )
    return found[0]


def _listed(index: dict[str, Any], manifest: str, what: str) -> dict[str, Any]:
    try:
        entries = strict.array(index.get("manifests"), f"the {what}'s index: manifests", 512)
    except ValueError as error:
        raise AgentError(Kind.REFUSED, str(error)) from error
    for entry in entries:
        if isinstance(entry, dict) and entry.get("digest") == manifest:
            if _descriptor(entry, f"the {what}'s index").media_type != MANIFEST:
                raise AgentError(
                    Kind.REFUSED, f"the {what}'s index lists {manifest} as another type"
                )
            return entry
    raise AgentError(Kind.REFUSED, f"the {what}'s index does not list the manifest {manifest}")


def _refuse_architecture(entry: dict[str, Any], config: dict[str, Any], machine: str) -> None:
    platform = _object(entry.get("platform"), "the image's index: platform")
    board = ("linux", architecture(machine))
    for what, of in (("index", platform), ("configuration", config)):
        found = (of.get("os"), of.get("architecture"))
        if found != board:
            text = "/".join(map(str, found))
            raise AgentError(
                Kind.REFUSED, f"the image's {what} says {text}; this board is {'/'.join(board)}"
            )


def _refuse_strangers(
    order: Order, index: dict[str, Any], card: dict[str, Any], weight: Descriptor
) -> None:
    named = _object(index.get("annotations", {}), "the image's index: annotations")
    if named.get(MODEL_DIGEST) != order.model_index:
        raise AgentError(
            Kind.REFUSED,
            f"the image names the model {named.get(MODEL_DIGEST)}, not the ordered one",
        )
    file = _object(card.get("file"), "model.json: file").get("digest")
    if file != weight.digest:
        raise AgentError(
            Kind.REFUSED, f"model.json names the file {file}, but the model's is {weight.digest}"
        )
    golden = _object(card.get("golden"), "model.json: golden").get("digest")
    if golden != order.golden:
        raise AgentError(
            Kind.REFUSED, f"model.json names the golden data {golden}, not {order.golden}"
        )


def _signers(
    bundles: Mapping[str, bytes],
    wanted: set[str],
    trusted: Mapping[str, PublicKey],
    verify: Verify,
) -> tuple[str, ...]:
    """Who vouches for all that is `wanted`; every bundle is looked at, whatever another says."""
    by_hint = {key.hint: (identity, key) for identity, key in trusted.items()}
    found = []
    for digest, data in bundles.items():
        try:
            bundle = dsse.parse(data)
        except ValueError as error:
            raise AgentError(Kind.REFUSED, f"bundle {digest}: {error}") from error
        if bundle.hint not in by_hint:
            continue
        identity, key = by_hint[bundle.hint]
        if not verify(key, bundle.signature, bundle.signed):
            raise AgentError(
                Kind.REFUSED, f"bundle {digest}: its signature is not of the key {identity}"
            )
        if bundle.predicate_type == dsse.PROVENANCE and wanted <= bundle.subjects:
            found.append(identity)
    if not found:
        raise AgentError(
            Kind.REFUSED, "no bundle is provenance of image and model by a key that is trusted here"
        )
    return tuple(sorted(set(found)))
