"""Licences in the three ways that CycloneDX and SPDX tell apart: identifier, expression, name.

syft gives the SPDX identifier where it knows one, else the package's own words (Debian's short
names among them). An identifier in the wrong place makes a document invalid, so only those below
count as such; any other word is told as a name, never dropped.

Source: SPDX 2.3, Annex D (expressions) and the SPDX License List; Debian's machine-readable
copyright format 1.0 (short names).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

# Those that Debian's base, the wheels of this field and recipes name; a longer list costs a build
# more than it tells.
_IDS = """
0BSD AFL-2.1 AFL-3.0 AGPL-3.0-only AGPL-3.0-or-later Apache-1.1 Apache-2.0 APSL-2.0 Artistic-1.0
Artistic-1.0-Perl Artistic-2.0 BlueOak-1.0.0 BSD-1-Clause BSD-2-Clause BSD-2-Clause-Patent
BSD-3-Clause BSD-3-Clause-Clear BSD-3-Clause-LBNL BSD-4-Clause BSD-4-Clause-UC BSL-1.0 bzip2-1.0.6
CC-BY-3.0 CC-BY-4.0 CC-BY-SA-3.0 CC-BY-SA-4.0 CC-BY-NC-4.0 CC0-1.0 CDDL-1.0 CECILL-2.1 curl
EPL-1.0 EPL-2.0 EUPL-1.2 FSFAP FSFUL FSFULLR FTL GFDL-1.1-only GFDL-1.1-or-later GFDL-1.2-only
GFDL-1.2-or-later GFDL-1.3-only GFDL-1.3-or-later GPL-1.0-only GPL-1.0-or-later GPL-2.0-only
GPL-2.0-or-later GPL-3.0-only GPL-3.0-or-later HPND ICU IJG Info-ZIP Intel ISC LGPL-2.0-only
LGPL-2.0-or-later LGPL-2.1-only LGPL-2.1-or-later LGPL-3.0-only LGPL-3.0-or-later Libpng
libtiff MIT MIT-0 MIT-CMU MPL-1.0 MPL-1.1 MPL-2.0 MS-PL NCSA NTP OFL-1.1 OpenSSL PHP-3.01
PostgreSQL PSF-2.0 Python-2.0 Ruby Sleepycat SMLNJ TCL Unicode-3.0 Unicode-DFS-2016 Unlicense
UPL-1.0 Vim W3C WTFPL X11 Xnet ZPL-2.1 Zlib
"""
_EXCEPTIONS = """
Autoconf-exception-2.0 Autoconf-exception-3.0 Bison-exception-2.2 Classpath-exception-2.0
GCC-exception-2.0 GCC-exception-3.1 Libtool-exception LLVM-exception
"""
# Names that have one meaning: Debian's word for MIT, and the licence's full name in the SPDX list.
_ALIASES = {"expat": "MIT", "mit license": "MIT", "apache license 2.0": "Apache-2.0"}
_BY_WORD = {word.casefold(): word for word in _IDS.split()} | _ALIASES
_EXCEPTION_BY_WORD = {word.casefold(): word for word in _EXCEPTIONS.split()}

_WORDS = re.compile(r"[()]|[^\s()]+")


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Licence:
    """One licence: an SPDX identifier, an SPDX expression, or words that are neither."""

    form: Literal["id", "expression", "name"]
    text: str


def of(words: Iterable[str]) -> tuple[Licence, ...]:
    """Licences by their form, each once, sorted."""
    return tuple(sorted({_licence(word) for word in words if word.strip()}))


def cyclonedx(words: Iterable[str]) -> list[dict[str, object]]:
    """The value of CycloneDX ``licenses``: identifiers and names, or else one expression."""
    found = of(words)
    if [each.form for each in found] == ["expression"]:
        return [{"expression": found[0].text, "acknowledgement": "declared"}]
    # The format cannot mix an expression with others: there it is a name.
    return [
        {
            "license": {
                "id" if each.form == "id" else "name": each.text,
                "acknowledgement": "declared",
            }
        }
        for each in found
    ]


def spdx(words: Iterable[str]) -> tuple[str, dict[str, str]]:
    """The value of SPDX ``licenseDeclared``, and what it refers to.

    Returns:
        An expression, ``NOASSERTION`` for no words at all; and for each ``LicenseRef-…`` in it the
        words that it stands for.
    """
    parts: list[str] = []
    references: dict[str, str] = {}
    for each in of(words):
        if each.form == "name":
            reference = _reference(each.text)
            references[reference] = each.text
            parts.append(reference)
        else:
            parts.append(each.text)
    if len(parts) > 1:
        parts = [f"({part})" if " OR " in part else part for part in parts]
    return " AND ".join(parts) or "NOASSERTION", references


def _licence(words: str) -> Licence:
    text = " ".join(words.split())
    if (found := _BY_WORD.get(text.casefold())) is not None:
        return Licence(form="id", text=found)
    if (expression := _expression(text)) is not None:
        return Licence(form="expression", text=expression)
    return Licence(form="name", text=text)


def _expression(text: str) -> str | None:
    """An expression of known identifiers in its one spelling; nothing for anything else."""
    written: list[str] = []
    depth, wants_operand = 0, True
    previous = ""
    for word in _WORDS.findall(text):
        told = word
        if wants_operand and word == "(" and previous != "WITH":
            depth += 1
        elif wants_operand:
            known = _EXCEPTION_BY_WORD if previous == "WITH" else _BY_WORD
            if (told := known.get(word.casefold(), "")) == "":
                return None
            wants_operand = False
        elif word == ")" and depth:
            depth -= 1
        elif word in {"AND", "OR"} or (word == "WITH" and previous in _BY_WORD.values()):
            wants_operand = True
        else:
            return None
        written.append(told)
        previous = told
    if wants_operand or depth:
        return None
    return " ".join(written).replace("( ", "(").replace(" )", ")")


def _reference(text: str) -> str:
    slug = re.sub(r"[^A-Za-z0-9.-]+", "-", text).strip("-")[:60]
    # Two names may have one slug.
    apart = "" if slug == text else "-" + hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"LicenseRef-{slug}{apart}" if slug else f"LicenseRef{apart}"
