"""What syft saw in an image: its own JSON, read into records.

Format: syft's JSON, schema 16 (``schema.version``); only the part that `buildkit.image.scan` and
``nix/default.nix`` keep is needed. Keys that are not named here are somebody else's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from buildkit.errors import EvidenceError
from buildkit.evidence import strict
from buildkit.evidence.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

# The major number changes when a key that was there means something else.
_SCHEMA = "16"
_MOST = 100_000


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Seen:
    """One package that syft found.

    Attributes:
        name: as the package itself writes it: a distribution's name is not normalised.
        version: as the package itself writes it; empty where it has none.
        kind: syft's type: ``deb``, ``python``, ``binary``, ``go-module`` and so on.
        architecture: Debian's name of the processor; empty where the package does not say.
        purl: package URL; empty for Debian packages of an image without ``/etc/os-release``.
        licences: SPDX identifier or expression where syft knows it, else the words of the package;
            each once, sorted.
        cpes: CPE 2.3 names that syft guessed or read; each once, sorted.
        locations: files that syft found it by, absolute in the image; each once, sorted.
        layer: ``sha256:<hex>`` of the unpacked layer (OCI ``diff_id``) that it was found in; empty
            when syft did not say.
        source: of a Debian package: name of the source package, with ``@`` and its version where
            that differs from the package's own; empty for all else.
    """

    name: str
    version: str
    kind: str
    architecture: str
    purl: str
    licences: tuple[str, ...]
    cpes: tuple[str, ...]
    locations: tuple[str, ...]
    layer: str
    source: str = ""


def parse(data: bytes, what: str) -> tuple[Seen, ...]:
    """Read what syft wrote.

    Args:
        data: syft's JSON.
        what: for the message: ``packages of linux/arm64``.

    Returns:
        Every package, sorted; each once.

    Raises:
        EvidenceError: not syft's JSON, of another schema, or a package without a name.
    """
    document = _document(data, what)
    schema = document.get("schema")
    version = schema.get("version") if isinstance(schema, dict) else None
    if not isinstance(version, str) or version.partition(".")[0] != _SCHEMA:
        raise _refused(what, f"syft's schema {version!r}, not {_SCHEMA}")
    listed = document.get("artifacts")
    if not isinstance(listed, list) or len(listed) > _MOST:
        raise _refused(what, f"`artifacts` is not a list of at most {_MOST} packages")
    found = {_package(each, f"{what}: artifacts[{at}]") for at, each in enumerate(listed)}
    return tuple(sorted(found))


def layers(data: bytes, what: str) -> tuple[str, ...]:
    """The layers that syft was shown, lowest first; see `buildkit.image.scan`.

    What it says of a whole image takes the place of what it says of the base.

    Args:
        data: what `buildkit.image.scan` gave.
        what: for the message.

    Returns:
        ``diff_id`` of each (``sha256:<hex>``); nothing where the document does not tell.

    Raises:
        EvidenceError: not an object, or ``layers`` is not a list of texts.
    """
    listed = _document(data, what).get("layers", [])
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        raise _refused(what, "`layers` is not a list of texts")
    return tuple(listed)


def _document(data: bytes, what: str) -> dict[str, Any]:
    document = strict.load(data, what)
    if not isinstance(document, dict):
        raise _refused(what, "not an object")
    return document


def _package(value: Any, where: str) -> Seen:
    if not isinstance(value, dict):
        raise _refused(where, "not an object")
    locations = tuple(_objects(value, "locations", where))
    metadata = value.get("metadata")
    own = metadata if isinstance(metadata, dict) else {}
    return Seen(
        name=_text(value, "name", where, empty=False),
        version=_text(value, "version", where),
        kind=_text(value, "type", where, empty=False),
        # Other kinds of packages have other things under this name.
        architecture=_text(own, "architecture", where) if value["type"] == "deb" else "",
        source=_source(value["name"], own, where) if value["type"] == "deb" else "",
        purl=_text(value, "purl", where),
        licences=_once(_licence(each, where) for each in _objects(value, "licenses", where)),
        cpes=_once(_text(each, "cpe", where) for each in _objects(value, "cpes", where)),
        locations=_once(_text(each, "path", where) for each in locations),
        layer=_layer(locations, where),
    )


def _source(name: str, own: dict[str, Any], where: str) -> str:
    """A control file names the source where it is called otherwise (Debian policy 5.6.1)."""
    source = _text(own, "source", where) or name
    version = _text(own, "sourceVersion", where)
    return f"{source}@{version}" if version else source


def _licence(value: dict[str, Any], where: str) -> str:
    return _text(value, "spdxExpression", where) or _text(value, "value", where)


def _layer(locations: tuple[dict[str, Any], ...], where: str) -> str:
    """That of the file which made syft see the package, else that of any file."""
    for each in sorted(locations, key=_is_supporting):
        if layer := _text(each, "layerID", where):
            return layer
    return ""


def _is_supporting(location: dict[str, Any]) -> bool:
    annotations = location.get("annotations")
    return not (isinstance(annotations, dict) and annotations.get("evidence") == "primary")


def _objects(value: dict[str, Any], key: str, where: str) -> Iterator[dict[str, Any]]:
    listed = value.get(key)
    if listed is None:
        return
    if not isinstance(listed, list):
        raise _refused(where, f"`{key}` is not a list")
    for each in listed:
        if not isinstance(each, dict):
            raise _refused(where, f"`{key}` holds something that is not an object")
        yield each


def _once(values: Iterator[str]) -> tuple[str, ...]:
    return tuple(sorted({value for value in values if value}))


def _text(value: dict[str, Any], key: str, where: str, *, empty: bool = True) -> str:
    found = value.get(key, "")
    if not isinstance(found, str) or not (found or empty):
        raise _refused(where, f"`{key}` is not a text")
    return found


def _refused(where: str, why: str) -> EvidenceError:
    return EvidenceError(Reason.SBOM, f"{where}: {why}")
