"""``recipe.lock`` as bytes: canonical JSON, strict to read, and marked against edits by hand."""

from __future__ import annotations

import json
import re
import struct
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

from buildkit import canonical, digests
from buildkit.errors import LockError
from buildkit.lock.types import (
    GOLDEN,
    LOCK_VERSION,
    DebianPin,
    FilePin,
    HostPins,
    Lock,
    ModelPins,
    PlatformPins,
    WheelPin,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

T = TypeVar("T")

_SCHEMA = "buildkit/lock/v"
_EDITED = "run `lock --update`, or bring the committed file back with `git checkout`"
_MOST_PROBLEMS = 20

_HEX = re.compile(r"[0-9a-f]{64}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_FILE = re.compile(r"[A-Za-z0-9+_][A-Za-z0-9+._-]*")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]*")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+:~!_-]*")
_ARCH = re.compile(r"[a-z0-9]+")
_PLATFORM = re.compile(r"linux/[a-z0-9]+")
_FLAKE = re.compile(r"(?!/|path:/|git\+file:)[!-~]{1,1000}")
_COMMIT = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})?")


def dump(lock: Lock) -> bytes:
    """The lock as the file has it: canonical JSON for people, the same lock always the same bytes.

    Raises:
        ValueError: a calibration range is not a finite number.
    """
    rest = to_json(lock)
    return canonical.dump_pretty({**rest, "integrity": _integrity(rest)})


def digest(lock: Lock) -> str:
    """``sha256:`` of `dump`, so of the file too."""
    return digests.of_bytes(dump(lock))


def load(file: Path) -> Lock:
    """Read a lock.

    Raises:
        LockError: it is missing, cannot be read, or does not hold together; see `parse`.
    """
    try:
        data = file.read_bytes()
    except FileNotFoundError as error:
        msg = f"{file.name}: there is no lock yet"
        raise LockError(msg, "run `lock` to make it, then commit it") from error
    except OSError as error:
        msg = f"{file.name}: cannot be read: {error.strerror}"
        raise LockError(msg, "make it a file that you may read") from error
    return parse(data, file.name)


def parse(data: bytes, file: str) -> Lock:
    """Read a lock from bytes.

    Args:
        data: what the file holds; anything at all.
        file: its name, for messages.

    Raises:
        LockError: not a lock, from a newer version, edited by hand, or not sound; all that is
            wrong is in one message.
    """
    try:
        document = canonical.load(data)
    except ValueError as error:
        msg = f"{file}: not a lock: {error}"
        raise LockError(msg, _EDITED) from error
    if not isinstance(document, dict):
        msg = f"{file}: not a lock: no JSON object"
        raise LockError(msg, _EDITED)
    _check_version(document.get("schema"), file)
    said = document.pop("integrity", None)
    try:
        right = said == _integrity(document)
    except (ValueError, RecursionError) as error:
        msg = f"{file}: not a lock: {error}"
        raise LockError(msg, _EDITED) from error
    if not right:
        msg = f"{file}: edited by hand: its content is not what its integrity line says"
        raise LockError(msg, _EDITED)
    reader = _Reader()
    lock = reader.lock(document)
    if reader.problems:
        shown = reader.problems[:_MOST_PROBLEMS]
        if len(reader.problems) > len(shown):
            shown.append(f"and {len(reader.problems) - len(shown)} more")
        msg = f"{file}: not sound:\n  " + "\n  ".join(shown)
        raise LockError(msg, _EDITED)
    return lock


def _check_version(schema: object, file: str) -> None:
    number = schema.removeprefix(_SCHEMA) if isinstance(schema, str) else ""
    if schema == f"{_SCHEMA}{LOCK_VERSION}":
        return
    if number.isascii() and number.isdigit() and len(number) < 9 and int(number) > LOCK_VERSION:
        msg = f"{file}: written by a newer version of this tool (lock format {number})"
        raise LockError(
            msg, "install a newer edge-buildkit, or make a new lock with `lock --update`"
        )
    msg = f"{file}: not a lock: schema is {json.dumps(schema)[:60]}"
    raise LockError(msg, _EDITED)


def _integrity(rest: Mapping[str, Any]) -> str:
    return digests.of_bytes(canonical.dump(rest))


def to_json(lock: Lock) -> dict[str, Any]:
    """The lock as a JSON value, without the mark against edits by hand."""
    return {
        "schema": f"{_SCHEMA}{LOCK_VERSION}",
        "recipe": {
            "name": lock.recipe_name,
            "digest": lock.recipe_digest,
            "document": lock.recipe,
        },
        "hosts": {arch: _host(pins) for arch, pins in lock.hosts.items()},
        "platforms": {name: _plain(pins) for name, pins in lock.platforms.items()},
        # Only where the recipe names one: other locks stay as they were.
        **({"builder": lock.builder} if lock.builder else {}),
        "model": _model(lock.model),
    }


def _model(pins: ModelPins) -> dict[str, Any]:
    """As `_plain`; a lock that is older than the counts keeps its bytes, so its digest too."""
    found: dict[str, Any] = _plain(pins)
    found["ranges"] = {name: [float(low), float(high)] for name, (low, high) in pins.ranges.items()}
    if not pins.golden:
        del found["golden"]
    return found


def _host(pins: HostPins) -> dict[str, Any]:
    """As `_plain`; a lock that is older than these wheels keeps its bytes, so its digest too."""
    found: dict[str, Any] = _plain(pins)
    if not pins.tools_wheels:
        del found["tools_wheels"]
    return found


def _plain(value: Any) -> Any:
    """A record as JSON: its fields by name, tuples as lists."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "__dataclass_fields__"):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    return value


class _Reader:
    """Turns parsed JSON into records and gathers everything that is wrong with it."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def lock(self, document: dict[str, Any]) -> Lock:
        names = ["schema", "recipe", "hosts", "platforms", "model"]
        names += ["builder"] if "builder" in document else []
        recipe = self._keys(
            self._keys(document, "", *names).get("recipe"), "recipe", "name", "digest", "document"
        )
        return Lock(
            recipe_name=self._text(recipe, "recipe", "name", _NAME),
            recipe_digest=self._text(recipe, "recipe", "digest", _DIGEST),
            recipe=self._asked_for(recipe),
            hosts=self._table(document.get("hosts"), "hosts", _ARCH, self._host),
            platforms=self._table(
                document.get("platforms"), "platforms", _PLATFORM, self._platform
            ),
            model=self._model(document.get("model"), "model"),
            builder=self._text(document, "", "builder", _FLAKE),
        )

    def _asked_for(self, recipe: dict[str, Any]) -> dict[str, Any]:
        document = recipe.get("document")
        if not isinstance(document, dict):
            self._wrong("recipe.document", "must be an object")
            return {}
        if digests.of_bytes(canonical.dump(document)) != recipe.get("digest"):
            self._wrong("recipe.digest", "is not that of recipe.document")
        return document

    def _host(self, value: object, path: str) -> HostPins:
        # Without the wheels a lock is read, so that `lock` can complete it; `drift` says that.
        found = self._record(value, path, HostPins, optional="tools_wheels")
        return HostPins(
            seed=self._debian(found.get("seed"), f"{path}.seed"),
            seed_nar_sha256=self._text(found, path, "seed_nar_sha256", _HEX),
            builder_debian=self._list(found, path, "builder_debian", self._debian),
            builder_wheels=self._list(found, path, "builder_wheels", self._wheel),
            engine_debian=self._list(found, path, "engine_debian", self._debian),
            tools_debian=self._list(found, path, "tools_debian", self._debian),
            tools_wheels=self._list(found, path, "tools_wheels", self._wheel),
            asked=self._asked(found, path),
        )

    def _platform(self, value: object, path: str) -> PlatformPins:
        found = self._record(value, path, PlatformPins)
        return PlatformPins(
            debian=self._list(found, path, "debian", self._debian),
            wheels=self._list(found, path, "wheels", self._wheel),
            asked=self._asked(found, path),
        )

    def _model(self, value: object, path: str) -> ModelPins:
        found = self._record(value, path, ModelPins, "golden")
        calibration = self._text(found, path, "calibration")
        if calibration not in {"", "exact", "onnxruntime"}:
            self._wrong(f"{path}.calibration", "must be exact, onnxruntime or empty")
        return ModelPins(
            files=self._list(found, path, "files", self._file),
            artifact=self._optional(found, path, "artifact", _DIGEST),
            commit=self._text(found, path, "commit", _COMMIT),
            seed=self._count(found, path, "seed"),
            onnxruntime=self._text(found, path, "onnxruntime", _VERSION),
            float_sha256=self._text(found, path, "float_sha256", _HEX),
            calibration=calibration,
            ranges=self._table(found.get("ranges"), f"{path}.ranges", None, self._range),
            quantized_sha256=self._optional(found, path, "quantized_sha256", _HEX),
            golden=self._golden(found["golden"], f"{path}.golden") if "golden" in found else {},
        )

    def _golden(self, value: object, path: str) -> dict[str, int]:
        found = self._keys(value, path, *GOLDEN)
        return {name: self._count(found, path, name) for name in GOLDEN}

    def _debian(self, value: object, path: str) -> DebianPin:
        found = self._record(value, path, DebianPin)
        return DebianPin(
            name=self._text(found, path, "name", _NAME),
            version=self._text(found, path, "version", _VERSION),
            architecture=self._text(found, path, "architecture", _ARCH),
            suite=self._text(found, path, "suite", _NAME),
            file=self._text(found, path, "file", _FILE),
            sha256=self._text(found, path, "sha256", _HEX),
            size=self._count(found, path, "size"),
        )

    def _wheel(self, value: object, path: str) -> WheelPin:
        found = self._record(value, path, WheelPin)
        return WheelPin(
            name=self._text(found, path, "name", _NAME),
            version=self._text(found, path, "version", _VERSION),
            file=self._text(found, path, "file", _FILE),
            sha256=self._text(found, path, "sha256", _HEX),
        )

    def _file(self, value: object, path: str) -> FilePin:
        found = self._record(value, path, FilePin)
        name = self._text(found, path, "path")
        parts = name.split("/")
        plain = name.isprintable() and "\\" not in name
        if not plain or any(part in {"", ".", ".."} for part in parts):
            self._wrong(f"{path}.path", "must stay inside the recipe's folder")
        return FilePin(
            path=name,
            sha256=self._text(found, path, "sha256", _HEX),
            size=self._count(found, path, "size"),
        )

    def _range(self, value: object, path: str) -> tuple[float, float]:
        if isinstance(value, list) and len(value) == 2 and all(map(_is_float32, value)):
            low, high = (float(item) for item in value)
            if low <= high:
                return (low, high)
        self._wrong(path, "must be two float32 numbers, the lower one first")
        return (0.0, 0.0)

    def _asked(self, found: dict[str, Any], path: str) -> str:
        return self._optional(found, path, "asked", _DIGEST)

    def _record(self, value: object, path: str, kind: type, optional: str = "") -> dict[str, Any]:
        absent = isinstance(value, dict) and optional not in value
        names = [name for name in _FIELDS[kind] if not (absent and name == optional)]
        return self._keys(value, path, *names)

    def _keys(self, value: object, path: str, *names: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            self._wrong(path, "must be an object")
            return {}
        if len(value) != len(names) or any(name not in value for name in names):
            for name in sorted(set(value) - set(names)):
                self._wrong(f"{path}.{name}".lstrip("."), "unknown key")
            for name in names:
                if name not in value:
                    self._wrong(f"{path}.{name}".lstrip("."), "is missing")
        return value

    def _table(
        self,
        value: object,
        path: str,
        key: re.Pattern[str] | None,
        read: Callable[[object, str], T],
    ) -> dict[str, T]:
        if not isinstance(value, dict):
            self._wrong(path, "must be an object")
            return {}
        for name in value:
            if key is not None and key.fullmatch(name) is None:
                self._wrong(f"{path}.{name}", "is no such name")
        return {name: read(item, f"{path}.{name}") for name, item in value.items()}

    def _list(
        self, found: dict[str, Any], path: str, name: str, read: Callable[[object, str], T]
    ) -> tuple[T, ...]:
        value = found.get(name, [])
        if not isinstance(value, list):
            self._wrong(f"{path}.{name}", "must be a list")
            return ()
        return tuple([read(item, f"{path}.{name}[{at}]") for at, item in enumerate(value)])

    def _text(
        self, found: dict[str, Any], path: str, name: str, form: re.Pattern[str] | None = None
    ) -> str:
        value = found.get(name, "")
        if not isinstance(value, str):
            self._wrong(f"{path}.{name}".lstrip("."), "must be a string")
            return ""
        if form is not None and name in found and form.fullmatch(value) is None:
            self._wrong(f"{path}.{name}".lstrip("."), f"cannot be {json.dumps(value)[:80]}")
        return value

    def _optional(self, found: dict[str, Any], path: str, name: str, form: re.Pattern[str]) -> str:
        return self._text(found, path, name, form if found.get(name) != "" else None)

    def _count(self, found: dict[str, Any], path: str, name: str) -> int:
        value = found.get(name, 0)
        if type(value) is not int or value < 0:
            self._wrong(f"{path}.{name}", "must be a whole number, at least 0")
            return 0
        return value

    def _wrong(self, path: str, message: str) -> None:
        self.problems.append(f"{path or 'the lock'}: {message}")


_FIELDS: dict[type, tuple[str, ...]] = {
    kind: tuple(item.name for item in fields(kind))
    for kind in (DebianPin, WheelPin, FilePin, HostPins, PlatformPins, ModelPins)
}


def _is_float32(value: object) -> bool:
    if type(value) not in {int, float}:
        return False
    try:
        return bool(struct.unpack("f", struct.pack("f", value))[0] == value)
    except (OverflowError, struct.error):
        return False
