"""Reading a document that nobody vouches for: every step checks what is there."""

from __future__ import annotations

import base64
import binascii
import sys
import zlib
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_SAMPLES: Final = 4_000_000
"""Of one report; the longest profile gives a fifth of that."""

_MOST_ITEMS = 1_000_000
_LONGEST_TEXT = 1 << 16
_ENCODING = "planes+zlib+base64"
_CODES: Final = {"<u4": ("I", 4), "<u8": ("Q", 8)}


class MalformedError(ValueError):
    """A report does not hold to its schema, or contradicts itself."""


@dataclass(frozen=True, slots=True)
class Node:
    """A value of a JSON document, and where it stands (JSON pointer)."""

    value: Any
    at: str = ""

    def __getitem__(self, key: str) -> Node:
        """The member of an object; there must be one."""
        if not isinstance(self.value, Mapping):
            self.refuse("is no object")
        if key not in self.value:
            msg = f"{self.at}/{key} is missing"
            raise MalformedError(msg)
        return Node(self.value[key], f"{self.at}/{key}")

    def __iter__(self) -> Iterator[Node]:
        """The elements of a list."""
        if not isinstance(self.value, list | tuple) or len(self.value) > _MOST_ITEMS:
            self.refuse("is no list, or too long")
        for place, item in enumerate(self.value):
            yield Node(item, f"{self.at}/{place}")

    @property
    def unknown(self) -> bool:
        """Whether it is null."""
        return self.value is None

    def members(self) -> list[tuple[str, Node]]:
        """The members of an object."""
        if not isinstance(self.value, Mapping) or len(self.value) > _MOST_ITEMS:
            self.refuse("is no object, or too large")
        return [(str(key), self[key]) for key in self.value]

    def number(self, low: int = 0) -> int:
        """A whole number of at most 63 bits, not below `low`."""
        if isinstance(self.value, bool) or not isinstance(self.value, int):
            self.refuse("is no whole number")
        if not low <= self.value < 1 << 63:
            self.refuse("is no possible number")
        return self.value

    def text(self) -> str:
        """A text."""
        if not isinstance(self.value, str) or len(self.value) > _LONGEST_TEXT:
            self.refuse("is no text, or too long")
        return self.value

    def flag(self) -> bool:
        """True or false."""
        if not isinstance(self.value, bool):
            self.refuse("is neither true nor false")
        return self.value

    def maybe_number(self, low: int = 0) -> int | None:
        """A whole number, or null."""
        return None if self.unknown else self.number(low)

    def maybe_text(self) -> str | None:
        """A text, or null."""
        return None if self.unknown else self.text()

    def texts(self) -> tuple[str, ...]:
        """A list of texts."""
        return tuple(item.text() for item in self)

    def same(self, found: int | None) -> None:
        """The number here must be the one that follows from the rest of the document."""
        if self.value != found or isinstance(self.value, bool):
            small = isinstance(self.value, int) and abs(self.value) < 1 << 63
            said = self.value if small else "something else"
            self.refuse(f"says {said}, and what it is made of gives {found}")

    def samples(self) -> array[int]:
        """Raw samples (docs/smoke-report.md, "Raw samples")."""
        code, width = _CODES.get(self["dtype"].text(), ("", 0))
        count = self["count"].number()
        if self["encoding"].text() != _ENCODING or not width or count > MOST_SAMPLES:
            self.refuse("holds samples in an encoding that is not known")
        raw = self._inflated(count * width)
        woven = bytearray(len(raw))
        for plane in range(width):
            woven[plane::width] = raw[plane * count : (plane + 1) * count]
        found = array(code)
        found.frombytes(woven)
        if sys.byteorder == "big":
            found.byteswap()
        return found

    def _inflated(self, size: int) -> bytes:
        inflater = zlib.decompressobj()
        try:
            packed = base64.b64decode(self["data"].value, validate=True)
            # With a limit of 0 zlib would have none; at the exact length it owes its check sum.
            raw = inflater.decompress(packed, size + 1)
        except (binascii.Error, zlib.error, TypeError, ValueError) as error:
            msg = f"{self.at} cannot be unpacked: {error}"
            raise MalformedError(msg) from error
        if len(raw) != size or not inflater.eof or inflater.unused_data:
            self.refuse("does not hold as many samples as it says")
        return raw

    def refuse(self, what: str) -> NoReturn:
        """Say what is wrong with this value."""
        msg = f"{self.at or 'the report'} {what}"
        raise MalformedError(msg)
