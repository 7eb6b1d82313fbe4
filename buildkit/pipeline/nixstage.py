"""The Nix stage: everything heavy, made from the lock alone, and kept by a link."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from buildkit import assets, canonical, digests, scratch
from buildkit.lock import codec
from buildkit.nix import Nix
from buildkit.nix.adapter import system
from buildkit.pipeline import inputs
from buildkit.recipe.types import ArtifactSource
from buildkit.records import architecture

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from buildkit.lock.types import Lock
    from buildkit.pipeline.progress import Progress
    from buildkit.recipe import Recipe
    from buildkit.run import Runner

_UNFINISHED = re.compile(r"\.tmp-(\d+)-\d+$")
_HOSTS = {"x86_64-linux": "linux/amd64", "aarch64-linux": "linux/arm64"}


def host_architecture() -> str:
    """Debian's name of this machine's processor."""
    return architecture(_HOSTS[system()])


def code_digest() -> str:
    """``sha256:`` over everything of ours that decides what Nix makes of a lock."""
    parts = {
        f"{folder.name}/{file.relative_to(folder)}": digests.of_file(file)
        for folder in _code()
        for file in _files(folder)
    }
    return digests.of_bytes(canonical.dump(parts))


def _code() -> tuple[Path, ...]:
    names = ("image.pack", "model.prepare")
    return (assets.asset("nix"), *(assets.module_folder(name) for name in names))


def _files(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.rglob("*")):
        # Of the stand-in nothing reaches an artifact.
        of_standin = file.relative_to(folder).parts[0].startswith("standin")
        if file.is_file() and "__pycache__" not in file.parts and not of_standin:
            yield file


class NixStage:
    """What Nix makes of one recipe and lock.

    Args:
        recipe: what to build.
        lock: the exact inputs.
        work: the project's ``.buildkit`` folder; links that keep results are under ``nix``.
        runner: starts Nix.
        progress: told when inputs are brought.
        apart: make everything anew, in a Nix store below `work`.
    """

    def __init__(
        self,
        recipe: Recipe,
        lock: Lock,
        *,
        work: Path,
        runner: Runner,
        progress: Progress,
        apart: bool = False,
    ) -> None:
        self.recipe = recipe
        self.lock = lock
        self.nix = Nix(runner, work / "nix-store", apart=apart)
        self._links = work / "nix"
        self._runner = runner
        self._progress = progress

    def fetch(self) -> int:
        """Bring every input; how many were not here yet."""
        return inputs.bring(
            self.recipe,
            self.lock,
            host_architecture(),
            nix=self.nix,
            runner=self._runner,
            progress=self._progress,
        )

    def paths(self, attribute: str, key: str) -> Any:
        """The store paths that an attribute names; Nix is asked only when no link has them.

        Args:
            attribute: ``build``, ``ranges``, ``quantised`` or ``hostTools``.
            key: digest of all that the answer depends on.
        """
        prefix = f"{self.recipe.name}-{attribute}-"
        link = self._links / f"{prefix}{digests.hex_of(key)[:16]}"
        kept = self.nix.kept(link)
        if kept is not None:
            return kept
        with scratch.folder() as folder:
            # As a file, because older versions of Nix print floating-point values with six digits.
            lock = folder / "recipe.lock"
            lock.write_bytes(codec.dump(self.lock))
            arguments = self._arguments(lock)
            found = self.nix.build(assets.asset("nix"), arguments, attribute, link)
        for old in self._links.glob(f"{prefix}*"):
            # Nix makes a link under another name first, which ends with the number of its process.
            maker = _UNFINISHED.search(old.name)
            if old != link and not (maker and Path("/proc", maker[1]).exists()):
                old.unlink(missing_ok=True)
        return found

    def seen(self, paths: Mapping[str, Any]) -> dict[str, bytes]:
        """Platform → syft's JSON of the layers that Nix made.

        Args:
            paths: of the attribute ``build``.
        """
        return {
            platform: self.nix.physical(parts["seen"]).read_bytes()
            for platform, parts in paths["layers"].items()
        }

    def _arguments(self, lock: Path) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "system": system(),
            "lock": codec.to_json(self.lock),
            "sources": {
                "lock": str(lock),
                "pack": str(assets.module_folder("image.pack")),
                "prepare": str(assets.module_folder("model.prepare")),
            },
        }
        source = self.recipe.model.source
        if isinstance(source, ArtifactSource):
            arguments["artifact"] = inputs.artifact_file(self.recipe, source)[1]
        if self.recipe.builder is not None:
            reference = self.lock.builder or self.recipe.builder
            arguments["builder"] = self.nix.build_flake(reference, self.recipe.folder)
        return arguments
