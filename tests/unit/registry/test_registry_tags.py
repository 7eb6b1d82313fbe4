"""The list of a repository's tags, page by page, and lists that are none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fake_registry import Fake, Handler, serving
from registry_world import access, name_of

from buildkit.errors import RegistryError
from buildkit.registry import parse
from buildkit.registry.tags import tags

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def fake() -> Iterator[Fake]:
    with serving(Fake(page=2)) as served:
        yield served


def listed(fake: Fake) -> tuple[str, ...]:
    return tags(access().repository(parse(name_of(fake))))


def answering(data: bytes, **headers: str) -> Callable[[Handler], bool]:
    def before(handler: Handler) -> bool:
        handler.answer(200, data, **headers)
        return True

    return before


def test_pages_go_together(fake: Fake) -> None:
    fake.tags = dict.fromkeys(["e", "b", "a", "d", "c"], "sha256:")
    assert listed(fake) == ("a", "b", "c", "d", "e")
    assert len(fake.asked("GET", "/tags/list")) == 3


def test_a_repository_that_is_not_there_has_none(fake: Fake) -> None:
    def before(handler: Handler) -> bool:
        handler.error(404, "NAME_UNKNOWN")
        return True

    fake.before = before
    assert listed(fake) == ()


def test_a_page_that_is_not_there_is_no_end(fake: Fake) -> None:
    """Else an auditor would take half of a list for all of it."""
    fake.tags = dict.fromkeys("abc", "sha256:")

    def before(handler: Handler) -> bool:
        if "last=" in handler.path:
            handler.error(404, "NAME_UNKNOWN")
            return True
        return False

    fake.before = before
    with pytest.raises(RegistryError, match="the next page of the list is not there"):
        listed(fake)


@pytest.mark.parametrize(
    ("link", "says"),
    [
        ("<?last=a>; rel=next", "has no end"),
        ("<http://127.0.0.2:9/x>; rel=next", "the list of tags goes on at another host"),
    ],
)
def test_a_list_without_an_end(link: str, says: str, fake: Fake) -> None:
    fake.before = answering(b'{"tags": ["a"]}', Link=link)
    with pytest.raises(RegistryError, match=says):
        listed(fake)


@pytest.mark.parametrize(
    "data", [b"{", b"[]", b'{"tags": 1}', b'{"tags": [1]}', b'{"tags": ["/"]}']
)
def test_what_is_no_list_of_tags(data: bytes, fake: Fake) -> None:
    fake.before = answering(data)
    with pytest.raises(RegistryError, match=r"not a list of tags|cannot be a tag"):
        listed(fake)
