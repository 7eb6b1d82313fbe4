"""References to flakes: where a relative one is, and which content it had.

Follows the Nix manual, "Flake references". A pinned reference names one content for ever: a commit
for a flake elsewhere, the hash of its files (``narHash``) for a folder of one's own.
"""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

from buildkit.errors import InputError
from buildkit.nix import nar

_LOCAL = "path:."
_HASH = "narHash"


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """A flake, and one of its packages.

    Attributes:
        place: without query and package: ``github:acme/env``, ``path:./env``.
        query: what stands behind ``?``, without the hash.
        package: what stands behind ``#``; empty for the flake's own choice.
        nar_hash: ``sha256-…`` of all files, where the reference pins them.
    """

    place: str
    query: str
    package: str
    nar_hash: str

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Take a reference apart; its form was checked with the recipe."""
        rest, _, package = text.partition("#")
        place, _, query = rest.partition("?")
        words = parse_qsl(query, keep_blank_values=True)
        return cls(
            place=place,
            query=urlencode([word for word in words if word[0] != _HASH]),
            package=package,
            nar_hash=dict(words).get(_HASH, "").replace(" ", "+"),
        )

    @property
    def is_local(self) -> bool:
        """Whether it is a folder beside the recipe."""
        return self.place.startswith(_LOCAL)

    def written(self, place: str, nar_hash: str = "") -> str:
        """As Nix reads it, with another place."""
        query = "&".join(filter(None, (self.query, nar_hash and f"{_HASH}={nar_hash}")))
        query = f"?{query}" if query else ""
        return f"{place}{query}#{self.package}" if self.package else f"{place}{query}"

    def folder(self, recipe_folder: Path) -> Path:
        """The folder of a local one.

        Raises:
            InputError: there is none.
        """
        folder = Path(os.path.normpath(recipe_folder / self.place.removeprefix("path:")))
        if not folder.is_dir():
            msg = f"builder = {self.written(self.place)!r}: there is no folder {folder}"
            raise InputError(msg, "write the path as it is from the recipe's folder")
        return folder

    def content(self, recipe_folder: Path) -> str:
        """``sha256-…`` of the files of a local one as they are now.

        Raises:
            InputError: there is no such folder, or something else than files is in it.
        """
        found = bytes.fromhex(nar.nar_sha256(self.folder(recipe_folder)))
        return f"sha256-{base64.b64encode(found).decode()}"
