"""App layers as BuildKit made them, with the two things that vary taken out.

BuildKit's own ``rewrite-timestamp`` also rewrites the layers below, and its compression
belongs to its version. Here only the app layers are read, every time becomes the recipe's,
and the builder's own zlib packs them: any BuildKit gives the same digests.
"""

from __future__ import annotations

import gzip
import json
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from .layer import Entry, PackError, compress

if TYPE_CHECKING:
    from collections.abc import Iterator

_GZIP = b"\x1f\x8b"


def normalise(request: dict[str, Any]) -> None:
    """Pack the layers of one request again.

    Args:
        request: ``{"epoch": seconds, "out": folder, "layers": [blob file, …]}``. Writes
            ``<n>.tar.gz`` for each, and ``layers.json``: a list of digest, diff_id, size.
    """
    out = Path(request["out"])
    records = []
    for number, name in enumerate(request["layers"]):
        with Path(name).open("rb") as stream, (out / f"{number}.tar.gz").open("wb") as target:
            digest, diff_id, size = compress(_entries(stream, request["epoch"]), target)
        records.append({"digest": digest, "diff_id": diff_id, "size": size})
    (out / "layers.json").write_text(json.dumps(records))


def _entries(stream: BinaryIO, epoch: int) -> Iterator[Entry]:
    magic = stream.read(2)
    stream.seek(0)
    source: Any = gzip.GzipFile(fileobj=stream) if magic == _GZIP else stream
    try:
        with tarfile.open(fileobj=source, mode="r|") as archive:
            for member in archive:
                yield _entry(archive, member, epoch)
    except tarfile.ReadError as error:
        msg = f"a layer from BuildKit cannot be read: {error}"
        raise PackError(msg, "compress the app layers with gzip, or not at all") from error


def _entry(archive: tarfile.TarFile, member: tarfile.TarInfo, epoch: int) -> Entry:
    member.mtime = epoch
    member.uname = member.gname = ""
    # Extended attributes are content (capabilities); times and lengths are written anew.
    member.pax_headers = {
        key: value for key, value in member.pax_headers.items() if key.startswith("SCHILY.xattr.")
    }
    stream = archive.extractfile(member) if member.isreg() else None
    return Entry(member, stream.read() if stream else b"")
