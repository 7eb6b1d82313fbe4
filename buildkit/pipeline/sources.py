"""What stands beside a recipe and went into a build, kept in the store with its result.

With the lock it is all that a later rebuild needs, whatever has become of the repository.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from buildkit import media
from buildkit.image import context
from buildkit.lock import codec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from buildkit.lock.types import Lock
    from buildkit.recipe import Recipe
    from buildkit.records import Descriptor
    from buildkit.store import Store

SCHEMA = "buildkit/sources/v1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """What a build was made from, in the store.

    Attributes:
        lock: the lock.
        listed: the list of sources.
        files: every file of the list.
        digests: path relative to the recipe's folder → digest; links are not among them.
    """

    lock: Descriptor
    listed: Descriptor
    files: tuple[Descriptor, ...]
    digests: Mapping[str, str]


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


def put(store: Store, recipe: Recipe, lock: Lock, facts: dict[str, Any]) -> Origin:
    """Put the lock, the list of sources, and every file of it as a blob.

    Args:
        store: where to.
        recipe: whose sources.
        lock: names the model's files.
        facts: what else decided the build: revision, epoch, code, builder.

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
        blob = store.put_file(file, media.BUILD_FILE, digest=pinned.get(path))
        blobs[blob.digest] = blob
        executable = bool(file.stat().st_mode & 0o100)
        listed[path] = {"digest": blob.digest, "size": blob.size, "executable": executable}
    document = {"schema": SCHEMA, "recipe": recipe.file.name, "files": listed, **facts}
    return Origin(
        lock=store.put_bytes(codec.dump(lock), media.BUILD_LOCK),
        listed=store.put_json(document, media.BUILD_SOURCES),
        files=tuple(blobs.values()),
        digests={path: entry["digest"] for path, entry in listed.items() if "digest" in entry},
    )
