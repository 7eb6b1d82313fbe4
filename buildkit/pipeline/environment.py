"""The flake that a recipe may name for its builder: pinned by the lock, watched for changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildkit.lock import drift as locks
from buildkit.lock.drift import Drift
from buildkit.nix.flakes import Reference

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from buildkit.lock.types import Lock
    from buildkit.nix import Nix
    from buildkit.recipe import Recipe


def pin(recipe: Recipe, before: Lock | None, update: Sequence[str] | None, nix: Nix) -> str:
    """What the lock says of the recipe's builder.

    Args:
        recipe: may name one.
        before: its pin stays while the recipe names the same flake elsewhere.
        update: as for `locking.lock`: every pin moves when it is empty.
        nix: is asked which content a name means.

    Raises:
        InputError: there is no such folder.
        ToolError: there is no such flake.
    """
    if recipe.builder is None:
        return ""
    moves = update == [] or Reference.parse(recipe.builder).is_local
    if before is not None and before.recipe.get("builder") == recipe.builder and not moves:
        return before.builder or nix.pin_flake(recipe.builder, recipe.folder)
    return nix.pin_flake(recipe.builder, recipe.folder)


def differences(recipe: Recipe, lock: Lock) -> tuple[Drift, ...]:
    """All in which a recipe and its lock no longer agree, its builder included.

    Raises:
        InputError: the builder's folder is not there.
    """
    return (*locks.drift(recipe, lock), *drift(recipe, lock))


def drift(recipe: Recipe, lock: Lock) -> Iterator[Drift]:
    """Where the builder's folder is not the one that the lock was made with.

    Hashes its files; a flake elsewhere is pinned by its commit and cannot differ.

    Raises:
        InputError: there is no such folder.
    """
    remedy = "run `lock`, then commit the lock"
    if recipe.builder is None:
        return
    if not lock.builder:
        message = f"the lock does not pin the builder {recipe.builder}"
        yield Drift(kind="builder", subject=recipe.builder, message=message, remedy=remedy)
        return
    pinned = Reference.parse(lock.builder)
    if pinned.is_local and pinned.content(recipe.folder) != pinned.nar_hash:
        message = f"the files of the builder {pinned.place} were changed after the lock was made"
        yield Drift(kind="builder", subject=recipe.builder, message=message, remedy=remedy)
