"""Which packages a person means: ``openssl<3.0.15``, a package URL, a hash, a licence; and order.

Debian's versions are compared by Debian's rules (Debian Policy 5.6.12), those of Python's packages
by PyPA's (Version Specifiers), all others run by run of digits and letters. What its own rules
cannot read is compared like the others: it must not fall out of an answer in silence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from buildkit import distributions
from buildkit.audit import debver
from buildkit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_BOUND = re.compile(r"(<=|>=|==|!=|<|>|=)\s*([^\s<>=!,]+)")
_WANTED = re.compile(r"(?P<name>[^<>=!,\s]+)\s*(?P<bounds>[<>=!][^\n]*)?")
_RUNS = re.compile(r"[0-9]+|[A-Za-z]+|~")
_WORDS = re.compile(r"[A-Za-z0-9.+-]+")
_HASH = re.compile(r"(?:sha256:)?([0-9a-f]{7,64})")
_HEX = 64
_LICENCE = "licence:"
_LONGEST = 4096
_HOW = "write `openssl<3.0.15`, `pkg:pypi/numpy@2.1.0`, `sha256:…` or `licence:MIT`"


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Packages, as a person names them. One of `name`, `sha256` and `licence` is not empty.

    Attributes:
        name: of the package.
        type: of its package URL; empty for any.
        namespace: of its package URL; empty for any.
        bounds: operator and version: all must hold.
        qualifiers: that its package URL must have.
        sha256: first hex digits of its file's hash.
        licence: SPDX identifier that its expression must name.
    """

    name: str = ""
    type: str = ""
    namespace: str = ""
    bounds: tuple[tuple[str, str], ...] = ()
    qualifiers: tuple[tuple[str, str], ...] = ()
    sha256: str = ""
    licence: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Ways in which the name may be written: PyPA's distributions have several."""
        lower = self.name.lower()
        whole = (f"{self.namespace}/{self.name}",) if self.namespace else ()
        return tuple(dict.fromkeys((self.name, lower, distributions.normal(lower), *whole)))

    def fits(self, url: str, version: str = "") -> bool:
        """Whether a package of that name is meant.

        Args:
            url: its package URL; empty where it has none.
            version: where the package URL has none.
        """
        found = parse_url(url)
        if (self.type and found.type != self.type) or (
            self.namespace and found.namespace != self.namespace
        ):
            return False
        if any(found.qualifiers.get(key) != value for key, value in self.qualifiers):
            return False
        version = found.version or version
        if self.bounds and not version:
            return False
        return all(holds(found.type, version, *each) for each in self.bounds)


@dataclass(frozen=True, kw_only=True, slots=True)
class Url:
    """A package URL in its parts; all are empty where it is none."""

    type: str
    namespace: str
    name: str
    version: str
    qualifiers: Mapping[str, str]


def parse_url(text: str) -> Url:
    """The parts of a package URL (PURL-SPECIFICATION.rst); of anything else, empty ones."""
    if not text.startswith("pkg:"):
        return Url(type="", namespace="", name="", version="", qualifiers={})
    path, _, told = text[4:].partition("#")[0].partition("?")
    kind, _, rest = path.strip("/").partition("/")
    # A version's own `@` is written as %40; the name of an npm scope begins with one.
    at = rest.rfind("@")
    rest, version = (rest[:at], rest[at + 1 :]) if at > 0 else (rest, "")
    namespace, _, name = rest.strip("/").rpartition("/")
    pairs = (each.partition("=") for each in told.split("&") if each)
    return Url(
        type=kind.lower(),
        namespace=unquote(namespace),
        name=unquote(name),
        version=unquote(version),
        qualifiers={key: unquote(value) for key, _, value in pairs},
    )


def parse(text: str) -> Wanted:
    """What a person wrote.

    Raises:
        InputError: it names no package.
    """
    text = checked(text)
    if text.startswith(_LICENCE) and (licence := text.removeprefix(_LICENCE).strip()):
        return Wanted(licence=licence)
    digest = _HASH.fullmatch(text)
    if digest and (text.startswith("sha256:") or len(digest[1]) == _HEX):
        return Wanted(sha256=digest[1])
    if text.startswith("pkg:"):
        return _url(text)
    found = _WANTED.fullmatch(text)
    if found is None:
        msg = f"{text[:80]!r} names no package"
        raise InputError(msg, _HOW)
    return Wanted(name=found["name"], bounds=_bounds(found["bounds"] or ""))


def checked(text: str) -> str:
    """`text` without blanks around it, when it can be asked for.

    Raises:
        InputError: it is empty, too long, or not text.
    """
    text = text.strip()
    try:
        text.encode()
        usable = 0 < len(text) <= _LONGEST and "\0" not in text
    except UnicodeEncodeError:
        usable = False
    if not usable:
        msg = f"{text[:80]!r} cannot be asked for"
        raise InputError(msg, "write a name, a digest or its first 7 hex digits")
    return text


def holds(kind: str, version: str, operator: str, bound: str) -> bool:
    """Whether ``version operator bound`` holds for packages of a type (``deb``, ``pypi``, …)."""
    order = compare(kind, version, bound)
    return {
        "<": order < 0,
        "<=": order <= 0,
        ">": order > 0,
        ">=": order >= 0,
        "!=": order != 0,
    }.get(operator, order == 0)


def compare(kind: str, one: str, other: str) -> int:
    """Which of two versions is the newer one: below 0, 0, or above 0."""
    if one == other:
        return 0
    make = _ORDERS.get(kind, _plain)
    try:
        first, second = make(one), make(other)
    except ValueError:
        first, second = _plain(one), _plain(other)
    return int(first > second) - int(first < second)


def names_licence(expression: str, licence: str) -> bool:
    """Whether an SPDX expression names a licence: ``GPL-2.0-only`` or, for a family, ``GPL-*``."""
    wanted = licence.lower()
    words = (word.lower() for word in _WORDS.findall(expression))
    if wanted.endswith("*"):
        return any(word.startswith(wanted[:-1]) for word in words)
    return expression.lower() == wanted or wanted in words


def _url(text: str) -> Wanted:
    at = re.search(r"[<>!]|(?<![?&][a-z])=(?==)", text)
    url, bounds = (text[: at.start()], text[at.start() :]) if at else (text, "")
    found = parse_url(url)
    if not found.type or not found.name:
        msg = f"{text[:80]!r} is no package URL"
        raise InputError(msg, _HOW)
    exact = (("==", found.version),) if found.version else ()
    return Wanted(
        name=found.name,
        type=found.type,
        namespace=found.namespace,
        bounds=exact + _bounds(bounds),
        qualifiers=tuple(sorted(found.qualifiers.items())),
    )


def _bounds(text: str) -> tuple[tuple[str, str], ...]:
    found = []
    for each in filter(None, (part.strip() for part in text.split(","))):
        bound = _BOUND.fullmatch(each)
        if bound is None:
            msg = f"{each[:80]!r} bounds no version"
            raise InputError(msg, _HOW)
        found.append((bound[1], bound[2]))
    return tuple(found)


def _plain(version: str) -> Any:
    """Digits by their number, `~` before anything, the end before letters, digits after both."""
    runs: list[tuple[int, int, str]] = []
    for run in _RUNS.findall(version):
        if run == "~":
            runs.append((0, 0, ""))
        elif run.isdigit():
            bare = run.lstrip("0")
            runs.append((3, len(bare), bare))
        else:
            runs.append((2, 0, run))
    return [*runs, (1, 0, "")]


def _pypi(version: str) -> Any:
    from packaging.version import Version  # noqa: PLC0415 - only where it is needed

    return Version(version)


_ORDERS: Mapping[str, Callable[[str], Any]] = {"deb": debver.key, "pypi": _pypi}
