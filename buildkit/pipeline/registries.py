"""``push``, ``pull`` and ``copy``: what goes together, under which tags and names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from buildkit import media
from buildkit.errors import InputError, RegistryError
from buildkit.registry import (
    FromRepository,
    FromStore,
    into_repository,
    into_store,
    parse,
    plan,
)
from buildkit.registry.reference import is_tag
from buildkit.store import REF_NAME, Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit.records import Descriptor
    from buildkit.registry import Access, Counted, Event, Plan, Reference, Repository, Source

CLAIM = ".claim"
# That of `evidence.journal`, which takes long to load.
JOURNAL = ".channel"


@dataclass(frozen=True, kw_only=True, slots=True)
class Transferred:
    """What came of it.

    Attributes:
        digest: of what was named.
        where: it is now, with its digest.
        names: tags in the registry, or names in the store, that lead to it or to its models.
        replaced: names that led elsewhere in the store, and to which digest.
        models: digests of the indexes of models that came along.
        referrers: how many manifests hang on anything of it.
        missing: digests that are named somewhere and were not there.
        counted: what went over the line.
    """

    digest: str
    where: str
    names: tuple[str, ...]
    replaced: dict[str, str]
    models: tuple[str, ...]
    referrers: int
    missing: tuple[str, ...]
    counted: Counted


def push(
    ref: str,
    target: str,
    *,
    store: Store,
    access: Access,
    classic: bool = False,
    watch: Callable[[Event], None] | None = None,
) -> Transferred:
    """Copy an artifact with all that hangs on it into a registry.

    Without a tag in `target`, it gets that of its name in the store (``digits:1.0.0`` → ``1.0.0``),
    and none when it was named by its digest. Models get that tag with ``-model`` at its end.

    Args:
        ref: image or model, by name or digest.
        target: ``HOST[:PORT]/repository[:tag]``.
        store: where it is.
        access: the way to the registry.
        classic: also the tags that cosign had before bundles, where the store has them.
        watch: told of every blob.

    Raises:
        DigestError: bytes are not what their digest says, here or there.
        InputError: `target` is no such name, or a channel, which `promote` alone moves.
        RegistryError: the registry refuses, or does not answer.
        StoreError: it is not in the store.
    """
    goal = _without_digest(parse(target))
    source = FromStore(store)
    with store.reading():
        top = store.resolve(ref)
        tag = goal.tag or _tag_of(ref, top)
        return _into(top, source, goal, tag, access, classic=classic, watch=watch)


def copy(
    origin: str,
    target: str,
    *,
    from_access: Access,
    to_access: Access,
    classic: bool = False,
    watch: Callable[[Event], None] | None = None,
) -> Transferred:
    """Copy an artifact with all that hangs on it from one repository to another.

    Args:
        origin: ``HOST[:PORT]/repository:tag`` or ``…@digest``.
        target: ``HOST[:PORT]/repository[:tag]``; without a tag, that of `origin`.
        from_access: the way to the one registry.
        to_access: the way to the other.
        classic: also the tags that cosign had before bundles, where there are such.
        watch: told of every blob.

    Raises:
        DigestError: bytes are not what their digest says.
        InputError: these are no such names, or `target` is a channel.
        RegistryError: a registry refuses, or does not answer.
    """
    start, goal = _pointed(parse(origin)), _without_digest(parse(target))
    source = FromRepository(from_access.repository(start))
    top = _found(source, start)
    mount = start.repository if start.host == goal.host else ""
    return _into(
        top,
        source,
        goal,
        goal.tag or start.tag,
        to_access,
        classic=classic,
        watch=watch,
        mount="" if mount == goal.repository else mount,
    )


def pull(
    origin: str,
    *,
    store: Store,
    access: Access,
    name: str = "",
    classic: bool = False,
    watch: Callable[[Event], None] | None = None,
) -> Transferred:
    """Bring an artifact with all that hangs on it into a store.

    The tag of a channel brings the channel's journal too: ``HOST/team/digits:canary.channel``, and
    ``HOST/team/digits:canary`` for where it led then.

    Args:
        origin: ``HOST[:PORT]/repository:tag`` or ``…@digest``.
        store: where to.
        access: the way to the registry.
        name: in the store; ``digits:1.0.0`` for ``HOST/team/digits:1.0.0`` when absent, and none
            for a digest. Its models get the same with ``-model``: ``digits-model:1.0.0``.
        classic: also the tags that cosign had before bundles, where there are such.
        watch: told of every blob.

    Raises:
        DigestError: the registry gave other bytes than their digest says.
        InputError: `origin` is no such name, or `name` is a channel of the store.
        RegistryError: the registry refuses, or does not answer.
        StoreError: the store cannot be written.
    """
    start = _pointed(parse(origin))
    repository = access.repository(start)
    source = FromRepository(repository)
    top, journal = _with_journal(source, start)
    made = plan(source, [top] if journal is None else [top, journal], access.patience.stop)
    chosen = name or (f"{start.repository.rpartition('/')[2]}:{start.tag}" if start.tag else "")
    names: list[tuple[str, str | None]] = []
    if journal is not None and made.parts[journal.digest].links.artifact_type == media.CHANNEL:
        channel = f"{start.name}:{start.tag}"
        names += [(journal.digest, f"{channel}{JOURNAL}"), (top.digest, channel)]
    if _names_channel(store, chosen):
        msg = f"{chosen} is a channel of this store"
        raise InputError(msg, "only `promote` moves it; choose another name: --as NAME")
    if classic:
        names += _older(made, source, access)
    names += _model_names(made, chosen)
    names.append((top.digest, chosen or None))
    before = {entry.annotations.get(REF_NAME): entry.digest for entry in store.entries()}
    counted = into_store(made, repository, store, names, watch=watch)
    return Transferred(
        digest=top.digest,
        where=f"{store.root}@{top.digest}",
        names=tuple(each for _, each in names if each is not None),
        replaced={
            each: before[each]
            for digest, each in names
            if each is not None and before.get(each, digest) != digest
        },
        models=tuple(each.digest for each in made.models),
        referrers=_hanging(made),
        missing=tuple(made.missing),
        counted=counted,
    )


def _into(
    top: Descriptor,
    source: Source,
    goal: Reference,
    tag: str,
    access: Access,
    *,
    classic: bool,
    watch: Callable[[Event], None] | None,
    mount: str = "",
) -> Transferred:
    repository = access.repository(goal, write=True, mount=mount)
    if tag:
        _refuse_channel(repository, tag)
    made = plan(source, [top], access.patience.stop)
    tags: list[tuple[str, str]] = []
    if classic:
        tags += [(each, digest) for digest, each in _older(made, source, access)]
    if tag:
        models = list(dict.fromkeys(each.digest for each in made.models))
        # An untagged manifest is what a registry's clean-up removes.
        tags += [(f"{tag}{media.MODEL_SUFFIX}", digest) for digest in models[-1:]]
        tags.append((tag, top.digest))
    counted = into_repository(made, source, repository, tags, mount=mount, watch=watch)
    return Transferred(
        digest=top.digest,
        where=f"{goal.name}@{top.digest}",
        names=tuple(each for each, _ in tags),
        replaced={},
        models=tuple(each.digest for each in made.models),
        referrers=_hanging(made),
        missing=tuple(made.missing),
        counted=counted,
    )


def _refuse_channel(repository: Repository, tag: str) -> None:
    channel = tag.removesuffix(media.MODEL_SUFFIX)
    for suffix in (JOURNAL, CLAIM):
        channel = channel.removesuffix(suffix)
    if repository.points_to(f"{channel}{JOURNAL}"):
        msg = f"{repository}: {channel} is a channel, and {tag} belongs to it"
        remedy = f"python -m buildkit promote REF --to {channel} --policy FILE --in {repository}"
        raise InputError(msg, f"choose another tag, or move the channel: {remedy}")


def _names_channel(store: Store, name: str) -> bool:
    return any(each.annotations.get(REF_NAME) == f"{name}{JOURNAL}" for each in store.entries())


def _with_journal(source: FromRepository, start: Reference) -> tuple[Descriptor, Descriptor | None]:
    """What is wanted, and the journal if it is a channel: both of one moment."""
    if not start.tag:
        return _found(source, start), None
    found = source.find(f"{start.tag}{JOURNAL}")
    while True:
        top, again = _found(source, start), source.find(f"{start.tag}{JOURNAL}")
        if again == found:
            return top, found
        found = again


def _older(made: Plan, source: Source, access: Access) -> list[tuple[str, str]]:
    """The manifests that older cosign looks for by a tag, added to the plan."""
    from buildkit.evidence import classic as older  # noqa: PLC0415 - takes long to load

    found: list[tuple[str, str]] = []
    for digest in list(made.parts):
        name = older.tag(digest)
        top = source.find(name)
        if top is not None:
            extra = plan(source, [top], access.patience.stop)
            made.parts |= extra.parts
            made.blobs |= extra.blobs
            found.append((top.digest, name))
    return found


def _model_names(made: Plan, chosen: str) -> list[tuple[str, str | None]]:
    """The newest index of models gets the name; others are entries without one."""
    models = list(dict.fromkeys(each.digest for each in made.models))
    name, colon, tag = chosen.rpartition(":")
    end = media.MODEL_SUFFIX
    named = f"{name}{end}:{tag}" if colon else f"{chosen}{end}" if chosen else None
    return [(each, named if each == models[-1] else None) for each in models]


def _hanging(made: Plan) -> int:
    return sum(map(len, made.subjects().values()))


def _tag_of(ref: str, top: Descriptor) -> str:
    tag = ref.rpartition(":")[2]
    return tag if top.annotations.get(REF_NAME) == ref and is_tag(tag) else ""


def _found(source: FromRepository, start: Reference) -> Descriptor:
    found = source.find(start.pointer)
    if found is None:
        msg = f"{start} is not there"
        raise RegistryError(msg, "check the name of the repository and the tag")
    return found


def _pointed(reference: Reference) -> Reference:
    if not reference.pointer:
        msg = f"{reference}: no tag and no digest"
        raise InputError(msg, "say which: HOST/REPOSITORY:TAG or HOST/REPOSITORY@sha256:…")
    return reference


def _without_digest(reference: Reference) -> Reference:
    if reference.digest:
        msg = f"{reference}: a digest cannot be chosen"
        raise InputError(msg, "write HOST/REPOSITORY or HOST/REPOSITORY:TAG")
    return reference
