"""Whether a build has been made already, and all of it is still there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from buildkit import digests, media
from buildkit.errors import DigestError, StoreError
from buildkit.store import REF_NAME, Store

if TYPE_CHECKING:
    from pathlib import Path

    from buildkit.recipe import Recipe

BUILD_KEY = "io.edge-buildkit.build.key"
SIGNER = "io.edge-buildkit.build.signer"


def find(home: Path, recipe: Recipe, key: str, signer: str) -> dict[str, Any] | None:
    """The record of this very build, when the store still has all of it under its names.

    Args:
        home: folder of the store.
        recipe: what is built.
        key: digest of all that the result depends on.
        signer: who must have signed it, as the user says it; ``none`` for nobody.
    """
    if not (home / "index.json").is_file():
        return None
    store = Store.open(home)
    entry = store.find({BUILD_KEY: key} | ({} if signer == "none" else {SIGNER: signer}))
    image, models = (store.find({REF_NAME: name}) for name in names(recipe))
    if entry is None or image is None or models is None:
        return None
    try:
        record: dict[str, Any] = store.read_json(
            store.read_json(entry.digest)["layers"][0]["digest"]
        )
        if (image.digest, models.digest) != (record["image"]["digest"], record["model_index"]):
            return None
        since = store.path(entry.digest).stat().st_mtime_ns
        wanted = (entry.digest, image.digest, models.digest)
        return record if all(_whole(store, digest, since) for digest in wanted) else None
    except (DigestError, StoreError):
        # A build writes damaged blobs anew.
        return None


def names(recipe: Recipe) -> tuple[str, str]:
    """The names that a recipe's image and models have in the store."""
    return f"{recipe.name}:{recipe.version}", f"{recipe.name}{media.MODEL_SUFFIX}:{recipe.version}"


def _whole(store: Store, digest: str, since: int) -> bool:
    """Whether a manifest is right and all that it names is there.

    To hash every layer would cost more than all the rest of a build that has nothing to do: only
    those with other times than the build left are. `show --verify` hashes them all.
    """
    if not store.has(digest):
        return False
    document = store.read_json(digest)
    below = [*document.get("layers", []), *([document["config"]] if "config" in document else [])]
    if any(not _there(store, item, since) for item in below):
        return False
    return all(_whole(store, item["digest"], since) for item in document.get("manifests", []))


def _there(store: Store, item: dict[str, Any], since: int) -> bool:
    path = store.path(item["digest"])
    try:
        state = path.stat()
        if state.st_size != int(item["size"]):
            return False
        return state.st_mtime_ns <= since or digests.of_file(path) == item["digest"]
    except OSError:
        return False
