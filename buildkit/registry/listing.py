"""What hangs on an artifact can be found: by the referrers API, or by the fallback tag.

Source: OCI distribution-spec 1.1, "Pushing Manifests with Subject" and "Referrers Tag Schema".
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from buildkit import canonical, media
from buildkit.errors import RegistryError
from buildkit.registry.patience import Stopped
from buildkit.registry.repository import fallback_tag
from buildkit.store.blobs import DOCUMENT_LIMIT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit.registry.plan import Part
    from buildkit.registry.repository import Repository

_ROUNDS = 20
_PAUSE_S = 0.2


def see_to(repository: Repository, subject: str, hanging: Sequence[Part]) -> bool:
    """See to it that `hanging` is found from `subject`; whether anything had to be written.

    The fallback tag can only be read, merged and written: no registry has a compare-and-swap for
    tags. So it is read again afterwards, and written again if somebody else has dropped something.

    Raises:
        RegistryError: it is not found in spite of all.
    """
    listed = repository.referrers(subject)
    missing = _missing(listed, hanging)
    if not missing:
        return False
    if repository.has_referrers:
        return _again(repository, subject, missing)
    for _ in range(_ROUNDS):
        data = _merged(listed, missing)
        if len(data) > DOCUMENT_LIMIT:
            msg = f"{repository}: so much hangs on {subject} that the list is too long for a tag"
            raise RegistryError(msg, "use a registry with the referrers API")
        repository.put_manifest(fallback_tag(subject), data, media.INDEX)
        listed = repository.tagged_referrers(subject)
        missing = _missing(listed, hanging)
        if not missing:
            return True
        if repository.patience.stop.wait(random.uniform(0, _PAUSE_S)):  # noqa: S311 (spreads writers)
            raise Stopped
    msg = f"{repository}: others keep writing {fallback_tag(subject)}, and drop what we add"
    raise RegistryError(msg, "run the command again when they have ended")


def is_seen(repository: Repository, subject: str, hanging: Sequence[Part]) -> bool:
    """Whether all of `hanging` is found from `subject`.

    Raises:
        RegistryError: it cannot be told.
    """
    return not _missing(repository.referrers(subject), hanging)


def _again(repository: Repository, subject: str, missing: Sequence[Part]) -> bool:
    """The registry may have taken them before it knew of referrers."""
    for part in missing:
        repository.put_manifest(part.descriptor.digest, part.data, part.descriptor.media_type)
    if not is_seen(repository, subject, missing):
        msg = f"{repository}: took what hangs on {subject}, and does not list it"
        raise RegistryError(msg, "the registry's referrers API is broken; use another one")
    return True


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
