"""What a recipe asks for, in the form that a lock remembers it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildkit import canonical, digests
from buildkit.lock.resolve import hosts
from buildkit.recipe.types import TrainSource

if TYPE_CHECKING:
    from buildkit.recipe.types import Recipe


def of_platform(recipe: Recipe) -> str:
    """Digest of what the recipe asks of the runtime image, for `PlatformPins.asked`."""
    debian, python = recipe.image.debian, recipe.image.python
    return digests.of_bytes(
        canonical.dump(
            {
                "debian": [debian.suite, sorted(debian.packages), sorted(debian.exclude)],
                "python": [python.version, sorted(python.requirements), sorted(python.exclude)],
            }
        )
    )


def of_host(recipe: Recipe) -> str:
    """Digest of what a build host is asked for, for `HostPins.asked`."""
    return digests.of_bytes(
        canonical.dump(
            {
                "builder": [hosts.BUILDER_SUITE, hosts.SEED, *hosts.BUILDER_DEBIAN],
                "wheels": [hosts.BUILDER_PYTHON, *builder_requirements(recipe)],
                "engine": [hosts.ENGINE_SUITE, *hosts.ENGINE_DEBIAN],
                "tools": [*hosts.TOOLS_DEBIAN, *hosts.TOOLS_WHEELS],
            }
        )
    )


def builder_requirements(recipe: Recipe) -> list[str]:
    """What the builder's Python must have: our own needs and those of the training script."""
    source = recipe.model.source
    extra = source.requirements if isinstance(source, TrainSource) else ()
    return sorted({*hosts.BUILDER_WHEELS, *extra})
