"""What an agent answers, read as if an enemy had written it (docs/device-protocol.md)."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from buildkit import digests
from buildkit.device.wording import clean
from buildkit.errors import EvidenceError
from buildkit.evidence import strict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from buildkit.device.types import Blob

Note: TypeAlias = "Mapping[str, str | int | bool]"
"""One report on the way of a call: a few short words and whole numbers."""

KINDS = (*("usage", "refused", "busy", "runtime", "disk", "device", "network", "interrupted"),)
_BLAMES = ("host", "artifact", "device", "network")
_ENDS = ("progress", "done", "error")
_KEY_ID = re.compile(r"[0-9a-f]{16}")

_SHORT, _LONG, _PEM = 200, 2000, 16 * 1024
_MOST_ITEMS = 10_000
_MOST_NOTES = 16
_HUGE = 1 << 62


class Garbled(ValueError):
    """An answer that is not one of the protocol; the message says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """``error``: why there is no answer; the words are fit to be shown."""

    kind: str
    blame: str
    message: str
    remedy: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """``done``: the answer, not looked into yet."""

    value: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Missing:
    """A blob that is not on the device, or not all of it.

    Attributes:
        digest: which.
        size: bytes.
        have: of them are there already.
    """

    digest: str
    size: int
    have: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ContainerRuntime:
    """What could start a container there.

    Attributes:
        name: ``docker``, ``podman`` or ``crun``.
        version: by its own word; may be empty.
        usable: whether the agent would take it.
        why: it would not.
    """

    name: str
    version: str
    usable: bool
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """The device's own key, as it says; nobody has checked it.

    Attributes:
        id: first 16 hex digits, as in the key ring.
        pem: of the public half.
    """

    id: str
    pem: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What a device says of itself; empty or None is what it does not know.

    Attributes:
        agent: version.
        machine: ``aarch64``.
        os: name of its operating system.
        python: version.
        openssl: version.
        board: model.
        standin: what a stand-in says of itself; empty on a real board.
        page_bytes: of the kernel.
        memory_bytes: of the board.
        free_bytes: of the disk that blobs go to.
        boot_id: changes with each start.
        wall: its clock, RFC 3339.
        runtimes: those that it has.
        key: its own; None before it is enrolled.
        trusted: ids of the keys whose signatures count there.
        leftovers: what a killed run left and nobody could put right.
    """

    agent: str
    machine: str
    os: str
    python: str
    openssl: str
    board: str
    standin: str
    page_bytes: int | None
    memory_bytes: int | None
    free_bytes: int | None
    boot_id: str
    wall: str
    runtimes: tuple[ContainerRuntime, ...]
    key: Key | None
    trusted: tuple[str, ...]
    leftovers: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ran:
    """``done`` of ``run``; nothing of it has been checked.

    Attributes:
        payload: bytes of the statement.
        signature: over its DSSE encoding, DER.
        key: id of the key.
    """

    payload: bytes
    signature: bytes
    key: str


def reply(line: bytes) -> Note | Done | Failure:
    """One line of an answer.

    Raises:
        Garbled: it is none.
    """
    try:
        value = strict.load(line, "a line", largest=len(line))
    except EvidenceError as error:
        if not line.lstrip().startswith(b"{"):
            said = clean(line[:_LONG].decode(errors="replace"), 80)
            msg = f"it printed {said!r} where an answer belongs (its shell's start-up files may)"
            raise Garbled(msg) from error
        raise Garbled(clean(error.message, _SHORT)) from error
    if not isinstance(value, dict) or len(value) != 1 or next(iter(value)) not in _ENDS:
        msg = f"a line is not one of {', '.join(_ENDS)}"
        raise Garbled(msg)
    ((kind, inner),) = value.items()
    if not isinstance(inner, dict):
        msg = f"`{kind}` is not an object"
        raise Garbled(msg)
    if kind == "progress":
        return _note(inner)
    if kind == "done":
        return Done(value=inner)
    failure = Failure(
        kind=_text(inner, "kind", _SHORT),
        blame=_text(inner, "blame", _SHORT),
        message=_text(inner, "message", _LONG) or "it gave no reason",
        remedy=_text(inner, "remedy", _LONG),
    )
    if failure.kind not in KINDS or failure.blame not in _BLAMES:
        msg = f"an error of kind {failure.kind!r}, blamed on {failure.blame!r}"
        raise Garbled(msg)
    return failure


def facts(value: Mapping[str, Any]) -> Facts:
    """``done`` of ``facts``.

    Raises:
        Garbled: it is none.
    """
    key = value.get("key")
    return Facts(
        agent=_text(value, "agent", _SHORT),
        machine=_text(value, "machine", _SHORT),
        os=_text(value, "os", _SHORT),
        python=_text(value, "python", _SHORT),
        openssl=_text(value, "openssl", _SHORT),
        board=_text(value, "board", _SHORT),
        standin="" if value.get("standin") is False else _text(value, "standin", _SHORT),
        page_bytes=_known(value, "page_bytes"),
        memory_bytes=_known(value, "memory_bytes"),
        free_bytes=_known(value, "free_bytes"),
        boot_id=_text(value, "boot_id", _SHORT),
        wall=_text(value, "wall", _SHORT),
        runtimes=tuple(_runtime(each) for each in _items(value, "runtimes")),
        key=None if key is None else _key(key),
        trusted=_ids(value, "trusted"),
        leftovers=_texts(value, "leftovers"),
    )


def enrolled(value: Mapping[str, Any]) -> tuple[Key, tuple[str, ...]]:
    """``done`` of ``enroll``: its key, and the ids of those that it trusts.

    Raises:
        Garbled: it is none.
    """
    return _key(value.get("key")), _ids(value, "trusted")


def missing(value: Mapping[str, Any], asked: Sequence[Blob]) -> tuple[Missing, ...]:
    """``done`` of ``missing``, in the order of `asked`.

    Raises:
        Garbled: it is none, or about something that nobody asked for.
    """
    sizes = {blob.digest: blob.size for blob in asked}
    found: dict[str, Missing] = {}
    for each in _items(value, "missing"):
        digest = _digest(each)
        size, have = _whole(each, "size"), _whole(each, "have")
        if digest in found or sizes.get(digest) != size or have > size:
            msg = f"{digest} with {have} of {size} bytes is not what was asked for"
            raise Garbled(msg)
        found[digest] = Missing(digest=digest, size=size, have=have)
    return tuple(found[digest] for digest in sizes if digest in found)


def arrived(value: Mapping[str, Any], name: str, asked: Sequence[str]) -> None:
    """``done`` of ``receive`` and ``pull``: all that was asked for is there.

    Args:
        value: the answer.
        name: ``received`` or ``pulled``.
        asked: digests.

    Raises:
        Garbled: it is none, or names others.
    """
    listed = value.get(name)
    if not isinstance(listed, list) or len(listed) > _MOST_ITEMS:
        raise _not_a(name=name, kind="list")
    if not all(isinstance(each, str) for each in listed) or set(listed) != set(asked):
        msg = f"`{name}` is not what was asked for"
        raise Garbled(msg)


def ran(value: Mapping[str, Any]) -> Ran:
    """``done`` of ``run``.

    Raises:
        Garbled: it is none.
    """
    return Ran(
        payload=_bytes(value, "payload"),
        signature=_bytes(value, "signature"),
        key=_id(value, "key"),
    )


def removed(value: Mapping[str, Any]) -> Any:
    """``done`` of ``clean``: what is gone, in the agent's own words.

    Raises:
        Garbled: it is none.
    """
    if "removed" not in value:
        raise _not_a(name="removed", kind="value")
    return value["removed"]


def _note(inner: Mapping[str, Any]) -> Note:
    """Only what can be shown; the rest is passed over, since nothing depends on it."""
    found: dict[str, str | int | bool] = {}
    for name, value in list(inner.items())[:_MOST_NOTES]:
        if isinstance(value, bool) or (isinstance(value, int) and 0 <= value < _HUGE):
            found[clean(name, 40)] = value
        elif isinstance(value, str):
            found[clean(name, 40)] = clean(value, _SHORT)
    return found


def _runtime(each: Mapping[str, Any]) -> ContainerRuntime:
    usable = each.get("usable")
    if not isinstance(usable, bool):
        raise _not_a(name="usable", kind="truth value")
    return ContainerRuntime(
        name=_text(each, "name", _SHORT),
        version=_text(each, "version", _SHORT),
        usable=usable,
        why=_text(each, "why", _LONG),
    )


def _key(value: Any) -> Key:
    if not isinstance(value, dict):
        raise _not_a(name="key", kind="object")
    pem = value.get("pem")
    if not isinstance(pem, str) or not pem.isascii() or len(pem) > _PEM:
        raise _not_a(name="pem", kind="key")
    return Key(id=_id(value, "id"), pem=pem)


def _id(value: Mapping[str, Any], name: str) -> str:
    found = value.get(name)
    if not isinstance(found, str) or _KEY_ID.fullmatch(found) is None:
        raise _not_a(name=name, kind="key's id")
    return found


def _ids(value: Mapping[str, Any], name: str) -> tuple[str, ...]:
    found = _texts(value, name)
    if not all(_KEY_ID.fullmatch(each) for each in found):
        raise _not_a(name=name, kind="list of keys' ids")
    return found


def _items(value: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    found = value.get(name)
    if not isinstance(found, list) or len(found) > _MOST_ITEMS:
        raise _not_a(name=name, kind="list")
    if not all(isinstance(each, dict) for each in found):
        raise _not_a(name=name, kind="list of objects")
    return found


def _texts(value: Mapping[str, Any], name: str) -> tuple[str, ...]:
    found = value.get(name)
    if not isinstance(found, list) or len(found) > _MOST_ITEMS:
        raise _not_a(name=name, kind="list")
    if not all(isinstance(each, str) for each in found):
        raise _not_a(name=name, kind="list of texts")
    return tuple(clean(each, _SHORT) for each in found)


def _text(value: Mapping[str, Any], name: str, most: int) -> str:
    """A text for people; empty when the device does not know."""
    found = value.get(name)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise _not_a(name=name, kind="text")
    return clean(found, most)


def _whole(value: Mapping[str, Any], name: str) -> int:
    found = value.get(name)
    if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found < _HUGE:
        raise _not_a(name=name, kind="number of bytes")
    return found


def _known(value: Mapping[str, Any], name: str) -> int | None:
    return None if value.get(name) is None else _whole(value, name)


def _digest(value: Mapping[str, Any]) -> str:
    found = value.get("digest")
    if not isinstance(found, str) or not digests.is_digest(found):
        raise _not_a(name="digest", kind="digest")
    return found


def _bytes(value: Mapping[str, Any], name: str) -> bytes:
    found = value.get(name)
    try:
        data = base64.b64decode(found, validate=True) if isinstance(found, str) else b""
    except (binascii.Error, ValueError):
        data = b""
    if not data:
        raise _not_a(name=name, kind="base64 text")
    return data


def _not_a(*, name: str, kind: str) -> Garbled:
    return Garbled(f"`{name}` is no {kind}")
