"""Reads OSV records that a user has on disk: a folder of JSON files, or archives of them.

Source: OSV schema 1.7. The records are somebody else's: what is no record is told, and limits hold.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Protocol

from buildkit import canonical
from buildkit.audit.osvranges import EVENTS, FAMILIES, Affected, Range
from buildkit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_LARGEST = 64 << 20
_SUMMARY = 300
_ENDINGS = (".json", ".zip")
_HOW = "name a folder of OSV records (JSON), or of an ecosystem's all.zip"


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """An OSV record, as far as it is asked for.

    Attributes:
        id: of the record.
        modified: RFC 3339; of two records with one id, the later one counts.
        withdrawn: whether it no longer says anything.
        aliases: the same vulnerability elsewhere, sorted.
        upstream: vulnerabilities that it comes from, sorted.
        summary: one line; may be empty.
        severity: type and score, as they stand there.
        word: of the database, where there is no severity: ``HIGH``.
        affected: (ecosystem, name) and what is said of it.
    """

    id: str
    modified: str
    withdrawn: bool
    aliases: tuple[str, ...]
    upstream: tuple[str, ...]
    summary: str
    severity: tuple[tuple[str, str], ...]
    word: str
    affected: tuple[tuple[str, str, Affected], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Unreadable:
    """A file that is no OSV record."""

    name: str
    why: str


def fingerprint(place: Path) -> str:
    """A digest of what stands there: names, lengths and times of change; no file is read.

    Raises:
        InputError: there is nothing to be read.
    """
    try:
        told = [_state(each) for files in _files(place) for each in files]
    except OSError as error:
        msg = f"{error.filename}: cannot be read: {error.strerror}"
        raise InputError(msg, _HOW) from error
    if not told:
        msg = f"{place}: no OSV records here"
        raise InputError(msg, _HOW)
    return hashlib.sha256("".join(told).encode("utf-8", "replace")).hexdigest()


def records(place: Path) -> Iterator[Record | Unreadable]:
    """Every record, and every file that is none, sorted by the name of its file.

    Raises:
        InputError: nothing can be read.
    """
    for file in (each for files in _files(place) for each in files):
        if file.path.endswith(".zip"):
            yield from _archive(file.path)
            continue
        try:
            with open(file.path, "rb") as stream:  # noqa: PTH123 - 45,000 times
                data = stream.read(_LARGEST + 1)
        except OSError as error:
            yield Unreadable(name=file.path, why=str(error.strerror))
            continue
        if len(data) > _LARGEST:
            yield Unreadable(name=file.path, why="too large")
            continue
        yield from _parsed(data, file.path)


def parse(data: bytes) -> Record:
    """One record.

    Raises:
        ValueError: it is none.
    """
    document = canonical.load(data)
    if not isinstance(document, dict):
        msg = "not an object"
        raise ValueError(msg)  # noqa: TRY004 - one error for all that a record can be instead
    texts = {key: document.get(key) or "" for key in ("id", "modified", "summary", "details")}
    if not all(isinstance(each, str) for each in texts.values()) or not texts["id"]:
        msg = "no id"
        raise ValueError(msg)
    return Record(
        id=texts["id"],
        modified=texts["modified"],
        withdrawn=bool(document.get("withdrawn")),
        aliases=tuple(sorted(set(_texts(document, "aliases")))),
        upstream=tuple(sorted(set(_texts(document, "upstream")))),
        summary=_line(texts["summary"] or texts["details"]),
        severity=_severity(document),
        word=_word(document),
        affected=tuple(_affected(document)),
    )


class _File(Protocol):
    """What is needed of a file: that of `os.DirEntry`."""

    @property
    def path(self) -> str:
        """Where it is."""

    def stat(self) -> os.stat_result:
        """How it is."""


@dataclass(frozen=True, slots=True)
class _Single:
    """A file that was named itself."""

    path: str

    def stat(self) -> os.stat_result:
        """See `_File`."""
        return os.stat(self.path)  # noqa: PTH116 - as `os.DirEntry` does


def _state(file: _File) -> str:
    status = file.stat()
    return f"{file.path}\0{status.st_size} {status.st_mtime_ns}\0"


def _files(place: Path) -> Iterator[Sequence[_File]]:
    """Files that may hold records, folder by folder, sorted."""
    try:
        if place.is_file():
            yield [_Single(str(place))]
            return
        yield from _below(str(place))
    except OSError as error:
        msg = f"{error.filename or place}: cannot be read: {error.strerror}"
        raise InputError(msg, _HOW) from error


def _below(folder: str) -> Iterator[Sequence[_File]]:
    with os.scandir(folder) as entries:
        found = sorted(entries, key=attrgetter("name"))
    yield [each for each in found if each.name.endswith(_ENDINGS) and not each.is_dir()]
    for each in found:
        if each.is_dir(follow_symlinks=False):
            yield from _below(each.path)


def _archive(path: str) -> Iterator[Record | Unreadable]:
    import zipfile  # noqa: PLC0415 - only when the table is made

    try:
        with zipfile.ZipFile(path) as archive:
            for info in sorted(archive.infolist(), key=lambda each: each.filename):
                if not info.filename.endswith(".json"):
                    continue
                name = f"{path}: {info.filename}"
                if info.file_size > _LARGEST:
                    yield Unreadable(name=name, why=f"{info.file_size} bytes")
                    continue
                with archive.open(info) as stream:
                    # The length that an archive promises is not the one that it gives.
                    data = stream.read(_LARGEST + 1)
                yield from _parsed(data[:_LARGEST], name)
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
        yield Unreadable(name=path, why=str(error))


def _parsed(data: bytes, name: str) -> Iterator[Record | Unreadable]:
    try:
        yield parse(data)
    except (ValueError, TypeError, RecursionError) as error:
        yield Unreadable(name=name, why=str(error)[:_SUMMARY])


def _affected(document: dict[str, Any]) -> Iterator[tuple[str, str, Affected]]:
    for each in _objects(document, "affected"):
        package = each.get("package")
        if not isinstance(package, dict):
            continue
        ecosystem, name = package.get("ecosystem"), package.get("name")
        if not isinstance(ecosystem, str) or not isinstance(name, str):
            msg = "a package without ecosystem or name"
            raise ValueError(msg)  # noqa: TRY004 - as above
        if ecosystem.partition(":")[0] not in FAMILIES:
            continue
        said = Affected(
            versions=tuple(_texts(each, "versions")),
            ranges=tuple(map(_range, _objects(each, "ranges"))),
            severity=_severity(each),
        )
        yield ecosystem, name, said


def _range(value: dict[str, Any]) -> Range:
    kind = value.get("type")
    if not isinstance(kind, str):
        msg = "a range without a type"
        raise ValueError(msg)  # noqa: TRY004 - as above
    events = [
        (name, event[name])
        for event in _objects(value, "events")
        for name in EVENTS
        if name in event
    ]
    if not all(isinstance(bound, str) for _, bound in events):
        msg = "an event whose version is no text"
        raise ValueError(msg)
    return Range(type=kind, events=tuple(events))


def _severity(value: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (str(each.get("type", "")), str(each.get("score", "")))
        for each in _objects(value, "severity")
    )


def _word(document: dict[str, Any]) -> str:
    """What databases that do not score write instead."""
    places = [document, *_objects(document, "affected")]
    for place in places:
        for key, name in (("database_specific", "severity"), ("ecosystem_specific", "urgency")):
            own = place.get(key)
            word = own.get(name) if isinstance(own, dict) else None
            if isinstance(word, str) and word:
                return word[:40]
    return ""


def _objects(value: dict[str, Any], key: str) -> list[dict[str, Any]]:
    found = value.get(key)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        msg = f"`{key}` is not a list of objects"
        raise ValueError(msg)
    return found


def _texts(value: dict[str, Any], key: str) -> list[str]:
    found = value.get(key)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        msg = f"`{key}` is not a list of texts"
        raise ValueError(msg)
    return found


def _line(text: str) -> str:
    lines = (line.strip() for line in text.splitlines())
    return next((line for line in lines if line), "")[:_SUMMARY]
