"""What hangs on an artifact can be found: by the referrers API, or by the fallback tag.

Source: OCI distribution-spec 1.1, "Pushing Manifests with Subject" and "Referrers Tag Schema".
"""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING, Any

from buildkit import canonical, media
from buildkit.errors import RegistryError
from buildkit.registry import crew
from buildkit.registry.patience import Stopped
from buildkit.registry.repository import fallback_tag
from buildkit.store.blobs import DOCUMENT_LIMIT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from buildkit.registry.plan import Part
    from buildkit.registry.repository import Repository

_ROUNDS = 20
# How many times as long as our own longest write took somebody else's may take.
_SLOWER = 3


def see_to(repository: Repository, subjects: Mapping[str, Sequence[Part]]) -> None:
    """See to it that all that hangs on each subject is found from it.

    The fallback tag can only be read, merged and written: no registry has a compare-and-swap for
    tags. Who has read it before we wrote, and writes it after, drops what we added. So all are read
    again when such a write is over, as far as can be told from how long ours took, and written
    again if something was dropped.

    Args:
        repository: of all of them.
        subjects: by digest, what hangs on it.

    Raises:
        RegistryError: something is not found in spite of all.
    """
    stop = repository.patience.stop
    first, *rest = [partial(_added, repository, *one) for one in subjects.items()]
    # One alone finds out how this registry lists them.
    took = [first(), *crew.gather(rest, stop)]
    if not repository.has_referrers:
        longest = max(each or 0.0 for each in took)
        _wait(repository, longest)
        kept = [partial(_kept, repository, *one, longest) for one in subjects.items()]
        crew.gather(kept, stop)


def _kept(repository: Repository, subject: str, hanging: Sequence[Part], longest: float) -> None:
    for _ in range(_ROUNDS):
        took = _added(repository, subject, hanging)
        if took is None:
            return
        longest = max(longest, took)
        _wait(repository, longest)
    msg = f"{repository}: others keep writing {fallback_tag(subject)}, and drop what we add"
    raise RegistryError(msg, "run the command again when they have ended")


def _wait(repository: Repository, longest: float) -> None:
    """Until a write of somebody else that had begun before ours is over."""
    seconds = _SLOWER * longest * random.uniform(1, 2)  # noqa: S311 - spreads writers
    if repository.patience.stop.wait(seconds):
        raise Stopped


def _added(repository: Repository, subject: str, hanging: Sequence[Part]) -> float | None:
    """Add to the list what it lacks; seconds from before it was read, or that it lacked nothing."""
    began = repository.patience.now()
    listed = repository.referrers(subject)
    missing = _missing(listed, hanging)
    if not missing:
        return None
    if repository.has_referrers:
        _again(repository, subject, missing)
    else:
        data = _merged(listed, missing)
        if len(data) > DOCUMENT_LIMIT:
            msg = f"{repository}: so much hangs on {subject} that the list is too long for a tag"
            raise RegistryError(msg, "use a registry with the referrers API")
        repository.put_manifest(fallback_tag(subject), data, media.INDEX)
    return repository.patience.now() - began


def _again(repository: Repository, subject: str, missing: Sequence[Part]) -> None:
    """The registry may have taken them before it knew of referrers."""
    for part in missing:
        repository.put_manifest(part.descriptor.digest, part.data, part.descriptor.media_type)
    if _missing(repository.referrers(subject), missing):
        msg = f"{repository}: took what hangs on {subject}, and does not list it"
        raise RegistryError(msg, "the registry's referrers API is broken; use another one")


def _missing(listed: Sequence[dict[str, Any]], hanging: Sequence[Part]) -> list[Part]:
    known = {entry["digest"] for entry in listed}
    return [part for part in hanging if part.descriptor.digest not in known]


def _merged(listed: Sequence[dict[str, Any]], added: Sequence[Part]) -> bytes:
    """The list with ours after those of others, which stay as they are."""
    ours = []
    for part in added:
        entry = part.descriptor.to_json()
        if part.links.artifact_type:
            entry["artifactType"] = part.links.artifact_type
        if part.links.annotations:
            entry["annotations"] = dict(part.links.annotations)
        ours.append(entry)
    return canonical.dump(
        {"schemaVersion": 2, "mediaType": media.INDEX, "manifests": [*listed, *ours]}
    )
