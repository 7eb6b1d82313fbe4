"""What a registry asks for with 401: the header ``WWW-Authenticate``, parsed. Pure.

Source: RFC 9110, 11.6.1; docker/distribution, the token specification.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SCHEME = re.compile(rf"\s*(?:,\s*)*({_WORD})(?=\s|,|$)")
_PARAMETER = re.compile(rf'[\s,]*({_WORD})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_WORD}))')
_SIXTY_EIGHT = re.compile(r"\s+[A-Za-z0-9._~+/-]+=*(?=\s*(?:,|$))")
_ESCAPED = re.compile(r"\\(.)")
_LONGEST = 8192


@dataclass(frozen=True, kw_only=True, slots=True)
class Challenge:
    """One way to authenticate.

    Attributes:
        scheme: in lower case: ``bearer``, ``basic``.
        parameters: by their names in lower case.
    """

    scheme: str
    parameters: Mapping[str, str]


def parse(header: str) -> tuple[Challenge, ...]:
    """The challenges of a header, in its order; what cannot be read ends the list."""
    found: list[Challenge] = []
    at = 0
    text = header[:_LONGEST]
    while (scheme := _SCHEME.match(text, at)) is not None:
        at = scheme.end()
        parameters: dict[str, str] = {}
        while (one := _PARAMETER.match(text, at)) is not None:
            value = one[3] if one[2] is None else _ESCAPED.sub(r"\1", one[2])
            parameters.setdefault(one[1].lower(), value)
            at = one.end()
        if not parameters and (blob := _SIXTY_EIGHT.match(text, at)) is not None:
            at = blob.end()
        found.append(Challenge(scheme=scheme[1].lower(), parameters=parameters))
    return tuple(found)
