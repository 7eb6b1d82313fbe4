"""What the tests of every page share: a reader of its elements, and what no page may do."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

HOSTILE = (
    "</style></title><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onload='alert(1)",
    "left\u202eright\u2066\u200f",
    "\x00\x1b[31m\x07",
    "]]>&amp;<!--",
    "'; DROP TABLE artifact; --",
    "שלום עולם",
    "Z\u0351\u036b\u0343\u036a" + "\u0351" * 400,
    "W" * 100_000,
    "幅" * 5_000,
)


class Elements(HTMLParser):
    """Names and attributes of all elements in their order, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self.found}

    @property
    def attributes(self) -> set[str]:
        return {key for _, found in self.found for key in found}

    def named(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for each, attributes in self.found if each == name]


def needs_nobody(text: str) -> None:
    """No script, and nothing that would be fetched from anywhere."""
    page = Elements(text)
    unwanted = {"script", "img", "link", "iframe", "object", "base", "form", "image", "use"}
    assert not page.names & unwanted
    assert not page.attributes & {"src", "style", "xlink:href", "action", "ping"}
    assert not {key for key in page.attributes if key.startswith("on")}
    assert all((found.get("href") or "#").startswith("#") for _, found in page.found)
    assert "url(" not in text
    assert "@import" not in text
    [policy] = [each for each in page.named("meta") if each.get("http-equiv")]
    assert policy["content"] == "default-src 'none'; style-src 'unsafe-inline'"


def is_well_formed(text: str) -> None:
    plain = text.removeprefix("<!DOCTYPE html>\n").replace("&#x27;", "'")
    ET.fromstring(re.sub(r"<(meta|br)\b([^>]*)>", r"<\1\2/>", plain))  # noqa: S314 - our own text


def is_harmless(text: str, good: str) -> None:
    """A page with `HOSTILE` texts has no other elements than one without, and runs nothing."""
    page = Elements(text)
    assert page.names <= Elements(good).names
    assert not {key for key in page.attributes if key.startswith("on")}
    assert not set(text) & set("\u202e\u2066\u200f\x00\x1b\x07")
    assert not re.search(r"[\u0300-\u036f]{9}", text)
    ids = [each["id"] for _, each in page.found if "id" in each]
    assert len(set(ids)) == len(ids)
