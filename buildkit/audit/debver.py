"""Debian's order of versions. Pure.

Source: Debian Policy 5.6.12. Our own, because the known libraries for it are under the GPL.
"""

from __future__ import annotations

import re

_FORM = re.compile(r"(?:(\d{1,9}):)?([0-9][A-Za-z0-9.+~:-]*?)(?:-([A-Za-z0-9.+~]+))?", re.ASCII)
_RUNS = re.compile(r"(\D*)(\d*)", re.ASCII)

Order = tuple[int, tuple[tuple[tuple[int, ...], int], ...], tuple[tuple[tuple[int, ...], int], ...]]


def key(version: str) -> Order:
    """What sorts versions as Debian does.

    Raises:
        ValueError: not a version of Debian's.
    """
    match = _FORM.fullmatch(version)
    # An empty revision; a colon that ends no epoch.
    if match is None or version[-1] in "-:" or (match[1] is None and ":" in version):
        msg = f"{version!r} is not a version of Debian's"
        raise ValueError(msg)
    return int(match[1] or 0), _part(match[2]), _part(match[3] or "0")


def _part(text: str) -> tuple[tuple[tuple[int, ...], int], ...]:
    """Runs of other characters and of digits, in turns."""
    runs = [
        ((*map(_weight, other), 0), int(digits or 0))
        for other, digits in _RUNS.findall(text)
        if other or digits
    ]
    # Trailing nothing counts as an empty run and a zero, so that `1~` stands before `1`.
    return (*runs, ((0,), 0))


def _weight(character: str) -> int:
    """Letters before all else, and ``~`` before even the end of the text."""
    if character == "~":
        return -1
    return ord(character) if character.isalpha() else ord(character) + 256
