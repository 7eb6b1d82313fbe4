"""One manifest taken out of the store, for tools that want a layout with nothing else in it."""

from __future__ import annotations

import errno
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO

from buildkit import canonical, digests, media
from buildkit.errors import StoreError
from buildkit.store.documents import IMAGE_TYPES, INDEX_TYPES
from buildkit.store.entries import REF_NAME
from buildkit.store.files import FILE_MODE, make_folder, translated
from buildkit.store.layout import MARKER, Layout

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from buildkit.records import Descriptor
    from buildkit.store.graph import Node
    from buildkit.store.store import Store

_CONFIGS = (media.CONFIG, "application/vnd.docker.container.image.v1+json")
_CANNOT_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EACCES, errno.EOPNOTSUPP, errno.EROFS)

_BLOCK = 512

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(?:localhost|[a-zA-Z0-9-]+(?:\.[a-zA-Z0-9-]+)+|[a-zA-Z0-9-]+(?=:))(?::[0-9]+)?"
_NAME = (
    rf"(?:(?P<host>{_HOST})/)?{_COMPONENT}(?:/{_COMPONENT})*:[A-Za-z0-9_][A-Za-z0-9._-]{{0,127}}"
)


def view(store: Store, digest: str, folder: Path) -> Path:
    """Write a layout that holds one manifest or index and its parts, to be thrown away after use.

    Blobs are hard links, so a garbage collection meanwhile does not matter; symbolic links where
    the file system allows no other. Both are as read-only as the blobs of the store: a tool
    that gets a view must not be one that writes into blobs.

    Args:
        store: where the blobs are.
        digest: of a manifest or an index.
        folder: an empty or a new folder.

    Returns:
        `folder`.

    Raises:
        StoreError: the folder is not empty, a part is missing, or the disk is full; what was
            written is removed again.
        DigestError: a manifest is corrupt.
    """
    target = Layout(folder)
    made: list[Path] = []
    with store.reading(), translated(folder):
        if folder.exists() and any(folder.iterdir()):
            msg = f"{folder}: not empty, so no view is written here"
            raise StoreError(msg, "name a new folder")
        top = store.resolve(digest)
        make_folder(target.blobs)
        try:
            for node in store.walk(top):
                blob = target.blob(node.descriptor.digest)
                made.append(blob)
                _link(_checked(store, node), blob)
            for path, data in (
                (target.marker, MARKER),
                (target.index, _index(_bare(top), {})),
            ):
                made.append(path)
                path.write_bytes(data)
                path.chmod(FILE_MODE)
        except BaseException:
            for path in made:
                with suppress(OSError):
                    path.unlink(missing_ok=True)
            raise
    return folder


def archive(store: Store, descriptor: Descriptor, stream: BinaryIO, ref: str | None = None) -> None:
    """Write the image of one platform as a tar that ``docker load`` takes, always the same bytes.

    It is an OCI image layout, with docker's own ``manifest.json`` for engines that know no other.
    A name without a host gets ``localhost/``, so that every engine shows the same one, and none
    thinks of a public registry.

    Args:
        store: where the blobs are.
        descriptor: of an image manifest (not an index).
        stream: written from its position on; need not be seekable.
        ref: name for the image (``digits:1.0.0``); it has none when absent.

    Raises:
        StoreError: `descriptor` is not an image of one platform, a part is missing, or `ref` is no
            name that engines take; nothing was written then.
        DigestError: a blob is corrupt: the archive is cut off and must not be used.
        OSError: `stream` cannot be written.
    """
    name = None if ref is None else _full_name(ref)
    with store.reading():
        nodes = _image(store, descriptor)
        config = next(node for node in nodes if node.role == "config")
        links = nodes[0].links
        layers = [child for role, child in links.children if role == "layer"] if links else []
        names = {} if name is None else {REF_NAME: name, "io.containerd.image.name": name}
        docker = [
            {
                "Config": _inside(config.descriptor),
                "Layers": [_inside(each) for each in layers],
                "RepoTags": None if name is None else [name],
            }
        ]
        stream.write(_header("blobs/", 0) + _header("blobs/sha256/", 0))
        for node in sorted(nodes, key=lambda node: node.descriptor.digest):
            size = node.descriptor.size
            stream.write(_header(_inside(node.descriptor), size))
            store.copy(node.descriptor.digest, stream)
            stream.write(_padding(size))
        documents = (
            ("index.json", _index(_bare(descriptor), names)),
            ("manifest.json", canonical.dump(docker)),
            ("oci-layout", MARKER),
        )
        stream.writelines(
            _header(path, len(data)) + data + _padding(len(data)) for path, data in documents
        )
        stream.write(bytes(2 * _BLOCK))


def _image(store: Store, descriptor: Descriptor) -> list[Node]:
    """The parts of the image of one platform, all of them there and of the right size."""
    if descriptor.media_type in INDEX_TYPES:
        inner = store.links(descriptor).children
        listed = ", ".join(f"{each.platform or 'no platform'} {each.digest}" for _, each in inner)
        msg = f"{descriptor.digest}: an index, not the image of one platform"
        raise StoreError(msg, f"name one of its manifests: {listed}")
    nodes = list(store.walk(descriptor)) if descriptor.media_type in IMAGE_TYPES else []
    configs = [node for node in nodes if node.role == "config"]
    if not configs or configs[0].descriptor.media_type not in _CONFIGS:
        msg = f"{descriptor.digest}: not a container image, so no engine can load it"
        raise StoreError(msg, "`python -m buildkit show` says what it is")
    for node in nodes:
        _checked(store, node)
    return nodes


def _checked(store: Store, node: Node) -> Path:
    """The path of a blob that is there, as a regular file of the size that was promised."""
    each = node.descriptor
    size = store.size(each.digest)
    if size != each.size:
        what = "missing" if size is None else f"{size} bytes long, not {each.size}"
        msg = f"{store.root}: blob {each.digest} is {what}"
        raise StoreError(msg, "run the build again, it writes the blob anew")
    return store.path(each.digest)


def _link(blob: Path, link: Path) -> None:
    try:
        link.hardlink_to(blob)
    except OSError as error:
        if error.errno not in _CANNOT_LINK:
            raise
        link.symlink_to(blob.absolute())


def _bare(descriptor: Descriptor) -> dict[str, Any]:
    """A descriptor without what its entry in the store says (another name, our own annotations)."""
    return {key: value for key, value in descriptor.to_json().items() if key != "annotations"}


def _index(entry: dict[str, Any], annotations: Mapping[str, str]) -> bytes:
    if annotations:
        entry = {**entry, "annotations": dict(annotations)}
    return canonical.dump({"schemaVersion": 2, "mediaType": media.INDEX, "manifests": [entry]})


def _inside(descriptor: Descriptor) -> str:
    return "blobs/sha256/" + digests.hex_of(descriptor.digest)


def _header(path: str, size: int) -> bytes:
    """A tar header without owner or time; of a folder when `path` ends with a slash."""
    from tarfile import DIRTYPE, PAX_FORMAT, TarInfo  # noqa: PLC0415  (slow, and rarely needed)

    info = TarInfo(path.rstrip("/"))
    info.size = size
    info.mode = 0o444
    if path.endswith("/"):
        info.type = DIRTYPE
        info.mode = 0o755
    # Plain ustar as long as the size fits into it (8 GiB), an extended header beyond.
    return info.tobuf(PAX_FORMAT, "utf-8", "strict")


def _padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)


def _full_name(ref: str) -> str:
    found = re.fullmatch(_NAME, ref)
    if found is None:
        msg = f"{ref!r} is no name for an image"
        raise StoreError(msg, "a name is like `digits:1.0.0`: lower case, with a tag")
    return ref if found["host"] else f"localhost/{ref}"
