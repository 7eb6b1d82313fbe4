"""Where this machine gets Debian from: its own APT sources, with the suites replaced.

Reads both forms of sources.list(5): deb822 (``*.sources``) and one line (``*.list``). Nothing of
it ever reaches a lock.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from buildkit.errors import ResolveError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

OVERRIDE = "EDGE_BUILDKIT_APT_SOURCES"
KEYRINGS = (
    Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
    Path("/usr/share/keyrings/debian-archive-keyring.pgp"),
)
_NAMES = "buster bullseye bookworm trixie forky duke sid"
_ALIASES = "oldoldstable oldstable stable testing unstable"
_RELEASES = frozenset(f"{_NAMES} {_ALIASES}".split())
# `Trusted` is left out on purpose: it would turn the archive's signature check off.
_CARRIED = ("check-valid-until", "valid-until-max", "valid-until-min", "check-date")


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One entry of APT's sources.

    Attributes:
        uris: of the archive.
        suites: as the machine has them.
        components: ``main`` and others.
        signed_by: what the entry says, or empty.
        options: those about the age of the archive, which a snapshot mirror needs.
    """

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = ""
    options: tuple[tuple[str, str], ...] = ()


def machine_sources(
    suite: str,
    arch: str,
    *,
    etc: Path = Path("/etc/apt"),
    environ: Mapping[str, str] = os.environ,
    keyrings: tuple[Path, ...] = KEYRINGS,
) -> str:
    """A deb822 text that gives `suite` and ``<suite>-security`` for one architecture.

    Args:
        suite: code name of the release.
        arch: Debian's name of the architecture.
        etc: APT's configuration.
        environ: `OVERRIDE` names a file to read instead of `etc`.
        keyrings: Debian's own, the first that exists is used.

    Raises:
        ResolveError: no Debian archive, no security archive or no keyring is known here.
    """
    override = environ.get(OVERRIDE, "")
    if override:
        sources = tuple(_read(Path(override)))
    else:
        sources = tuple(source for source in _all(etc) if _is_debian(source))
    keyring = next((str(path) for path in keyrings if path.is_file()), "")
    stanzas = []
    for wanted, security in ((suite, False), (f"{suite}-security", True)):
        chosen = [source for source in sources if _serves(source, security=security)]
        if not chosen:
            kind = "security archive" if security else "archive"
            msg = f"APT on this machine knows no Debian {kind}"
            raise ResolveError(
                msg, f"set {OVERRIDE} to a .sources file with Debian's main and security archives"
            )
        for source in chosen:
            own = source.signed_by if override else ""
            if not (own or keyring):
                msg = "the keyring of the Debian archive is missing, nothing can be verified"
                raise ResolveError(msg, "install the package debian-archive-keyring")
            stanzas.append(_stanza(source, wanted, arch, own or keyring))
    return "\n".join(dict.fromkeys(stanzas))


def _stanza(source: Source, suite: str, arch: str, keyring: str) -> str:
    lines = [
        "Types: deb",
        f"URIs: {' '.join(source.uris)}",
        f"Suites: {suite}",
        "Components: main",
        f"Architectures: {arch}",
        "Targets: Packages",
        f"Signed-By: {keyring}",
        *(f"{name}: {value}" for name, value in source.options),
    ]
    return "\n".join(lines) + "\n"


def _serves(source: Source, *, security: bool) -> bool:
    marked = [suite.endswith(("-security", "/updates")) for suite in source.suites]
    return any(marked) if security else not all(marked)


def _is_debian(source: Source) -> bool:
    """Whether an entry is Debian's own archive and not somebody's with the same code names."""
    names = {re.split(r"[-/]", suite)[0] for suite in source.suites}
    key = source.signed_by
    return (
        "main" in source.components
        and bool(names)
        and names <= _RELEASES
        and (not key.startswith("/") or "debian-archive" in key)
    )


def _all(etc: Path) -> Iterator[Source]:
    files = [etc / "sources.list"]
    folder = etc / "sources.list.d"
    if folder.is_dir():
        files += sorted(path for path in folder.iterdir() if path.suffix in {".list", ".sources"})
    for file in files:
        if file.is_file():
            yield from _read(file)


def _read(file: Path) -> Iterator[Source]:
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        msg = f"{file}: cannot be read: {error.strerror}"
        raise ResolveError(msg, f"correct {OVERRIDE} or APT's sources") from error
    yield from (_deb822(text) if file.suffix == ".sources" else _one_line(text))


def _deb822(text: str) -> Iterator[Source]:
    for block in re.split(r"\n[ \t]*\n", text):
        fields: dict[str, str] = {}
        name = ""
        for line in block.splitlines():
            if line.startswith("#"):
                continue
            if line[:1] in {" ", "\t"} and name:
                fields[name] += "\n" + line
            elif ":" in line:
                name, value = line.split(":", 1)
                name = name.strip().lower()
                fields[name] = value.strip()
        enabled = fields.get("enabled", "yes").lower() not in {"no", "false", "0"}
        if enabled and "deb" in fields.get("types", "").split() and fields.get("uris"):
            yield Source(
                uris=tuple(fields["uris"].split()),
                suites=tuple(fields.get("suites", "").split()),
                components=tuple(fields.get("components", "").split()),
                signed_by=fields.get("signed-by", ""),
                options=tuple((key, fields[key]) for key in _CARRIED if key in fields),
            )


def _one_line(text: str) -> Iterator[Source]:
    form = re.compile(r"deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<rest>.+)")
    for raw in text.splitlines():
        found = form.fullmatch(raw.split("#", 1)[0].strip())
        if found is None:
            continue
        options = dict(
            word.lower().split("=", 1) if not word.startswith("signed-by") else word.split("=", 1)
            for word in (found["options"] or "").split()
            if "=" in word
        )
        suite, *components = found["rest"].split()
        yield Source(
            uris=(found["uri"],),
            suites=(suite,),
            components=tuple(components),
            signed_by=options.get("signed-by", ""),
            options=tuple((key, options[key]) for key in _CARRIED if key in options),
        )
