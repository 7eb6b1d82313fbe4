"""Names of artifacts in registries: ``HOST[:PORT]/repository[:tag|@digest]``. Pure.

Source: OCI distribution-spec 1.1 (``<name>``, ``<reference>``). There is no default host: a name
without one means another thing to every tool.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from buildkit import digests
from buildkit.errors import InputError

_NAME = re.compile(
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
)
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_LONGEST_NAME = 255
_FORM = "write HOST[:PORT]/REPOSITORY[:TAG], for example registry.example:5000/team/digits:1.0.0"


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """One place in a registry; `parse` gives only valid ones.

    Attributes:
        host: with its port, if one was given.
        repository: in that registry.
        tag: a name there; empty when none was given.
        digest: ``sha256:…``; empty when none was given, and always with a tag.
    """

    host: str
    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """Host and repository."""
        return f"{self.host}/{self.repository}"

    @property
    def pointer(self) -> str:
        """Tag or digest, whichever was given; empty when none was."""
        return self.tag or self.digest

    def __str__(self) -> str:
        end = f":{self.tag}" if self.tag else f"@{self.digest}" if self.digest else ""
        return self.name + end


def parse(text: str) -> Reference:
    """Read a name, strictly.

    Raises:
        InputError: not such a name; a host is missing.
    """
    host, slash, rest = text.partition("/")
    if "://" in text:
        raise _wrong(text, "it begins with a scheme", "leave `http://` or `https://` away")
    if not slash or not _looks_like_host(host):
        raise _wrong(text, "it names no registry host", _FORM)
    if not _is_host(host):
        raise _wrong(text, f"{host!r} is not a host", _FORM)
    rest, at, digest = rest.partition("@")
    name, colon, tag = rest.partition(":")
    if at and colon:
        raise _wrong(text, "both a tag and a digest", "leave one of them away")
    if len(name) > _LONGEST_NAME or _NAME.fullmatch(name) is None:
        raise _wrong(text, f"{name!r} is not a repository", _FORM)
    if colon and not is_tag(tag):
        raise _wrong(text, f"{tag!r} is not a tag", _FORM)
    if at and not digests.is_digest(digest):
        raise _wrong(text, f"{digest!r} is not a SHA-256 digest", _FORM)
    return Reference(host=host, repository=name, tag=tag, digest=digest)


def is_tag(text: str) -> bool:
    """Whether a registry can have such a tag."""
    return _TAG.fullmatch(text) is not None


def _looks_like_host(text: str) -> bool:
    return text == "localhost" or any(sign in text for sign in ".:[")


def _is_host(text: str) -> bool:
    if text.startswith("["):
        address, bracket, port = text[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            return False
        try:
            ipaddress.IPv6Address(address)
        except ValueError:
            return False
        # A zone (`%eth0`) means something on this machine alone.
        return "%" not in address and (not port or _is_port(port[1:]))
    name, colon, port = text.partition(":")
    if colon and not _is_port(port):
        return False
    return len(name) <= 253 and all(_LABEL.fullmatch(label) for label in name.split("."))


def _is_port(text: str) -> bool:
    return _PORT.fullmatch(text) is not None and int(text) < 1 << 16


def _wrong(text: str, why: str, remedy: str) -> InputError:
    return InputError(f"{text!r} is not the name of an artifact in a registry: {why}", remedy)
