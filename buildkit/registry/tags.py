"""The tags of a repository.

Source: OCI distribution-spec 1.1, "Listing Tags".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from buildkit import canonical
from buildkit.errors import RegistryError
from buildkit.registry.transport import Request, joined, origin, place
from buildkit.store.blobs import DOCUMENT_LIMIT

if TYPE_CHECKING:
    from buildkit.registry.repository import Repository

_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_NEXT = re.compile(r'<([^<>]*)>\s*;\s*rel="?next"?')
_MOST_PAGES = 10_000
_LIES = "do not trust this registry; fetch from another one"


def tags(repository: Repository) -> tuple[str, ...]:
    """All tags, sorted; none when there is no such repository.

    Raises:
        RegistryError: the list cannot be had, or is none.
    """
    url = repository.url("tags", "list")
    found: set[str] = set()
    for _ in range(_MOST_PAGES):
        listed, link = repository.persist(lambda url=url: _page(repository, url))  # type: ignore[misc]
        found.update(listed)
        if not link:
            return tuple(sorted(found))
        before, url = url, joined(url, link)
        if url == before:
            break
        if origin(url) != origin(repository.base):
            msg = f"{repository}: the list of tags goes on at another host"
            raise RegistryError(msg, _LIES)
    msg = f"{repository}: the list of tags has no end"
    raise RegistryError(msg, _LIES)


def _page(repository: Repository, url: str) -> tuple[list[str], str]:
    with repository.send(Request(method="GET", url=url, headers={})) as answer:
        if answer.status == 404:
            return [], ""
        if answer.status != 200:
            repository.refuse(answer, "tags")
        link = _NEXT.search(answer.headers.get("Link", "")[:4096])
        data = answer.document(DOCUMENT_LIMIT)
    try:
        document: Any = canonical.load(data)
        listed = document["tags"] or []
        wrong = [each for each in listed if not (isinstance(each, str) and _TAG.fullmatch(each))]
    except (ValueError, KeyError, TypeError) as error:
        msg = f"{place(url)}: not a list of tags: {str(error)[:100]}"
        raise RegistryError(msg, _LIES) from error
    if wrong:
        msg = f"{place(url)}: {wrong[0]!r:.100} cannot be a tag"
        raise RegistryError(msg, _LIES)
    return listed, link[1] if link else ""
