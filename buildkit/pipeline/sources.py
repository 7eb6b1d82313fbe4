"""What stands beside a recipe and went into a build, kept in the store with its result.

With the lock it is all that a later rebuild needs, whatever has become of the repository.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from buildkit import records
from buildkit.image import context

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from buildkit.lock.types import Lock
    from buildkit.recipe import Recipe
    from buildkit.records import Descriptor
    from buildkit.store import Store

SCHEMA = "buildkit/sources/v1"
SOURCES = records.BUILD_SOURCES
LOCK = records.BUILD_LOCK
FILE = records.BUILD_FILE


def files(recipe: Recipe, lock: Lock) -> Iterator[tuple[str, Path]]:
    """(path relative to the recipe's folder, file) of the recipe and all that it names, sorted.

    Symbolic links of the build context are among them.
    """
    found = {recipe.file.name: recipe.file}
    found[recipe.image.dockerfile] = recipe.folder / recipe.image.dockerfile
    for name, file in context.files(recipe.folder / recipe.image.context):
        found[f"{recipe.image.context}/{name}".removeprefix("./")] = file
    for pin in lock.model.files:
        found[pin.path] = recipe.folder / pin.path
    yield from sorted(found.items())


def put(
    store: Store, recipe: Recipe, lock: Lock, facts: dict[str, Any]
) -> tuple[Descriptor, tuple[Descriptor, ...]]:
    """Put the list of sources, and every file of it as a blob.

    Args:
        store: where to.
        recipe: whose sources.
        lock: names the model's files.
        facts: what else decided the build: revision, epoch, code, builder.

    Returns:
        The list, and the files.

    Raises:
        DigestError: a file of the model is not the one in the lock any more.
    """
    pinned = {pin.path: f"sha256:{pin.sha256}" for pin in lock.model.files}
    listed: dict[str, Any] = {}
    blobs = {}
    for path, file in files(recipe, lock):
        if file.is_symlink():
            listed[path] = {"link": str(file.readlink())}
            continue
        blob = store.put_file(file, FILE, digest=pinned.get(path))
        blobs[blob.digest] = blob
        executable = bool(file.stat().st_mode & 0o100)
        listed[path] = {"digest": blob.digest, "size": blob.size, "executable": executable}
    document = {"schema": SCHEMA, "recipe": recipe.file.name, "files": listed, **facts}
    return store.put_json(document, SOURCES), tuple(blobs.values())
