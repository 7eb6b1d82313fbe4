"""Everything that decides what a build gives, and the digest of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from buildkit import canonical, digests
from buildkit.errors import DriftError
from buildkit.image import context
from buildkit.lock import codec
from buildkit.pipeline import environment
from buildkit.pipeline import project as projects
from buildkit.pipeline.nixstage import code_digest
from buildkit.recipe import load

if TYPE_CHECKING:
    from pathlib import Path

    from buildkit.lock.types import Lock
    from buildkit.pipeline.project import Project
    from buildkit.recipe import Recipe
    from buildkit.run import Runner

# What a build says about its artifacts; another version is made again.
RECORD_VERSION = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Recipe, lock, and what surrounds them.

    Attributes:
        recipe: what to build.
        lock: the exact inputs.
        lock_digest: of the lock.
        project: revision and time.
        builder: a buildx builder of the user's own; the pinned engine when absent.
    """

    recipe: Recipe
    lock: Lock
    lock_digest: str
    project: Project
    builder: str | None

    @property
    def dockerfile(self) -> Path:
        """The Dockerfile of the app layers."""
        return self.recipe.folder / self.recipe.image.dockerfile

    @property
    def nix_key(self) -> str:
        """Digest of all that the Nix stage depends on."""
        parts = {"recipe": self.recipe.digest, "lock": self.lock_digest, "code": code_digest()}
        return digests.of_bytes(canonical.dump(parts))

    @property
    def key(self) -> str:
        """Digest of all that the result depends on; reads the build context anew."""
        parts = {
            "nix": self.nix_key,
            "context": context.digest(
                self.recipe.folder / self.recipe.image.context, self.dockerfile
            ),
            "revision": self.project.revision,
            "epoch": self.project.epoch,
            "builder": self.builder,
            "record": RECORD_VERSION,
        }
        return digests.of_bytes(canonical.dump(parts))


def plan(
    recipe_file: Path, builder: str | None, runner: Runner, project: Project | None = None
) -> Plan:
    """Read a recipe and its lock.

    Args:
        recipe_file: ``recipe.toml``; its lock stands beside it.
        builder: a buildx builder of the user's own, or nothing.
        runner: starts git.
        project: what surrounds the recipe; found out when absent.

    Raises:
        RecipeError, LockError: one of them cannot be used.
        DriftError: they do not belong together.
    """
    recipe = load(recipe_file)
    lock = codec.load(recipe.lock_file)
    moved = environment.differences(recipe, lock)
    if moved:
        listed = "".join(f"\n  {item.message}" for item in moved)
        msg = f"{recipe.lock_file.name} does not belong to this recipe any more:{listed}"
        raise DriftError(msg, f"python -m buildkit lock {recipe_file}")
    return Plan(
        recipe=recipe,
        lock=lock,
        lock_digest=codec.digest(lock),
        project=project or projects.examine(recipe, runner),
        builder=builder,
    )
