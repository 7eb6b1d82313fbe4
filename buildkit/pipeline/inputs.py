"""Brings every input of a lock into the Nix store, each under its own hash."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildkit import digests, media, scratch
from buildkit.errors import DigestError, InputError
from buildkit.lock import cache, fetch
from buildkit.nix import nar, seed
from buildkit.nix.names import store_name
from buildkit.recipe.types import ArtifactSource
from buildkit.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from buildkit.lock.fetch import Pin
    from buildkit.lock.types import DebianPin, Lock
    from buildkit.nix import Nix
    from buildkit.pipeline.progress import Progress
    from buildkit.recipe import Recipe
    from buildkit.run import Runner

# The name that a model from another store has in the Nix store; `nix/default.nix` has it too.
_FROM_ARTIFACT = "model.onnx"


def bring(
    recipe: Recipe, lock: Lock, host: str, *, nix: Nix, runner: Runner, progress: Progress
) -> int:
    """Put what a build on this host needs into the Nix store; quick where it is there.

    Returns:
        How many inputs had to be brought.

    Raises:
        FetchError: an input is nowhere to be had.
        DigestError: an input is not what the lock says.
    """
    pins = lock.hosts[host]
    wanted = fetch.wanted(lock, host, recipe.platforms)
    count = bring_pins(
        wanted, (pins.seed, pins.seed_nar_sha256), nix=nix, runner=runner, progress=progress
    )
    _add_own_files(recipe, lock, nix)
    return count


def bring_pins(
    wanted: Sequence[Pin],
    seed_of_host: tuple[DebianPin, str],
    *,
    nix: Nix,
    runner: Runner,
    progress: Progress,
) -> int:
    """Put files of a lock and the unpacked seed into the Nix store.

    Args:
        wanted: the files.
        seed_of_host: the seed's package, and the SHA-256 of its unpacked tree's Nix archive.
        nix: where to.
        runner: starts clients of the registries.
        progress: told of each file.

    Returns:
        How many had to be brought.

    Raises:
        FetchError: an input is nowhere to be had.
        DigestError: an input is not what the lock says.
    """
    missing = [pin for pin in wanted if not nix.has(nar.store_path(pin.file, pin.sha256, "flat"))]
    pin_of_seed, tree_sha256 = seed_of_host
    seeded = nix.has(nar.store_path("seed", tree_sha256, "recursive"))
    if not seeded and pin_of_seed not in missing:
        missing.append(pin_of_seed)
    if missing:
        home = cache.home()
        for pin in missing:
            # Nix would put other bytes under another path; what is damaged is brought again.
            cache.verify(home, pin.sha256)
        files = fetch.bring(missing, runner, home, progress.step).files
        nix.add_flat({files[pin.sha256]: pin.file for pin in missing})
        if not seeded:
            _add_seed(files[pin_of_seed.sha256], tree_sha256, nix)
    return len(missing)


def _add_seed(deb: Path, sha256: str, nix: Nix) -> None:
    with scratch.folder() as home:
        folder = home / "seed"
        seed.unpack(deb, folder)
        nix.add_folder(folder, "seed", sha256)


def _add_own_files(recipe: Recipe, lock: Lock, nix: Nix) -> None:
    """Add the files that stand beside the recipe, and a model that comes from another store."""
    for pin in lock.model.files:
        name = store_name(pin.path)
        if nix.has(nar.store_path(name, pin.sha256, "flat")):
            continue
        file = recipe.folder / pin.path
        if digests.hex_of(digests.of_file(file)) != pin.sha256:
            msg = f"{pin.path}: its content is not what the lock says"
            raise DigestError(msg, "run `python -m buildkit lock` to take the change over")
        nix.add_flat({file: name})
    source = recipe.model.source
    if isinstance(source, ArtifactSource):
        file, sha256 = artifact_file(recipe, source)
        if not nix.has(nar.store_path(_FROM_ARTIFACT, sha256, "flat")):
            nix.add_flat({file: _FROM_ARTIFACT})


def artifact_file(recipe: Recipe, source: ArtifactSource) -> tuple[Path, str]:
    """The model file of an artifact in a store, and its SHA-256 in hex.

    Raises:
        InputError: the artifact is not one model.
        StoreError: the store or the artifact is not there.
        DigestError: the model file is corrupt.
    """
    store = Store.open((recipe.folder / source.store).resolve())
    manifest = store.read_json(store.resolve(source.digest).digest)
    weights = [
        layer["digest"]
        for layer in manifest.get("layers", [])
        if layer.get("mediaType") == media.WEIGHT
    ]
    if len(weights) != 1:
        msg = f"model.artifact.digest: {source.digest} holds {len(weights)} model files, not one"
        raise InputError(msg, "name the manifest of one model, not an index or an image")
    store.read(weights[0])
    return store.path(weights[0]), digests.hex_of(weights[0])
