"""syft on the app layers of an image: what the two heavy layers hold, Nix has had it look at.

One start of syft costs half a second, of which nearly all goes into reading its own table of
licences, whatever it is shown. So it is shown each list of layers once, and layers that hold
nothing it could name are not shown at all (`is_plain`).
"""

from __future__ import annotations

import gzip
import re
import tarfile
from typing import TYPE_CHECKING, Any

from buildkit import canonical, scratch
from buildkit.errors import StoreError, ToolError
from buildkit.image.pack import view

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from buildkit.records import Descriptor
    from buildkit.run import Runner
    from buildkit.store import Store

_DEADLINE = 600.0
_SCHEMA = "16"
_WHITEOUT = ".wh."
# Where packages of the base, and the lists of them, can be replaced: links of the base, folders.
_LINKS = ("bin", "lib", "lib64", "sbin")
_BASE = ("usr", "var")

# Names of files in which no cataloger of the pinned syft looks for a package: plain Python sources,
# but for those that begin as a pattern of syft does. Whether this still holds is tested against
# the patterns in the pinned program (tests/integration/test_seen.py).
_PLAIN = re.compile(r"(?:[A-Za-z0-9_-]+/)*([A-Za-z_][A-Za-z0-9_]*)\.py")
_PATTERNS = re.compile(
    r"composer|ghc|kernel|lib|php|postgres|python|redis|setup|version|vmlinu", re.IGNORECASE
)
_FOLDERS = frozenset(
    {*_LINKS, *_BASE, "go", "nix", "opkg", "php", "rpm", "specifications", "wp-content"}
)
# Executables are known by their first bytes, and all kinds of them have a zero among these.
_HEAD = 512


class Scanner:
    """Shows app layers to syft; remembers what it said of a list of layers.

    Args:
        runner: starts syft.
        syft: the program, which needs nothing beside it.
    """

    def __init__(self, runner: Runner, syft: Path) -> None:
        self._runner = runner
        self._syft = syft
        self._said: dict[tuple[str, ...], bytes] = {}

    def __call__(self, store: Store, manifest: Descriptor, base: int) -> bytes:
        """What syft sees in the app layers of one platform.

        Where app layers remove or may replace what a package of the base brought, all layers are
        shown, and the answer is about the whole image: its ``layers`` tell
        (`buildkit.evidence.sbom.seen.layers`).

        Args:
            store: where the image is.
            manifest: of one platform.
            base: how many of its layers, from the lowest, are the base's.

        Returns:
            syft's JSON, schema 16, with packages and what was looked at; the same bytes for the
            same layers. Its ``layers`` are ``diff_id``s.

        Raises:
            StoreError: the image cannot be read.
            ToolError: syft failed.
        """
        layers, architecture = _layers(store, manifest)
        shown = layers[base:]
        plain, touches = _look(shown)
        if touches:
            plain, shown = False, layers
        key = tuple(layer.diff_id for layer in shown)
        if key not in self._said:
            said = _nothing() if plain else self._ask(architecture, shown)
            self._said[key] = canonical.dump({**said, "layers": list(key)})
        return self._said[key]

    def _ask(self, architecture: str, layers: Sequence[view.Layer]) -> dict[str, Any]:
        with scratch.folder() as folder:
            view.show(folder / "image", architecture, layers)
            # Alone: a configuration file or variables of the user's own would change what it says.
            result = self._runner(
                [
                    *("env", "-i", f"HOME={folder}", f"TMPDIR={folder}"),
                    *("SYFT_CHECK_FOR_APP_UPDATE=false", "SYFT_FILE_METADATA_SELECTION=none"),
                    *(self._syft, "scan", "oci-dir:image", "--source-name", "image", "--quiet"),
                    *("--output", "syft-json"),
                ],
                cwd=folder,
                deadline=_DEADLINE,
                check=False,
            )
        if result.code != 0:
            tail = "\n  ".join(result.stderr.strip().splitlines()[-8:])
            msg = f"syft: exit status {result.code}\n  {tail}"
            raise ToolError(msg)
        try:
            said: dict[str, Any] = canonical.load(view.keep(result.stdout))
        except ValueError as error:
            msg = f"syft: its answer cannot be read: {error}"
            raise ToolError(msg) from error
        return said


def is_plain(name: str, head: bytes) -> bool:
    """Whether no cataloger of syft could name a package for a file.

    Args:
        name: path in the image, without leading slash.
        head: its first 512 bytes.
    """
    match = _PLAIN.fullmatch(name)
    return (
        match is not None
        and _PATTERNS.match(match[1]) is None
        and not _FOLDERS.intersection(name.split("/")[:-1])
        and b"\0" not in head
    )


def _nothing() -> dict[str, Any]:
    """An answer for layers that syft was not shown, and so one that does not name it."""
    return {"artifacts": [], "schema": {"version": _SCHEMA}}


def _layers(store: Store, manifest: Descriptor) -> tuple[tuple[view.Layer, ...], str]:
    document = store.read_json(manifest.digest)
    config = store.read_json(document["config"]["digest"])
    layers = tuple(
        view.Layer(
            file=store.path(layer["digest"]),
            digest=layer["digest"],
            diff_id=diff_id,
            size=layer["size"],
        )
        for layer, diff_id in zip(document["layers"], config["rootfs"]["diff_ids"], strict=True)
    )
    return layers, config["architecture"]


def _look(layers: Iterable[view.Layer]) -> tuple[bool, bool]:
    """Whether all files are plain, and whether one touches what is the base's."""
    plain = True
    for layer in layers:
        try:
            with gzip.open(layer.file) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
                for member in tar:
                    name = member.name.removeprefix("./").strip("/")
                    if _touches(name, is_folder=member.isdir()):
                        return False, True
                    if plain and not member.isdir():
                        content = tar.extractfile(member) if member.isreg() else None
                        plain = content is not None and is_plain(name, content.read(_HEAD))
        except (OSError, EOFError, tarfile.TarError) as error:
            msg = f"layer {layer.digest} cannot be read: {error}"
            raise StoreError(msg, "build it again") from error
    return plain, False


def _touches(name: str, *, is_folder: bool) -> bool:
    first = name.partition("/")[0]
    if name.rpartition("/")[2].startswith(_WHITEOUT) or first in _LINKS:
        return True
    return first in _BASE and not is_folder
