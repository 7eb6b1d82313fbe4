"""Whether image, model and lock belong together, and what the policy lets in. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from buildkit import digests, media
from buildkit.evidence import provenance
from buildkit.evidence.reasons import Reason
from buildkit.evidence.verify.signatures import matches

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from buildkit.evidence.policytypes import Policy
    from buildkit.evidence.verify.parts import Part
    from buildkit.evidence.verify.report import Notebook
    from buildkit.lock.types import DebianPin, Lock

_FEW = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """What evidence is held against.

    Attributes:
        top: the part that was asked for.
        parts: all of them.
        lock: what they were made from; nothing when it cannot be read.
        lock_digest: as the parts name it.
        policy: what is allowed.
        whole: whether every part could be read: else nothing can be said of those that are gone.
    """

    top: Part
    parts: tuple[Part, ...]
    lock: Lock | None
    lock_digest: str
    policy: Policy
    whole: bool

    def named(self, role: str) -> list[str]:
        """The names of all parts of one role."""
        return [part.name for part in self.parts if part.role == role]


def check_parts(scene: Scene, notebook: Notebook) -> None:
    """Whether image, model and lock belong together."""
    top = scene.top
    for part in scene.parts:
        said = part.note(media.LOCK_DIGEST)
        if said != scene.lock_digest:
            reason = Reason.MODEL if part.role in ("model", "models") else Reason.SBOM
            notebook.add(
                reason, part.digest, f"made from lock {said or 'none'}, not {scene.lock_digest}"
            )
        for name in (media.TITLE, media.VERSION):
            if part.note(name) != top.note(name):
                why = f"{name} is {part.note(name)!r}, not {top.note(name)!r}"
                notebook.add(Reason.NAME, part.digest, why)
        model = part.note(media.MODEL_DIGEST)
        if part.role == "platform" and model != top.note(media.MODEL_DIGEST):
            notebook.add(Reason.MODEL, part.digest, f"it names model {model or 'none'}")
    _check_platforms(scene, notebook)
    if scene.lock is not None:
        _check_lock(scene, scene.lock, notebook)


def _check_platforms(scene: Scene, notebook: Notebook) -> None:
    if scene.top.role not in ("image", "platform"):
        return
    found = scene.named("platform")
    if len(set(found)) != len(found):
        notebook.add(Reason.PLATFORM, scene.top.digest, "one platform stands in it twice")
    for wanted in scene.policy.require.platforms:
        if wanted not in found and scene.whole:
            why = f"the policy requires {wanted}, there is {listed(found)}"
            notebook.add(Reason.PLATFORM, scene.top.digest, why)


def _check_lock(scene: Scene, lock: Lock, notebook: Notebook) -> None:
    top, policy = scene.top, scene.policy
    said = f"{top.note(media.TITLE)}:{top.note(media.VERSION)}"
    recipe = f"{lock.recipe_name}:{lock.recipe.get('version')}"
    if said != recipe:
        notebook.add(Reason.NAME, top.digest, f"it is called {said}, its lock is of {recipe}")
    if policy.recipe.names and lock.recipe_name not in policy.recipe.names:
        why = f"made from recipe {lock.recipe_name!r}, which the policy does not allow"
        notebook.add(Reason.MATERIAL, top.digest, why)
    if scene.whole:
        _check_whole(scene, lock, notebook)
    for part in scene.parts:
        if part.role == "model":
            for why in _model_differs(part, lock):
                notebook.add(Reason.MODEL, part.digest, why)
    for why in _not_allowed(lock, policy):
        notebook.add(Reason.MATERIAL, top.digest, why)


def _check_whole(scene: Scene, lock: Lock, notebook: Notebook) -> None:
    top = scene.top
    platforms, locked = set(scene.named("platform")), set(lock.platforms)
    if platforms - locked or (top.role == "image" and platforms != locked):
        why = f"the lock is of {listed(locked)}, the image of {listed(platforms)}"
        notebook.add(Reason.PLATFORM, top.digest, why)
    asked = lock.recipe.get("targets")
    targets = set(scene.named("model"))
    if scene.named("models") and not (isinstance(asked, list) and targets == set(map(str, asked))):
        why = f"the lock is of targets {asked}, the models are for {listed(targets)}"
        notebook.add(Reason.MODEL, top.digest, why)


def _model_differs(part: Part, lock: Lock) -> Iterator[str]:
    if digests.hex_of(part.weight) != lock.model.quantized_sha256:
        yield "its file is not the one that the lock names"
    if _inside(part.card, "training", "float_sha256") != lock.model.float_sha256:
        yield "its card names another float model than the lock"
    platform = _inside(part.card, "runtime", "platform")
    if platform not in tuple(lock.platforms):
        yield f"made for platform {platform!r}, which the image has not"


def _inside(document: Mapping[str, Any], key: str, name: str) -> Any:
    found = document.get(key)
    return found.get(name) if isinstance(found, dict) else None


def _not_allowed(lock: Lock, policy: Policy) -> Iterator[str]:
    """What in a lock the policy does not let in."""
    rules = policy.materials
    urls = {each.uri.partition("?")[0] for each in provenance.materials(lock)}
    for url in sorted(each for each in urls if each.startswith("pkg:")):
        if rules.allow and not any(matches(each, url) for each in rules.allow):
            yield f"made with {url}, which the policy does not allow"
        elif any(matches(each, url) for each in rules.forbid):
            yield f"made with {url}, which the policy forbids"
    if rules.suites:
        for suite in sorted({pin.suite for pin in _debian(lock)} - set(rules.suites)):
            yield f"made with packages of suite {suite!r}, which the policy does not allow"


def _debian(lock: Lock) -> Iterator[DebianPin]:
    for host in lock.hosts.values():
        yield host.seed
        yield from (*host.builder_debian, *host.engine_debian, *host.tools_debian)
    for platform in lock.platforms.values():
        yield from platform.debian


def listed(names: Iterable[str]) -> str:
    """Some of the names, and how many more there are."""
    found = sorted(names)
    more = f" and {len(found) - _FEW} more" if len(found) > _FEW else ""
    return (", ".join(found[:_FEW]) or "nothing") + more
