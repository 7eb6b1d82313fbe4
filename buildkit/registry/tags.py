"""The tags of a repository.

Source: OCI distribution-spec 1.1, "Listing Tags".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from buildkit import canonical
from buildkit.errors import RegistryError
from buildkit.registry.reference import is_tag
from buildkit.registry.repository import LIES
from buildkit.registry.transport import Request, place
from buildkit.store.blobs import DOCUMENT_LIMIT

if TYPE_CHECKING:
    from buildkit.registry.repository import Repository
    from buildkit.registry.transport import Answer


def tags(repository: Repository) -> tuple[str, ...]:
    """All tags, sorted; none when there is no such repository.

    Raises:
        RegistryError: the list cannot be had, or is none.
    """

    def listed(answer: Answer) -> list[str] | None:
        if answer.status == 404:
            return None
        if answer.status != 200:
            repository.refuse(answer, "tags")
        return _tags(answer.document(DOCUMENT_LIMIT), place(answer.url))

    first = Request(method="GET", url=repository.url("tags", "list"))
    return tuple(sorted(set(repository.paged(first, "tags", listed) or ())))


def _tags(data: bytes, where: str) -> list[str]:
    try:
        document: Any = canonical.load(data)
        found: list[Any] = document["tags"] or []
        wrong = [each for each in found if not (isinstance(each, str) and is_tag(each))]
    except (ValueError, KeyError, TypeError) as error:
        msg = f"{where}: not a list of tags: {str(error)[:100]}"
        raise RegistryError(msg, LIES) from error
    if wrong:
        msg = f"{where}: {wrong[0]!r:.100} cannot be a tag"
        raise RegistryError(msg, LIES)
    return found
